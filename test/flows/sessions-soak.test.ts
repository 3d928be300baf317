import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { redisStore, type JwtPayload, type TokenPair } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { connectIoredis, connectNodeRedis, skipWithoutRedis, startRedis, type RedisServer } from '../support/redis.js'

// Longer in a continuous build, a few seconds at a desk.
const DURATION = process.env['CI'] === 'true' ? 60_000 : 8_000
const SEED = Number(process.env['SOAK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

const ACTORS = 10
const MOST_SESSIONS = 12
const GRACE = 2
const LIMIT = 0.5
// What a busy machine may add to the limit.
const SLACK = 3000

type Random = () => number

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function seeded (seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function pick<T> (random: Random, items: readonly T[]): T {
  return items[Math.floor(random() * items.length)]!
}

function generationOf (pair: TokenPair): number {
  const claims = JSON.parse(Buffer.from(pair.refreshToken.split('.')[1]!, 'base64url').toString()) as JwtPayload
  return claims['gen'] as number
}

async function buildSite (t: Test, client: Parameters<typeof redisStore>[0]): Promise<FastifyInstance> {
  const app = await buildApp(t, {
    secretKey: SECRET, store: redisStore(client), storeTimeout: LIMIT, refreshGrace: GRACE, sessionLifetime: '10m', refreshTokenExpires: '5m',
  })
  app.post<{ Body: { user: string } }>('/login', (request) => app.createTokenPair(request.body.user))
  app.get('/page', { preHandler: app.jwtRequired() }, async () => ({}))
  app.post('/refresh', { preHandler: app.jwtRequired({ refresh: true }) }, (request) => request.refreshTokens())
  app.post('/logout', { preHandler: app.jwtRequired({ verifyType: false }) }, async (request) => {
    await request.revokeJwt()
    return {}
  })
  app.post<{ Querystring: { spare?: string } }>('/logout-all', { preHandler: app.jwtRequired() }, async (request) => {
    await app.revokeAllTokens(request.jwtIdentity, { exceptSession: request.query.spare })
    return {}
  })
  return app
}

/** What the history of a session allows. */
interface Known {
  /** The newest pair that a client got. */
  pair: TokenPair
  generation: number
  /** Refresh tokens that were used, the last one at the end. */
  used: string[]
  /** The server gave the last successor after the first of these times and before the second. */
  refreshAskedAt: number
  refreshedAt: number
  /**
   * `alive`: it must work while the server remembers it. `dead`: it must never work again. `unsure`: something failed on
   * the way, so that it may be either, but once refused it is dead.
   */
  state: 'alive' | 'dead' | 'unsure'
  /** Which life of the server it began in. */
  life: number
}

/** The server, and how often it died. */
interface World {
  life: number
  isDown: boolean
  readonly apps: readonly FastifyInstance[]
  readonly problems: string[]
  readonly counts: Map<string, number>
}

interface Answer { status: number, pair: TokenPair }

/** One user with some sessions, who does one thing after the other. */
class Actor {
  readonly #sessions: Known[] = []
  constructor (readonly name: string, readonly world: World, readonly random: Random) {}

  #complain (what: string, session?: Known): void {
    const { state, generation, life } = session ?? {}
    this.world.problems.push(`${this.name}: ${what} ${JSON.stringify({ state, generation, life, now: this.world.life })}`)
  }

  async #send (method: 'GET' | 'POST', url: string, token?: string, body?: object): Promise<Answer> {
    const app = pick(this.random, this.world.apps)
    const started = performance.now()
    const response = await app.inject({
      method, url, ...(token !== undefined && { headers: bearer(token) }), ...(body !== undefined && { payload: body }),
    })
    const took = performance.now() - started
    const { statusCode: status } = response
    const key = `${url.split('?')[0]} ${status}`
    this.world.counts.set(key, (this.world.counts.get(key) ?? 0) + 1)
    if (![200, 401, 503].includes(status)) this.#complain(`${url} answered ${status} ${response.body}`)
    if (status === 503 && response.headers['retry-after'] !== '1') this.#complain(`${url} answered 503 without Retry-After`)
    if (took > 2 * LIMIT * 1000 + SLACK) this.#complain(`${url} took ${took} ms`)
    return { status, pair: response.json() }
  }

  /** Does something, and says whether the server was there and the same all the while. */
  async #undisturbed<T> (work: () => Promise<T>): Promise<{ result: T, isCalm: boolean }> {
    const { life, isDown } = this.world
    const result = await work()
    return { result, isCalm: !isDown && !this.world.isDown && life === this.world.life }
  }

  /** Whether the session must work, must not, or may do either. */
  #expectation (session: Known, isCalm: boolean): 'works' | 'refused' | 'either' {
    if (session.state === 'dead') return 'refused'
    if (!isCalm) return 'either'
    if (session.life < this.world.life) return 'refused'
    return session.state === 'alive' ? 'works' : 'either'
  }

  /** Answers to what was asked at once: each is judged by what the session was before, for they came in any order. */
  #judge (what: string, session: Known, answers: readonly Answer[], isCalm: boolean): void {
    const expected = this.#expectation(session, isCalm)
    const seen = new Set(answers.map(({ status }) => status))
    // A machine under load may be late without anything being down.
    const isLate = isCalm && seen.has(503)
    for (const status of seen) {
      if (expected === 'works' && status !== 200 && !isLate) this.#complain(`${what} answered ${status} and should work`, session)
      if (expected === 'refused' && status === 200) this.#complain(`${what} worked and should be refused`, session)
    }
    if (seen.has(401)) session.state = 'dead'
    else if (isLate && session.state === 'alive') session.state = 'unsure'
  }

  async step (): Promise<void> {
    const alive = this.#sessions.filter(({ state }) => state !== 'dead')
    if (this.#sessions.length > MOST_SESSIONS) this.#sessions.splice(this.#sessions.findIndex(({ state }) => state === 'dead'), 1)
    if (alive.length === 0 || (alive.length < MOST_SESSIONS && this.random() < 0.15)) return await this.#login()
    const session = pick(this.random, this.random() < 0.85 ? alive : this.#sessions)
    const chance = this.random()
    if (chance < 0.35) await this.#visit(session)
    else if (chance < 0.6) await this.#raceTabs(session, 1)
    else if (chance < 0.8) await this.#raceTabs(session, 2 + Math.floor(this.random() * 5))
    else if (chance < 0.88) await this.#logout(session)
    else if (chance < 0.93) await this.#replay(session)
    else if (chance < 0.96) await this.#steal(session)
    else await this.#logoutAll(session)
  }

  async #login (): Promise<void> {
    const { result: { status, pair }, isCalm } = await this.#undisturbed(() => this.#send('POST', '/login', undefined, { user: this.name }))
    if (status === 401) this.#complain('a login was refused')
    if (status !== 200) return
    this.#sessions.push({ pair, generation: 1, used: [], refreshAskedAt: 0, refreshedAt: 0, state: isCalm ? 'alive' : 'unsure', life: this.world.life })
  }

  async #visit (session: Known): Promise<void> {
    const { result, isCalm } = await this.#undisturbed(() => this.#send('GET', '/page', session.pair.accessToken))
    this.#judge('a page', session, [result], isCalm)
  }

  async #raceTabs (session: Known, tabs: number): Promise<void> {
    const token = session.pair.refreshToken
    const wasSure = session.state === 'alive'
    const askedAt = performance.now()
    const { result: answers, isCalm: isUndisturbed } = await this.#undisturbed(() =>
      Promise.all(Array.from({ length: tabs }, () => this.#send('POST', '/refresh', token))))
    const refreshedAt = performance.now()
    // A machine that stood still may have let the grace pass between the first and the last.
    const isCalm = isUndisturbed && refreshedAt - askedAt < (GRACE - 0.2) * 1000
    if (!isCalm && session.state === 'alive') session.state = 'unsure'
    this.#judge(`one of ${tabs} refreshes`, session, answers, isCalm)
    const won = answers.filter(({ status }) => status === 200)
    if (won.length === 0) return
    const generations = new Set(won.map(({ pair }) => generationOf(pair)))
    if (generations.size > 1) this.#complain(`${tabs} refreshes gave the generations ${[...generations].join()}`, session)
    const generation = generationOf(won[0]!.pair)
    if (wasSure && isCalm && generation !== session.generation + 1) this.#complain(`a refresh gave the generation ${generation}`, session)
    session.used.push(token)
    session.pair = pick(this.random, won).pair
    session.generation = generation
    session.refreshAskedAt = askedAt
    session.refreshedAt = refreshedAt
  }

  /** The token just used, again: the same successor within the grace, the end of the session after it. */
  async #replay (session: Known): Promise<void> {
    const last = session.used.at(-1)
    if (last === undefined || session.state === 'unsure') return
    const least = (performance.now() - session.refreshedAt) / 1000
    const { result, isCalm } = await this.#undisturbed(() => this.#send('POST', '/refresh', last))
    const most = (performance.now() - session.refreshAskedAt) / 1000
    const wasDead = session.state === 'dead'
    if (most < GRACE - 0.2) {
      this.#judge('a replay within the grace', session, [result], isCalm)
      if (result.status === 200 && !wasDead && generationOf(result.pair) !== session.generation) this.#complain('a replay gave another generation', session)
    } else if (least > GRACE + 1 && isCalm && result.status !== 503) {
      if (result.status !== 401) this.#complain('a replay after the grace worked', session)
      session.state = 'dead'
    } else if (result.status === 401) {
      session.state = 'dead'
    } else if (!wasDead) {
      session.state = 'unsure'
    }
  }

  /** A token older than the last: the session dies. */
  async #steal (session: Known): Promise<void> {
    if (session.used.length < 2 || session.state === 'unsure') return
    const { result: { status }, isCalm } = await this.#undisturbed(() => this.#send('POST', '/refresh', pick(this.random, session.used.slice(0, -1))))
    if (status === 200) this.#complain('a stolen token worked', session)
    if (status === 401) session.state = 'dead'
    // Late is not undone: the theft may have been seen before nobody waited any more.
    else if ((!isCalm || status === 503) && session.state === 'alive') session.state = 'unsure'
  }

  async #logout (session: Known): Promise<void> {
    const { accessToken, refreshToken } = session.pair
    const token = this.random() < 0.5 ? accessToken : refreshToken
    const isRace = this.random() < 0.3
    const { result: [answer], isCalm } = await this.#undisturbed(() => Promise.all([
      this.#send('POST', '/logout', token), isRace ? this.#send('POST', '/refresh', refreshToken) : undefined,
    ]))
    this.#judge('a logout', session, [answer], isCalm)
    if (answer.status === 200) session.state = 'dead'
    else if (session.state === 'alive') session.state = 'unsure'
  }

  async #logoutAll (session: Known): Promise<void> {
    const spared = this.random() < 0.5 ? session : undefined
    const url = spared === undefined ? '/logout-all' : `/logout-all?spare=${spared.pair.sessionId}`
    const { result: answer, isCalm } = await this.#undisturbed(() => this.#send('POST', url, session.pair.accessToken))
    this.#judge('a logout everywhere', session, [answer], isCalm)
    for (const other of this.#sessions) {
      if (other === spared) continue
      if (answer.status === 200) other.state = 'dead'
      else if (answer.status === 503 && other.state === 'alive') other.state = 'unsure'
    }
    // What was late may be done yet, and must not meet a session that begins after it: both connections keep the order.
    if (answer.status === 503) await untilServed(this.world.apps)
  }

  /** Looks at every session once more, now that nothing is down. */
  async settle (): Promise<Map<string, number>> {
    const found = new Map<string, number>()
    for (const session of this.#sessions) {
      await this.#visit(session)
      await this.#raceTabs(session, 3)
      await this.#visit(session)
      found.set(session.state, (found.get(session.state) ?? 0) + 1)
    }
    return found
  }
}

async function untilServed (apps: readonly FastifyInstance[]): Promise<void> {
  for (const app of apps) {
    for (;;) {
      const isServed = await app.listSessions('nobody').then(() => true, () => false)
      if (isServed) break
      await sleep(10)
    }
  }
}

/** Kills the server now and then, and starts it again, empty. */
async function trouble (server: RedisServer, world: World, random: Random, end: number): Promise<void> {
  while (performance.now() < end) {
    await sleep(500 + random() * 2000)
    world.isDown = true
    await server.kill()
    await sleep(random() * 1200)
    world.life++
    await server.restart()
    await untilServed(world.apps)
    world.isDown = false
  }
}

function usedHeap (): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed / 2 ** 20
}

t.test('logins, refreshes, races and logouts while the server dies and comes back', {
  skip: skipWithoutRedis(), timeout: DURATION + 60_000,
}, async (t) => {
  t.comment(`seed ${SEED}: repeat with SOAK_SEED=${SEED}`)
  const random = seeded(SEED)
  const server = await startRedis(t)
  const apps = [await buildSite(t, await connectIoredis(t, server)), await buildSite(t, await connectNodeRedis(t, server))]
  const world: World = { life: 1, isDown: false, apps, problems: [], counts: new Map() }
  const actors = Array.from({ length: ACTORS }, (_, i) => new Actor(`user ${i}`, world, seeded(Math.floor(random() * 2 ** 31))))
  const started = performance.now()
  const end = started + DURATION

  let heapWhenWarm: number | undefined
  async function act (actor: Actor): Promise<void> {
    while (performance.now() < end) {
      await actor.step()
      if (heapWhenWarm === undefined && performance.now() - started > DURATION / 3) heapWhenWarm = usedHeap()
      await sleep(actor.random() * 10)
    }
  }
  // The last spell is calm, so that there are sessions to look at when it is over.
  await Promise.all([trouble(server, world, random, end - 4000), ...actors.map(act)])
  await untilServed(apps)

  const states = new Map<string, number>()
  for (const actor of actors) {
    for (const [state, count] of await actor.settle()) states.set(state, (states.get(state) ?? 0) + count)
  }
  t.comment(`${world.life} lives of the server; ${JSON.stringify(Object.fromEntries([...world.counts, ...states]))}`)
  t.same(world.problems, [])
  t.ok(world.life > 1)
  for (const seen of ['/refresh 200', '/refresh 401', '/refresh 503', '/page 200', '/logout 200', '/login 200']) t.ok(world.counts.has(seen), seen)
  t.ok(states.has('alive') || states.has('unsure'))
  t.ok(states.has('dead'))

  const keys = await server.admin.keys('*')
  t.not(keys.length, 0)
  for (const key of keys) {
    const ttl = await server.admin.pttl(key)
    if (ttl <= 0 && ttl !== -2) t.fail(`${key} has no end`)
  }

  const growth = usedHeap() - heapWhenWarm!
  t.ok(growth < 60, `the heap grew by ${growth.toFixed(1)} MB`)
})
