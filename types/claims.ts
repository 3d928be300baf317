/**
 * Open for declaration merging: what the application's tokens are about.
 *
 * ```ts
 * declare module 'fastify-jwt-extended' {
 *   interface JwtTypes {
 *     user: { id: string, name: string }   // request.currentUser, userLookupLoader
 *     identity: { id: string }             // createAccessToken's first argument, the issuing loaders
 *     claims: { role?: 'admin' | 'member' } // request.jwt, additionalClaims
 *   }
 * }
 * ```
 */
export interface JwtTypes {}

/** The user that `userLookupLoader` gives: `JwtTypes['user']`, or `unknown`. */
export type JwtUser = JwtTypes extends { user: infer User } ? User : unknown

/** Who a token is for, as handed to `createAccessToken`: `JwtTypes['identity']`, or `unknown`. */
export type JwtIdentity = JwtTypes extends { identity: infer Identity } ? Identity : unknown

/** The application's own claims: `JwtTypes['claims']`, or any. */
export type JwtClaims = JwtTypes extends { claims: infer Claims } ? Claims : { [claim: string]: unknown }

/** The value of the identity claim: the type of `JwtTypes['claims']['sub']` where that is declared, else `string`. */
export type JwtIdentityClaim = JwtTypes extends { claims: { sub: infer Subject } } ? Subject : string

/** The signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1). `none` is never accepted. */
export type JwtAlgorithm =
  | 'HS256' | 'HS384' | 'HS512'
  | 'RS256' | 'RS384' | 'RS512'
  | 'PS256' | 'PS384' | 'PS512'
  | 'ES256' | 'ES384' | 'ES512'
  | 'EdDSA'

/** The algorithms of key pairs. */
export type AsymmetricAlgorithm = Exclude<JwtAlgorithm, `HS${string}`>

/** Where a token is carried. */
export type TokenLocation = 'headers' | 'cookies' | 'query_string' | 'json'

/** A number of seconds, or a string with a unit such as `'15m'`, `'12h'`, `'30d'`. Whole seconds; never 0. */
export type Duration = number | string

/** The two types of token that every configuration issues. */
export type TokenType = 'access' | 'refresh'

/** A JOSE header (RFC 7515 §4). */
export interface JwtHeader {
  alg?: string
  typ?: string
  kid?: string
  [parameter: string]: unknown
}

/** The claims that this plugin gives a meaning to. All times are seconds since 1970 (RFC 7519 §4.1). */
export interface RegisteredClaims {
  /** Issuer (RFC 7519 §4.1.1). */
  iss?: string
  /** Who the token is for (RFC 7519 §4.1.2). */
  sub?: string
  /** Audience (RFC 7519 §4.1.3). */
  aud?: string | string[]
  /** Expiry; a time equal to now counts as expired (RFC 7519 §4.1.4). */
  exp?: number
  /** Not valid before (RFC 7519 §4.1.5). */
  nbf?: number
  /** Issued at (RFC 7519 §4.1.6). */
  iat?: number
  /** The token's own id, by which it is revoked (RFC 7519 §4.1.7); `null` where a token carries none. */
  jti?: string | null
  /** `'access'`, `'refresh'`, one of `tokenTypes`, or a type of somebody else's. A token without it counts as `'access'`. */
  type?: string
  /** `true`, `false`, or the second until which the token is fresh. A token without it counts as `false`. */
  fresh?: boolean | number
  /** The value of the CSRF double submit. */
  csrf?: string
  /** The session that the token belongs to; with a `store` only. */
  sid?: string
  /** The generation of a session's refresh token. */
  gen?: number
  /** What tells a token without a session from those made after the last log-out everywhere; with a `store` only. */
  epoch?: number
}

/** A token's payload, whatever `JwtTypes` says of it: the registered claims and any others. */
export type TokenPayload = RegisteredClaims & { [claim: string]: unknown }

/** A token's payload as the application declares it: the registered claims and the application's own. */
export type JwtPayload = string extends keyof JwtClaims ? RegisteredClaims & JwtClaims : Omit<RegisteredClaims, keyof JwtClaims> & JwtClaims

/** A header and a payload as they reach the application: frozen, all the way down. */
export type DeepReadonly<T> = T extends (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> } : T
