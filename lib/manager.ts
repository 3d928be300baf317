import { LRUCache } from 'lru-cache'
import type { JwtManager } from '../types/manager.js'
import type { JwtSessionMethods } from '../types/sessions.js'
import { createAnswer } from './answer.js'
import { asDeclared } from './claims.js'
import { createCodec } from './codec.js'
import { createCookieWriter, type CookieWriter } from './cookies.js'
import { applyProfile, CsrfError, isRefusal, JwtDecodeError, JwtUsageError } from './errors.js'
import { createGuard } from './guard.js'
import { createIssuer } from './issue.js'
import { assertCsrf, assertNotExpired, compileJudge, type Judge } from './judge.js'
import { publish, readKeyring, rotateKeyring } from './keyring.js'
import { assertKnownNames } from './names.js'
import type { Owner } from './request-state.js'
import { describeGuard, describeMaker } from './route-guards.js'
import { identifyRule, readRule, type Rule } from './rule.js'
import { createEmit } from './session-events.js'
import { createSessions, type Sessions } from './sessions.js'
import { readSettings } from './settings.js'
import { createSingleUse } from './single-use.js'
import { createStoreAccess } from './store-access.js'

const DECODE_OPTIONS = ['csrfValue', 'allowExpired']
const MOST_JUDGES = 1000
const LONGEST_RULE = 1000

/** Puts one configuration's methods together. @throws {JwtUsageError} for a configuration that cannot work. */
export function createManager (options: unknown): { namespace: string | undefined, hasStore: boolean, manager: JwtManager } {
  const settings = readSettings(options)
  let keyring = readKeyring(settings)
  const codec = createCodec(settings, keyring)
  const emit = createEmit(settings.onSessionEvent)
  const ask = settings.store && createStoreAccess(settings.store, settings.storeTimeout, emit)
  const issuer = createIssuer(settings, codec, ask)
  const singleUse = ask && createSingleUse(settings, ask)
  const sessions = ask && createSessions(settings, codec, issuer, ask, emit)
  const cookies = createCookieWriter(settings, codec)
  const owner: Owner = {
    hasUserLookup: settings.userLookupLoader !== undefined,
    hasUserIdentity: settings.userIdentityLoader !== undefined,
    sessions,
    clearCookies (reply) { cookies.unset(reply, ['access', 'refresh']) },
    dress,
  }
  const answer = createAnswer(settings, owner.clearCookies)
  // Those of `verifyJwt`, which is handed its rule with every request. A rule may even be made of what a client sent.
  const judges = new LRUCache<string, Judge>({ max: MOST_JUDGES })

  function compile (rule: Rule): Judge {
    return compileJudge(settings, codec, rule, owner, ask, singleUse)
  }

  function judgeOf (rule: Rule): Judge {
    const id = identifyRule(rule)
    let judge = judges.get(id)
    if (judge === undefined) {
      judge = compile(rule)
      if (id.length <= LONGEST_RULE) judges.set(id, judge)
    }
    return judge
  }

  // Who catches an error of ours outside a guard finds the status and the challenge of this configuration on it.
  function dress (error: unknown): unknown {
    if (isRefusal(error)) applyProfile(error, settings.errorProfile)
    return error
  }

  const manager: JwtManagerWithoutStore = {
    createAccessToken: issuer.createAccessToken,
    createRefreshToken: issuer.createRefreshToken,
    createToken: issuer.createToken,

    jwtRequired: describeMaker((given) => {
      const rule = readRule(given, settings)
      return describeGuard(createGuard(compile(rule), answer), { settings, rule })
    }),

    async verifyJwt (request, rule) {
      try {
        const verdict = await judgeOf(readRule(rule, settings)).judge(request, undefined)
        return verdict && { jwtHeader: verdict.jwtHeader, jwtPayload: asDeclared(verdict.jwtPayload) }
      } catch (error) {
        throw dress(error)
      }
    },

    async decodeToken (token, options = {}) {
      assertKnownNames(options, DECODE_OPTIONS, 'decodeToken')
      const { csrfValue, allowExpired = false } = options
      // One that is named and not there is a header that the client left out.
      const needsCsrf = Object.hasOwn(options, 'csrfValue')
      if (csrfValue !== undefined && typeof csrfValue !== 'string') throw new JwtUsageError('csrfValue must be a string')
      if (typeof allowExpired !== 'boolean') throw new JwtUsageError('allowExpired must be true or false')
      try {
        if (typeof token !== 'string') throw new JwtDecodeError('The token must be a string')
        if (needsCsrf && csrfValue === undefined) throw new CsrfError('Missing CSRF token')
        const now = Date.now()
        const verified = await codec.verify(token, now)
        if (csrfValue !== undefined) assertCsrf(verified, csrfValue)
        if (!allowExpired) assertNotExpired(verified, now, settings.decodeLeeway)
        return asDeclared(verified.payload)
      } catch (error) {
        throw dress(error)
      }
    },

    getUnverifiedJwtHeaders (token) {
      try {
        return codec.decode(token).header
      } catch (error) {
        throw dress(error)
      }
    },

    async getJti (token) {
      const { jti }: { readonly jti?: unknown } = await manager.decodeToken(token)
      return typeof jti === 'string' ? jti : null
    },

    async getCsrfToken (token) {
      const jwtPayload = await manager.decodeToken(token)
      if (typeof jwtPayload.csrf === 'string') return jwtPayload.csrf
      throw dress(new JwtDecodeError('Missing claim: csrf', { jwtHeader: codec.decode(token).header, jwtPayload }))
    },

    rotateKeys (keys) {
      keyring = rotateKeyring(keyring, keys, settings, codec.lastExpiry)
      codec.replaceKeys(keyring)
    },

    jwks: () => ({ keys: publish(keyring) }),

    setAccessCookies: (reply, access, options) => cookies.set(reply, { access }, options),
    setRefreshCookies: (reply, refresh, options) => cookies.set(reply, { refresh }, options),
    unsetJwtCookies: (reply, options) => cookies.unset(reply, ['access', 'refresh'], options),
    unsetAccessCookies: (reply, options) => cookies.unset(reply, ['access'], options),
    unsetRefreshCookies: (reply, options) => cookies.unset(reply, ['refresh'], options),
  }
  const complete = sessions === undefined ? manager : { ...manager, ...compileSessionMethods(sessions, cookies, dress) }
  return { namespace: settings.namespace, hasStore: sessions !== undefined, manager: Object.freeze(complete) as JwtManager }
}

type StoreMethods = JwtSessionMethods & Pick<JwtManager, 'setTokenCookies'>
type JwtManagerWithoutStore = Omit<JwtManager, keyof StoreMethods>

function compileSessionMethods (sessions: Sessions, cookies: CookieWriter, dress: (error: unknown) => unknown): StoreMethods {
  function dressed<Args extends unknown[], T> (method: (...args: Args) => Promise<T>): (...args: Args) => Promise<T> {
    return (...args) => method(...args).catch((error: unknown) => { throw dress(error) })
  }
  return {
    createTokenPair: dressed(sessions.createTokenPair),
    refreshTokens: dressed(sessions.refreshTokens),
    revokeToken: dressed(sessions.revokeToken),
    revokeSession: dressed(sessions.revokeSession),
    revokeAllTokens: dressed(sessions.revokeAllTokens),
    listSessions: dressed(sessions.listSessions),
    setTokenCookies: (reply, pair) => cookies.set(reply, { access: pair.accessToken, refresh: pair.refreshToken }),
  }
}
