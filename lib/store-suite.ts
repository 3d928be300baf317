import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NewSession, Rotation, RotationResult, TokenQuery, TokenStore } from '../types/store.js'

/** One behaviour that every store must have. */
export interface StoreCase {
  /** What the store does, as the title of a test. */
  readonly name: string
  /** Rejects with an `AssertionError` where the store does something else. */
  run (store: TokenStore): Promise<void>
}

// Long enough that nothing ends by itself while a case runs.
const LONG = 60_000

// The lifetime of what is to end while a case runs, and how long a store with a coarse clock may take to notice.
const SHORT = 60
const PATIENCE = 3_000

const RACERS = 200

/** A user whom no other case knows, so that one store can serve them all. */
function newIdentity (): string {
  return `suite:${randomUUID()}`
}

async function start (store: TokenStore, identity: string, more: Partial<NewSession> = {}): Promise<string> {
  const sessionId = randomUUID()
  await store.startSession({ identity, sessionId, label: undefined, lifetime: LONG, keepFor: LONG, ...more })
  return sessionId
}

async function rotate (
  store: TokenStore, identity: string, sessionId: string, generation: number, more: Partial<Rotation> = {}
): Promise<RotationResult> {
  return await store.rotate({ identity, sessionId, generation, grace: LONG, keepFor: LONG, ...more })
}

/** Rotates, and expects a successor of a generation. Gives the milliseconds until the session's absolute end. */
async function expectSuccessor (
  outcome: 'rotated' | 'replayed' | 'adopted', generation: number, pending: Promise<RotationResult>
): Promise<number> {
  const result = await pending
  strictEqual(result.outcome, outcome)
  ok('generation' in result)
  strictEqual(result.generation, generation)
  strictEqual(typeof result.remaining, 'number')
  return result.remaining
}

async function expectNoSuccessor (outcome: 'reuse' | 'refused', pending: Promise<RotationResult>): Promise<void> {
  strictEqual((await pending).outcome, outcome)
}

/** What a guard asks about a token of a session. */
async function isSessionRevoked (store: TokenStore, identity: string, sessionId: string): Promise<boolean> {
  return await isRevoked(store, { identity, sessionId, tokenId: randomUUID() })
}

/** What a guard asks about a token; without anything else, one without a session that carries no `jti` and no `epoch`. */
async function isRevoked (store: TokenStore, query: Partial<TokenQuery> & { identity: string }): Promise<boolean> {
  const answer = await store.isRevoked({ sessionId: undefined, tokenId: undefined, epoch: undefined, issuedAt: Date.now(), ...query })
  strictEqual(typeof answer, 'boolean', 'isRevoked must give true or false')
  return answer
}

async function expectInTime (what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const start = performance.now(); performance.now() - start < PATIENCE;) {
    if (await holds()) return
    await sleep(SHORT / 2)
  }
  ok(false, what)
}

/**
 * What a store must do, one case a behaviour: for those who write a store of their own. It needs no test runner, and one
 * store serves all cases, at once or in turn. They take real time, up to some seconds, since the clock is the store's.
 *
 * ```ts
 * import { test } from 'node:test'
 * import { storeSuite } from 'fastify-jwt-extended/store-suite'
 *
 * for (const { name, run } of storeSuite) test(name, () => run(myStore))
 * ```
 */
export const storeSuite: readonly StoreCase[] = Object.freeze<StoreCase[]>([
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
      for (const generation of [1, 1, 2]) await expectNoSuccessor('reuse', rotate(store, identity, sessionId, generation))
      for (const generation of [3, 3, 4]) await expectNoSuccessor('refused', rotate(store, identity, sessionId, generation))
      await expectNoSuccessor('reuse', rotate(store, identity, sessionId, 1))
      strictEqual(await store.endSession(identity, sessionId), false)
      deepStrictEqual((await store.listSessions(identity)).map((session) => session.sessionId), [neighbour])
      deepStrictEqual(await store.endAll(identity, undefined), [neighbour])
      strictEqual(await isSessionRevoked(store, identity, sessionId), true)
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
  {
    name: 'lists the sessions that are alive, the newest first, with their label and their times',
    async run (store) {
      const identity = newIdentity()
      const label = 'Ada’s "phone" {1}: \\ 日本'
      const older = await start(store, identity, { label })
      await sleep(SHORT / 2)
      const newer = await start(store, identity)
      const ended = await start(store, identity)
      await store.endSession(identity, ended)
      await sleep(SHORT / 2)
      await expectSuccessor('rotated', 2, rotate(store, identity, older, 1))
      const sessions = await store.listSessions(identity)
      deepStrictEqual(sessions.map(({ sessionId }) => sessionId), [newer, older])
      deepStrictEqual(sessions.map((session) => session.label), [undefined, label])
      const [second, first] = sessions
      ok(first !== undefined && second !== undefined)
      ok(first.startedAt < second.startedAt)
      strictEqual(second.refreshedAt, second.startedAt)
      ok(first.refreshedAt > first.startedAt)
      for (const { startedAt, expiresAt } of sessions) {
        ok(Math.abs(expiresAt - startedAt - LONG) <= 1000, 'expiresAt must be the absolute end of the session')
      }
    },
  },
  {
    name: 'takes any text for an identity',
    async run (store) {
      for (const text of ['', '{', '}{', '*', 'a:session:b', '{"id":1}', 'Zoë\n日本', 'x'.repeat(5000)]) {
        const identity = `${newIdentity()}${text}`
        const sessionId = await start(store, identity)
        await expectSuccessor('rotated', 2, rotate(store, identity, sessionId, 1))
        strictEqual(await isSessionRevoked(store, identity, sessionId), false)
        strictEqual(await isSessionRevoked(store, `${identity} `, sessionId), true)
        deepStrictEqual(await store.endAll(identity, undefined), [sessionId])
        strictEqual(await isSessionRevoked(store, identity, sessionId), true)
      }
    },
  },
])
