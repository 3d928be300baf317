import { strictEqual } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { LONG, SHORT, RACERS, newIdentity, start, isRevoked, isSessionRevoked, expectInTime, type StoreCase } from './case.js'

/** What a store must do with tokens that are good for one use. */
export const consumptionCases: readonly StoreCase[] = [
  {
    name: 'consumes a token once, and with it no other of the same identity or of another one',
    async run (store) {
      const [identity, other] = [newIdentity(), newIdentity()]
      const [tokenId, neighbour] = [randomUUID(), randomUUID()]
      const sessionId = await start(store, identity)
      strictEqual(await store.consumeToken(identity, tokenId, LONG), true)
      strictEqual(await store.consumeToken(identity, tokenId, LONG), false)
      strictEqual(await store.consumeToken(identity, tokenId, LONG), false)
      strictEqual(await isRevoked(store, { identity, tokenId: neighbour }), false)
      strictEqual(await store.consumeToken(identity, neighbour, LONG), true)
      strictEqual(await store.consumeToken(other, tokenId, LONG), true)
      strictEqual(await isSessionRevoked(store, identity, sessionId), false)
    },
  },
  {
    name: 'lets one of parallel consumptions of a token through, and no more',
    async run (store) {
      const identity = newIdentity()
      const tokenId = randomUUID()
      const answers = await Promise.all(Array.from({ length: RACERS }, async () => await store.consumeToken(identity, tokenId, LONG)))
      strictEqual(answers.filter((answer) => answer === true).length, 1)
      strictEqual(answers.filter((answer) => answer === false).length, RACERS - 1)
    },
  },
  {
    name: 'takes a consumed token for revoked, and does not consume a revoked one',
    async run (store) {
      const identity = newIdentity()
      const [consumed, revoked] = [randomUUID(), randomUUID()]
      await store.consumeToken(identity, consumed, LONG)
      strictEqual(await isRevoked(store, { identity, tokenId: consumed }), true)
      await store.revokeToken(identity, revoked, LONG)
      strictEqual(await store.consumeToken(identity, revoked, LONG), false)
      await store.revokeToken(identity, consumed, LONG)
      strictEqual(await store.consumeToken(identity, consumed, LONG), false)
    },
  },
  {
    name: 'forgets a consumed token when that has been known for long enough, and not before',
    async run (store) {
      const identity = newIdentity()
      const [brief, lasting, endless] = [randomUUID(), randomUUID(), randomUUID()]
      await store.consumeToken(identity, lasting, LONG)
      await store.consumeToken(identity, endless, 100 * 365 * 24 * 60 * 60 * 1000)
      await store.consumeToken(identity, brief, SHORT)
      await expectInTime('the mark of a consumed token must end', async () => !await isRevoked(store, { identity, tokenId: brief }))
      strictEqual(await store.consumeToken(identity, brief, LONG), true)
      strictEqual(await store.consumeToken(identity, lasting, LONG), false)
      strictEqual(await store.consumeToken(identity, endless, LONG), false)
    },
  },
]
