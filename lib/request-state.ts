import type { FastifyReply, FastifyRequest } from 'fastify'
import type { DeepReadonly, JwtHeader, TokenLocation, TokenPayload } from '../types/claims.js'
import type { RefreshTokensOptions, TokenPair } from '../types/sessions.js'
import { JwtUsageError, NoAuthorizationError, RevokedTokenError } from './errors.js'
import type { Sessions } from './sessions.js'

/** The configuration whose guard let a request in. */
export interface Owner {
  readonly hasUserLookup: boolean
  /** Whether what `createAccessToken` takes is more than the identity claim: the user, usually. */
  readonly hasUserIdentity: boolean
  /** Absent without a store. */
  readonly sessions: Sessions | undefined
  clearCookies (reply: FastifyReply): void
  /** Gives an error the status of this configuration. */
  dress (error: unknown): unknown
}

/** What a guard found out about a request: one object, assigned when every check has passed. */
export interface RequestState {
  readonly jwtHeader: DeepReadonly<JwtHeader>
  readonly jwtPayload: DeepReadonly<TokenPayload>
  readonly location: TokenLocation | null
  readonly identity: unknown
  readonly user: unknown
  readonly owner: Owner
  /** Absent where no guard was asked, but `verifyJwt`. */
  readonly reply: FastifyReply | undefined
}

/** Where a request keeps its state; `null` until a guard has passed it. */
export const kState = Symbol('fastify-jwt-extended.request')

type GuardedRequest = FastifyRequest & { [kState]?: RequestState | null }

const NOTHING = Object.freeze({})

/** The state of a request without a token, where the token is optional. */
export function anonymousState (owner: Owner): RequestState {
  return Object.freeze({ jwtHeader: NOTHING, jwtPayload: NOTHING, location: null, identity: null, user: null, owner, reply: undefined })
}

/** Lets a request in. */
export function setState (request: FastifyRequest, state: RequestState): void {
  (request as GuardedRequest)[kState] = state
}

function stateOf (request: FastifyRequest, member: string, remedy = 'jwtRequired() to the route, or jwtRequired({ optional: true })'): RequestState {
  const state = (request as GuardedRequest)[kState]
  if (state === null || state === undefined) {
    throw new JwtUsageError(`request.${member} was asked for, but no guard has passed this request; add ${remedy}`)
  }
  return state
}

/** The request's getters. They cost nothing until they are read. */
export const requestGetters = {
  jwt (this: FastifyRequest) { return stateOf(this, 'jwt').jwtPayload },
  jwtHeader (this: FastifyRequest) { return stateOf(this, 'jwtHeader').jwtHeader },
  jwtIdentity (this: FastifyRequest) { return stateOf(this, 'jwtIdentity').identity },
  jwtLocation (this: FastifyRequest) { return stateOf(this, 'jwtLocation').location },
  currentUser (this: FastifyRequest) {
    const state = stateOf(this, 'currentUser')
    if (!state.owner.hasUserLookup) {
      throw new JwtUsageError('request.currentUser was read, but there is no userLookupLoader; give the plugin one')
    }
    return state.user
  },
}

function sessionsOf (state: RequestState, method: string): Sessions {
  const { sessions } = state.owner
  if (sessions === undefined) throw new JwtUsageError(`request.${method} needs the option store in the configuration of the guard`)
  return sessions
}

/** Rotates the refresh token that let a request in; where its session has ended, its cookies are cleared. */
export async function refreshRequest (request: FastifyRequest, options?: RefreshTokensOptions): Promise<TokenPair> {
  const state = stateOf(request, 'refreshTokens', 'jwtRequired({ refresh: true }) to the route')
  const sessions = sessionsOf(state, 'refreshTokens')
  const { location, user, owner, reply } = state
  try {
    if (location === null) throw new NoAuthorizationError('Missing refresh token')
    return await sessions.rotate(state, options, owner.hasUserIdentity ? user : undefined)
  } catch (error) {
    if (error instanceof RevokedTokenError && location === 'cookies' && reply !== undefined) owner.clearCookies(reply)
    throw owner.dress(error)
  }
}

/** Revokes the token that let a request in; there is nothing to do for a request without one. */
export async function revokeRequest (request: FastifyRequest): Promise<void> {
  const state = stateOf(request, 'revokeJwt')
  const sessions = sessionsOf(state, 'revokeJwt')
  if (state.location === null) return
  try {
    await sessions.revokeToken(state.jwtPayload)
  } catch (error) {
    throw state.owner.dress(error)
  }
}
