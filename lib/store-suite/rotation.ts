import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  LONG, SHORT, RACERS, newIdentity, start, rotate, expectSuccessor, expectNoSuccessor,
  isRevoked, isSessionRevoked, expectInTime, type StoreCase
} from './case.js'

/** What a store must do with refresh tokens, and how a session ends. */
export const rotationCases: readonly StoreCase[] = [
  {
    name: 'gives each newest generation the next one',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity)
      let remaining = LONG
      for (let generation = 1; generation < 6; generation++) {
        const left = await expectSuccessor('rotated', generation + 1, rotate(store, identity, sessionId, generation))
        ok(left > 0 && left <= remaining, `the absolute end must not move: ${left} ms left after ${remaining}`)
        remaining = left
      }
      strictEqual(await isSessionRevoked(store, identity, sessionId), false)
    },
  },
  {
    name: 'gives a token that comes again within the grace the very same successor, as often as it comes',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity)
      await expectSuccessor('rotated', 2, rotate(store, identity, sessionId, 1))
      const [before] = await store.listSessions(identity)
      for (let i = 0; i < 3; i++) await expectSuccessor('replayed', 2, rotate(store, identity, sessionId, 1))
      deepStrictEqual(await store.listSessions(identity), [before], 'a replay must change nothing')
      await expectSuccessor('rotated', 3, rotate(store, identity, sessionId, 2))
      await expectSuccessor('replayed', 3, rotate(store, identity, sessionId, 2))
      strictEqual(await isSessionRevoked(store, identity, sessionId), false)
    },
  },
  {
    name: 'lets parallel rotations of one token converge on one successor',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity)
      const results = await Promise.all(Array.from({ length: RACERS }, () => rotate(store, identity, sessionId, 1)))
      strictEqual(results.filter(({ outcome }) => outcome === 'rotated').length, 1)
      strictEqual(results.filter(({ outcome }) => outcome === 'replayed').length, RACERS - 1)
      ok(results.every((result) => 'generation' in result && result.generation === 2))
      await expectSuccessor('rotated', 3, rotate(store, identity, sessionId, 2))
    },
  },
  {
    name: 'ends the session when a token comes again after the grace',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity)
      await expectSuccessor('rotated', 2, rotate(store, identity, sessionId, 1))
      await sleep(SHORT)
      await expectNoSuccessor('reuse', rotate(store, identity, sessionId, 1, { grace: SHORT / 2 }))
      strictEqual(await isSessionRevoked(store, identity, sessionId), true)
      await expectNoSuccessor('refused', rotate(store, identity, sessionId, 2))
    },
  },
  {
    name: 'ends the session when a token comes again at once, where there is no grace',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity)
      await expectSuccessor('rotated', 2, rotate(store, identity, sessionId, 1, { grace: 0 }))
      await expectSuccessor('rotated', 3, rotate(store, identity, sessionId, 2, { grace: 0 }))
      await expectNoSuccessor('reuse', rotate(store, identity, sessionId, 2, { grace: 0 }))
      strictEqual(await isSessionRevoked(store, identity, sessionId), true)
    },
  },
  {
    name: 'ends the session when a token older than the last comes again, whatever the grace',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity)
      await expectSuccessor('rotated', 2, rotate(store, identity, sessionId, 1))
      await expectSuccessor('rotated', 3, rotate(store, identity, sessionId, 2))
      await expectNoSuccessor('reuse', rotate(store, identity, sessionId, 1))
      strictEqual(await isSessionRevoked(store, identity, sessionId), true)
    },
  },
  {
    name: 'answers reuse again after a reuse, and refuses the newest token of that session',
    async run (store) {
      const identity = newIdentity()
      const [sessionId, neighbour] = [await start(store, identity), await start(store, identity)]
      await expectSuccessor('rotated', 2, rotate(store, identity, sessionId, 1))
      await expectSuccessor('rotated', 3, rotate(store, identity, sessionId, 2))
      for (const [generation, isFirst] of [[1, true], [1, false], [2, false]] as const) {
        const result = await rotate(store, identity, sessionId, generation)
        strictEqual(result.outcome, 'reuse')
        strictEqual(result.isFirst, isFirst, 'isFirst must tell the reuse that ended the session from those after it')
      }
      for (const generation of [3, 3, 4]) await expectNoSuccessor('refused', rotate(store, identity, sessionId, generation))
      await expectNoSuccessor('reuse', rotate(store, identity, sessionId, 1))
      strictEqual(await store.endSession(identity, sessionId), false)
      deepStrictEqual((await store.listSessions(identity)).map((session) => session.sessionId), [neighbour])
      deepStrictEqual(await store.endAll(identity, undefined), [neighbour])
      strictEqual(await isSessionRevoked(store, identity, sessionId), true)
    },
  },
  {
    name: 'ends all of an identity with the first reuse, where that is asked for, and never again',
    async run (store) {
      const identity = newIdentity()
      const [stolen, other] = [await start(store, identity), await start(store, identity)]
      const epoch = await store.epochOf(identity)
      const reuse = { grace: 0, endAllOnReuse: true }
      await rotate(store, identity, stolen, 1)
      const first = await rotate(store, identity, stolen, 1, reuse)
      deepStrictEqual({ ...first }, { outcome: 'reuse', isFirst: true, ended: [other] })
      strictEqual(await isSessionRevoked(store, identity, other), true)
      strictEqual(await isRevoked(store, { identity, epoch }), true)
      const login = await start(store, identity)
      const again = await rotate(store, identity, stolen, 1, reuse)
      deepStrictEqual({ ...again }, { outcome: 'reuse', isFirst: false, ended: [] })
      strictEqual(await isSessionRevoked(store, identity, login), false)
    },
  },
  {
    name: 'goes on from a token that is ahead of what it knows',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity)
      const remaining = await expectSuccessor('adopted', 8, rotate(store, identity, sessionId, 7))
      ok(remaining > 0 && remaining <= LONG)
      await expectSuccessor('replayed', 8, rotate(store, identity, sessionId, 7))
      await expectSuccessor('rotated', 9, rotate(store, identity, sessionId, 8))
      await expectNoSuccessor('reuse', rotate(store, identity, sessionId, 1))
    },
  },
  {
    name: 'refuses every token of a session that was ended',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity)
      await expectSuccessor('rotated', 2, rotate(store, identity, sessionId, 1))
      await store.endSession(identity, sessionId)
      for (const generation of [1, 2, 3]) await expectNoSuccessor('refused', rotate(store, identity, sessionId, generation))
      strictEqual(await isSessionRevoked(store, identity, sessionId), true)
    },
  },
  {
    name: 'ends a session at its absolute end, however often it is refreshed',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity, { lifetime: 4 * SHORT })
      let generation = 1
      await expectInTime('the session must end', async () => {
        const result = await rotate(store, identity, sessionId, generation)
        if (result.outcome === 'refused') return true
        await expectSuccessor('rotated', generation + 1, Promise.resolve(result))
        generation++
        return false
      })
      strictEqual(await isSessionRevoked(store, identity, sessionId), true)
      deepStrictEqual(await store.listSessions(identity), [])
      strictEqual(await store.endSession(identity, sessionId), false)
      deepStrictEqual(await store.endAll(identity, undefined), [])
      await expectNoSuccessor('refused', rotate(store, identity, sessionId, generation + 1))
    },
  },
  {
    name: 'forgets a session that nobody refreshes when its last token is dead',
    async run (store) {
      const identity = newIdentity()
      const sessionId = await start(store, identity, { keepFor: SHORT })
      await expectInTime('the session must end', () => isSessionRevoked(store, identity, sessionId))
      await expectNoSuccessor('refused', rotate(store, identity, sessionId, 1))
      deepStrictEqual(await store.listSessions(identity), [])
      strictEqual(await store.endSession(identity, sessionId), false)
    },
  },
  {
    name: 'keeps a session for as long as the token of its last rotation lives, and no shorter than before',
    async run (store) {
      const identity = newIdentity()
      const [prolonged, kept] = [await start(store, identity, { keepFor: 10 * SHORT }), await start(store, identity)]
      await expectSuccessor('rotated', 2, rotate(store, identity, prolonged, 1))
      await expectSuccessor('rotated', 2, rotate(store, identity, kept, 1, { keepFor: SHORT }))
      await sleep(12 * SHORT)
      for (const sessionId of [prolonged, kept]) strictEqual(await isSessionRevoked(store, identity, sessionId), false)
      strictEqual((await store.listSessions(identity)).length, 2)
      deepStrictEqual((await store.endAll(identity, undefined)).sort(), [prolonged, kept].sort())
    },
  },
]
