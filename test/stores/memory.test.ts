import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { JwtUsageError, memoryStore, type TokenStore } from '../../index.js'
import { storeSuite } from '../../lib/store-suite.js'
import { moveClock } from '../support/clock.js'

const HOUR = 60 * 60 * 1000

function startSession (store: TokenStore, identity: string, sessionId: string, keepFor = HOUR): void {
  store.startSession({ identity, sessionId, label: undefined, lifetime: 2 * HOUR, keepFor })
}

function isTokenRevoked (store: TokenStore, identity: string, tokenId: string): unknown {
  return store.isRevoked({ identity, sessionId: undefined, tokenId, epoch: undefined, issuedAt: Date.now() + HOUR })
}

function isSessionRevoked (store: TokenStore, identity: string, sessionId: string): unknown {
  return store.isRevoked({ identity, sessionId, tokenId: undefined, epoch: undefined, issuedAt: 0 })
}

function setEnvironment (t: Test, value: string): void {
  const before = process.env['NODE_ENV']
  process.env['NODE_ENV'] = value
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = before
  })
}

t.test('the suite of behaviour', async (t) => {
  const store = memoryStore()
  for (const { name, run } of storeSuite) t.test(name, () => run(store))
})

t.test('maxEntries must be a whole number, 1 or more', async (t) => {
  for (const maxEntries of [0, -1, 1.5, NaN, Infinity, 2 ** 53]) t.throws(() => memoryStore({ maxEntries }), JwtUsageError, String(maxEntries))
  t.doesNotThrow(() => memoryStore({ maxEntries: 1 }))
  t.doesNotThrow(() => memoryStore({ maxEntries: undefined }))
})

t.test('a full store refuses one more session, token or revoked identity, and loses nothing', async (t) => {
  const store = memoryStore({ maxEntries: 3 })
  startSession(store, 'ada', 's1')
  store.revokeToken('ada', 't1', HOUR)
  store.endAll('bob', undefined)
  const full = /memoryStore is full: it keeps 3 entries/
  t.throws(() => startSession(store, 'ada', 's2'), full)
  t.throws(() => store.revokeToken('ada', 't2', HOUR), full)
  t.throws(() => store.consumeToken('ada', 't2', HOUR), full)
  t.throws(() => store.endAll('ada', undefined), full)
  t.equal(isTokenRevoked(store, 'ada', 't1'), true)
  t.not(store.epochOf('bob'), 0)
})

t.test('a full store ends the sessions of a log-out everywhere and of a theft all the same', async (t) => {
  const store = memoryStore({ maxEntries: 3 })
  for (const [name, id] of [['ada', 's1'], ['ada', 's2'], ['bob', 's3']] as const) startSession(store, name, id)
  const theft = { identity: 'ada', sessionId: 's1', generation: 1, grace: 0, keepFor: HOUR, endAllOnReuse: true }
  t.match(store.rotate(theft), { outcome: 'rotated' })
  t.throws(() => store.rotate(theft), /memoryStore is full/)
  t.match(store.rotate({ ...theft, generation: 2 }), { outcome: 'refused' }, 'the thief is out')
  t.equal(isSessionRevoked(store, 'ada', 's2'), true)
  t.equal(isSessionRevoked(store, 'bob', 's3'), false)
  t.throws(() => store.endAll('bob', undefined), /memoryStore is full/)
  t.equal(isSessionRevoked(store, 'bob', 's3'), true)
})

t.test('what a theft ends, and a full store had no room for, ends with the next try', async (t) => {
  const store = memoryStore({ maxEntries: 2 })
  startSession(store, 'ada', 's1')
  startSession(store, 'bob', 'brief', 1000)
  const theft = { identity: 'ada', sessionId: 's1', generation: 1, grace: 0, keepFor: HOUR, endAllOnReuse: true }
  store.rotate(theft)
  t.throws(() => store.rotate(theft), /memoryStore is full/)
  const older = { identity: 'ada', sessionId: undefined, tokenId: 'older', epoch: undefined, issuedAt: Date.now() - 1000 }
  t.equal(store.isRevoked(older), false, 'there was no room for that')
  moveClock(t, 1)
  t.match(store.rotate(theft), { outcome: 'reuse', isFirst: true })
  t.equal(store.isRevoked(older), true)
  t.match(store.rotate(theft), { outcome: 'reuse', isFirst: false })
})

t.test('an option that there is not is refused', async (t) => {
  t.throws(() => memoryStore({ maxEntires: 5 } as never), { code: 'FST_JWT_EXT_USAGE', message: "Unknown option 'maxEntires' of memoryStore; did you mean 'maxEntries'?" })
  t.throws(() => memoryStore(5 as never), { code: 'FST_JWT_EXT_USAGE' })
})

t.test('a full store still revokes what it has an entry of already', async (t) => {
  const store = memoryStore({ maxEntries: 3 })
  startSession(store, 'ada', 's1')
  store.revokeToken('ada', 't1', HOUR)
  store.endAll('bob', undefined)
  const epoch = store.epochOf('bob') as number
  store.revokeToken('ada', 't1', HOUR)
  store.endAll('bob', undefined)
  t.ok(store.epochOf('bob') as number > epoch)
  t.equal(store.endSession('ada', 's1'), true)
  t.equal(isSessionRevoked(store, 'ada', 's1'), true)
})

t.test('what nobody will ask for any more makes room', async (t) => {
  const store = memoryStore({ maxEntries: 4 })
  startSession(store, 'ada', 's1', 1000)
  startSession(store, 'bob', 's2', 1000)
  store.revokeToken('cy', 't1', 1000)
  startSession(store, 'ada', 'lasting')
  t.throws(() => startSession(store, 'ada', 's3'), /full/)
  moveClock(t, 2)
  for (const id of ['s3', 's4', 's5']) startSession(store, 'ada', id)
  t.throws(() => startSession(store, 'ada', 's6'), /full/)
  for (const id of ['lasting', 's3', 's4', 's5']) t.equal(isSessionRevoked(store, 'ada', id), false)
})

t.test('what comes after others have made room makes room as soon as it is over', async (t) => {
  const store = memoryStore({ maxEntries: 2 })
  startSession(store, 'ada', 'lasting')
  startSession(store, 'ada', 'brief', 1000)
  moveClock(t, 2)
  store.revokeToken('ada', 'brief too', 1000)
  t.throws(() => startSession(store, 'ada', 's1'), /full/)
  moveClock(t, 2)
  startSession(store, 'ada', 's1', 1000)
  moveClock(t, 2)
  store.endAll('bob', undefined)
  t.equal(isSessionRevoked(store, 'ada', 'lasting'), false)
})

t.test('an ended session keeps its place until its last token is dead', async (t) => {
  const store = memoryStore({ maxEntries: 1 })
  startSession(store, 'ada', 's1', 1000)
  store.endSession('ada', 's1')
  t.throws(() => startSession(store, 'ada', 's2'), /full/)
  moveClock(t, 2)
  t.doesNotThrow(() => startSession(store, 'ada', 's2'))
})

t.test('a revocation that has to make room for itself holds for an identity that is new', async (t) => {
  const store = memoryStore({ maxEntries: 1 })
  startSession(store, 'bob', 's1', 1000)
  moveClock(t, 2)
  store.revokeToken('ada', 't1', 1000)
  t.equal(isTokenRevoked(store, 'ada', 't1'), true)
  moveClock(t, 2)
  const before = store.epochOf('cy')
  store.endAll('cy', undefined)
  t.ok(store.epochOf('cy') as number > (before as number))
})

t.test('a consumed token takes a place, and one that is consumed again no second one', async (t) => {
  const store = memoryStore({ maxEntries: 1 })
  t.equal(store.consumeToken('ada', 't1', 1000), true)
  t.equal(store.consumeToken('ada', 't1', 1000), false)
  t.throws(() => store.consumeToken('ada', 't2', 1000), /full/)
  moveClock(t, 2)
  t.equal(store.consumeToken('ada', 't1', 1000), true)
})

t.test('endAll leaves the places of sessions for the next ones', async (t) => {
  const store = memoryStore({ maxEntries: 3 })
  startSession(store, 'ada', 's1', 1000)
  startSession(store, 'ada', 's2', 1000)
  t.same((store.endAll('ada', undefined) as string[]).sort(), ['s1', 's2'])
  moveClock(t, 2)
  startSession(store, 'ada', 's3')
  startSession(store, 'ada', 's4')
  t.same(store.endAll('ada', 's4'), ['s3'])
})

t.test('a mark of endAll makes room when every token that is older than a year must be dead, and not before', async (t) => {
  const DAY = 24 * HOUR
  const store = memoryStore({ maxEntries: 2 })
  store.endAll('ada', undefined)
  store.endAll('bob', undefined)
  const isOldRevoked = (identity: string): unknown => store.isRevoked({ identity, sessionId: undefined, tokenId: undefined, epoch: undefined, issuedAt: 0 })
  moveClock(t, 380 * DAY / 1000)
  t.throws(() => store.endAll('cy', undefined), /full/)
  t.same(['ada', 'bob', 'cy'].map(isOldRevoked), [true, true, false])
  store.endAll('bob', undefined)
  moveClock(t, 21 * DAY / 1000)
  store.endAll('cy', undefined)
  t.same(['ada', 'bob', 'cy'].map(isOldRevoked), [false, true, true])
  t.throws(() => store.endAll('ada', undefined), /full/)
})

t.test('a mark of endAll stays as long as a token lives that was announced, or has come', async (t) => {
  const DAY = 24 * HOUR
  const announcements: ((store: TokenStore) => unknown)[] = [
    (store) => store.epochOf('ada', 1000 * DAY),
    (store) => store.isRevoked({ identity: 'ada', sessionId: undefined, tokenId: undefined, epoch: undefined, issuedAt: 0, keepEpoch: 1000 * DAY }),
  ]
  for (const announce of announcements) {
    const store = memoryStore({ maxEntries: 1 })
    announce(store)
    store.endAll('ada', undefined)
    store.epochOf('ada', DAY)
    moveClock(t, 999 * DAY / 1000)
    t.throws(() => store.endAll('bob', undefined), /full/)
    t.equal(store.isRevoked({ identity: 'ada', sessionId: undefined, tokenId: undefined, epoch: 0, issuedAt: 0 }), true)
    moveClock(t, DAY / 1000)
    t.doesNotThrow(() => store.endAll('bob', undefined))
  }
})

t.test('in production it warns that it forgets and is not shared', async (t) => {
  setEnvironment(t, 'production')
  const warned = once(process, 'warning')
  memoryStore()
  const [warning] = await warned
  t.match(warning, { code: 'FST_JWT_EXT_MEMORY_STORE', message: /redisStore/ })
})

t.test('elsewhere it does not warn', async (t) => {
  setEnvironment(t, 'development')
  const warnings: Error[] = []
  const listener = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))
  memoryStore()
  await turn()
  t.same(warnings, [])
})
