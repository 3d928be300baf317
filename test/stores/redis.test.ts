import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { RESP_TYPES } from 'redis'
import t, { type Test } from 'tap'
import { JwtUsageError, redisStore, type RedisClient, type TokenStore } from '../../index.js'
import { storeSuite } from '../../lib/store-suite.js'
import { moveClock } from '../support/clock.js'
import {
  connectIoredis, connectIoredisCluster, connectNodeRedis, connectNodeRedisCluster, countCommands, skipWithoutRedis, startCluster,
  startRedis, type RedisServer
} from '../support/redis.js'

const skip = skipWithoutRedis()
const DAY = 24 * 60 * 60 * 1000

/** Every kind of key that the store makes, of one identity. */
async function makeEveryKey (store: TokenStore, identity: string): Promise<void> {
  for (const sessionId of ['s1', 's2', 's3']) {
    await store.startSession({ identity, sessionId, label: 'a phone', lifetime: 90 * DAY, keepFor: 30 * DAY })
  }
  await store.rotate({ identity, sessionId: 's1', generation: 1, grace: 1000, keepFor: 30 * DAY })
  await store.rotate({ identity, sessionId: 's1', generation: 1, grace: 1000, keepFor: 30 * DAY })
  await store.rotate({ identity, sessionId: 's1', generation: 9, grace: 1000, keepFor: 30 * DAY })
  await store.rotate({ identity, sessionId: 's1', generation: 1, grace: 0, keepFor: 30 * DAY })
  await store.endSession(identity, 's2')
  await store.revokeToken(identity, 't1', DAY)
  await store.consumeToken(identity, 't3', DAY)
  await store.endAll(identity, 's3')
  await store.listSessions(identity)
  await store.isRevoked({ identity, sessionId: 's3', tokenId: 't2', epoch: undefined, issuedAt: 0 })
  await store.isRevoked({ identity, sessionId: undefined, tokenId: 't2', epoch: 1, issuedAt: 0 })
  await store.epochOf(identity)
}

async function keysOf (servers: readonly RedisServer[]): Promise<{ key: string, ttl: number }[]> {
  const found: { key: string, ttl: number }[] = []
  for (const { admin } of servers) {
    for (const key of await admin.keys('*')) found.push({ key, ttl: await admin.pttl(key) })
  }
  return found
}

const query = (identity: string, sessionId: string | undefined, tokenId?: string) => ({ identity, sessionId, tokenId, epoch: undefined, issuedAt: Date.now() })

async function warningsDuring (t: Test, work: () => Promise<unknown>): Promise<(Error & { code?: string })[]> {
  const warnings: (Error & { code?: string })[] = []
  const listener = (warning: Error & { code?: string }): void => { if (warning.code === 'FST_JWT_EXT_EVICTION') warnings.push(warning) }
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))
  await work()
  await sleep(100)
  return warnings
}

t.test('the suite of behaviour on one server', { skip }, async (t) => {
  const server = await startRedis(t)
  const clients: [string, RedisClient][] = [['ioredis', await connectIoredis(t, server)], ['node-redis', await connectNodeRedis(t, server)]]
  for (const [kind, client] of clients) {
    t.test(kind, async (t) => {
      const store = redisStore(client)
      for (const { name, run } of storeSuite) t.test(name, () => run(store))
    })
  }
})

t.test('the suite of behaviour on a cluster of three masters', { skip }, async (t) => {
  const servers = await startCluster(t)
  const clients: [string, RedisClient][] = [
    ['ioredis', await connectIoredisCluster(t, servers)],
    ['node-redis', await connectNodeRedisCluster(t, servers)],
  ]
  for (const [kind, client] of clients) {
    t.test(kind, async (t) => {
      const store = redisStore(client)
      for (const { name, run } of storeSuite) t.test(name, () => run(store))
    })
  }

  t.test('the identities are spread over the masters, each with a time to live on every key', async (t) => {
    const store = redisStore(clients[0]![1])
    for (let i = 0; i < 30; i++) await makeEveryKey(store, `user ${i}`)
    for (const { admin } of servers) t.ok((await admin.keys('*')).length > 0)
    for (const { key, ttl } of await keysOf(servers)) t.ok(ttl > 0, `${key} has ${ttl}`)
  })
})

t.test('every key has a time to live, one hash tag, and names nobody', { skip }, async (t) => {
  const server = await startRedis(t)
  const identity = 'ada@example.com'
  await makeEveryKey(redisStore(await connectIoredis(t, server)), identity)
  const keys = await keysOf([server])
  t.same(new Set(keys.map(({ key }) => key.replace(/\{.*\}/, '{}').replace(/s\d|t\d/, '*'))), new Set([
    'jwt:{}:session:*', 'jwt:{}:sessions', 'jwt:{}:epoch', 'jwt:{}:token:*',
  ]))
  t.equal(new Set(keys.map(({ key }) => /\{(.+?)\}/.exec(key)?.[1])).size, 1)
  for (const { key, ttl } of keys) {
    t.ok(ttl > 0, `${key} has ${ttl}`)
    t.ok(ttl <= (key.endsWith(':epoch') ? 400 : 30) * DAY, `${key} has ${ttl}`)
    for (const text of [identity, 'ada', 'example']) t.notOk(key.includes(text), key)
  }
})

t.test('no key outlives the absolute end of its session', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  await store.startSession({ identity: 'ada', sessionId: 's1', label: undefined, lifetime: 5000, keepFor: DAY })
  const rotation = { identity: 'ada', sessionId: 's1', generation: 1, grace: 0, keepFor: DAY }
  for (const outcome of ['rotated', 'reuse']) {
    t.match(await store.rotate(rotation), { outcome })
    const keys = await keysOf([server])
    t.not(keys.length, 0)
    for (const { key, ttl } of keys) t.ok(ttl > 0 && ttl <= 5000, `${key} has ${ttl}`)
  }
})

t.test('nothing is left when the last token is dead', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  for (const sessionId of ['s1', 's2', 's3']) {
    await store.startSession({ identity: 'ada', sessionId, label: 'a', lifetime: 200, keepFor: 150 })
  }
  await store.endSession('ada', 's1')
  await store.rotate({ identity: 'ada', sessionId: 's2', generation: 1, grace: 0, keepFor: 150 })
  await store.rotate({ identity: 'ada', sessionId: 's2', generation: 1, grace: 0, keepFor: 150 })
  await store.revokeToken('ada', 't1', 150)
  t.not((await keysOf([server])).length, 0)
  await sleep(300)
  t.same(await keysOf([server]), [])
})

t.test('the mark of endAll lives for 400 days, or as long as a token that was announced or has come', { skip }, async (t) => {
  const server = await startRedis(t)
  const client = await connectIoredis(t, server)
  const foreign = { identity: 'ada', sessionId: undefined, tokenId: 't1', epoch: undefined, issuedAt: 0 }
  const announcements: [days: number, announce: (store: TokenStore) => unknown][] = [
    [400, () => {}],
    [400, (store) => store.epochOf('ada', 370.5 * DAY + 0.5)],
    [1000, (store) => store.epochOf('ada', 1000 * DAY)],
    [1000, (store) => store.isRevoked({ ...foreign, keepEpoch: 1000 * DAY })],
    [36500, (store) => store.epochOf('ada', 1e20)],
  ]
  for (const [days, announce] of announcements) {
    for (const end of ['endAll', 'reuse'] as const) {
      await server.admin.flushall()
      const store = redisStore(client)
      await announce(store)
      if (end === 'endAll') {
        await store.endAll('ada', undefined)
      } else {
        await store.startSession({ identity: 'ada', sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY })
        for (let i = 0; i < 2; i++) await store.rotate({ identity: 'ada', sessionId: 's1', generation: 1, grace: 0, keepFor: DAY, endAllOnReuse: true })
      }
      await store.epochOf('ada', DAY)
      await store.endAll('ada', undefined)
      const [key] = await server.admin.keys('*:epoch')
      const ttl = await server.admin.pttl(key!)
      t.ok(ttl > days * DAY - 60_000 && ttl <= days * DAY, `${end}: ${ttl / DAY} days`)
      t.equal(await store.isRevoked({ ...foreign, keepEpoch: 2000 * DAY }), true)
      t.ok(await server.admin.pttl(key!) > 1999 * DAY, 'a revoked token that comes keeps its mark')
    }
  }
})

t.test('the key of a session is gone when the session is over, and not later', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  await store.startSession({ identity: 'ada', sessionId: 's', label: undefined, lifetime: DAY, keepFor: 2 * DAY })
  const [key] = await server.admin.keys('*:session:s')
  async function times (): Promise<[end: number, gone: number]> {
    const { e: end } = JSON.parse((await server.admin.get(key!))!) as { e: number }
    return [end, Number(await server.admin.call('PEXPIRETIME', key!))]
  }
  const [end, gone] = await times()
  t.equal(gone, end - 1)
  for (const generation of [1, 2, 3]) {
    await store.rotate({ identity: 'ada', sessionId: 's', generation, grace: 0, keepFor: 2 * DAY })
    t.strictSame(await times(), [end, end - 1], 'after a rotation, too')
  }
})

t.test('a session that ends by itself is no longer named in the list of its identity', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  await store.startSession({ identity: 'ada', sessionId: 'brief', label: undefined, lifetime: 60, keepFor: 60 })
  await store.startSession({ identity: 'ada', sessionId: 'lasting', label: undefined, lifetime: DAY, keepFor: DAY })
  const index = (await server.admin.keys('*:sessions'))[0]!
  t.same((await server.admin.zrange(index, 0, -1)).sort(), ['brief', 'lasting'])
  await sleep(100)
  t.same((await store.listSessions('ada')).map(({ sessionId }) => sessionId), ['lasting'])
  t.same(await server.admin.zrange(index, 0, -1), ['lasting'])
})

t.test('the list of an identity that keeps logging in names no session that is over', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  const session = { identity: 'ada', label: undefined, keepFor: DAY }
  await store.startSession({ ...session, sessionId: 'lasting', lifetime: DAY })
  for (const sessionId of ['one', 'two', 'three']) await store.startSession({ ...session, sessionId, lifetime: 60 })
  await sleep(100)
  const index = (await server.admin.keys('*:sessions'))[0]!
  await store.startSession({ ...session, sessionId: 'next', lifetime: 60 })
  t.same((await server.admin.zrange(index, 0, -1)).sort(), ['lasting', 'next'])
  await sleep(100)
  await store.rotate({ ...session, sessionId: 'lasting', generation: 1, grace: 0 })
  t.same(await server.admin.zrange(index, 0, -1), ['lasting'], 'a refresh forgets them as well')
})

t.test('a session whose key was lost is dropped from the list', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  for (const sessionId of ['lost', 'kept', 'lost too']) await store.startSession({ identity: 'ada', sessionId, label: undefined, lifetime: DAY, keepFor: DAY })
  for (const key of await server.admin.keys('*:lost')) await server.admin.del(key)
  t.same((await store.listSessions('ada')).map(({ sessionId }) => sessionId).sort(), ['kept', 'lost too'])
})

t.test('a log-out everywhere reaches sessions that the list has lost', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  for (const sessionId of ['s1', 's2']) await store.startSession({ identity: 'ada', sessionId, label: undefined, lifetime: DAY, keepFor: DAY })
  await server.admin.del((await server.admin.keys('*:sessions'))[0]!)
  await store.endAll('ada', 's2')
  t.equal(await store.isRevoked(query('ada', 's1')), true)
  t.same(await store.rotate({ identity: 'ada', sessionId: 's1', generation: 1, grace: 1000, keepFor: DAY }), { outcome: 'refused' })
  t.equal(await store.endSession('ada', 's1'), false)
  t.equal(await store.isRevoked(query('ada', 's2')), false, 'and spares the one that it is to spare')
  t.same((await store.listSessions('ada')).map(({ sessionId }) => sessionId), ['s2'])
  t.ok(await server.admin.pttl((await server.admin.keys('*:sessions'))[0]!) > DAY / 2)
})

t.test('a session that one log-out has ended is not brought back by the next one that would spare it', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  for (const sessionId of ['s1', 's2']) await store.startSession({ identity: 'ada', sessionId, label: undefined, lifetime: DAY, keepFor: DAY })
  t.same(await store.endAll('ada', 's2'), ['s1'])
  t.same(await store.endAll('ada', 's1'), ['s2'])
  for (const sessionId of ['s1', 's2']) t.equal(await store.isRevoked(query('ada', sessionId)), true)
  t.same(await store.listSessions('ada'), [])
})

t.test('a log-out everywhere costs the server the same however many sessions there are', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  const end = async (count: number): Promise<Record<string, number>> => {
    await Promise.all(Array.from({ length: count }, (_, i) =>
      store.startSession({ identity: 'ada', sessionId: `s${i}`, label: undefined, lifetime: DAY, keepFor: DAY })))
    return await countCommands(server, async () => { t.equal((await store.endAll('ada', 's0')).length, count - 1) })
  }
  // The first one gives the server the script.
  await end(2)
  t.same(await end(500), await end(2))
})

t.test('identities that are no text in UTF-8 do not share what is kept', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  const identities = ['\ud800', '\udfff', '\ufffd', 'a\ud800']
  for (const identity of identities) await store.startSession({ identity, sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY })
  await store.endAll('\ud800', undefined)
  const revoked = await Promise.all(identities.map((identity) => store.isRevoked(query(identity, 's1'))))
  t.same(revoked, [true, false, false, false])
})

t.test('only so many commands wait for a server that does not answer', { skip }, async (t) => {
  const server = await startRedis(t)
  for (const client of [await connectIoredis(t, server), await connectNodeRedis(t, server)]) {
    const store = redisStore(client)
    await store.startSession({ identity: 'ada', sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY })
    server.pause()
    const waiting = Array.from({ length: 10_000 }, () => store.isRevoked(query('ada', 's1')))
    // The first question also asks how the server evicts.
    await t.rejects(async () => await store.isRevoked(query('ada', 's1')), /commands wait for the Redis server already/)
    server.resume()
    const answers = await Promise.allSettled(waiting)
    t.ok(answers.filter(({ status }) => status === 'fulfilled').length >= 9_999)
    t.equal(await store.isRevoked(query('ada', 's1')), false, 'and then it goes on')
  }
})

t.test('a session that ended is left out of the list, though the list names it', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server))
  await store.startSession({ identity: 'ada', sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY })
  await store.endSession('ada', 's1')
  await server.admin.zadd((await server.admin.keys('*:s1'))[0]!.replace(/session:s1$/, 'sessions'), Date.now() + DAY, 's1')
  t.same(await store.listSessions('ada'), [])
})

t.test('prefix is what every key begins with', { skip }, async (t) => {
  const server = await startRedis(t)
  const client = await connectIoredis(t, server)
  await makeEveryKey(redisStore(client, { prefix: 'shop:auth:' }), 'ada')
  const keys = await keysOf([server])
  t.not(keys.length, 0)
  for (const { key } of keys) t.match(key, /^shop:auth:\{/)
  const stores = [redisStore(client, { prefix: '' }), redisStore(client, { prefix: 'other:' })] as const
  await stores[0].revokeToken('ada', 't9', DAY)
  t.equal(await stores[0].isRevoked(query('ada', undefined, 't9')), true)
  t.equal(await stores[1].isRevoked(query('ada', undefined, 't9')), false)
})

t.test('a prefix that is no text, or would be a hash tag of its own, is refused', async (t) => {
  const client = new Proxy({}, { has: () => true, get: () => () => {} }) as RedisClient
  for (const prefix of ['{', '}', '{jwt}:', 5, null]) {
    t.throws(() => redisStore(client, { prefix: prefix as string }), JwtUsageError, String(prefix))
  }
})

t.test('an option that there is not is refused', async (t) => {
  const client = new Proxy({}, { has: () => true, get: () => () => {} }) as RedisClient
  t.throws(() => redisStore(client, { keyPrefix: 'shop:' } as never), { message: "Unknown option 'keyPrefix' of redisStore; did you mean 'prefix'?" })
  t.throws(() => redisStore(client, 'shop:' as never), JwtUsageError)
})

t.test('what is no client is refused', async (t) => {
  const wrong: unknown[] = [
    undefined, null, 'redis://localhost', 5, {}, [], () => {}, { get () {}, set () {} }, { evalsha: true }, { evalSha: 'yes' },
  ]
  for (const client of wrong) t.throws(() => redisStore(client as RedisClient), JwtUsageError)
  t.throws(() => redisStore({} as unknown as RedisClient), { message: /ioredis.*node-redis/, code: 'FST_JWT_EXT_USAGE' })
})

t.test('the key space is never searched', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectNodeRedis(t, server))
  const counts = await countCommands(server, () => makeEveryKey(store, 'ada'))
  for (const name of ['scan', 'keys', 'sscan', 'hscan', 'zscan', 'randomkey', 'sort', 'flushdb']) t.notOk(name in counts, name)
  t.ok('evalsha' in counts && 'mget' in counts)
})

t.test('each question is one command', { skip }, async (t) => {
  const server = await startRedis(t)
  for (const client of [await connectIoredis(t, server), await connectNodeRedis(t, server)]) {
    const store = redisStore(client)
    await makeEveryKey(store, 'ada')
    await store.startSession({ identity: 'bob', sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY })
    t.same(await countCommands(server, async () => await store.isRevoked(query('bob', 's1', 't1'))), { mget: 1 })
    t.same(await countCommands(server, async () => await store.isRevoked(query('bob', undefined, 't1'))), { mget: 1 })
    t.same(await countCommands(server, async () => await store.epochOf('bob')), { mget: 1 })
    t.same(await countCommands(server, async () => { await store.revokeToken('bob', 't2', DAY) }), { set: 1 })
    for (const id of ['t3', 't3']) t.same(await countCommands(server, async () => await store.consumeToken('bob', id, DAY)), { set: 1 })
    await store.epochOf('bob', DAY)
    const scripted: (() => unknown)[] = [
      () => store.rotate({ identity: 'bob', sessionId: 's1', generation: 1, grace: 0, keepFor: DAY }),
      () => store.listSessions('bob'),
      () => store.epochOf('bob', DAY),
      () => store.isRevoked({ ...query('bob', undefined, 't1'), keepEpoch: DAY }),
      () => store.endSession('bob', 's1'),
      () => store.endAll('bob', undefined),
    ]
    for (const ask of scripted) {
      const { evalsha, eval: evaluated } = await countCommands(server, async () => await ask())
      t.same({ evalsha, evaluated }, { evalsha: 1, evaluated: undefined })
    }
  }
})

t.test('a server that has forgotten the scripts is given them again', { skip }, async (t) => {
  const server = await startRedis(t)
  for (const client of [await connectIoredis(t, server), await connectNodeRedis(t, server)]) {
    const store = redisStore(client)
    await server.admin.script('FLUSH')
    await store.startSession({ identity: 'ada', sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY })
    await server.admin.script('FLUSH')
    t.match(await store.rotate({ identity: 'ada', sessionId: 's1', generation: 1, grace: 0, keepFor: DAY }), { outcome: 'rotated', generation: 2 })
    const { evalsha, eval: evaluated } = await countCommands(server, async () => {
      t.match(await store.rotate({ identity: 'ada', sessionId: 's1', generation: 2, grace: 0, keepFor: DAY }), { outcome: 'rotated', generation: 3 })
    })
    t.same({ evalsha, evaluated }, { evalsha: 1, evaluated: undefined })
    await store.endSession('ada', 's1')
  }
})

t.test('an error of the server that is not about scripts comes through', { skip }, async (t) => {
  const server = await startRedis(t)
  for (const client of [await connectIoredis(t, server), await connectNodeRedis(t, server)]) {
    const store = redisStore(client)
    await store.startSession({ identity: 'ada', sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY })
    for (const key of await server.admin.keys('*:s1')) {
      await server.admin.del(key)
      await server.admin.lpush(key, 'no session')
    }
    await t.rejects(async () => await store.rotate({ identity: 'ada', sessionId: 's1', generation: 1, grace: 0, keepFor: DAY }), /WRONGTYPE/)
    await server.admin.flushall()
  }
})

t.test('a rotation and a consumption do not wait for a connection, since their answer would come when nobody awaits it', { skip }, async (t) => {
  const server = await startRedis(t)
  for (const client of [await connectIoredis(t, server), await connectNodeRedis(t, server)]) {
    const store = redisStore(client)
    await store.startSession({ identity: 'ada', sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY })
    await server.kill()
    await sleep(50)
    await t.rejects(async () => await store.rotate({ identity: 'ada', sessionId: 's1', generation: 1, grace: 0, keepFor: DAY }), /not connected/)
    await t.rejects(async () => await store.consumeToken('ada', 't1', DAY), /not connected/)
    await server.restart()
  }
})

const PATIENT = 20_000

/** A session that is alive, and a way to refresh it by its newest token, or not. */
async function startRotating (t: Test, store: TokenStore, timeout: number) {
  await store.startSession({ identity: 'ada', sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY, timeout: PATIENT })
  let generation = 1
  return {
    async rotate (limit = timeout) {
      const result = await store.rotate({ identity: 'ada', sessionId: 's1', generation, grace: 0, keepFor: DAY, timeout: limit })
      if (result.outcome !== 'rotated') throw new Error(result.outcome)
      t.equal(result.generation, ++generation)
    },
  }
}

t.test('what runs after its deadline changes nothing', { skip }, async (t) => {
  const server = await startRedis(t)
  for (const client of [await connectIoredis(t, server), await connectNodeRedis(t, server)]) {
    await server.admin.flushall()
    const store = redisStore(client)
    const { rotate } = await startRotating(t, store, PATIENT)
    await rotate()
    const before = await server.admin.get((await server.admin.keys('*:s1'))[0]!)
    const late = { identity: 'ada', label: undefined, lifetime: DAY, keepFor: DAY, timeout: 100 }
    const counts = await countCommands(server, async () => {
      server.pause()
      const attempts = [
        store.rotate({ identity: 'ada', sessionId: 's1', generation: 2, grace: 0, keepFor: DAY, timeout: 100 }),
        store.startSession({ ...late, sessionId: 's2' }),
        store.endAll('ada', undefined, 100),
      ]
      await sleep(300)
      server.resume()
      for (const attempt of attempts) await t.rejects(async () => await attempt, /after its deadline/)
    })
    t.equal(counts['evalsha'], 3, 'it is not tried again when nobody waits')
    t.equal(await server.admin.get((await server.admin.keys('*:s1'))[0]!), before)
    t.same((await store.listSessions('ada')).map(({ sessionId }) => sessionId), ['s1'])
    await rotate()
  }
})

t.test('a store that knows nothing of the server’s clock learns it first', { skip }, async (t) => {
  const server = await startRedis(t)
  const client = await connectIoredis(t, server)
  const { rotate } = await startRotating(t, redisStore(client), PATIENT)
  await rotate()
  const other = redisStore(client)
  const rotateThere = (generation: number) => other.rotate({ identity: 'ada', sessionId: 's1', generation, grace: 0, keepFor: DAY, timeout: PATIENT })
  const first = await countCommands(server, async () => { t.match(await rotateThere(2), { outcome: 'rotated' }) })
  const next = await countCommands(server, async () => { t.match(await rotateThere(3), { outcome: 'rotated' }) })
  t.same([first['evalsha'], next['evalsha']], [2, 1])
})

t.test('a clock that jumps makes no healthy server refuse, nor a late one accept for long', { skip }, async (t) => {
  const server = await startRedis(t)
  const { now } = performance
  t.teardown(() => { performance.now = now })
  for (const client of [await connectIoredis(t, server), await connectNodeRedis(t, server)]) {
    await server.admin.flushall()
    const { rotate } = await startRotating(t, redisStore(client), PATIENT)
    for (const [jump, expected] of [[-3_600_000, 2], [-60_000, 1], [0, 1], [3_600_000, 1], [0, 2]] as const) {
      performance.now = () => now.call(performance) + jump
      const counts = await countCommands(server, async () => { await rotate() })
      t.equal(counts['evalsha'], expected, `a jump to ${jump}`)
      const again = await countCommands(server, async () => { await rotate() })
      t.equal(again['evalsha'], 1, `after a jump to ${jump}`)
      server.pause()
      const late = rotate(100)
      await sleep(300)
      server.resume()
      await t.rejects(late, /after its deadline/)
    }
  }
})

t.test('a server that refuses twice is not asked a third time', { skip }, async (t) => {
  const server = await startRedis(t)
  const client = wrap(await connectNodeRedis(t, server))
  const { evalSha } = client
  client.evalSha = (sha, { keys, arguments: [, ...rest] }) => evalSha(sha, { keys, arguments: ['0', ...rest] })
  const honest = redisStore(await connectIoredis(t, server))
  await honest.startSession({ identity: 'ada', sessionId: 's1', label: undefined, lifetime: DAY, keepFor: DAY })
  await t.rejects(async () => await redisStore(client).startSession({
    identity: 'ada', sessionId: 's2', label: undefined, lifetime: DAY, keepFor: DAY, timeout: PATIENT,
  }), /after its deadline/)
  t.same((await honest.listSessions('ada')).map(({ sessionId }) => sessionId), ['s1'])
})

t.test('a client that connects with its first command may be given', { skip }, async (t) => {
  const server = await startRedis(t)
  const client = await connectIoredis(t, server)
  const lazy = client.duplicate({ lazyConnect: true })
  t.teardown(() => { lazy.disconnect() })
  t.equal(lazy.status, 'wait')
  t.same(await redisStore(lazy).rotate({ identity: 'ada', sessionId: 's1', generation: 1, grace: 0, keepFor: DAY }), { outcome: 'refused' })
})

t.test('a client that puts a prefix of its own before each key serves as well', { skip }, async (t) => {
  const server = await startRedis(t)
  const store = redisStore(await connectIoredis(t, server, { keyPrefix: 'shop:' }))
  for (const { name, run } of storeSuite) t.test(name, () => run(store))
})

t.test('a client that gives Buffers for text serves as well', { skip }, async (t) => {
  const client = await connectNodeRedis(t, await startRedis(t)) as unknown as { withTypeMapping (map: object): RedisClient }
  const store = redisStore(client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }))
  for (const { name, run } of storeSuite) t.test(name, () => run(store))
})

t.test('sessions that begin one after the other are listed the newest first, within a millisecond as well', { skip }, async (t) => {
  const server = await startRedis(t)
  for (const client of [await connectIoredis(t, server), await connectNodeRedis(t, server)]) {
    await server.admin.flushall()
    const store = redisStore(client)
    const start = (identity: string, sessionId: string) => store.startSession({ identity, sessionId, label: undefined, lifetime: DAY, keepFor: DAY })
    // The first one gives the server the script: those of which it is asked for twice would be late.
    await start('bob', 's1')
    const ids = Array.from({ length: 200 }, () => randomUUID())
    await Promise.all(ids.map((sessionId) => start('ada', sessionId)))
    t.same((await store.listSessions('ada')).map(({ sessionId }) => sessionId), ids.reverse())
  }
})

function wrap (client: Awaited<ReturnType<typeof connectNodeRedis>>) {
  return {
    mGet: (keys: string[]) => client.mGet(keys),
    set: (key: string, value: string, options: { PX: number, condition?: 'NX' }) => client.set(key, value, options),
    evalSha: (sha: string, options: { keys: string[], arguments: string[] }) => client.evalSha(sha, options),
    eval: (source: string, options: { keys: string[], arguments: string[] }) => client.eval(source, options),
  }
}

t.test('a server that may evict keys is warned of once', { skip }, async (t) => {
  const server = await startRedis(t, ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'])
  const clients: [string, RedisClient][] = [['ioredis', await connectIoredis(t, server)], ['node-redis', await connectNodeRedis(t, server)]]
  for (const [kind, client] of clients) {
    const store = redisStore(client)
    const warnings = await warningsDuring(t, async () => {
      for (let i = 0; i < 5; i++) {
        await store.startSession({ identity: 'ada', sessionId: `${kind}${i}`, label: undefined, lifetime: DAY, keepFor: DAY })
        await store.isRevoked(query('ada', `${kind}${i}`))
      }
    })
    t.equal(warnings.length, 1, kind)
    t.match(warnings[0]?.message, /allkeys-lru.*noeviction/)
  }
})

t.test('nodes of a cluster that may evict keys are warned of once', { skip }, async (t) => {
  const servers = await startCluster(t)
  for (const { admin } of servers) await admin.config('SET', 'maxmemory-policy', 'volatile-ttl')
  const clients: [string, RedisClient][] = [
    ['ioredis', await connectIoredisCluster(t, servers)], ['node-redis', await connectNodeRedisCluster(t, servers)],
  ]
  for (const [kind, client] of clients) {
    const store = redisStore(client)
    const warnings = await warningsDuring(t, async () => {
      for (let i = 0; i < 5; i++) await store.isRevoked(query(`user ${i}`, 's1'))
    })
    t.equal(warnings.length, 1, kind)
  }
})

t.test('one node of a cluster that may evict keys is warned of, whichever it is', { skip }, async (t) => {
  const servers = await startCluster(t)
  const clients: [string, RedisClient][] = [
    ['ioredis', await connectIoredisCluster(t, servers)], ['node-redis', await connectNodeRedisCluster(t, servers)],
  ]
  for (const [kind, client] of clients) {
    const ask = (store: TokenStore) => warningsDuring(t, async () => await store.isRevoked(query('ada', 's1')))
    t.same(await ask(redisStore(client)), [], kind)
    for (const [i, { admin }] of servers.entries()) {
      await admin.config('SET', 'maxmemory-policy', 'allkeys-lfu')
      t.match(await ask(redisStore(client)), [{ message: /allkeys-lfu/ }], `${kind}, node ${i}`)
      await admin.config('SET', 'maxmemory-policy', 'noeviction')
    }
  }
})

t.test('nodes of a cluster that do not say, or are not known yet, are asked again', { skip }, async (t) => {
  const servers = await startCluster(t)
  await servers[1]!.admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
  const client = await connectNodeRedisCluster(t, servers)
  const store = redisStore(client)
  const ask = (store: TokenStore) => warningsDuring(t, async () => { t.equal(await store.isRevoked(query('ada', 's1')), true) })
  await servers[1]!.admin.call('ACL', 'SETUSER', 'default', '-info')
  t.same(await ask(store), [])
  await servers[1]!.admin.call('ACL', 'SETUSER', 'default', '+info')
  t.same(await ask(store), [], 'not with every question')
  moveClock(t, 61)
  t.equal((await ask(store)).length, 1)
  t.same(await ask(store), [])

  const known = await connectIoredisCluster(t, servers)
  const lazy = known.duplicate([], { lazyConnect: true })
  t.teardown(() => { lazy.disconnect() })
  const early = redisStore(lazy)
  t.same(await ask(early), [])
  moveClock(t, 61)
  t.equal((await ask(early)).length, 1)
})

t.test('a server that keeps all keys is not warned of', { skip }, async (t) => {
  const server = await startRedis(t, ['--maxmemory-policy', 'noeviction'])
  for (const client of [await connectIoredis(t, server), await connectNodeRedis(t, server)]) {
    t.same(await warningsDuring(t, async () => await redisStore(client).isRevoked(query('ada', 's1'))), [])
  }
})

t.test('a server that may not say whether it evicts is asked again, and serves all the same', { skip }, async (t) => {
  const server = await startRedis(t, ['--maxmemory-policy', 'allkeys-random'])
  await server.admin.call('ACL', 'SETUSER', 'default', '-info')
  const store = redisStore(await connectIoredis(t, server, { enableReadyCheck: false }))
  const silent = await warningsDuring(t, async () => {
    t.equal(await store.isRevoked(query('ada', 's1')), true)
  })
  t.same(silent, [])
  await server.admin.call('ACL', 'SETUSER', 'default', '+info')
  moveClock(t, 61)
  t.equal((await warningsDuring(t, async () => await store.isRevoked(query('ada', 's1')))).length, 1)
})

t.test('a client that cannot ask the server for its policy serves all the same', { skip }, async (t) => {
  const server = await startRedis(t, ['--maxmemory-policy', 'allkeys-lru'])
  const store = redisStore(wrap(await connectNodeRedis(t, server)))
  t.same(await warningsDuring(t, async () => {
    t.equal(await store.isRevoked(query('ada', 's1')), true)
  }), [])
})
