import type { DeepReadonly, JwtHeader, JwtIdentityClaim, JwtPayload, JwtUser, TokenLocation } from './claims.js'
import type { JwtInstanceMethods, JwtManager, VerifiedJwt } from './manager.js'
import type { JwtRule, SetCookiesOptions, UnsetCookiesOptions } from './options.js'
import type { JwtSessionMethods, RefreshTokensOptions, TokenPair } from './sessions.js'

declare module 'fastify' {
  interface FastifyInstance extends JwtInstanceMethods, JwtSessionMethods {
    /** The manager of a namespace, or the unnamed one. @throws a usage error where this scope has none of that name. */
    jwtManager (namespace?: string): JwtManager
  }

  interface FastifyRequest {
    /** The payload of the token that let this request in; `{}` without a token on an optional route. */
    readonly jwt: DeepReadonly<JwtPayload>
    /** The header of that token; `{}` without one. */
    readonly jwtHeader: DeepReadonly<JwtHeader>
    /** The identity claim of that token; `null` without one. */
    readonly jwtIdentity: JwtIdentityClaim | null
    /** Where that token was found; `null` without one. */
    readonly jwtLocation: TokenLocation | null
    /** What `userLookupLoader` gave for that token; `null` without one. */
    readonly currentUser: JwtUser | null
    /**
     * Judges this request as a guard would, and throws the typed errors; `null` for an anonymous request that may pass. A
     * token that is good for one use is used up by it.
     */
    verifyJwt (rule?: JwtRule): Promise<VerifiedJwt | null>
    /**
     * After a guard with `refresh: true`: gives its token a successor, as `app.refreshTokens` does. Where that fails
     * because the session has ended and the token came by cookie, the answer clears the cookies. With a `store` only.
     */
    refreshTokens (options?: RefreshTokensOptions): Promise<TokenPair>
    /** Revokes the token that let this request in, as `app.revokeToken` does. With a `store` only. */
    revokeJwt (): Promise<void>
  }

  interface FastifyReply {
    /**
     * Puts an access token into its cookie, and its CSRF value into one that scripts can read. Synchronous; the answer
     * carries `Cache-Control: no-store` unless it has its own.
     *
     * @throws a usage error for a token without `csrf` claim (with `cookieCsrfProtect`), or a cookie over 4,096 bytes
     */
    setAccessCookies (token: string, options?: SetCookiesOptions): this
    /** Puts a refresh token into its cookie, as `setAccessCookies` does an access token. */
    setRefreshCookies (token: string, options?: SetCookiesOptions): this
    /** Puts both tokens of a pair into their cookies. With a `store` only. */
    setTokenCookies (pair: TokenPair): this
    /** Clears the access and refresh cookies and their CSRF cookies. */
    unsetJwtCookies (options?: UnsetCookiesOptions): this
    /** Clears the access cookie and its CSRF cookie. */
    unsetAccessCookies (options?: UnsetCookiesOptions): this
    /** Clears the refresh cookie and its CSRF cookie. */
    unsetRefreshCookies (options?: UnsetCookiesOptions): this
  }
}

/** Marks that this file's additions to Fastify's types are part of the package. */
export type FastifyJwtExtendedTypes = JwtManager
