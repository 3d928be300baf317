import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  LONG, SHORT, newIdentity, start, rotate, expectSuccessor, isSessionRevoked, type StoreCase
} from './case.js'

/** What a store must tell of sessions, and for whom. */
export const listingCases: readonly StoreCase[] = [
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
]
