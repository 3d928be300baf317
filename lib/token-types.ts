import { JwtUsageError } from './errors.js'
import { flag, lifetime, type Kind } from './kinds.js'
import { assertKnownNames, nearest, quote } from './names.js'

/** A type of token that the application has besides access and refresh tokens. */
export interface TokenKind {
  /** Seconds, or `false`: forever. */
  readonly expires: number | false
  /** Whether a token of it is good for one request. */
  readonly singleUse: boolean
}

/** The types of one's own, by name. */
export type TokenKinds = ReadonlyMap<string, TokenKind>

const NAME = /^[a-z][\w.-]{0,63}$/i
const BUILT_IN = ['access', 'refresh']

/** The option `tokenTypes`. It throws for what is wrong with one of the types, which says more than what the option takes. */
export const tokenTypes: Kind<TokenKinds> = {
  takes: "an object of types by name, such as { invite: { expires: '7d' } }",
  read: (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
    ? new Map(Object.entries(value).map(([name, type]) => [name, readKind(name, type)]))
    : undefined,
}

function readKind (name: string, type: unknown): TokenKind {
  if (!NAME.test(name)) {
    throw new JwtUsageError(`The token type '${name}' needs another name: a letter, then up to 63 letters, digits, '_', '.' and '-'`)
  }
  if (BUILT_IN.includes(name.toLowerCase())) {
    throw new JwtUsageError(`The token type '${name}' needs another name: access and refresh tokens are there already`)
  }
  assertKnownNames(type, ['expires', 'singleUse'], `the token type '${name}'`)
  const { expires, singleUse = false } = type as Record<string, unknown>
  const seconds = lifetime.read(expires)
  if (seconds === undefined) throw new JwtUsageError(`The token type '${name}' needs expires: ${lifetime.takes}`)
  const isSingleUse = flag.read(singleUse)
  if (isSingleUse === undefined) throw new JwtUsageError(`singleUse of the token type '${name}' must be ${flag.takes}`)
  return Object.freeze({ expires: seconds, singleUse: isSingleUse })
}

/** The type of a name. @throws {JwtUsageError} where there is none, naming the one that was meant. */
export function findTokenKind (kinds: TokenKinds, name: unknown): TokenKind {
  const found = kinds.get(name as string)
  if (found !== undefined) return found
  if (name === 'access' || name === 'refresh') {
    const [method, rule] = name === 'access' ? ['createAccessToken', 'jwtRequired()'] : ['createRefreshToken', 'jwtRequired({ refresh: true })']
    throw new JwtUsageError(`'${name}' is no type of the option tokenTypes; such tokens have a method and a rule of their own: ${method}, ${rule}`)
  }
  const known = [...kinds.keys()]
  if (typeof name !== 'string') throw new JwtUsageError(`A token type must be a string${list(', one of', known)}`)
  const meant = nearest(name, known)
  throw new JwtUsageError(`Unknown token type ${quote(name)}${meant === undefined ? list('; there are:', known) : `; did you mean '${meant}'?`}`)
}

function list (what: string, known: readonly string[]): string {
  return known.length === 0 ? '; the option tokenTypes has none' : `${what} ${known.join(', ')}`
}

/** Whether a `type` claim means something to this configuration. */
export function isKnownType (kinds: TokenKinds, type: string): boolean {
  return BUILT_IN.includes(type) || kinds.has(type)
}
