import type { JwtManager } from '../types/manager.js'
import { createAnswer } from './answer.js'
import { createCodec } from './codec.js'
import { createCookieWriter } from './cookies.js'
import { applyProfile, isRefusal, JwtDecodeError, JwtUsageError } from './errors.js'
import { createGuard } from './guard.js'
import { createIssuer } from './issue.js'
import { assertCsrf, assertNotExpired, compileJudge, type Judge } from './judge.js'
import { readKeyring } from './keyring.js'
import { assertKnownNames } from './names.js'
import { identifyRule, readRule } from './rule.js'
import { readSettings } from './settings.js'

const DECODE_OPTIONS = ['csrfValue', 'allowExpired']

/** Puts one configuration's methods together. @throws {JwtUsageError} for a configuration that cannot work. */
export function createManager (options: unknown): { namespace: string | undefined, manager: JwtManager } {
  const settings = readSettings(options)
  const codec = createCodec(settings, readKeyring(settings))
  const { createAccessToken, createRefreshToken } = createIssuer(settings, codec)
  const cookies = createCookieWriter(settings, codec)
  const answer = createAnswer(settings)
  const judges = new Map<string, Judge>()

  // There are no more judges than there are different rules.
  function judgeOf (given: unknown): Judge {
    const rule = readRule(given, settings)
    const id = identifyRule(rule)
    let judge = judges.get(id)
    if (judge === undefined) {
      judge = compileJudge(settings, codec, rule)
      judges.set(id, judge)
    }
    return judge
  }

  // Who catches an error of ours outside a guard finds the status and the challenge of this configuration on it.
  function dress (error: unknown): unknown {
    return isRefusal(error) ? applyProfile(error, settings.errorProfile) : error
  }

  const manager: JwtManager = {
    createAccessToken,
    createRefreshToken,

    jwtRequired: (rule) => createGuard(judgeOf(rule), answer),

    async verifyJwt (request, rule) {
      try {
        const verdict = await judgeOf(rule).judge(request)
        return verdict && { jwtHeader: verdict.jwtHeader, jwtPayload: verdict.jwtPayload }
      } catch (error) {
        throw dress(error)
      }
    },

    async decodeToken (token, options = {}) {
      assertKnownNames(options, DECODE_OPTIONS, 'decodeToken')
      const { csrfValue, allowExpired = false } = options
      if (csrfValue !== undefined && typeof csrfValue !== 'string') throw new JwtUsageError('csrfValue must be a string')
      if (typeof allowExpired !== 'boolean') throw new JwtUsageError('allowExpired must be true or false')
      try {
        if (typeof token !== 'string') throw new JwtDecodeError('The token must be a string')
        const now = Date.now()
        const verified = await codec.verify(token, now)
        if (csrfValue !== undefined) assertCsrf(verified, csrfValue)
        if (!allowExpired) assertNotExpired(verified, now, settings.decodeLeeway)
        return verified.payload
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
      return (await manager.decodeToken(token)).jti ?? null
    },

    async getCsrfToken (token) {
      const { csrf } = await manager.decodeToken(token)
      if (typeof csrf !== 'string') throw dress(new JwtDecodeError('Missing claim: csrf'))
      return csrf
    },

    setAccessCookies: (reply, token, options) => cookies.set(reply, 'access', token, options),
    setRefreshCookies: (reply, token, options) => cookies.set(reply, 'refresh', token, options),
    unsetJwtCookies: (reply, options) => cookies.unset(reply, ['access', 'refresh'], options),
    unsetAccessCookies: (reply, options) => cookies.unset(reply, ['access'], options),
    unsetRefreshCookies: (reply, options) => cookies.unset(reply, ['refresh'], options),
  }
  return { namespace: settings.namespace, manager: Object.freeze(manager) }
}
