import { JwtUsageError } from './errors.js'

const FARTHEST = 3
const LONGEST_NAME = 64

/** A name in quotes, for messages: no more of it than names have. */
export function quote (name: string): string {
  return `'${name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name}'`
}

function distance (a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

// Flask-JWT-Extended's JWT_ACCESS_TOKEN_EXPIRES and access_token_expires are accessTokenExpires here.
function normalise (name: string): string {
  return name.toLowerCase().replace(/^jwt_/, '').replaceAll(/[^a-z0-9]/g, '')
}

// What options are called elsewhere, in @fastify/jwt for one, where no letters lead from that to the name here.
const ELSEWHERE: Readonly<Record<string, string>> = {
  audience: 'decodeAudience',
  blacklistenabled: 'tokenInBlocklistLoader',
  blocklist: 'tokenInBlocklistLoader',
  cookie: 'tokenLocation',
  csrf: 'cookieCsrfProtect',
  expiresin: 'accessTokenExpires',
  formatuser: 'userLookupLoader',
  jwksuri: 'issuers',
  messages: 'errorMessageKey',
  redis: 'store',
  trusted: 'tokenInBlocklistLoader',
  userloader: 'userLookupLoader',
}

/** The known name that was most likely meant, if any is near. */
export function nearest (name: string, known: readonly string[]): string | undefined {
  // Comparing takes its time, and the name may be a client's.
  if (name.length > LONGEST_NAME) return undefined
  const wanted = normalise(name)
  const synonym = Object.hasOwn(ELSEWHERE, wanted) ? ELSEWHERE[wanted]! : ''
  if (known.includes(synonym)) return synonym
  let best: string | undefined
  let shortest = Math.min(FARTHEST, Math.ceil(wanted.length / 2)) + 1
  for (const candidate of known) {
    const other = normalise(candidate)
    const steps = wanted.length > 3 && other.startsWith(wanted) ? 1 : distance(wanted, other)
    if (steps < shortest) {
      shortest = steps
      best = candidate
    }
  }
  return best
}

/**
 * Refuses a value that is no plain object of known names.
 *
 * @throws {JwtUsageError} that names the stranger, and the name that was meant.
 */
export function assertKnownNames (value: unknown, known: readonly string[], what: string): asserts value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new JwtUsageError(`The options of ${what} must be an object with any of: ${known.join(', ')}`)
  }
  for (const name of Object.keys(value)) {
    if (known.includes(name)) continue
    const meant = nearest(name, known)
    throw new JwtUsageError(
      `Unknown option ${quote(name)} of ${what}; ${meant === undefined ? `it takes: ${known.join(', ')}` : `did you mean '${meant}'?`}`
    )
  }
}
