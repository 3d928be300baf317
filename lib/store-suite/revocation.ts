import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import {
  LONG, SHORT, newIdentity, start, rotate, expectSuccessor, expectNoSuccessor, isSessionRevoked, isRevoked, expectInTime, type StoreCase
} from './case.js'

/** What a store must know of revoked tokens, identities and sessions. */
export const revocationCases: readonly StoreCase[] = [
  {
    name: 'knows nothing against a token of an identity that it has never heard of',
    async run (store) {
      const identity = newIdentity()
      const epoch = await store.epochOf(identity)
      strictEqual(typeof epoch, 'number')
      strictEqual(await isRevoked(store, { identity }), false)
      strictEqual(await isRevoked(store, { identity, tokenId: randomUUID(), epoch }), false)
      strictEqual(await isRevoked(store, { identity, tokenId: randomUUID(), epoch, issuedAt: 0 }), false)
      deepStrictEqual(await store.listSessions(identity), [])
    },
  },
  {
    name: 'revokes one token by its id, and no other of the same identity or of another one',
    async run (store) {
      const identity = newIdentity()
      const other = newIdentity()
      const sessionId = await start(store, identity)
      const tokenId = randomUUID()
      await store.revokeToken(identity, tokenId, LONG)
      await store.revokeToken(identity, tokenId, LONG)
      const epoch = await store.epochOf(identity)
      strictEqual(await isRevoked(store, { identity, tokenId, epoch }), true)
      strictEqual(await isRevoked(store, { identity, tokenId }), true)
      strictEqual(await isRevoked(store, { identity, tokenId, sessionId }), true)
      strictEqual(await isRevoked(store, { identity, tokenId: randomUUID(), epoch }), false)
      strictEqual(await isRevoked(store, { identity, epoch }), false)
      strictEqual(await isRevoked(store, { identity: other, tokenId }), false)
      strictEqual(await isSessionRevoked(store, identity, sessionId), false)
    },
  },
  {
    name: 'forgets a revoked token when that has been known for long enough, and not before',
    async run (store) {
      const identity = newIdentity()
      const [brief, lasting] = [randomUUID(), randomUUID()]
      await store.revokeToken(identity, lasting, LONG)
      await store.revokeToken(identity, brief, SHORT)
      await expectInTime('the mark of a revoked token must end', async () => !await isRevoked(store, { identity, tokenId: brief }))
      strictEqual(await isRevoked(store, { identity, tokenId: lasting }), true)
    },
  },
  {
    name: 'keeps a token revoked whose life has no end',
    async run (store) {
      const identity = newIdentity()
      const tokenId = randomUUID()
      await store.revokeToken(identity, tokenId, 100 * 365 * 24 * 60 * 60 * 1000)
      strictEqual(await isRevoked(store, { identity, tokenId }), true)
    },
  },
  {
    name: 'tells tokens made before endAll from those made after it, within one millisecond too',
    async run (store) {
      const identity = newIdentity()
      for (let i = 0; i < 20; i++) {
        const before = await store.epochOf(identity)
        strictEqual(await isRevoked(store, { identity, epoch: before }), false)
        await store.endAll(identity, undefined)
        const after = await store.epochOf(identity)
        strictEqual(await isRevoked(store, { identity, tokenId: randomUUID(), epoch: before }), true)
        strictEqual(await isRevoked(store, { identity, tokenId: randomUUID(), epoch: after }), false)
      }
    },
  },
  {
    name: 'judges a token without session and epoch by the time when it was made',
    async run (store) {
      const identity = newIdentity()
      const hour = 60 * 60 * 1000
      strictEqual(await isRevoked(store, { identity, issuedAt: 0 }), false)
      await store.endAll(identity, undefined)
      strictEqual(await isRevoked(store, { identity, issuedAt: 0 }), true)
      strictEqual(await isRevoked(store, { identity, issuedAt: Date.now() - hour }), true)
      strictEqual(await isRevoked(store, { identity, issuedAt: Date.now() + hour }), false)
    },
  },
  {
    name: 'judges tokens that are announced to live for long like any other',
    async run (store) {
      const identity = newIdentity()
      const keepEpoch = 100 * 365 * 24 * 60 * 60 * 1000
      const announced = await store.epochOf(identity, keepEpoch)
      strictEqual(await store.epochOf(identity), announced)
      strictEqual(await isRevoked(store, { identity, epoch: announced }), false)
      strictEqual(await isRevoked(store, { identity, issuedAt: 0, keepEpoch }), false)
      await store.endAll(identity, undefined)
      const after = await store.epochOf(identity, keepEpoch)
      strictEqual(after, await store.epochOf(identity))
      strictEqual(await isRevoked(store, { identity, epoch: announced }), true)
      strictEqual(await isRevoked(store, { identity, issuedAt: 0, keepEpoch }), true)
      strictEqual(await isRevoked(store, { identity, epoch: after }), false)
      const tokenId = randomUUID()
      await store.revokeToken(identity, tokenId, LONG)
      strictEqual(await isRevoked(store, { identity, tokenId, issuedAt: Date.now() + LONG, keepEpoch }), true)
    },
  },
  {
    name: 'revokes nothing of another identity by endAll',
    async run (store) {
      const [identity, other] = [newIdentity(), newIdentity()]
      const [session, epoch] = [await start(store, other), await store.epochOf(other)]
      await store.endAll(identity, undefined)
      strictEqual(await isRevoked(store, { identity: other, epoch }), false)
      strictEqual(await isRevoked(store, { identity: other, issuedAt: 0 }), false)
      strictEqual(await isSessionRevoked(store, other, session), false)
      await expectSuccessor('rotated', 2, rotate(store, other, session, 1))
    },
  },
  {
    name: 'ends all sessions by endAll, names them, and lets a login right after it live',
    async run (store) {
      const identity = newIdentity()
      const [first, second] = [await start(store, identity), await start(store, identity)]
      deepStrictEqual((await store.endAll(identity, undefined)).sort(), [first, second].sort())
      const third = await start(store, identity)
      for (const ended of [first, second]) {
        strictEqual(await isSessionRevoked(store, identity, ended), true)
        await expectNoSuccessor('refused', rotate(store, identity, ended, 1))
      }
      strictEqual(await isSessionRevoked(store, identity, third), false)
      await expectSuccessor('rotated', 2, rotate(store, identity, third, 1))
      deepStrictEqual(await store.endAll(identity, undefined), [third])
      deepStrictEqual(await store.endAll(identity, undefined), [])
    },
  },
  {
    name: 'spares the one session that endAll excepts, and it alone',
    async run (store) {
      const identity = newIdentity()
      const [spared, ended] = [await start(store, identity), await start(store, identity)]
      const epoch = await store.epochOf(identity)
      await expectSuccessor('rotated', 2, rotate(store, identity, spared, 1))
      deepStrictEqual(await store.endAll(identity, spared), [ended])
      strictEqual(await isSessionRevoked(store, identity, spared), false)
      strictEqual(await isSessionRevoked(store, identity, ended), true)
      strictEqual(await isRevoked(store, { identity, epoch }), true)
      await expectSuccessor('rotated', 3, rotate(store, identity, spared, 2))
      deepStrictEqual((await store.listSessions(identity)).map(({ sessionId }) => sessionId), [spared])
      deepStrictEqual(await store.endAll(identity, randomUUID()), [spared])
    },
  },
  {
    name: 'takes a session that it does not know for an ended one',
    async run (store) {
      const [identity, other] = [newIdentity(), newIdentity()]
      const sessionId = await start(store, identity)
      strictEqual(await isSessionRevoked(store, identity, sessionId), false)
      strictEqual(await isSessionRevoked(store, identity, randomUUID()), true)
      strictEqual(await isSessionRevoked(store, other, sessionId), true)
      await expectNoSuccessor('refused', rotate(store, identity, randomUUID(), 1))
      await expectNoSuccessor('refused', rotate(store, other, sessionId, 1))
      await expectNoSuccessor('refused', rotate(store, other, sessionId, 7))
    },
  },
  {
    name: 'ends a session once, for its own identity only',
    async run (store) {
      const [identity, other] = [newIdentity(), newIdentity()]
      const [sessionId, neighbour] = [await start(store, identity), await start(store, identity)]
      strictEqual(await store.endSession(other, sessionId), false)
      strictEqual(await store.endSession(identity, randomUUID()), false)
      strictEqual(await isSessionRevoked(store, identity, sessionId), false)
      strictEqual(await store.endSession(identity, sessionId), true)
      strictEqual(await store.endSession(identity, sessionId), false)
      strictEqual(await isSessionRevoked(store, identity, sessionId), true)
      strictEqual(await isSessionRevoked(store, identity, neighbour), false)
    },
  },
]
