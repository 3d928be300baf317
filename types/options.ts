import type { Buffer } from 'node:buffer'
import type { KeyObject, webcrypto } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type {
  AsymmetricAlgorithm, DeepReadonly, Duration, JwtAlgorithm, JwtHeader, JwtIdentity, JwtPayload, JwtUser, TokenLocation
} from './claims.js'
import type { JwtFailure } from './failure.js'
import type { SessionEvent } from './sessions.js'
import type { TokenStore } from './store.js'

/** An HMAC secret: its UTF-8 text or its bytes. */
export type Secret = string | Buffer

/** A JSON Web Key (RFC 7517), as `KeyObject.export` and `JSON.parse` give it. */
export type Jwk = webcrypto.JsonWebKey | { kty: string, [member: string]: unknown }

/** An asymmetric key: PEM text, PEM or DER bytes, a `KeyObject`, a JWK, or an encrypted key with its passphrase. */
export type AsymmetricKey = string | Buffer | KeyObject | Jwk | { key: string | Buffer, passphrase: string }

/** What a key loader may return. */
export type LoadedKey = Secret | AsymmetricKey

type Awaitable<T> = T | Promise<T>

/** A loader that answers a yes-or-no question about a verified token. Anything but a boolean is a 500. */
export type TokenPredicate = (
  jwtHeader: DeepReadonly<JwtHeader>, jwtPayload: DeepReadonly<JwtPayload>, request: FastifyRequest
) => Awaitable<boolean>

/**
 * A loader that gives the body of an answer. The status is the error's unless the loader calls `reply.code()`;
 * a loader that sent the reply itself returns `reply`. `undefined` leaves the default body.
 */
export type AnswerLoader = (error: JwtFailure, request: FastifyRequest, reply: FastifyReply) => unknown

/** Somebody else who issues tokens for this application: an OpenID provider, an OAuth 2.0 authorization server. */
export interface TrustedIssuer {
  /** The exact `iss` claim of its tokens, such as `'https://login.example.com/'`: the slash at the end counts. */
  issuer: string
  /** The accepted `aud` claims: what the provider calls this application or API. Required: a token for somebody else must not pass. */
  audience: string | string[]
  /**
   * Where its key set is (RFC 7517 §5): https, or http on this host. Left out, it is discovered under the issuer (OpenID
   * Connect Discovery 1.0 §4, then RFC 8414 §3), on http only under one that is on http. It is fetched when the first
   * token comes, within 5 seconds and 500,000 bytes, with at most 3 redirects, none to another origin; again in the
   * background after 10 minutes, before it is used after 20, and for a key that is not in it, then not for 10 seconds if
   * that brought nothing. While it cannot be fetched the last one serves; without one: 503. A set without any usable key
   * takes effect as well: no token passes.
   */
  jwksUri?: string | undefined
  /** The algorithms that it may sign with. @default all of RS*, PS*, ES* and EdDSA that the key is fit for */
  algorithms?: AsymmetricAlgorithm[] | undefined
  /** The claim that holds the identity in its tokens. @default the option `identityClaim` */
  identityClaim?: string | undefined
}

/** What `rotateKeys` takes: the key that signs from now on. */
export type RotatedKeys =
  | { secretKey: Secret | Secret[] }
  | { privateKey: AsymmetricKey, publicKey?: AsymmetricKey | AsymmetricKey[] | undefined }
  | { publicKey: AsymmetricKey | AsymmetricKey[] }

/** The options of the plugin. Each is checked when the plugin is registered; the object is never changed. */
export interface JwtExtendedOptions {
  /**
   * The HMAC secret of the HS* algorithms, or a list: the first signs, all verify. One that is shorter than the
   * hash (RFC 7518 §3.2: 32, 48, 64 bytes) makes a process warning, and an error with `NODE_ENV=production`.
   */
  secretKey?: Secret | Secret[] | undefined
  /** Accept a secret shorter than its hash with `NODE_ENV=production`, too. @default false */
  allowWeakKeys?: boolean | undefined
  /** The signing key of the RS*, PS*, ES* and EdDSA algorithms. Alone, its public half verifies. */
  privateKey?: AsymmetricKey | undefined
  /** The verifying key, or a list: all verify. Alone, the application can verify but not issue. */
  publicKey?: AsymmetricKey | AsymmetricKey[] | undefined
  /** The algorithm that signs. @default 'HS256' */
  algorithm?: JwtAlgorithm | undefined
  /** The algorithms that verify; `algorithm` is always one of them. @default [algorithm] */
  decodeAlgorithms?: JwtAlgorithm[] | undefined
  /** Accepted audiences: a token must name one of them (RFC 7519 §4.1.3). */
  decodeAudience?: string | string[] | undefined
  /** Accepted issuers: a token must name one of them (RFC 7519 §4.1.1). */
  decodeIssuer?: string | string[] | undefined
  /** The `aud` claim of new tokens. */
  encodeAudience?: string | string[] | undefined
  /** The `iss` claim of new tokens. */
  encodeIssuer?: string | undefined
  /** Clock skew granted to `exp`, `nbf` and `iat`: seconds or a duration; finite, not negative. @default 0 */
  decodeLeeway?: Duration | undefined
  /** Give new tokens an `nbf` claim. @default true */
  encodeNbf?: boolean | undefined
  /** `sub` must be a string, in new tokens and in those that are read (RFC 7519 §4.1.2). @default true */
  verifySub?: boolean | undefined
  /** The claim that holds the identity. @default 'sub' */
  identityClaim?: string | undefined
  /** How long an access token lives; `false`: forever. @default '15m' */
  accessTokenExpires?: Duration | false | undefined
  /** How long a refresh token lives; `false`: forever. @default '30d' */
  refreshTokenExpires?: Duration | false | undefined
  /** Types of token of your own, by name, for `createToken` and a guard's `type`. Names: a letter, then letters, digits, `_`, `.`, `-`. */
  tokenTypes?: { readonly [name: string]: TokenTypeOptions } | undefined
  /** The claim with the scopes of a token (RFC 8693 §4.2), or a path such as `permissions.scope`. @default 'scope' */
  scopeClaim?: string | undefined
  /** The claim with the roles of a token's holder, or a path such as `realm_access.roles`. @default 'roles' */
  rolesClaim?: string | undefined
  /** The name of the message in the body of an answer. @default 'msg' */
  errorMessageKey?: string | undefined
  /** Statuses as Flask-JWT-Extended has them, or as RFC 6750 §3.1 has them. @default 'flask' */
  errorProfile?: 'flask' | 'rfc6750' | undefined
  /** A guard hands its errors to the application's error handler instead of answering. @default false */
  throwErrors?: boolean | undefined
  /**
   * Describe guarded routes in the OpenAPI document of @fastify/swagger: what they take for a token, and their refusals.
   * Where @fastify/swagger was registered with a `transform`, put `openapiTransform` into that instead. @default false
   */
  openapi?: boolean | undefined
  /** Where tokens are looked for; the order is the precedence. @default 'headers' */
  tokenLocation?: TokenLocation | TokenLocation[] | undefined
  /** The header that carries the token. @default 'Authorization' */
  headerName?: string | undefined
  /** The scheme in front of the token; `''`: the bare token. @default 'Bearer' */
  headerType?: string | undefined
  /** The query parameter that carries the token. @default 'jwt' */
  queryStringName?: string | undefined
  /** What stands in front of the token in the query parameter. @default '' */
  queryStringValuePrefix?: string | undefined
  /** The member of a JSON body that carries an access token. @default 'access_token' */
  jsonKey?: string | undefined
  /** The member of a JSON body that carries a refresh token. @default 'refresh_token' */
  refreshJsonKey?: string | undefined
  /** The cookie with the access token. @default 'access_token_cookie' */
  accessCookieName?: string | undefined
  /** The cookie with the refresh token. @default 'refresh_token_cookie' */
  refreshCookieName?: string | undefined
  /** The `Path` of the access cookie, as the browser sees it. @default '/' */
  accessCookiePath?: string | undefined
  /** The `Path` of the refresh cookie, as the browser sees it: that of the refresh route keeps the token off all others. @default '/' */
  refreshCookiePath?: string | undefined
  /** The `Domain` of all cookies; absent: the host that set them. */
  cookieDomain?: string | undefined
  /** Cookies travel over https only; Chrome and Firefox also take them on `http://localhost`, Safari does not. @default true */
  cookieSecure?: boolean | undefined
  /** `'None'` needs `cookieSecure`; `false`: no attribute. @default 'Lax' */
  cookieSameSite?: 'Strict' | 'Lax' | 'None' | false | undefined
  /** Cookies partitioned by top-level site (CHIPS); needs `cookieSecure`. @default false */
  cookiePartitioned?: boolean | undefined
  /** Cookies end with the browser's session; `false`: they last a year. @default true */
  sessionCookie?: boolean | undefined
  /** Protect cookies by a CSRF double submit; tokens carry a `csrf` claim. @default true */
  cookieCsrfProtect?: boolean | undefined
  /** The methods that need the CSRF value. @default ['POST', 'PUT', 'PATCH', 'DELETE'] */
  csrfMethods?: string[] | undefined
  /** Set the CSRF value in a cookie that scripts can read. @default true */
  csrfInCookies?: boolean | undefined
  /** Look for the CSRF value in a form's field, too. @default false */
  csrfCheckForm?: boolean | undefined
  /** The cookie with the CSRF value of the access token. @default 'csrf_access_token' */
  accessCsrfCookieName?: string | undefined
  /** The cookie with the CSRF value of the refresh token. @default 'csrf_refresh_token' */
  refreshCsrfCookieName?: string | undefined
  /** The `Path` of that cookie: of the pages that read it. @default '/' */
  accessCsrfCookiePath?: string | undefined
  /** The `Path` of that cookie: of the pages that read it. @default '/' */
  refreshCsrfCookiePath?: string | undefined
  /** The header that brings the CSRF value back, with an access token. @default 'X-CSRF-TOKEN' */
  accessCsrfHeaderName?: string | undefined
  /** The header that brings the CSRF value back, with a refresh token. @default 'X-CSRF-TOKEN' */
  refreshCsrfHeaderName?: string | undefined
  /** The form field that brings it back, with an access token and `csrfCheckForm`. @default 'csrf_token' */
  accessCsrfFieldName?: string | undefined
  /** The form field that brings it back, with a refresh token and `csrfCheckForm`. @default 'csrf_token' */
  refreshCsrfFieldName?: string | undefined
  /**
   * Other people's identity providers whose tokens pass the same guards. A token belongs to one of them when its `iss`
   * is exactly theirs; all others are judged by our own keys.
   */
  issuers?: TrustedIssuer[] | undefined
  /** How many verified tokens are kept, so that their signature need not be verified again; `false`: none. @default 5000 */
  verifyCache?: number | false | undefined
  /** The name of a second manager in the same scope: `app.jwtManager(name)`. */
  namespace?: string | undefined

  /** Where sessions and revoked tokens are kept: `redisStore(client)`, `memoryStore()`, or one of your own. Without it there are none. */
  store?: TokenStore | undefined
  /** The absolute end of a session, however often it is refreshed; `refreshTokenExpires` is its idle limit. @default '90d' */
  sessionLifetime?: Duration | undefined
  /** Seconds in which a refresh token that was just used gives the same successor again; 0: none (RFC 9700 §4.14.2). @default 10 */
  refreshGrace?: Duration | undefined
  /** What the return of a used refresh token ends: its session, or all of the identity's. @default 'session' */
  onReuse?: 'session' | 'identity' | undefined
  /**
   * What a guard does while the store fails or is late: `'closed'` answers 503, `'open'` lets the verified token pass.
   * Refreshing, and guards with `fresh` or `refresh`, are always closed. @default 'closed'
   */
  storeFailure?: 'closed' | 'open' | undefined
  /** Seconds after which the store is late; fractions are welcome. @default 0.25 */
  storeTimeout?: number | undefined
  /** Told what happens to sessions; what it throws becomes a process warning. */
  onSessionEvent?: ((event: SessionEvent) => void) | undefined

  /** The identity, as it goes into the identity claim. @default the identity itself */
  userIdentityLoader?: ((identity: JwtIdentity) => unknown) | undefined
  /** Claims for each new token; those given per call win. */
  additionalClaimsLoader?: ((identity: JwtIdentity) => Awaitable<Partial<JwtPayload>>) | undefined
  /** Header parameters for each new token; those given per call win. */
  additionalHeadersLoader?: ((identity: JwtIdentity) => Awaitable<JwtHeader>) | undefined
  /** The key that signs a token. */
  encodeKeyLoader?: ((identity: JwtIdentity) => Awaitable<LoadedKey>) | undefined
  /**
   * The key that verifies a token, chosen by its unverified header and payload. The accepted algorithms stay the
   * configured ones. To refuse a token, throw a `JwtDecodeError`; returning no key is a 500.
   */
  decodeKeyLoader?: ((
    unverifiedHeader: DeepReadonly<JwtHeader>, unverifiedPayload: DeepReadonly<JwtPayload>
  ) => Awaitable<LoadedKey>) | undefined
  /** The user of a verified token, for `request.currentUser`; `null` or `undefined`: 401. */
  userLookupLoader?: ((
    jwtHeader: DeepReadonly<JwtHeader>, jwtPayload: DeepReadonly<JwtPayload>, request: FastifyRequest
  ) => Awaitable<JwtUser | null | undefined>) | undefined
  /** `true`: the token is revoked. */
  tokenInBlocklistLoader?: TokenPredicate | undefined
  /** `false`: the token's claims are refused. */
  tokenVerificationLoader?: TokenPredicate | undefined
  /** Answers an expired token. */
  expiredTokenLoader?: AnswerLoader | undefined
  /** Answers a token that lacks a scope or a role. */
  insufficientScopeLoader?: AnswerLoader | undefined
  /** Answers a token that is malformed, forged or of the wrong type, and a malformed header or query parameter. */
  invalidTokenLoader?: AnswerLoader | undefined
  /** Answers a token that is not fresh where a fresh one is needed. */
  needsFreshTokenLoader?: AnswerLoader | undefined
  /** Answers a revoked token. */
  revokedTokenLoader?: AnswerLoader | undefined
  /** Answers a token that `tokenVerificationLoader` refused. */
  tokenVerificationFailedLoader?: AnswerLoader | undefined
  /** Answers a request without a token, or without its CSRF value. */
  unauthorizedLoader?: AnswerLoader | undefined
  /** Answers a token whose user `userLookupLoader` did not find. */
  userLookupErrorLoader?: AnswerLoader | undefined
}

/** A type of token of your own. */
export interface TokenTypeOptions {
  /** How long a token of this type lives; `false`: forever. */
  expires: Duration | false
  /**
   * The first request that a guard lets in with a token of this type is the last one: parallel requests and later ones
   * get a `RevokedTokenError`. Needs a `store`; while that fails the answer is 503. @default false
   */
  singleUse?: boolean | undefined
}

/** What a guard asks of a request. */
export interface JwtRule {
  /** Let a request without any token pass. A bad token is refused all the same. @default false */
  optional?: boolean | undefined
  /** Take only a fresh token. @default false */
  fresh?: boolean | undefined
  /** Take only a refresh token. @default false: only an access token */
  refresh?: boolean | undefined
  /** Where this guard looks for the token, instead of `tokenLocation`. */
  locations?: TokenLocation | TokenLocation[] | undefined
  /** Check the token's type; `false`: any. @default true */
  verifyType?: boolean | undefined
  /** Do not ask whether the token is revoked. @default false */
  skipRevocationCheck?: boolean | undefined
  /** What this guard does while the store fails. @default storeFailure of the configuration */
  storeFailure?: 'closed' | 'open' | undefined
  /** Take only tokens of this one of `tokenTypes`. Not together with `refresh: true` or `verifyType: false`. */
  type?: string | undefined
  /** The scopes that a token must have, all of them; each as RFC 6749 §3.3 has it. 403 `InsufficientScopeError` otherwise. */
  scopes?: string | readonly string[] | undefined
  /** The roles of which a token must have one. 403 `InsufficientScopeError` otherwise. */
  roles?: string | readonly string[] | undefined
  /**
   * The pages that may open a WebSocket with the user's cookies: exact origins, such as `'https://app.example.com'`. A
   * WebSocket route whose guard looks into cookies cannot be declared without.
   */
  allowedOrigins?: string | string[] | undefined
}

/** What `createToken` takes besides the type and the identity. */
export interface CreateTokenOptions {
  /**
   * How long the token lives; `false`: forever; a negative duration: expired already. By default `accessTokenExpires`,
   * `refreshTokenExpires`, or the `expires` of its type in `tokenTypes`. @default its type's
   */
  expiresDelta?: Duration | false | undefined
  /** Claims of this token; they win over every default claim, but cannot turn one type of token into another. */
  additionalClaims?: Partial<JwtPayload> | undefined
  /** Header parameters of this token; `alg` is not one of them. */
  additionalHeaders?: JwtHeader | undefined
}

/** What `createRefreshToken` takes besides the identity. */
export type CreateRefreshTokenOptions = CreateTokenOptions

/** What `createAccessToken` takes besides the identity. */
export interface CreateAccessTokenOptions extends CreateTokenOptions {
  /** Fresh, or fresh for so long; a negative duration: stale already. @default false */
  fresh?: boolean | Duration | undefined
}

/** What `decodeToken` takes besides the token. */
export interface DecodeTokenOptions {
  /** The CSRF value that came with the token: it must be the one in the token. Named but `undefined`, it is a missing one. */
  csrfValue?: string | undefined
  /** Do not look at `exp`. @default false */
  allowExpired?: boolean | undefined
}

/** What the methods that set token cookies take besides the token. */
export interface SetCookiesOptions {
  /** How long the cookies last: seconds, 0 included, or a duration. @default the browser's session, or a year */
  maxAge?: Duration | undefined
  /** The `Domain` of these cookies. @default cookieDomain */
  domain?: string | undefined
}

/** What the methods that take cookies out take. */
export interface UnsetCookiesOptions {
  /** The `Domain` that the cookies were set with. @default cookieDomain */
  domain?: string | undefined
}
