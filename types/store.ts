type Awaitable<T> = T | Promise<T>

/** What a guard asks a store about a token. */
export interface TokenQuery {
  /** The identity claim, as text. */
  readonly identity: string
  /** The `sid` claim; `undefined` for a token without a session. */
  readonly sessionId: string | undefined
  /** The `jti` claim; `undefined` for a token without one. */
  readonly tokenId: string | undefined
  /** The `epoch` claim of a token without a session: what `epochOf` said when it was made. */
  readonly epoch: number | undefined
  /** The `iat` claim in milliseconds: what decides for a token without session and `epoch`; 0 where it has none. */
  readonly issuedAt: number
  /**
   * Milliseconds that a token without a session still lives, where its identity's epoch must be kept for so long and was
   * not by `epochOf`: the token was made by somebody else, without asking the store.
   */
  readonly keepEpoch?: number | undefined
}

/** A session that begins. */
export interface NewSession {
  readonly identity: string
  readonly sessionId: string
  /** What the application calls it: a device, a browser. */
  readonly label: string | undefined
  /** Milliseconds until its absolute end. */
  readonly lifetime: number
  /** Milliseconds that its newest token lives; after them nothing of the session is needed any more. */
  readonly keepFor: number
  /** As for a rotation: a session that starts later is one that nobody has. @default no limit */
  readonly timeout?: number | undefined
}

/** A refresh token that wants a successor. */
export interface Rotation {
  readonly identity: string
  readonly sessionId: string
  /** The `gen` claim of the token. */
  readonly generation: number
  /** Milliseconds in which the token just used still gives the same successor. */
  readonly grace: number
  /** Milliseconds that the successor lives. */
  readonly keepFor: number
  /** Whether the first reuse ends all of the identity, as `endAll` does, in the same step. @default false */
  readonly endAllOnReuse?: boolean | undefined
  /**
   * Milliseconds that the answer is waited for. What would be done later must not be done, where the store can know: the
   * client was told that it failed, and when it tries again after the grace, the token must not have been used.
   * @default no limit
   */
  readonly timeout?: number | undefined
}

/**
 * What became of a rotation:
 * - `rotated`: the session's generation is a new one; `adopted` is the same where the token was ahead of the store,
 *   which must have lost writes
 * - `replayed`: the token was used a moment ago, and its successor is still the session's generation
 * - `reuse`: the token was used before, so that two hold it: the session is dead, now (`isFirst`) or since an earlier reuse
 * - `refused`: the session has ended, or the store does not know it
 */
export type RotationResult =
  | {
    readonly outcome: 'rotated' | 'replayed' | 'adopted'
    /** The generation of the successor. */
    readonly generation: number
    /** The absolute end of the session: milliseconds from now, by the clock of the store. */
    readonly remaining: number
  }
  | {
    readonly outcome: 'reuse'
    readonly isFirst: boolean
    /** The ids of the other sessions that ended with it. */
    readonly ended: readonly string[]
  }
  | { readonly outcome: 'refused' }

/** A session that is alive. Times are milliseconds since 1970. */
export interface StoredSession {
  readonly sessionId: string
  readonly label: string | undefined
  readonly startedAt: number
  readonly refreshedAt: number
  readonly expiresAt: number
}

/**
 * Token state that several requests, and several instances of an application, share. Each method is one atomic step by
 * the store's own clock; what throws or rejects counts as a store that failed, and an answer of another kind as a mistake of
 * the application. Nothing in it is a token or a secret.
 */
export interface TokenStore {
  /** Whether the identity's tokens were revoked since this one was made, its session has ended, or it was revoked itself. */
  isRevoked (query: TokenQuery): Awaitable<boolean>
  /**
   * The number that a token without a session carries, so that it is told from those made after a later `endAll`. A token
   * that will outlive a year is announced by the milliseconds for which the epoch must be kept on account of it.
   */
  epochOf (identity: string, keepEpoch?: number): Awaitable<number>
  /** Revokes one token for so many milliseconds: at least as long as it lives. */
  revokeToken (identity: string, tokenId: string, keepFor: number): Awaitable<void>
  /**
   * Revokes one token as `revokeToken` does, and tells whether this call did it: `false` for a token that was revoked or
   * consumed before. Of any number of calls at once, one gives `true`.
   */
  consumeToken (identity: string, tokenId: string, keepFor: number): Awaitable<boolean>
  /** Starts a session at generation 1. */
  startSession (session: NewSession): Awaitable<void>
  /** Gives a refresh token its successor, or finds out why it has none. */
  rotate (rotation: Rotation): Awaitable<RotationResult>
  /** Ends a session. `false` where none of that name is alive. */
  endSession (identity: string, sessionId: string): Awaitable<boolean>
  /**
   * Ends all sessions of an identity but one, and all its tokens without a session, by an epoch that is kept for well over
   * a year, and for every announced token, as long as it lives. Gives the ids of what it ended. What would be done after
   * so many milliseconds must not be done, where the store can know: it would end logins that came after it was given up.
   */
  endAll (identity: string, exceptSession: string | undefined, timeout?: number): Awaitable<string[]>
  /** The sessions of an identity that are alive, the newest first. */
  listSessions (identity: string): Awaitable<StoredSession[]>
}
