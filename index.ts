import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { documentRoutes, openapiTransform } from './lib/openapi.js'
import { kState, refreshRequest, requestGetters, revokeRequest } from './lib/request-state.js'
import { assertGuardsFit, watchRoutes } from './lib/route-guards.js'
import { addManager, findManager, findManagerOf, findSessionManagerOf } from './lib/scope.js'
import type { JwtExtendedOptions, JwtRule, SetCookiesOptions, UnsetCookiesOptions } from './types/options.js'
import type { RefreshTokensOptions, TokenPair } from './types/sessions.js'

const plugin: FastifyPluginAsync<JwtExtendedOptions> = async function jwtExtended (scope, options) {
  const { manager, namespace, hasStore } = addManager(scope, options)
  if (namespace === undefined) {
    scope.decorate('createAccessToken', manager.createAccessToken)
    scope.decorate('createRefreshToken', manager.createRefreshToken)
    scope.decorate('createToken', manager.createToken)
    scope.decorate('jwtRequired', manager.jwtRequired)
    scope.decorate('decodeToken', manager.decodeToken)
    scope.decorate('getUnverifiedJwtHeaders', manager.getUnverifiedJwtHeaders)
    scope.decorate('getJti', manager.getJti)
    scope.decorate('getCsrfToken', manager.getCsrfToken)
    scope.decorate('rotateKeys', manager.rotateKeys)
    scope.decorate('jwks', manager.jwks)
    if (hasStore) {
      scope.decorate('createTokenPair', manager.createTokenPair)
      scope.decorate('refreshTokens', manager.refreshTokens)
      scope.decorate('revokeToken', manager.revokeToken)
      scope.decorate('revokeSession', manager.revokeSession)
      scope.decorate('revokeAllTokens', manager.revokeAllTokens)
      scope.decorate('listSessions', manager.listSessions)
    } else if (scope.hasDecorator('createTokenPair')) {
      hideSessions(scope)
    }
  }
  if (hasStore && !scope.hasRequestDecorator('refreshTokens')) {
    scope.decorateRequest('refreshTokens', function (this: FastifyRequest, options?: RefreshTokensOptions) {
      return refreshRequest(this, options)
    })
    scope.decorateRequest('revokeJwt', function (this: FastifyRequest) {
      return revokeRequest(this)
    })
    scope.decorateReply('setTokenCookies', function (this: FastifyReply, pair: TokenPair) {
      return findSessionManagerOf(this).setTokenCookies(this, pair)
    })
  }
  // What follows asks the scope of the request or the call, so that once is enough for a scope and all its children.
  if (scope.hasRequestDecorator(kState)) return
  scope.decorate('jwtManager', function (this: FastifyInstance, namespace?: string) {
    return findManager(this, namespace)
  })
  scope.decorateRequest(kState, null)
  for (const [name, getter] of Object.entries(requestGetters)) scope.decorateRequest(name, { getter })
  scope.decorateRequest('verifyJwt', function (this: FastifyRequest, rule?: JwtRule) {
    return findManagerOf(this).verifyJwt(this, rule)
  })
  scope.decorateReply('setAccessCookies', function (this: FastifyReply, token: string, options?: SetCookiesOptions) {
    return findManagerOf(this).setAccessCookies(this, token, options)
  })
  scope.decorateReply('setRefreshCookies', function (this: FastifyReply, token: string, options?: SetCookiesOptions) {
    return findManagerOf(this).setRefreshCookies(this, token, options)
  })
  scope.decorateReply('unsetJwtCookies', function (this: FastifyReply, options?: UnsetCookiesOptions) {
    return findManagerOf(this).unsetJwtCookies(this, options)
  })
  scope.decorateReply('unsetAccessCookies', function (this: FastifyReply, options?: UnsetCookiesOptions) {
    return findManagerOf(this).unsetAccessCookies(this, options)
  })
  scope.decorateReply('unsetRefreshCookies', function (this: FastifyReply, options?: UnsetCookiesOptions) {
    return findManagerOf(this).unsetRefreshCookies(this, options)
  })
  watchRoutes(scope, assertGuardsFit, documentRoutes)
}

// A scope without a store must not have its parent's sessions beside its own tokens.
function hideSessions (scope: FastifyInstance): void {
  for (const method of ['createTokenPair', 'refreshTokens', 'revokeToken', 'revokeSession', 'revokeAllTokens', 'listSessions']) {
    scope.decorate(method, undefined)
  }
}

/** Access and refresh tokens, guards and loaders for Fastify. Register it: `app.register(jwtExtended, { secretKey })`. */
const jwtExtended = fastifyPlugin(plugin, { name: 'fastify-jwt-extended', fastify: '5.x' })
export default jwtExtended

export {
  CsrfError, ExpiredTokenError, FreshTokenRequiredError, InsufficientScopeError, InvalidHeaderError, InvalidQueryParamError, JwtDecodeError,
  JwtError, JwtUsageError, KeySetUnavailableError, NoAuthorizationError, RevokedTokenError, StoreUnavailableError,
  UserClaimsVerificationError, UserLookupError, WrongTokenError
} from './lib/errors.js'
export type { ErrorContext } from './lib/errors.js'
export { openapiTransform }
export { memoryStore, type MemoryStoreOptions } from './lib/stores/memory.js'
export { redisStore, type RedisStoreOptions } from './lib/stores/redis.js'
export type { IoredisClient, NodeRedisClient, RedisClient } from './lib/stores/redis-client.js'
export type * from './types/claims.js'
export type * from './types/failure.js'
export type * from './types/fastify.js'
export type * from './types/manager.js'
export type * from './types/openapi.js'
export type * from './types/options.js'
export type * from './types/sessions.js'
export type * from './types/store.js'
