import type { DeepReadonly, Duration, JwtHeader, JwtIdentity, JwtPayload } from './claims.js'

/** What a login or a refresh gives the client. */
export interface TokenPair {
  readonly accessToken: string
  readonly refreshToken: string
  /** The session that both belong to. */
  readonly sessionId: string
}

/** What `createTokenPair` takes besides the identity. */
export interface CreateTokenPairOptions {
  /** Whether the access token is fresh, or for how long. @default false */
  fresh?: boolean | Duration | undefined
  /** Claims of both tokens; the identity, `exp`, `jti`, `fresh` and the session's own are not among them. */
  additionalClaims?: Partial<JwtPayload> | undefined
  /** Header parameters of both tokens; `alg` is not one of them. */
  additionalHeaders?: JwtHeader | undefined
  /** What `listSessions` calls the session, such as the device; what is over 200 characters is cut off. */
  label?: string | undefined
}

/** What `refreshTokens` takes. */
export interface RefreshTokensOptions {
  /** Claims of both tokens; the identity, `exp`, `jti`, `fresh` and the session's own are not among them. */
  additionalClaims?: Partial<JwtPayload> | undefined
}

/** What `revokeAllTokens` takes besides the identity. */
export interface RevokeAllOptions {
  /** The id of a session that goes on: the one that asks, usually. */
  exceptSession?: string | undefined
}

/** A session that is alive. */
export interface SessionInfo {
  readonly sessionId: string
  readonly label: string | undefined
  /** Seconds since 1970, as all times here. */
  readonly startedAt: number
  /** When it was refreshed last; else when it started. */
  readonly refreshedAt: number
  /** Its absolute end; without a refresh it ends when its refresh token does. */
  readonly expiresAt: number
}

/** What happened to a session. Nothing in it is a token or a secret. */
export type SessionEvent =
  | { readonly type: 'session_created', readonly identity: string, readonly sessionId: string }
  | {
    readonly type: 'session_renewed'
    readonly identity: string
    readonly sessionId: string
    /** The store knew an older generation than the token had: it must have lost writes. */
    readonly adopted: boolean
  }
  | { readonly type: 'token_reuse', readonly identity: string, readonly sessionId: string, readonly tokenId: string | null }
  | { readonly type: 'session_revoked', readonly identity: string, readonly sessionId: string }
  | { readonly type: 'identity_revoked', readonly identity: string }
  | { readonly type: 'store_unavailable', readonly error: Error }

/**
 * The methods that a configuration with a `store` has besides. Those that take an identity take it as `createAccessToken`
 * does: with a `userIdentityLoader`, what that takes.
 */
export interface JwtSessionMethods {
  /**
   * Starts a session: an access token, and a refresh token of generation 1. Rejects as `createAccessToken` does, and
   * with a `StoreUnavailableError`.
   */
  createTokenPair (identity: JwtIdentity, options?: CreateTokenPairOptions): Promise<TokenPair>
  /**
   * Gives a refresh token its successor and an access token that is not fresh. The token just used gives the same
   * successor for `refreshGrace` seconds; an older one ends the session (RFC 9700 §4.14.2). Rejects with the typed errors.
   * There is no request here: `tokenInBlocklistLoader`, `tokenVerificationLoader` and `userLookupLoader` are not asked.
   */
  refreshTokens (refreshToken: string, options?: RefreshTokensOptions): Promise<TokenPair>
  /**
   * Ends the token's session, access and refresh tokens alike; a token without a session is revoked by its `jti` until
   * it expires. An expired token of ours may still be revoked; rejects with the typed errors for a forged one. A payload is
   * believed: give `request.jwt` or what `decodeToken` gave, and never what a client sent.
   */
  revokeToken (token: string | DeepReadonly<JwtPayload>): Promise<void>
  /** Ends a session. `false` where the identity has none of that id. */
  revokeSession (identity: JwtIdentity, sessionId: string): Promise<boolean>
  /** Ends all sessions of an identity, and all its tokens without a session. */
  revokeAllTokens (identity: JwtIdentity, options?: RevokeAllOptions): Promise<void>
  /** The sessions of an identity that are alive, the newest first. */
  listSessions (identity: JwtIdentity): Promise<SessionInfo[]>
}
