import type { AsymmetricAlgorithm } from '../types/claims.js'
import { JwtUsageError } from './errors.js'
import { listOf, oneOf, oneOrMore, text, type Kind } from './kinds.js'
import { assertKnownNames } from './names.js'

/** The algorithms of key pairs: the only ones that somebody else's tokens may have. */
export const ASYMMETRIC = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'
] as const satisfies readonly AsymmetricAlgorithm[]

/** An issuer whose tokens are accepted: checked and complete. */
export interface IssuerSettings {
  readonly issuer: string
  readonly audience: readonly string[]
  /** Where its key set is; found by discovery where it is absent. */
  readonly jwksUri: URL | undefined
  readonly algorithms: readonly AsymmetricAlgorithm[]
  readonly identityClaim: string | undefined
}

/** The trusted issuer of a verified token; `undefined` for a token of our own. */
export function issuerOf (issuers: readonly IssuerSettings[] | undefined, payload: { readonly iss?: unknown }): IssuerSettings | undefined {
  return issuers?.find(({ issuer }) => issuer === payload.iss)
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/** Whether keys may be fetched from there: what comes over plain http, anybody on the way may have written. */
export function isTrustworthy (url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname))
}

const MEMBERS = {
  issuer: text,
  audience: oneOrMore(text),
  jwksUri: address('a URL that begins with https://, or with http:// on this host'),
  algorithms: listOf(oneOf(...ASYMMETRIC)),
  identityClaim: text,
} as const

const REQUIRED = ['issuer', 'audience'] as const

function address (takes: string): Kind<URL> {
  return {
    takes,
    read (value) {
      if (typeof value !== 'string' || !URL.canParse(value)) return undefined
      const url = new URL(value)
      return isTrustworthy(url) && url.username === '' && url.password === '' ? url : undefined
    },
  }
}

/** A list of issuers. Reading it throws {@link JwtUsageError} for a member that is wrong. */
export const trustedIssuers: Kind<readonly IssuerSettings[]> = {
  takes: "a list, not empty, of { issuer: 'https://…', audience: '…' }",
  read (value) {
    if (!Array.isArray(value) || value.length === 0) return undefined
    const issuers = value.map((given, index) => readIssuer(given, `issuers[${index}]`))
    const names = issuers.map(({ issuer }) => issuer)
    const twin = names.find((name, index) => names.indexOf(name) !== index)
    if (twin !== undefined) throw new JwtUsageError(`The option issuers names '${twin}' twice; give one of them all audiences`)
    return Object.freeze(issuers)
  },
}

function readIssuer (given: unknown, what: string): IssuerSettings {
  assertKnownNames(given, Object.keys(MEMBERS), what)
  const members = given as Record<string, unknown>
  const read: Record<string, unknown> = {}
  for (const [name, kind] of Object.entries(MEMBERS)) {
    if (members[name] === undefined) continue
    read[name] = kind.read(members[name])
    if (read[name] === undefined) throw new JwtUsageError(`${what}.${name} must be ${kind.takes}`)
  }
  const missing = REQUIRED.find((name) => read[name] === undefined)
  if (missing !== undefined) throw new JwtUsageError(`${what} needs ${missing}: ${MEMBERS[missing].takes}`)
  const { issuer, audience, jwksUri, algorithms = ASYMMETRIC, identityClaim } = read as unknown as IssuerSettings
  if (jwksUri === undefined && address('').read(issuer) === undefined) {
    throw new JwtUsageError(`${what} needs jwksUri: keys are discovered only under an issuer that is a URL and begins with https://`)
  }
  return Object.freeze({ issuer, audience, jwksUri, algorithms, identityClaim })
}
