import type { Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { StoreUnavailableError } from '../lib/errors.js'
import type { Emit } from '../lib/session-events.js'
import { createStoreAccess, keepEpochFor, type AskStore } from '../lib/store-access.js'
import { memoryStore } from '../lib/stores/memory.js'
import type { SessionEvent } from '../types/sessions.js'

function createAsk (timeout: number): { ask: AskStore, events: SessionEvent[] } {
  const events: SessionEvent[] = []
  const emit: Emit = (event) => { events.push(event) }
  return { ask: createStoreAccess(memoryStore(), timeout, emit), events }
}

async function failureOf (work: () => unknown): Promise<StoreUnavailableError> {
  try {
    await work()
  } catch (error) {
    if (error instanceof StoreUnavailableError) return error
    throw error
  }
  throw new Error('the store was available')
}

t.test('an answer that is there at once is given at once', async (t) => {
  const { ask, events } = createAsk(0.25)
  t.equal(ask((store) => store.epochOf('ada')), 0)
  t.equal(ask(() => null), null)
  t.same(events, [])
})

t.test('an answer that comes in time is waited for', async (t) => {
  const { ask, events } = createAsk(5)
  const answer = ask(() => sleep(20, 'late enough'))
  t.type(answer, Promise)
  t.equal(await answer, 'late enough')
  t.same(events, [])
})

t.test('an answer that came while the process stood still is not late', async (t) => {
  const { ask, events } = createAsk(0.02)
  // Where timers are looked at before what was received.
  const [answer] = await new Promise<[PromiseLike<Stats>]>((resolve) => setImmediate(() => {
    resolve([Promise.resolve(ask(() => stat(import.meta.filename)))])
    for (const start = performance.now(); performance.now() - start < 100;) { /* stands still */ }
  }))
  t.equal((await answer).isFile(), true)
  t.same(events, [])
})

t.test('a store that throws is unavailable: at once, with the cause, and told', async (t) => {
  const { ask, events } = createAsk(0.25)
  const cause = new Error('no disk')
  t.throws(() => ask(() => { throw cause }), StoreUnavailableError)
  const error = await failureOf(() => ask(() => { throw cause }))
  t.equal(error.cause, cause)
  t.equal(error.statusCode, 503)
  t.equal(error.code, 'FST_JWT_EXT_STORE_UNAVAILABLE')
  t.same(error.headers, { 'retry-after': '1' })
  t.equal(error.message, 'Token store unavailable')
  t.same(events, [{ type: 'store_unavailable', error: cause }, { type: 'store_unavailable', error: cause }])
})

t.test('a store that rejects is unavailable, whatever it rejects with', async (t) => {
  const { ask, events } = createAsk(0.25)
  const cause = new Error('no network')
  t.equal((await failureOf(() => ask(() => Promise.reject(cause)))).cause, cause)
  // eslint-disable-next-line prefer-promise-reject-errors
  const { cause: spoken } = await failureOf(() => ask(() => Promise.reject('just words')))
  t.ok(spoken instanceof Error)
  t.equal((spoken as Error).message, 'just words')
  const { cause: mute } = await failureOf(() => ask(() => Promise.reject(Object.create(null))))
  t.equal((mute as Error).message, 'something that is no Error was thrown')
  t.equal(events.length, 3)
})

t.test('a store that is late is unavailable when the time is over, and its late answer is dropped', async (t) => {
  const { ask, events } = createAsk(0.05)
  const start = performance.now()
  const error = await failureOf(() => ask(() => sleep(120, true)))
  const waited = performance.now() - start
  t.ok(waited >= 45 && waited < 110, `waited ${waited} ms`)
  t.match(error.cause, { message: 'The store was late' })
  await sleep(150)
  t.equal(events.length, 1)
})

t.test('a store that fails when it is late already is told once', async (t) => {
  const { ask, events } = createAsk(0.02)
  await failureOf(() => ask(() => sleep(60).then(() => { throw new Error('too late to matter') })))
  await sleep(80)
  t.equal(events.length, 1)
})

t.test('what was answered in time, or failed, is not late afterwards', async (t) => {
  const { ask, events } = createAsk(0.25)
  const cause = new Error('no network')
  t.equal(await ask(() => sleep(1, 'soon')), 'soon')
  await failureOf(() => ask(() => Promise.reject(cause)))
  await sleep(300)
  t.same(events, [{ type: 'store_unavailable', error: cause }])
})

t.test('a store that never answers keeps no request waiting', async (t) => {
  const { ask } = createAsk(0.02)
  const failures = await Promise.all(Array.from({ length: 50 }, () => failureOf(() => ask(() => new Promise(() => {})))))
  t.equal(failures.length, 50)
})

t.test('for how long an epoch must be kept on account of a token', async (t) => {
  const YEAR = 365 * 24 * 60 * 60
  const NOW = 1_700_000_000
  const cases: [claims: { iat?: number, exp?: number }, leeway: number, seconds: number | undefined][] = [
    [{}, 0, 100 * YEAR],
    [{ iat: NOW }, 0, 100 * YEAR],
    [{ iat: NOW, exp: NOW + YEAR }, 0, undefined],
    [{ iat: NOW, exp: NOW + YEAR }, 1, YEAR + 1],
    [{ iat: NOW, exp: NOW + YEAR + 1 }, 0, YEAR + 1],
    [{ iat: NOW - YEAR, exp: NOW + 1 }, 0, 1],
    [{ iat: NOW + YEAR, exp: NOW + 2 * YEAR }, 0, 2 * YEAR],
    [{ exp: NOW + 60 }, 5, 65],
    [{ exp: NOW - 60 }, 5, undefined],
    [{ exp: NOW - 5 }, 5, undefined],
    [{ exp: Number.MAX_SAFE_INTEGER }, 0, 100 * YEAR],
  ]
  for (const [claims, leeway, seconds] of cases) {
    t.equal(keepEpochFor(claims, leeway, NOW * 1000), seconds === undefined ? undefined : seconds * 1000, JSON.stringify(claims))
  }
  t.equal(keepEpochFor({ exp: NOW + 60 }, 0.0005, NOW * 1000), 60_001, 'whole milliseconds')
})
