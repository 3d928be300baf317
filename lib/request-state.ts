import type { FastifyRequest } from 'fastify'
import type { DeepReadonly, JwtHeader, JwtPayload, TokenLocation } from '../types/claims.js'
import { JwtUsageError } from './errors.js'

/** What a guard found out about a request: one object, assigned when every check has passed. */
export interface RequestState {
  readonly jwtHeader: DeepReadonly<JwtHeader>
  readonly jwtPayload: DeepReadonly<JwtPayload>
  readonly location: TokenLocation | null
  readonly identity: unknown
  readonly user: unknown
  readonly hasUserLookup: boolean
}

/** Where a request keeps its state; `null` until a guard has passed it. */
export const kState = Symbol('fastify-jwt-extended.request')

type GuardedRequest = FastifyRequest & { [kState]?: RequestState | null }

const NOTHING = Object.freeze({})

/** The state of a request without a token, where the token is optional. */
export function anonymousState (hasUserLookup: boolean): RequestState {
  return Object.freeze({ jwtHeader: NOTHING, jwtPayload: NOTHING as DeepReadonly<JwtPayload>, location: null, identity: null, user: null, hasUserLookup })
}

/** Lets a request in. */
export function setState (request: FastifyRequest, state: RequestState): void {
  (request as GuardedRequest)[kState] = state
}

function stateOf (request: FastifyRequest, member: string): RequestState {
  const state = (request as GuardedRequest)[kState]
  if (state === null || state === undefined) {
    throw new JwtUsageError(
      `request.${member} was read, but no guard has passed this request; add jwtRequired() to the route, or jwtRequired({ optional: true })`
    )
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
    if (!state.hasUserLookup) {
      throw new JwtUsageError('request.currentUser was read, but there is no userLookupLoader; give the plugin one')
    }
    return state.user
  },
}
