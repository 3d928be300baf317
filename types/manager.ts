import type { webcrypto } from 'node:crypto'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, RequestPayload } from 'fastify'
import type { DeepReadonly, JwtAlgorithm, JwtHeader, JwtIdentity, JwtPayload } from './claims.js'
import type {
  CreateAccessTokenOptions, CreateRefreshTokenOptions, CreateTokenOptions, DecodeTokenOptions, JwtRule, RotatedKeys,
  SetCookiesOptions, UnsetCookiesOptions
} from './options.js'
import type { JwtSessionMethods, TokenPair } from './sessions.js'

// A route's own generics must not stand between it and a manager.
/* eslint-disable @typescript-eslint/no-explicit-any */
type AnyRequest = FastifyRequest<any, any, any, any, any, any, any, any>
type AnyReply = FastifyReply<any, any, any, any, any, any, any, any>
/* eslint-enable @typescript-eslint/no-explicit-any */

// So little of both that no route's types are inferred from a guard's.
type GuardedRequest = Pick<FastifyRequest, 'id' | 'method' | 'url'>
type GuardedReply = Pick<FastifyReply, 'sent' | 'statusCode'>

/** The hook that `jwtRequired` returns: for `onRequest`, `preParsing`, `preValidation` or `preHandler`. */
export interface JwtGuard {
  (request: GuardedRequest, reply: GuardedReply, done: HookHandlerDoneFunction): void
  (request: GuardedRequest, reply: GuardedReply, payload: RequestPayload, done: HookHandlerDoneFunction): void
}

/** What `verifyJwt` gives for a request that carries a good token. */
export interface VerifiedJwt {
  readonly jwtHeader: DeepReadonly<JwtHeader>
  readonly jwtPayload: DeepReadonly<JwtPayload>
}

/** A public key as `jwks` publishes it (RFC 7517 §4). */
export interface PublicJwk extends webcrypto.JsonWebKey {
  /** Its SHA-256 thumbprint (RFC 7638), which our tokens name it by. */
  kid: string
  alg: JwtAlgorithm
  use: 'sig'
}

/** The methods of one configuration that an instance shows as its own, too. */
export interface JwtInstanceMethods {
  /**
   * Makes an access token.
   *
   * @throws (rejects) with a usage error for an unknown option, an identity that makes no string `sub` (unless
   * `verifySub` is off), claims that are no JSON, or where there is no signing key.
   */
  createAccessToken (identity: JwtIdentity, options?: CreateAccessTokenOptions): Promise<string>
  /** Makes a refresh token, good for nothing but getting new access tokens. Rejects as `createAccessToken` does. */
  createRefreshToken (identity: JwtIdentity, options?: CreateRefreshTokenOptions): Promise<string>
  /**
   * Makes a token of one of `tokenTypes`, good only for guards with that `type`. Rejects as `createAccessToken` does, and
   * with a usage error for an unknown type.
   */
  createToken (type: string, identity: JwtIdentity, options?: CreateTokenOptions): Promise<string>
  /** Makes a guard. @throws a usage error for anything that is not a rule. */
  jwtRequired (rule?: JwtRule): JwtGuard
  /**
   * Verifies a token: its signature, its registered claims, and its CSRF value where one is given. Type, freshness and
   * revocation are not looked at. Rejects with the typed errors.
   */
  decodeToken (token: string, options?: DecodeTokenOptions): Promise<DeepReadonly<JwtPayload>>
  /** A token's header, with nothing verified. @throws JwtDecodeError for what is no token. */
  getUnverifiedJwtHeaders (token: string): JwtHeader
  /** The id of a token that verifies, or `null` where it has none. Rejects as `decodeToken` does. */
  getJti (token: string): Promise<string | null>
  /**
   * Puts a new current key in front while the application runs. A single key leaves those before it: the one that signed
   * last verifies until its last token has expired. A list (`secretKey`, `publicKey`) is the whole of what verifies from
   * now on, so that a key that is not in it is out at once, cached tokens included.
   *
   * @throws a usage error for a key that the configuration could not have had; nothing has changed then.
   */
  rotateKeys (keys: RotatedKeys): void
  /** The public halves of our own keys that verify, for `/.well-known/jwks.json` (RFC 7517 §5); none for HMAC secrets. */
  jwks (): { keys: PublicJwk[] }
  /** The CSRF value of a token that verifies. Rejects as `decodeToken` does, and where the token has none. */
  getCsrfToken (token: string): Promise<string>
}

/** All methods of one configuration. Those of sessions are there with the option `store` only. */
export interface JwtManager extends JwtInstanceMethods, JwtSessionMethods {
  /**
   * Judges a request as a guard would, and throws the typed errors; `null` for an anonymous request that may pass. A
   * token that is good for one use is used up by it.
   */
  verifyJwt (request: AnyRequest, rule?: JwtRule): Promise<VerifiedJwt | null>
  /** As `reply.setAccessCookies`. */
  setAccessCookies (reply: AnyReply, token: string, options?: SetCookiesOptions): FastifyReply
  /** As `reply.setRefreshCookies`. */
  setRefreshCookies (reply: AnyReply, token: string, options?: SetCookiesOptions): FastifyReply
  /** As `reply.setTokenCookies`; with the option `store` only. */
  setTokenCookies (reply: AnyReply, pair: TokenPair): FastifyReply
  /** As `reply.unsetJwtCookies`. */
  unsetJwtCookies (reply: AnyReply, options?: UnsetCookiesOptions): FastifyReply
  /** As `reply.unsetAccessCookies`. */
  unsetAccessCookies (reply: AnyReply, options?: UnsetCookiesOptions): FastifyReply
  /** As `reply.unsetRefreshCookies`. */
  unsetRefreshCookies (reply: AnyReply, options?: UnsetCookiesOptions): FastifyReply
}
