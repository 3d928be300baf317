import { randomUUID } from 'node:crypto'
import type { DeepReadonly, JwtHeader, JwtIdentity, TokenPayload } from '../types/claims.js'
import type { RotationResult } from '../types/store.js'
import type { CreateTokenPairOptions, JwtSessionMethods, RefreshTokensOptions, TokenPair } from '../types/sessions.js'
import { isPromise } from './awaitable.js'
import { isExpired } from './claims.js'
import type { Codec } from './codec.js'
import { ExpiredTokenError, JwtDecodeError, JwtUsageError, RevokedTokenError, WrongTokenError } from './errors.js'
import { createResolveIdentity, nameIdentity } from './identity.js'
import type { Issuer, SessionBinding } from './issue.js'
import { toJson } from './json.js'
import { assertKnownNames } from './names.js'
import type { Emit } from './session-events.js'
import type { Settings } from './settings.js'
import { issuerOf } from './trusted-issuers.js'
import { keepMarkFor, type AskStore } from './store-access.js'

/** A refresh token that was verified. */
export interface RefreshedToken {
  readonly jwtHeader: DeepReadonly<JwtHeader>
  readonly jwtPayload: DeepReadonly<TokenPayload>
}

/** What a configuration with a store can do with sessions. */
export interface Sessions extends JwtSessionMethods {
  /**
   * Gives a refresh token that was verified its successor.
   *
   * @param user who the issuing loaders are told of, where that is more than the identity claim
   */
  rotate (token: RefreshedToken, options?: RefreshTokensOptions, user?: unknown): Promise<TokenPair>
  /** A payload may come from the application, or from a request's state. */
  revokeToken (token: string | object): Promise<void>
}

const LONGEST_LABEL = 200

const OUTCOMES: readonly RotationResult['outcome'][] = ['rotated', 'replayed', 'adopted', 'reuse', 'refused']

// A store of the application's own may answer anything.
function assertAnswer (holds: boolean, what: string): void {
  if (!holds) throw new JwtUsageError(`The store's ${what}`)
}

/** Makes the sessions of a configuration. */
export function createSessions (settings: Settings, codec: Codec, issuer: Issuer, ask: AskStore, emit: Emit): Sessions {
  const { sessionLifetime, identityClaim, decodeLeeway } = settings
  const resolveIdentity = createResolveIdentity(settings.userIdentityLoader)
  const timeout = settings.storeTimeout * 1000
  const endAllOnReuse = settings.onReuse === 'identity'
  const longestToken = Math.max(...[settings.accessTokenExpires, settings.refreshTokenExpires]
    .map((lifetime) => lifetime === false ? sessionLifetime : lifetime))
  const keepFor = Math.ceil((Math.min(longestToken, sessionLifetime) + decodeLeeway) * 1000)

  // What may fail comes before the store is asked: a session must not start or go on without its tokens.
  async function preparePair (
    identity: JwtIdentity, options: CreateTokenPairOptions, subject?: unknown
  ): Promise<(binding: SessionBinding) => TokenPair> {
    const { fresh, additionalClaims, additionalHeaders } = options
    const [issueAccess, issueRefresh] = await Promise.all([
      issuer.prepareForSession('access', identity, { fresh, additionalClaims, additionalHeaders }, subject),
      issuer.prepareForSession('refresh', identity, { additionalClaims, additionalHeaders }, subject),
    ])
    return (binding) => Object.freeze({ accessToken: issueAccess(binding), refreshToken: issueRefresh(binding), sessionId: binding.sessionId })
  }

  async function nameOf (identity: JwtIdentity): Promise<string> {
    const given = await resolveIdentity(identity)
    const subject = typeof given === 'string' ? given : toJson(given, 'The identity')
    if (subject === undefined || subject === null) throw new JwtUsageError('An identity is needed, as createAccessToken takes it')
    return nameIdentity(subject)
  }

  async function endAll (identity: string, exceptSession: string | undefined): Promise<void> {
    const ended = await ask((store) => store.endAll(identity, exceptSession, timeout))
    assertAnswer(Array.isArray(ended), 'endAll must give a list of ids')
    tellAllEnded(identity, ended)
  }

  function tellAllEnded (identity: string, ended: readonly string[]): void {
    for (const sessionId of ended) emit({ type: 'session_revoked', identity, sessionId })
    emit({ type: 'identity_revoked', identity })
  }

  async function rotate (token: RefreshedToken, options: RefreshTokensOptions = {}, user?: unknown): Promise<TokenPair> {
    assertKnownNames(options, ['additionalClaims'], 'refreshTokens')
    const payload = token.jwtPayload
    // What somebody else calls a refresh token's session is none of ours.
    if (payload.type !== 'refresh' || issuerOf(settings.issuers, payload) !== undefined) throw new WrongTokenError('Only refresh tokens are allowed', token)
    const { sid: sessionId, gen: generation } = payload
    if (typeof sessionId !== 'string') throw new JwtDecodeError('Missing claim: sid', token)
    if (typeof generation !== 'number' || !Number.isSafeInteger(generation) || generation < 1) throw new JwtDecodeError('Missing claim: gen', token)
    const subject = payload[identityClaim]
    const identity = nameIdentity(subject)
    // Without a user, the loaders are told of the identity claim: what it was made of is not here any more.
    const issuePair = await preparePair((user ?? subject) as JwtIdentity, options, subject)
    const result: RotationResult = await ask((store) => store.rotate({
      identity, sessionId, generation, grace: Math.round(settings.refreshGrace * 1000), keepFor, endAllOnReuse, timeout,
    }))
    assertAnswer(OUTCOMES.includes(result?.outcome), `rotate must give an outcome: one of ${OUTCOMES.join(', ')}`)
    if (result.outcome === 'reuse' || result.outcome === 'refused') {
      if (result.outcome === 'reuse') {
        emit({ type: 'token_reuse', identity, sessionId, tokenId: payload.jti ?? null })
        // Once: whoever keeps the stolen token must not be able to end every login to come.
        if (result.isFirst && endAllOnReuse) tellAllEnded(identity, result.ended)
      }
      throw new RevokedTokenError(undefined, token)
    }
    if (result.outcome !== 'replayed') {
      emit({ type: 'session_renewed', identity, sessionId, adopted: result.outcome === 'adopted' })
    }
    return issuePair({ sessionId, generation: result.generation, remaining: Math.floor(result.remaining / 1000) })
  }

  return {
    rotate,

    async createTokenPair (identity, options = {}) {
      assertKnownNames(options, ['fresh', 'additionalClaims', 'additionalHeaders', 'label'], 'createTokenPair')
      if (options.label !== undefined && typeof options.label !== 'string') throw new JwtUsageError('label must be a string')
      // Often what a client calls itself: no length of it is a mistake of the application.
      const label = options.label?.slice(0, LONGEST_LABEL) || undefined
      const sessionId = randomUUID()
      const issuePair = await preparePair(identity, options)
      const pair = issuePair({ sessionId, generation: 1, remaining: sessionLifetime })
      const name = nameIdentity(codec.decode(pair.accessToken).payload[identityClaim])
      await ask((store) => store.startSession({ identity: name, sessionId, label, lifetime: sessionLifetime * 1000, keepFor, timeout }))
      emit({ type: 'session_created', identity: name, sessionId })
      return pair
    },

    async refreshTokens (refreshToken, options) {
      const now = Date.now()
      if (typeof refreshToken !== 'string') throw new JwtDecodeError('The token must be a string')
      const verified = codec.verify(refreshToken, now)
      const { header, payload } = isPromise(verified) ? await verified : verified
      const token = { jwtHeader: header, jwtPayload: payload }
      if (isExpired(payload, now, decodeLeeway)) throw new ExpiredTokenError(undefined, token)
      return await rotate(token, options)
    },

    async revokeToken (token) {
      const payload = typeof token === 'string' ? (await codec.verify(token, Date.now())).payload : token as DeepReadonly<TokenPayload>
      if (typeof payload !== 'object' || payload === null) throw new JwtUsageError('revokeToken takes a token or its payload')
      const issuer = issuerOf(settings.issuers, payload)
      const claim = issuer?.identityClaim ?? identityClaim
      const { jti } = payload
      const sessionId = issuer === undefined ? payload.sid : undefined
      if (typeof sessionId !== 'string' && typeof jti !== 'string') throw new JwtDecodeError('Missing claim: jti')
      // Stores keep all by the identity: without it nothing would be revoked, and nobody would notice.
      if (!Object.hasOwn(payload, claim)) throw new JwtDecodeError(`Missing claim: ${claim}`)
      // What ends at no time would be forgotten at once.
      if (payload.exp !== undefined && !Number.isFinite(payload.exp)) throw new JwtDecodeError('Expiration Time claim (exp) must be a number')
      const identity = nameIdentity(payload[claim])
      if (typeof sessionId === 'string') {
        if (await ask((store) => store.endSession(identity, sessionId))) emit({ type: 'session_revoked', identity, sessionId })
      } else {
        await ask((store) => store.revokeToken(identity, jti!, keepMarkFor(payload, decodeLeeway)))
      }
    },

    async revokeSession (identity, sessionId) {
      if (typeof sessionId !== 'string' || sessionId === '') throw new JwtUsageError('revokeSession takes the identity and the id of the session')
      const name = await nameOf(identity)
      const ended = await ask((store) => store.endSession(name, sessionId))
      if (ended) emit({ type: 'session_revoked', identity: name, sessionId })
      return ended
    },

    async revokeAllTokens (identity, options = {}) {
      assertKnownNames(options, ['exceptSession'], 'revokeAllTokens')
      const { exceptSession } = options
      if (exceptSession !== undefined && typeof exceptSession !== 'string') throw new JwtUsageError('exceptSession must be the id of a session')
      await endAll(await nameOf(identity), exceptSession)
    },

    async listSessions (identity) {
      const name = await nameOf(identity)
      const sessions = await ask((store) => store.listSessions(name))
      assertAnswer(Array.isArray(sessions), 'listSessions must give a list of sessions')
      return sessions.map(({ sessionId, label, startedAt, refreshedAt, expiresAt }) => ({
        sessionId, label, startedAt: Math.floor(startedAt / 1000), refreshedAt: Math.floor(refreshedAt / 1000), expiresAt: Math.floor(expiresAt / 1000),
      }))
    },
  }
}
