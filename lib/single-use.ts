import type { FastifyRequest } from 'fastify'
import type { DeepReadonly, JwtHeader, TokenPayload } from '../types/claims.js'
import { isPromise } from './awaitable.js'
import { assertBoolean, JwtDecodeError, RevokedTokenError } from './errors.js'
import { nameIdentity } from './identity.js'
import type { Settings } from './settings.js'
import { keepMarkFor, type AskStore } from './store-access.js'

/** A verified token, and the request that it came with. */
export interface UsedToken {
  readonly request: FastifyRequest
  readonly identity: unknown
  readonly isForeign: boolean
  readonly jwtHeader: DeepReadonly<JwtHeader>
  readonly jwtPayload: DeepReadonly<TokenPayload>
}

/** Lets tokens of single-use types be used by one request each. */
export interface SingleUse {
  /**
   * Uses a token up, where its type is good for one request. Throws, or rejects with, the error of one that was used
   * before.
   */
  useUp (token: UsedToken): void | PromiseLike<void>
  /** Whether this very request has used the token up: several guards may judge one request, and it is one use all the same. */
  isUsedBy (token: UsedToken): boolean
}

/** Makes the one way in which a configuration uses tokens up. */
export function createSingleUse ({ tokenTypes, decodeLeeway }: Settings, ask: AskStore): SingleUse {
  const uses = new WeakMap<FastifyRequest, { identity: unknown, tokenId: unknown }>()

  function settle (token: UsedToken, isFirst: unknown): void {
    assertBoolean(isFirst, "The store's consumeToken")
    if (!isFirst) throw new RevokedTokenError(undefined, token)
    uses.set(token.request, { identity: nameIdentity(token.identity), tokenId: token.jwtPayload.jti })
  }

  function isUsedBy ({ request, identity, isForeign, jwtPayload }: UsedToken): boolean {
    const use = uses.get(request)
    return use !== undefined && !isForeign && use.tokenId === jwtPayload.jti && use.identity === nameIdentity(identity)
  }

  return {
    isUsedBy,

    useUp (token) {
      const { type, jti } = token.jwtPayload
      // What another issuer calls a type is none of ours.
      if (token.isForeign || tokenTypes.get(type!)?.singleUse !== true || isUsedBy(token)) return
      if (typeof jti !== 'string') throw new JwtDecodeError('Missing claim: jti', token)
      const keepFor = keepMarkFor(token.jwtPayload, decodeLeeway)
      const answer = ask((store) => store.consumeToken(nameIdentity(token.identity), jti, keepFor))
      if (isPromise(answer)) return Promise.resolve(answer).then((isFirst) => { settle(token, isFirst) })
      settle(token, answer)
    },
  }
}
