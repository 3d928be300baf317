import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import jwtExtended, {
  JwtError, memoryStore, redisStore, type JwtAlgorithm, type JwtExtendedOptions, type JwtPayload, type JwtRule, type RotationResult,
  type SessionEvent, type TokenPair, type TokenQuery, type TokenStore
} from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { moveClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { pairFor } from '../support/keys.js'
import {
  connectIoredis, connectIoredisCluster, connectNodeRedis, connectNodeRedisCluster, countCommands, skipWithoutRedis,
  startCluster, startRedis
} from '../support/redis.js'

const skip = skipWithoutRedis()

// So long that a busy machine is no store that failed; the tests of the limit set their own.
const PATIENT = 20

const COOKIES = ['access_token_cookie', 'csrf_access_token', 'csrf_refresh_token', 'refresh_token_cookie']

/** The rules of the routes that show who came. */
const PAGES: Readonly<Record<string, JwtRule>> = {
  '/page': {},
  '/page-open': { storeFailure: 'open' },
  '/page-closed': { storeFailure: 'closed' },
  '/page-skip': { skipRevocationCheck: true },
  '/page-optional': { optional: true },
  '/page-any': { verifyType: false },
  '/page-fresh': { fresh: true },
  '/page-fresh-open': { fresh: true, storeFailure: 'open' },
  '/page-refresh': { refresh: true },
  '/page-refresh-open': { refresh: true, storeFailure: 'open' },
}

/** A site with logins, pages, refresh and logout; tokens in bodies and cookies. */
async function buildSite (t: Test, store: TokenStore, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, store, storeTimeout: PATIENT, tokenLocation: ['headers', 'cookies'], ...options })

  app.post<{ Body: { user: string, label?: string, fresh?: boolean } }>('/login', async (request, reply) => {
    const { user, label, fresh } = request.body
    const pair = await app.createTokenPair(user, { label, fresh })
    reply.setTokenCookies(pair)
    return pair
  })
  for (const [url, rule] of Object.entries(PAGES)) {
    app.get(url, { preHandler: app.jwtRequired(rule) }, async (request) => ({ who: request.jwtIdentity, claims: request.jwt }))
  }
  app.post('/refresh', { preHandler: app.jwtRequired({ refresh: true }) }, async (request, reply) => {
    const pair = await request.refreshTokens()
    if (request.jwtLocation === 'cookies') reply.setTokenCookies(pair)
    return pair
  })
  app.post('/logout', { preHandler: app.jwtRequired({ verifyType: false }) }, async (request, reply) => {
    await request.revokeJwt()
    reply.unsetJwtCookies()
    return { out: true }
  })
  app.post<{ Querystring: { spare?: string } }>('/logout-all', { preHandler: app.jwtRequired() }, async (request) => {
    const { spare } = request.query
    await app.revokeAllTokens(request.jwtIdentity, { exceptSession: spare === undefined ? undefined : String(request.jwt['sid']) })
    return { out: true }
  })
  app.get('/sessions', { preHandler: app.jwtRequired() }, async (request) => await app.listSessions(request.jwtIdentity))
  return app
}

async function login (app: FastifyInstance, user = 'ada', more: { label?: string, fresh?: boolean } = {}): Promise<TokenPair> {
  const response = await app.inject({ method: 'POST', url: '/login', payload: { user, ...more } })
  if (response.statusCode !== 200) throw new Error(`login: ${response.statusCode} ${response.body}`)
  return response.json()
}

async function visit (app: FastifyInstance, token: string, url = '/page'): Promise<number> {
  return (await app.inject({ url, headers: bearer(token) })).statusCode
}

async function post (app: FastifyInstance, url: string, token: string) {
  return await app.inject({ method: 'POST', url, headers: bearer(token) })
}

async function refresh (app: FastifyInstance, token: string): Promise<TokenPair> {
  const response = await post(app, '/refresh', token)
  if (response.statusCode !== 200) throw new Error(`refresh: ${response.statusCode} ${response.body}`)
  return response.json()
}

function claimsOf (token: string): JwtPayload {
  return JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as JwtPayload
}

function generationOf (pair: TokenPair): unknown {
  return claimsOf(pair.refreshToken)['gen']
}

/** What a browser keeps between its requests. */
class Browser {
  readonly #cookies = new Map<string, string>()
  constructor (readonly app: FastifyInstance) {}

  async send (method: 'GET' | 'POST', url: string, { csrf = 'csrf_access_token', body }: { csrf?: string, body?: object } = {}) {
    const response = await this.app.inject({
      method,
      url,
      cookies: Object.fromEntries(this.#cookies),
      headers: { 'x-csrf-token': this.#cookies.get(csrf) ?? '' },
      ...(body !== undefined && { payload: body }),
    })
    for (const { name, value } of response.cookies) {
      if (value === '') this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
    return response
  }

  async login (user = 'ada') {
    return await this.send('POST', '/login', { body: { user } })
  }

  async refresh () {
    return await this.send('POST', '/refresh', { csrf: 'csrf_refresh_token' })
  }

  get names (): string[] {
    return [...this.#cookies.keys()].sort()
  }

  /** Another window with the same cookies as now. */
  clone (app = this.app): Browser {
    const other = new Browser(app)
    for (const [name, value] of this.#cookies) other.#cookies.set(name, value)
    return other
  }
}

/** A store that writes down what it is asked and what it answers. */
function watch (inner: TokenStore): { store: TokenStore, queries: TokenQuery[], results: RotationResult[], calls: () => number } {
  const queries: TokenQuery[] = []
  const results: RotationResult[] = []
  let calls = 0
  const store: TokenStore = {
    isRevoked (query) {
      calls++
      queries.push(query)
      return inner.isRevoked(query)
    },
    async rotate (rotation) {
      calls++
      const result = await inner.rotate(rotation)
      results.push(result)
      return result
    },
    epochOf (identity) { calls++; return inner.epochOf(identity) },
    revokeToken (identity, tokenId, keepFor) { calls++; return inner.revokeToken(identity, tokenId, keepFor) },
    consumeToken (identity, tokenId, keepFor) { calls++; return inner.consumeToken(identity, tokenId, keepFor) },
    startSession (session) { calls++; return inner.startSession(session) },
    endSession (identity, sessionId) { calls++; return inner.endSession(identity, sessionId) },
    endAll (identity, exceptSession) { calls++; return inner.endAll(identity, exceptSession) },
    listSessions (identity) { calls++; return inner.listSessions(identity) },
  }
  return { store, queries, results, calls: () => calls }
}

/** Where a story takes place, and how its time passes. */
interface Ground {
  readonly name: string
  readonly skip: string | false
  readonly refreshGrace: number
  newStore (t: Test): Promise<TokenStore>
  pass (t: Test, seconds: number): Promise<unknown>
}

// The clock of Redis cannot be moved.
const GROUNDS: readonly Ground[] = [
  { name: 'in memory', skip: false, refreshGrace: 10, newStore: async () => memoryStore(), pass: async (t, seconds) => { moveClock(t, seconds) } },
  {
    name: 'on Redis', skip, refreshGrace: 2,
    newStore: async (t) => redisStore(await connectIoredis(t, await startRedis(t))),
    pass: (_t, seconds) => sleep(seconds * 1000 + 1),
  },
]

type Fault = 'throws' | 'rejects' | 'never answers'

/** A store that can be told to fail. */
function fragile (inner: TokenStore = memoryStore()): { store: TokenStore, fail: (fault: Fault | undefined) => void } {
  let fault: Fault | undefined
  function ask<T> (question: () => T): T | Promise<never> {
    switch (fault) {
      case 'throws': throw new Error('the store is down')
      case 'rejects': return Promise.reject(new Error('the store is down'))
      case 'never answers': return new Promise(() => {})
      case undefined: return question()
    }
  }
  return {
    fail (wanted) { fault = wanted },
    store: {
      isRevoked: (query) => ask(() => inner.isRevoked(query)),
      rotate: (rotation) => ask(() => inner.rotate(rotation)),
      epochOf: (identity) => ask(() => inner.epochOf(identity)),
      revokeToken: (identity, tokenId, keepFor) => ask(() => inner.revokeToken(identity, tokenId, keepFor)),
      consumeToken: (identity, tokenId, keepFor) => ask(() => inner.consumeToken(identity, tokenId, keepFor)),
      startSession: (session) => ask(() => inner.startSession(session)),
      endSession: (identity, sessionId) => ask(() => inner.endSession(identity, sessionId)),
      endAll: (identity, exceptSession) => ask(() => inner.endAll(identity, exceptSession)),
      listSessions: (identity) => ask(() => inner.listSessions(identity)),
    },
  }
}

t.test('a login is refreshed, and its tokens work', async (t) => {
  const app = await buildSite(t, memoryStore())
  const first = await login(app, 'ada', { fresh: true, label: 'phone' })
  t.equal(await visit(app, first.accessToken), 200)
  t.equal(await visit(app, first.accessToken, '/page-fresh'), 200)
  const second = await refresh(app, first.refreshToken)
  t.equal(generationOf(second), 2)
  t.equal(await visit(app, second.accessToken), 200)
  t.equal(await visit(app, second.accessToken, '/page-fresh'), 401)
  t.equal(await visit(app, first.accessToken), 200)
  const sessions = await app.inject({ url: '/sessions', headers: bearer(second.accessToken) })
  t.match(sessions.json(), [{ sessionId: first.sessionId, label: 'phone' }])
})

t.test('a browser logs in, refreshes and logs out by cookies', async (t) => {
  const app = await buildSite(t, memoryStore())
  const browser = new Browser(app)
  const response = await browser.login()
  t.equal(response.headers['cache-control'], 'no-store')
  t.same(browser.names, COOKIES)
  t.equal((await browser.send('GET', '/page')).statusCode, 200)
  const before = browser.clone()
  t.equal((await browser.refresh()).statusCode, 200)
  t.equal((await browser.send('GET', '/page')).statusCode, 200)
  t.equal((await browser.send('POST', '/logout')).statusCode, 200)
  t.same(browser.names, [])
  for (const url of ['/page', '/page-optional', '/page-refresh']) t.equal((await before.clone().send('GET', url)).statusCode, 401, url)
  t.equal((await before.refresh()).statusCode, 401)
})

t.test('after logout neither token works, whichever of them logged out', async (t) => {
  for (const kind of ['accessToken', 'refreshToken'] as const) {
    const app = await buildSite(t, memoryStore())
    const first = await login(app)
    const second = await refresh(app, first.refreshToken)
    const other = await login(app)
    t.equal((await post(app, '/logout', second[kind])).statusCode, 200)
    for (const { accessToken, refreshToken } of [first, second]) {
      t.equal(await visit(app, accessToken), 401)
      t.equal(await visit(app, accessToken, '/page-optional'), 401)
      t.equal((await post(app, '/refresh', refreshToken)).statusCode, 401)
    }
    t.equal(await visit(app, other.accessToken), 200)
  }
})

t.test('a token without a session is logged out alone', async (t) => {
  const app = await buildSite(t, memoryStore())
  const [gone, kept] = [await app.createAccessToken('ada'), await app.createAccessToken('ada')]
  t.equal((await post(app, '/logout', gone)).statusCode, 200)
  t.equal(await visit(app, gone), 401)
  t.equal(await visit(app, kept), 200)
})

t.test('a token without a session and id cannot be logged out', async (t) => {
  const app = await buildSite(t, memoryStore())
  const token = forge({ sub: 'ada' })
  t.equal(await visit(app, token), 200)
  t.equal((await post(app, '/logout', token)).statusCode, 422)
  t.equal(await visit(app, token), 200)
})

t.test('log out everywhere: what was made before dies, a login right after works, within one second', async (t) => {
  const app = await buildSite(t, memoryStore())
  const start = Date.now()
  for (let i = 0; i < 5; i++) {
    const before = [await login(app), await login(app)]
    const plain = [await app.createAccessToken('ada'), await app.createAccessToken('ada', { expiresDelta: false })]
    const stranger = await login(app, 'bob')
    t.equal((await post(app, '/logout-all', before[0]!.accessToken)).statusCode, 200)
    const after = await login(app)
    const plainAfter = await app.createAccessToken('ada')
    for (const { accessToken, refreshToken } of before) {
      t.equal(await visit(app, accessToken), 401)
      t.equal((await post(app, '/refresh', refreshToken)).statusCode, 401)
    }
    for (const token of plain) t.equal(await visit(app, token), 401)
    t.equal(await visit(app, after.accessToken), 200)
    t.equal(await visit(app, plainAfter), 200)
    t.equal(generationOf(await refresh(app, after.refreshToken)), 2)
    t.equal(await visit(app, stranger.accessToken), 200)
  }
  t.ok(Date.now() - start < 20_000)
})

t.test('log out everywhere else spares the session that asks', async (t) => {
  const app = await buildSite(t, memoryStore())
  const [here, there] = [await login(app), await login(app)]
  const plain = await app.createAccessToken('ada')
  t.equal((await post(app, '/logout-all?spare', here.accessToken)).statusCode, 200)
  t.equal(await visit(app, here.accessToken), 200)
  t.equal(await visit(app, there.accessToken), 401)
  t.equal(await visit(app, plain), 401)
  t.equal(generationOf(await refresh(app, here.refreshToken)), 2)
})

t.test('a token of another issuer with our key, without epoch, is judged by its time', async (t) => {
  const app = await buildSite(t, memoryStore())
  const now = Math.floor(Date.now() / 1000)
  const old = forge({ sub: 'ada', iat: now - 60, exp: now + 600 })
  const timeless = forge({ sub: 'ada' })
  t.equal(await visit(app, old), 200)
  t.equal(await visit(app, timeless), 200)
  await app.revokeAllTokens('ada')
  t.equal(await visit(app, old), 401)
  t.equal(await visit(app, timeless), 401)
  moveClock(t, 120)
  t.equal(await visit(app, forge({ sub: 'ada', iat: now + 60, exp: now + 600 })), 200)
})

async function testSurvival (t: Test, { refreshGrace, newStore, pass }: Ground): Promise<void> {
  t.test('two tabs that refresh at once', async (t) => {
    const app = await buildSite(t, await newStore(t), { refreshGrace })
    const tab = new Browser(app)
    await tab.login()
    const other = tab.clone()
    const [one, two] = await Promise.all([tab.refresh(), other.refresh()])
    t.same([one.statusCode, two.statusCode], [200, 200])
    for (const window of [tab, other]) t.equal((await window.send('GET', '/page')).statusCode, 200)
    t.equal((await other.refresh()).statusCode, 200)
    t.equal((await tab.refresh()).statusCode, 200)
  })

  t.test('a lost response and a retry within the grace', async (t) => {
    const app = await buildSite(t, await newStore(t), { refreshGrace })
    const { refreshToken } = await login(app)
    await refresh(app, refreshToken)
    await pass(t, refreshGrace / 2)
    const retry = await refresh(app, refreshToken)
    t.equal(generationOf(retry), 2)
    t.equal(generationOf(await refresh(app, retry.refreshToken)), 3)
  })

  t.test('a crash between rotation and answer', async (t) => {
    const store = await newStore(t)
    const app = await buildSite(t, store, { refreshGrace })
    app.post('/crash', { preHandler: app.jwtRequired({ refresh: true }) }, async (request) => {
      await request.refreshTokens()
      throw new Error('crash')
    })
    const { refreshToken } = await login(app)
    t.equal((await post(app, '/crash', refreshToken)).statusCode, 500)
    const retry = await refresh(app, refreshToken)
    t.equal(generationOf(retry), 2)
    const elsewhere = await buildSite(t, store, { refreshGrace })
    t.equal(generationOf(await refresh(elsewhere, retry.refreshToken)), 3)
  })
}

async function testDeath (t: Test, { refreshGrace, newStore, pass }: Ground): Promise<void> {
  t.test('an older generation, within the grace', async (t) => {
    const events: SessionEvent[] = []
    const app = await buildSite(t, await newStore(t), { refreshGrace, onSessionEvent: (event) => { events.push(event) } })
    const stolen = await login(app)
    const second = await refresh(app, stolen.refreshToken)
    const third = await refresh(app, second.refreshToken)
    t.equal((await post(app, '/refresh', stolen.refreshToken)).statusCode, 401)
    for (const { accessToken, refreshToken } of [stolen, second, third]) {
      t.equal(await visit(app, accessToken), 401)
      t.equal((await post(app, '/refresh', refreshToken)).statusCode, 401)
    }
    t.equal(events.filter(({ type }) => type === 'token_reuse').length, 1)
    for (const { refreshToken } of [stolen, second]) await t.rejects(app.refreshTokens(refreshToken), { code: 'FST_JWT_EXT_REVOKED' })
    t.equal(events.filter(({ type }) => type === 'token_reuse').length, 3, 'the tombstone answers reuse again')
  })

  t.test('the same generation after the grace', async (t) => {
    const app = await buildSite(t, await newStore(t), { refreshGrace })
    const first = await login(app)
    const second = await refresh(app, first.refreshToken)
    await pass(t, refreshGrace)
    t.equal((await post(app, '/refresh', first.refreshToken)).statusCode, 401)
    t.equal(await visit(app, second.accessToken), 401)
    t.equal((await post(app, '/refresh', second.refreshToken)).statusCode, 401)
  })

  t.test('any return, where there is no grace', async (t) => {
    const app = await buildSite(t, await newStore(t), { refreshGrace: 0 })
    const first = await login(app)
    const second = await refresh(app, first.refreshToken)
    t.equal((await post(app, '/refresh', first.refreshToken)).statusCode, 401)
    t.equal(await visit(app, second.accessToken), 401)
  })

  t.test('its absolute end, also for tokens within the leeway', async (t) => {
    const app = await buildSite(t, await newStore(t), { sessionLifetime: 3, decodeLeeway: 300 })
    const pair = await login(app)
    await pass(t, 4)
    t.equal(await visit(app, pair.accessToken, '/page-skip'), 200)
    t.equal(await visit(app, pair.accessToken), 401)
    t.equal((await post(app, '/refresh', pair.refreshToken)).statusCode, 401)
  })

  t.test('the reuse of a sibling, with onReuse identity', async (t) => {
    const app = await buildSite(t, await newStore(t), { onReuse: 'identity', refreshGrace: 0 })
    const [stolen, sibling, stranger] = [await login(app), await login(app), await login(app, 'bob')]
    const plain = await app.createAccessToken('ada')
    await refresh(app, stolen.refreshToken)
    t.equal((await post(app, '/refresh', stolen.refreshToken)).statusCode, 401)
    t.equal(await visit(app, sibling.accessToken), 401)
    t.equal(await visit(app, plain), 401)
    t.equal(await visit(app, stranger.accessToken), 200)
  })
}

for (const ground of GROUNDS) {
  t.test(`${ground.name}, a session is alive after`, { skip: ground.skip }, (t) => testSurvival(t, ground))
  t.test(`${ground.name}, a session dies on`, { skip: ground.skip }, (t) => testDeath(t, ground))
}

t.test('cookies are cleared where the session has ended', async (t) => {
  t.test('by the guard of a refresh, and of a page', async (t) => {
    const app = await buildSite(t, memoryStore())
    const browser = new Browser(app)
    const { sessionId } = (await browser.login()).json() as TokenPair
    const tab = browser.clone()
    await app.revokeSession('ada', sessionId)
    const refused = await browser.refresh()
    t.equal(refused.statusCode, 401)
    t.same(refused.json(), { msg: 'Token has been revoked' })
    t.match(refused.headers['www-authenticate'], /invalid_token/)
    t.same(refused.cookies.map(({ name }) => name).sort(), COOKIES)
    t.same(browser.names, [])
    t.equal((await tab.send('GET', '/page')).statusCode, 401)
    t.same(tab.names, [])
  })

  t.test('by the guard of a refresh, where the token has expired with its session', async (t) => {
    for (const options of [{ sessionLifetime: 60 }, { refreshTokenExpires: 60 }]) {
      const app = await buildSite(t, memoryStore(), options)
      const browser = new Browser(app)
      await browser.login()
      const token = (await app.createTokenPair('ada')).refreshToken
      const stale = browser.clone()
      moveClock(t, 60)
      t.same((await stale.send('GET', '/page')).cookies, [], 'a page leaves the refresh token')
      const refused = await browser.refresh()
      t.equal(refused.statusCode, 401)
      t.same(refused.json(), { msg: 'Token has expired' })
      t.same(browser.names, [])
      t.equal((await post(app, '/refresh', token)).headers['set-cookie'], undefined, 'and no header clears a cookie')
    }
    const app = await buildSite(t, memoryStore())
    const cookie = `refresh_token_cookie=${await app.createRefreshToken('ada', { expiresDelta: -1 })}`
    t.equal((await app.inject({ method: 'POST', url: '/refresh', headers: { cookie, 'x-csrf-token': 'x' } })).headers['set-cookie'], undefined, 'nor a token without a session')
    const alone = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies' })
    alone.get('/', { onRequest: alone.jwtRequired({ refresh: true }) }, async () => 'in')
    const foreign = await alone.inject({ url: '/', headers: { cookie: `refresh_token_cookie=${forge({ sub: 'ada', type: 'refresh', sid: 'x', exp: 1 })}` } })
    t.match(foreign.json(), { msg: 'Token has expired' })
    t.same(foreign.cookies, [], 'nor where there are no sessions')
  })

  t.test('by a rotation that finds a reuse', async (t) => {
    const app = await buildSite(t, memoryStore(), { refreshGrace: 0 })
    const browser = new Browser(app)
    await browser.login()
    const thief = browser.clone()
    t.equal((await thief.refresh()).statusCode, 200)
    const refused = await browser.refresh()
    t.equal(refused.statusCode, 401)
    t.match(refused.headers['www-authenticate'], /invalid_token/)
    t.same(browser.names, [])
    t.equal((await thief.refresh()).statusCode, 401)
    t.same(thief.names, [])
  })

  t.test('by a rotation that finds the session ended a moment ago', async (t) => {
    const inner = memoryStore()
    const app = await buildSite(t, { ...inner, isRevoked: () => false })
    const browser = new Browser(app)
    const { sessionId } = (await browser.login()).json() as TokenPair
    inner.endSession('ada', sessionId)
    t.equal((await browser.refresh()).statusCode, 401)
    t.same(browser.names, [])
  })

  t.test('and not where the token came by header, or the guard is one of the application’s own', async (t) => {
    const inner = memoryStore()
    const app = await buildSite(t, { ...inner, isRevoked: () => false })
    app.post('/own', async (request) => {
      await request.verifyJwt({ refresh: true })
      return await request.refreshTokens()
    })
    const browser = new Browser(app)
    const pair = (await browser.login()).json() as TokenPair
    inner.endSession('ada', pair.sessionId)
    const byHeader = await post(app, '/refresh', pair.refreshToken)
    t.equal(byHeader.statusCode, 401)
    t.same(byHeader.cookies, [])
    t.equal((await browser.send('POST', '/own', { csrf: 'csrf_refresh_token' })).statusCode, 401)
    t.same(browser.names, COOKIES)
  })

  t.test('and not for a token without a session', async (t) => {
    const app = await buildSite(t, memoryStore())
    const token = await app.createAccessToken('ada')
    await app.revokeToken(token)
    const response = await app.inject({ url: '/page', cookies: { access_token_cookie: token } })
    t.equal(response.statusCode, 401)
    t.same(response.cookies, [])
  })

  t.test('and not where they are only wrong', async (t) => {
    const app = await buildSite(t, memoryStore())
    const browser = new Browser(app)
    await browser.login()
    const response = await browser.send('POST', '/refresh', { csrf: 'csrf_access_token' })
    t.equal(response.statusCode, 401)
    t.same(response.cookies, [])
  })
})

t.test('storeFailure', async (t) => {
  const FAULTS: Fault[] = ['throws', 'rejects', 'never answers']
  const OPEN = 200
  const CLOSED = 503

  for (const fault of FAULTS) {
    for (const storeFailure of [undefined, 'closed', 'open'] as const) {
      t.test(`a store that ${fault}, storeFailure ${storeFailure ?? 'by default'}`, async (t) => {
        const { store, fail } = fragile()
        const events: SessionEvent[] = []
        const app = await buildSite(t, store, { storeTimeout: 0.05, storeFailure, onSessionEvent: (event) => { events.push(event) } })
        const pair = await login(app, 'ada', { fresh: true })
        fail(fault)
        const byConfiguration = storeFailure === 'open' ? OPEN : CLOSED
        const expected: [url: string, token: string, status: number][] = [
          ['/page', pair.accessToken, byConfiguration],
          ['/page-optional', pair.accessToken, byConfiguration],
          ['/page-any', pair.refreshToken, byConfiguration],
          ['/page-open', pair.accessToken, OPEN],
          ['/page-closed', pair.accessToken, CLOSED],
          ['/page-skip', pair.accessToken, OPEN],
          ['/page-fresh', pair.accessToken, CLOSED],
          ['/page-fresh-open', pair.accessToken, CLOSED],
          ['/page-refresh', pair.refreshToken, CLOSED],
          ['/page-refresh-open', pair.refreshToken, CLOSED],
        ]
        for (const [url, token, status] of expected) {
          const start = performance.now()
          const response = await app.inject({ url, headers: bearer(token) })
          t.equal(response.statusCode, status, url)
          t.ok(performance.now() - start < 1000, `${url} is answered in time`)
          if (status !== CLOSED) continue
          t.equal(response.headers['retry-after'], '1', url)
          t.same(response.json(), { msg: 'Token store unavailable' })
          t.notOk('www-authenticate' in response.headers)
        }
        t.equal(await visit(app, forge({ sub: 'ada' }, undefined, 'x'.repeat(64)), '/page-open'), 422)
        t.equal((await app.inject('/page-optional')).statusCode, 200)
        const failures = events.filter(({ type }) => type === 'store_unavailable').length
        t.equal(failures, expected.length - 1, 'each question that failed is told once')
      })
    }
  }

  t.test('a refresh fails closed, leaves the cookies alone, and goes on when the store is back', async (t) => {
    for (const fault of FAULTS) {
      const { store, fail } = fragile()
      const app = await buildSite(t, store, { storeTimeout: 0.05, storeFailure: 'open' })
      const browser = new Browser(app)
      await browser.login()
      fail(fault)
      const response = await browser.refresh()
      t.equal(response.statusCode, 503)
      t.equal(response.headers['retry-after'], '1')
      t.same(response.cookies, [])
      fail(undefined)
      t.equal((await browser.refresh()).statusCode, 200)
    }
  })

  t.test('a rotation that fails after the guard has passed is a 503 too', async (t) => {
    const inner = memoryStore()
    for (const rotate of [() => { throw new Error('down') }, () => Promise.reject(new Error('down')), () => new Promise<never>(() => {})]) {
      for (const errorProfile of ['flask', 'rfc6750'] as const) {
        const app = await buildSite(t, { ...inner, rotate }, { storeTimeout: 0.05, errorProfile })
        const browser = new Browser(app)
        await browser.login()
        const response = await browser.refresh()
        t.equal(response.statusCode, 503)
        t.equal(response.headers['retry-after'], '1')
        t.same(response.cookies, [])
        t.same(browser.names, COOKIES)
      }
    }
  })

  t.test('login and logout are 503 while the store fails', async (t) => {
    const { store, fail } = fragile()
    const app = await buildSite(t, store, { storeTimeout: 0.05, storeFailure: 'open' })
    const pair = await login(app)
    for (const fault of FAULTS) {
      fail(fault)
      const responses = [
        await app.inject({ method: 'POST', url: '/login', payload: { user: 'ada' } }),
        await post(app, '/logout', pair.accessToken),
        await post(app, '/logout-all', pair.accessToken),
        await app.inject({ url: '/sessions', headers: bearer(pair.accessToken) }),
      ]
      for (const response of responses) {
        t.equal(response.statusCode, 503)
        t.equal(response.headers['retry-after'], '1')
        t.same(response.cookies, [])
      }
    }
    fail(undefined)
    t.equal(await visit(app, pair.accessToken), 200)
  })

  t.test('with throwErrors, the application’s own handler gets the error', async (t) => {
    const { store, fail } = fragile()
    const app = await buildSite(t, store, { throwErrors: true })
    const { accessToken } = await login(app)
    fail('throws')
    const response = await app.inject({ url: '/page', headers: bearer(accessToken) })
    t.equal(response.statusCode, 503)
    t.match(response.json(), { code: 'FST_JWT_EXT_STORE_UNAVAILABLE' })
    t.equal(response.headers['retry-after'], '1')
  })

  t.test('an error of the application in the store’s answer is no pass', async (t) => {
    for (const answer of [undefined, null, 0, '', 'false', {}]) {
      const store = { ...memoryStore(), isRevoked: () => answer as unknown as boolean }
      const app = await buildSite(t, store, { storeFailure: 'open' })
      t.not(await visit(app, (await login(app)).accessToken), 200, String(answer))
    }
  })
})

t.test('what the store is asked', async (t) => {
  t.test('one question a guard, with what it is about', async (t) => {
    const { store, queries, calls } = watch(memoryStore())
    const app = await buildSite(t, store)
    const pair = await login(app)
    const plain = await app.createAccessToken('ada')
    await app.ready()
    for (const [token, url] of [
      [pair.accessToken, '/page'], [pair.refreshToken, '/page-refresh'], [plain, '/page'], [pair.accessToken, '/page-optional'],
    ] as const) {
      const before = calls()
      t.equal(await visit(app, token, url), 200)
      t.equal(calls() - before, 1, url)
      const { sub, sid, jti, epoch, iat } = claimsOf(token)
      t.same(queries.at(-1), { identity: sub, sessionId: sid, tokenId: jti, epoch, issuedAt: iat! * 1000, keepEpoch: undefined })
    }
    await visit(app, forge({ sub: 'ada', sid: 5, jti: null, epoch: 'x' }))
    const { keepEpoch, ...query } = queries.at(-1)!
    t.strictSame(query, { identity: 'ada', sessionId: undefined, tokenId: undefined, epoch: undefined, issuedAt: 0 })
    t.type(keepEpoch, 'number')
  })

  t.test('to keep the epoch for a token that outlives a year and was made without asking', async (t) => {
    const DAY = 24 * 60 * 60
    const { store, queries } = watch(memoryStore())
    const leeway = 3600
    const app = await buildSite(t, store, { decodeLeeway: leeway })
    const now = Math.floor(Date.now() / 1000)
    const cases: [claims: JwtPayload, days: number | undefined][] = [
      [{}, 36500],
      [{ iat: now }, 36500],
      [{ iat: now - 300 * DAY, exp: now + 60 * DAY }, undefined],
      [{ iat: now - 300 * DAY, exp: now + 90 * DAY }, 90],
      [{ exp: now + 90 * DAY }, 90],
      [{ iat: now, exp: now + 500 * DAY }, 500],
      [{ iat: now, epoch: 0 }, undefined],
      [{ exp: now + 500 * DAY, sid: 's1' }, undefined],
    ]
    for (const [claims, days] of cases) {
      await visit(app, forge({ sub: 'ada', ...claims }))
      const { keepEpoch } = queries.at(-1)!
      if (days === undefined) t.equal(keepEpoch, undefined)
      else t.ok(Math.abs(keepEpoch! / 1000 - days * DAY - (claims.exp === undefined ? 0 : leeway)) < 60, `${keepEpoch} ms`)
    }
  })

  t.test('nothing with skipRevocationCheck, without a token, and for a token that fails before', async (t) => {
    const { store, calls } = watch(memoryStore())
    const app = await buildSite(t, store)
    const pair = await login(app)
    await app.revokeSession('ada', pair.sessionId)
    const before = calls()
    t.equal(await visit(app, pair.accessToken, '/page-skip'), 200)
    t.equal((await app.inject('/page-optional')).statusCode, 200)
    t.equal((await app.inject('/page')).statusCode, 401)
    t.equal(await visit(app, 'x', '/page'), 422)
    t.equal(await visit(app, pair.refreshToken, '/page'), 422)
    t.equal(await visit(app, pair.accessToken, '/page-fresh'), 401)
    t.equal((await app.inject({ method: 'OPTIONS', url: '/page' })).statusCode, 404)
    t.equal(calls(), before)
  })

  t.test('before tokenInBlocklistLoader, which is asked as well', async (t) => {
    const asked: string[] = []
    const inner = memoryStore()
    const app = await buildSite(t, { ...inner, isRevoked: (query) => { asked.push('store'); return inner.isRevoked(query) } }, {
      tokenInBlocklistLoader (_header, payload) {
        asked.push('loader')
        return payload['blocked'] === true
      },
    })
    const pair = await login(app)
    t.equal(await visit(app, pair.accessToken), 200)
    t.same(asked, ['store', 'loader'])
    t.equal(await visit(app, await app.createAccessToken('ada', { additionalClaims: { blocked: true } })), 401)
    asked.length = 0
    await app.revokeSession('ada', pair.sessionId)
    t.equal(await visit(app, pair.accessToken), 401)
    t.same(asked, ['store'])
    t.equal(await visit(app, pair.accessToken, '/page-skip'), 200)
    t.same(asked, ['store'])
  })

  t.test('a store of the application’s own may answer at once or later', async (t) => {
    const inner = memoryStore()
    const later: TokenStore = {
      ...inner,
      async isRevoked (query) { await sleep(5); return await inner.isRevoked(query) },
      async rotate (rotation) { await sleep(5); return await inner.rotate(rotation) },
    }
    for (const store of [memoryStore(), later]) {
      const app = await buildSite(t, store)
      const pair = await refresh(app, (await login(app)).refreshToken)
      t.equal(await visit(app, pair.accessToken), 200)
      await app.revokeToken(pair.accessToken)
      t.equal(await visit(app, pair.accessToken), 401)
      t.equal(await visit(app, pair.accessToken, '/page-open'), 401)
    }
  })
})

t.test('revokedTokenLoader words the answer to a revoked session', async (t) => {
  const app = await buildSite(t, memoryStore(), {
    revokedTokenLoader: (error, _request, reply: FastifyReply) => {
      reply.code(403)
      return { gone: error.jwtPayload?.sub }
    },
  })
  const pair = await login(app)
  await app.revokeToken(pair.accessToken)
  const response = await app.inject({ url: '/page', headers: bearer(pair.accessToken) })
  t.equal(response.statusCode, 403)
  t.same(response.json(), { gone: 'ada' })
})

t.test('request.refreshTokens and request.revokeJwt', async (t) => {
  /** The answer of a route that hands on what it throws. */
  async function tryRoute (
    app: FastifyInstance, rule: JwtRule | undefined, token: string | undefined, work: (request: FastifyRequest) => Promise<unknown>
  ): Promise<{ status: number, code?: string, message?: string }> {
    app.get('/try', rule === undefined ? {} : { preHandler: app.jwtRequired(rule) }, async (request) => await work(request))
    const response = await app.inject({ url: '/try', headers: token === undefined ? {} : bearer(token) })
    return { status: response.statusCode, ...response.json() }
  }

  t.test('need a guard, and options that they know', async (t) => {
    const cases: [rule: JwtRule | undefined, kind: keyof TokenPair | undefined, work: (request: FastifyRequest) => Promise<unknown>, says: RegExp][] = [
      [undefined, 'refreshToken', (request) => request.refreshTokens(), /request\.refreshTokens was asked for, but no guard/],
      [undefined, 'accessToken', (request) => request.revokeJwt(), /request\.revokeJwt was asked for, but no guard/],
      [{ refresh: true }, 'refreshToken', (request) => request.refreshTokens({ fresh: true } as object), /Unknown option 'fresh'/],
      [{ refresh: true }, 'refreshToken', (request) => request.refreshTokens({ additionalClaims: { gen: 5 } }), /must not contain 'gen'/],
    ]
    for (const [rule, kind, work, says] of cases) {
      const app = await buildSite(t, memoryStore())
      const pair = await app.createTokenPair('ada')
      t.match(await tryRoute(app, rule, kind && pair[kind], work), { status: 500, code: 'FST_JWT_EXT_USAGE', message: says })
    }
  })

  t.test('refuse what a client sends that has no successor, and log out nobody where nobody is in', async (t) => {
    const app = await buildSite(t, memoryStore())
    const { accessToken } = await app.createTokenPair('ada')
    t.match(await tryRoute(app, {}, accessToken, (request) => request.refreshTokens()), { status: 422, code: 'FST_JWT_EXT_WRONG_TYPE' })
    const others = [await buildSite(t, memoryStore()), await buildSite(t, memoryStore())] as const
    t.match(await tryRoute(others[0], { optional: true }, undefined, (request) => request.refreshTokens()), { status: 401, code: 'FST_JWT_EXT_NO_AUTHORIZATION' })
    t.match(await tryRoute(others[1], { optional: true }, undefined, async (request) => {
      await request.revokeJwt()
      return { done: true }
    }), { status: 200, done: true })
  })

  t.test('tell the issuing loaders of the user, where the identity claim is made of one', async (t) => {
    const seen: unknown[] = []
    const ada = { id: 'ada', role: 'admin' }
    const app = await buildSite(t, memoryStore(), {
      userIdentityLoader: (user) => (user as { id: string }).id,
      userLookupLoader: () => ada,
      additionalClaimsLoader (user) {
        seen.push(user)
        return { role: (user as { role: string }).role }
      },
    })
    const { refreshToken } = await app.createTokenPair(ada)
    t.match(claimsOf((await refresh(app, refreshToken)).accessToken), { sub: 'ada', role: 'admin' })
    for (const user of seen) t.equal(user, ada)
    t.equal(seen.length, 4)
  })

  t.test('a refresh token without a session has no successor', async (t) => {
    const app = await buildSite(t, memoryStore())
    const token = await app.createRefreshToken('ada')
    t.match(await tryRoute(app, { refresh: true }, token, (request) => request.refreshTokens()), { status: 422, message: 'Missing claim: sid' })
  })

  t.test('claims given to a refresh are the new pair’s', async (t) => {
    const app = await buildSite(t, memoryStore())
    const { refreshToken } = await app.createTokenPair('ada')
    let pair: TokenPair | undefined
    const answer = await tryRoute(app, { refresh: true }, refreshToken, async (request) => {
      pair = await request.refreshTokens({ additionalClaims: { role: 'admin' } })
      return {}
    })
    t.equal(answer.status, 200)
    for (const token of [pair!.accessToken, pair!.refreshToken]) t.match(claimsOf(token), { role: 'admin' })
  })

  t.test('serve after verifyJwt as after a guard', async (t) => {
    const app = await buildSite(t, memoryStore())
    const { refreshToken } = await app.createTokenPair('ada')
    const answer = await tryRoute(app, undefined, refreshToken, async (request) => {
      await request.verifyJwt({ refresh: true })
      return await request.refreshTokens()
    })
    t.equal(answer.status, 200)
  })

  t.test('belong to the manager whose guard let the request in', async (t) => {
    const app = await buildSite(t, memoryStore())
    await app.register(jwtExtended, { secretKey: `${SECRET} of partners`, namespace: 'partner', store: memoryStore() })
    const partner = app.jwtManager('partner')
    app.post('/partner', { preHandler: partner.jwtRequired({ refresh: true }) }, async (request) => await request.refreshTokens())
    app.post('/partner-out', { preHandler: partner.jwtRequired() }, async (request) => await request.revokeJwt())
    const [ours, theirs] = [await login(app), await partner.createTokenPair('ada')]
    t.equal((await post(app, '/partner', ours.refreshToken)).statusCode, 422)
    t.equal((await post(app, '/refresh', theirs.refreshToken)).statusCode, 422)
    const response = await post(app, '/partner', theirs.refreshToken)
    t.equal(response.statusCode, 200)
    t.equal(generationOf(response.json()), 2)
    t.equal((await post(app, '/partner-out', theirs.accessToken)).statusCode, 200)
    t.same(await partner.listSessions('ada'), [])
    t.equal((await app.listSessions('ada')).length, 1)
  })

  t.test('say so where the manager of the guard has no store', async (t) => {
    const app = await buildApp(t)
    const store = memoryStore()
    await app.register(jwtExtended, { secretKey: SECRET, namespace: 'partner', store })
    const guard = app.jwtRequired({ verifyType: false })
    app.get('/refresh', { preHandler: guard }, async (request) => await request.refreshTokens())
    app.get('/revoke', { preHandler: guard }, async (request) => await request.revokeJwt())
    app.get('/cookies', async (_request, reply) => {
      reply.setTokenCookies(await app.jwtManager('partner').createTokenPair('ada'))
      return {}
    })
    const token = await app.createRefreshToken('ada')
    for (const url of ['/refresh', '/revoke', '/cookies']) {
      const response = await app.inject({ url, headers: bearer(token) })
      t.match(response.json(), { statusCode: 500, code: 'FST_JWT_EXT_USAGE', message: /store/ }, url)
    }
  })

  t.test('their errors carry the status of the profile', async (t) => {
    for (const [errorProfile, status] of [['flask', 422], ['rfc6750', 401]] as const) {
      const app = await buildSite(t, memoryStore(), { errorProfile })
      app.setErrorHandler((error, _request, reply) => {
        t.ok(error instanceof JwtError)
        return reply.send(error)
      })
      const refused = await post(app, '/refresh', await app.createRefreshToken('ada'))
      t.equal(refused.statusCode, status)
      t.equal((await post(app, '/logout', forge({ sub: 'ada' }))).statusCode, status)
      const { refreshToken } = await login(app)
      await refresh(app, (await refresh(app, refreshToken)).refreshToken)
      t.equal((await post(app, '/refresh', refreshToken)).statusCode, 401)
    }
  })
})

t.test('a manager sets the cookies of a pair, with its own names', async (t) => {
  const app = await buildSite(t, memoryStore())
  await app.register(jwtExtended, {
    secretKey: SECRET, namespace: 'partner', store: memoryStore(), accessCookieName: 'pa', refreshCookieName: 'pr', cookieCsrfProtect: false,
  })
  app.get('/set', async (_request, reply) => {
    const partner = app.jwtManager('partner')
    partner.setTokenCookies(reply, await partner.createTokenPair('ada'))
    return {}
  })
  const response = await app.inject('/set')
  t.same(response.cookies.map(({ name }) => name), ['pa', 'pr'])
  t.equal(response.headers['cache-control'], 'no-store')
})

t.test('an access token is guarded by its session in every location', async (t) => {
  const app = await buildSite(t, memoryStore(), { tokenLocation: ['headers', 'cookies', 'query_string'] })
  const pair = await login(app)
  const requests = [
    { url: '/page', headers: bearer(pair.accessToken) },
    { url: '/page', cookies: { access_token_cookie: pair.accessToken } },
    { url: `/page?jwt=${pair.accessToken}` },
  ]
  for (const request of requests) t.equal((await app.inject(request)).statusCode, 200)
  await app.revokeToken(pair.refreshToken)
  for (const request of requests) t.equal((await app.inject(request)).statusCode, 401)
})

t.test('another spelling of a revoked token is revoked', async (t) => {
  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

  // The bits of the last character that hold nothing.
  function changeSpareBits (token: string): string {
    return token.slice(0, -1) + ALPHABET[ALPHABET.indexOf(token.at(-1)!) ^ 1]!
  }

  function negate (token: string): string {
    const [head, body, signature] = token.split('.')
    const bytes = Buffer.from(signature!, 'base64url')
    const s = ORDER - BigInt(`0x${bytes.subarray(32).toString('hex')}`)
    bytes.write(s.toString(16).padStart(64, '0'), 32, 'hex')
    return `${head}.${body}.${bytes.toString('base64url')}`
  }

  const cases: [JwtAlgorithm, (token: string) => string][] = [
    ['HS256', changeSpareBits], ['EdDSA', changeSpareBits], ['ES256', changeSpareBits], ['ES256', negate],
  ]
  for (const { algorithm, respell, name, skip, newStore } of GROUNDS.flatMap((ground) => cases.map(([algorithm, respell]) => ({ algorithm, respell, ...ground })))) {
    t.test(`${name}, ${algorithm}, ${respell.name}`, { skip }, async (t) => {
      const keys = algorithm === 'HS256' ? { secretKey: SECRET } : { secretKey: undefined, ...pairFor(algorithm) }
      const app = await buildSite(t, await newStore(t), { algorithm, ...keys })
      const pair = await login(app)
      const plain = await app.createAccessToken('ada')
      for (const token of [pair.accessToken, plain]) {
        const copy = respell(token)
        t.not(copy, token)
        t.equal(await visit(app, copy), 200, 'it is a good token before')
        await app.revokeToken(token)
        t.equal(await visit(app, token), 401)
        t.equal(await visit(app, copy), 401)
        t.equal(await visit(app, respell(copy)), 401)
      }
      t.equal((await post(app, '/refresh', respell(pair.refreshToken))).statusCode, 401)

      const used = await login(app)
      const next = await refresh(app, used.refreshToken)
      await refresh(app, next.refreshToken)
      t.equal((await post(app, '/refresh', respell(used.refreshToken))).statusCode, 401, 'its reuse is noticed')
      t.equal(await visit(app, next.accessToken), 401)
    })
  }
})

async function race (t: Test, inner: TokenStore): Promise<void> {
  const { store, results } = watch(inner)
  const app = await buildSite(t, store)
  const { refreshToken, accessToken } = await login(app)
  const pairs = await Promise.all(Array.from({ length: 200 }, () => refresh(app, refreshToken)))
  t.equal(results.filter(({ outcome }) => outcome === 'rotated').length, 1)
  t.equal(results.filter(({ outcome }) => outcome === 'replayed').length, 199)
  t.same(new Set(pairs.map(generationOf)), new Set([2]))
  t.equal(await visit(app, accessToken), 200)
  for (const { accessToken } of pairs.slice(0, 20)) t.equal(await visit(app, accessToken), 200)
  const again = await Promise.all(pairs.map((pair) => refresh(app, pair.refreshToken)))
  t.same(new Set(again.map(generationOf)), new Set([3]))
  t.equal(results.filter(({ outcome }) => outcome === 'rotated').length, 2)
}

t.test('200 parallel refreshes of one token: one is rotated, 199 are replayed, all of one generation', async (t) => {
  t.test('in memory', (t) => race(t, memoryStore()))

  t.test('on Redis', { skip }, async (t) => {
    const server = await startRedis(t)
    await race(t, redisStore(await connectIoredis(t, server)))
    await race(t, redisStore(await connectNodeRedis(t, server)))
  })

  t.test('on a cluster of three masters', { skip }, async (t) => {
    const servers = await startCluster(t)
    await race(t, redisStore(await connectIoredisCluster(t, servers)))
    await race(t, redisStore(await connectNodeRedisCluster(t, servers)))
  })

  t.test('over two instances of the application', { skip }, async (t) => {
    const server = await startRedis(t)
    const apps = [
      await buildSite(t, redisStore(await connectIoredis(t, server))), await buildSite(t, redisStore(await connectNodeRedis(t, server))),
    ]
    const { refreshToken } = await login(apps[0]!)
    const pairs = await Promise.all(Array.from({ length: 200 }, (_, i) => refresh(apps[i % 2]!, refreshToken)))
    t.same(new Set(pairs.map(generationOf)), new Set([2]))
  })
})

t.test('two instances over one Redis', { skip }, async (t) => {
  const server = await startRedis(t)
  const here = await buildSite(t, redisStore(await connectIoredis(t, server)))
  const there = await buildSite(t, redisStore(await connectNodeRedis(t, server)))

  t.test('a logout on one is one on the other, at once', async (t) => {
    const pair = await login(here)
    t.equal(await visit(there, pair.accessToken), 200)
    const next = await refresh(there, pair.refreshToken)
    t.equal((await post(there, '/logout', next.accessToken)).statusCode, 200)
    for (const app of [here, there]) {
      t.equal(await visit(app, pair.accessToken), 401)
      t.equal(await visit(app, next.accessToken), 401)
      t.equal((await post(app, '/refresh', next.refreshToken)).statusCode, 401)
    }
  })

  t.test('log out everywhere is everywhere, and a login right after works on both', async (t) => {
    for (let i = 0; i < 10; i++) {
      const before = [await login(here), await login(there)]
      const plain = [await here.createAccessToken('ada'), await there.createAccessToken('ada')]
      await here.revokeAllTokens('ada')
      const after = [(await login(there)).accessToken, (await login(here)).accessToken, await there.createAccessToken('ada')]
      for (const app of [here, there]) {
        for (const { accessToken, refreshToken } of before) {
          t.equal(await visit(app, accessToken), 401)
          t.equal((await post(app, '/refresh', refreshToken)).statusCode, 401)
        }
        for (const token of plain) t.equal(await visit(app, token), 401)
        for (const token of after) t.equal(await visit(app, token), 200)
      }
    }
  })

  t.test('a reuse on one ends the session on the other', async (t) => {
    const first = await login(here)
    const second = await refresh(there, first.refreshToken)
    await refresh(here, second.refreshToken)
    t.equal((await post(there, '/refresh', first.refreshToken)).statusCode, 401)
    for (const app of [here, there]) t.equal(await visit(app, second.accessToken), 401)
    await t.rejects(here.refreshTokens(first.refreshToken), { code: 'FST_JWT_EXT_REVOKED' })
  })

  t.test('both list the same sessions', async (t) => {
    await login(here, 'cy', { label: 'phone' })
    await sleep(5)
    await login(there, 'cy', { label: 'laptop' })
    const lists = [await here.listSessions('cy'), await there.listSessions('cy')]
    t.same(lists[0], lists[1])
    t.same(lists[0]?.map(({ label }) => label), ['laptop', 'phone'])
  })
})

t.test('questions to Redis, by its own count', { skip }, async (t) => {
  const server = await startRedis(t)
  // What a script asks of the server inside it; all other commands came over the wire.
  const INSIDE = new Set(['time', 'get', 'set', 'pttl', 'zadd', 'pexpire', 'zrange', 'zrem', 'zremrangebyscore', 'del'])
  const overTheWire = async (work: () => Promise<unknown>): Promise<Record<string, number>> => {
    const counts = await countCommands(server, work)
    return Object.fromEntries(Object.entries(counts).filter(([name]) => !('evalsha' in counts && INSIDE.has(name))))
  }

  for (const [kind, client] of [['ioredis', await connectIoredis(t, server)], ['node-redis', await connectNodeRedis(t, server)]] as const) {
    t.test(kind, async (t) => {
      const app = await buildSite(t, redisStore(client))
      // A server is given each script once.
      await app.revokeSession('nobody', 'none')
      await app.revokeAllTokens('nobody')
      await app.listSessions('nobody')
      let pair = await refresh(app, (await login(app)).refreshToken)
      const plain = await app.createAccessToken('ada')
      t.same(await overTheWire(() => visit(app, pair.accessToken)), { mget: 1 }, 'a guard')
      t.same(await overTheWire(() => visit(app, plain)), { mget: 1 }, 'a guard of a token without a session')
      t.same(await overTheWire(() => visit(app, pair.accessToken, '/page-skip')), {}, 'skipRevocationCheck')
      t.same(await overTheWire(async () => { pair = await refresh(app, pair.refreshToken) }), { mget: 1, evalsha: 1 }, 'a refresh')
      t.same(await overTheWire(() => app.refreshTokens(pair.refreshToken)), { evalsha: 1 }, 'app.refreshTokens')
      t.same(await overTheWire(() => login(app)), { evalsha: 1 }, 'a login')
      t.same(await overTheWire(() => app.createAccessToken('ada')), { mget: 1 }, 'a token without a session')
      t.same(await overTheWire(() => app.listSessions('ada')), { evalsha: 1 }, 'the list of sessions')
      t.equal(await visit(app, pair.accessToken), 200)
      t.same(await overTheWire(() => post(app, '/logout', pair.accessToken)), { mget: 1, evalsha: 1 }, 'a logout')
      t.same(await overTheWire(() => post(app, '/logout', plain)), { mget: 1, set: 1 }, 'a logout without a session')
      const { accessToken } = await login(app)
      t.same(await overTheWire(() => post(app, '/logout-all', accessToken)), { mget: 1, evalsha: 1 }, 'a logout everywhere')
    })
  }
})

t.test('while Redis is gone', { skip }, async (t) => {
  const LIMIT = 0.25
  // What a busy machine may add to the limit.
  const SLACK = 1500

  async function run (t: Test, kind: 'ioredis' | 'node-redis', outage: 'killed' | 'stalled'): Promise<void> {
    const server = await startRedis(t)
    const client = kind === 'ioredis' ? await connectIoredis(t, server) : await connectNodeRedis(t, server)
    const app = await buildSite(t, redisStore(client), { storeTimeout: LIMIT, sessionLifetime: '1h' })
    const browsers = await Promise.all(Array.from({ length: 8 }, async (_, i) => {
      const browser = new Browser(app)
      await browser.login(`user ${i}`)
      return browser
    }))
    let isUp = true
    const over = new AbortController()
    const during: { status: number, retryAfter: unknown, took: number, cookies: number, started: number }[] = []
    let wentDown = Infinity

    async function load (browser: Browser): Promise<void> {
      while (!over.signal.aborted) {
        for (const send of [() => browser.send('GET', '/page'), () => browser.refresh()]) {
          const started = performance.now()
          const wasUp = isUp
          const response = await send()
          const took = performance.now() - started
          if (wasUp && isUp) continue
          if (wasUp && response.statusCode === 200) continue
          if (!over.signal.aborted) during.push({ status: response.statusCode, retryAfter: response.headers['retry-after'], took, cookies: response.cookies.length, started })
        }
        await sleep(5)
      }
    }

    const loads = browsers.map(load)
    await sleep(300)
    t.same(during, [])
    if (outage === 'killed') await server.kill()
    else server.pause()
    isUp = false
    wentDown = performance.now()
    await sleep(1500)
    over.abort()
    await Promise.all(loads)
    t.ok(during.length > 20, `${during.length} answers while it was down`)
    t.ok(during.some(({ started }) => started > wentDown))
    t.same(new Set(during.map(({ status }) => status)), new Set([503]))
    t.same(new Set(during.map(({ retryAfter }) => retryAfter)), new Set(['1']))
    t.same(new Set(during.map(({ cookies }) => cookies)), new Set([0]))
    t.ok(Math.max(...during.map(({ took }) => took)) < LIMIT * 1000 + SLACK, 'all are answered in time')
    for (const browser of browsers) t.same(browser.names, COOKIES)

    if (outage === 'killed') await server.restart()
    else server.resume()
    const back = performance.now()
    for (const browser of browsers) {
      if (outage === 'killed') {
        while ((await browser.login('ada')).statusCode === 503 && performance.now() - back < 10_000) await sleep(20)
      }
      let response = await browser.refresh()
      while (response.statusCode === 503 && performance.now() - back < 10_000) {
        await sleep(20)
        response = await browser.refresh()
      }
      t.equal(response.statusCode, 200, 'refreshing goes on')
      t.equal((await browser.send('GET', '/page')).statusCode, 200, 'pages go on')
    }
  }

  for (const kind of ['ioredis', 'node-redis'] as const) {
    for (const outage of ['killed', 'stalled'] as const) {
      t.test(`${kind}, ${outage}: 503 in time, cookies untouched, and everything goes on after it`, (t) => run(t, kind, outage))
    }
  }

  for (const kind of ['ioredis', 'node-redis'] as const) {
    const GRACE = 0.2
    const STALL = 1500

    t.test(`${kind}: a refresh that was answered 503 is not done when the server wakes, and its token is good long after`, async (t) => {
      const server = await startRedis(t)
      const client = kind === 'ioredis' ? await connectIoredis(t, server) : await connectNodeRedis(t, server)
      const events: SessionEvent[] = []
      const app = await buildSite(t, redisStore(client), {
        storeTimeout: 0.5, refreshGrace: GRACE, onReuse: 'identity', onSessionEvent: (event) => { events.push(event) },
      })
      const browser = new Browser(app)
      await browser.login()
      // Reading goes on, so that the guard passes and the rotation is what waits.
      await server.admin.call('CLIENT', 'PAUSE', String(STALL), 'WRITE')
      const answered = await browser.refresh()
      t.equal(answered.statusCode, 503)
      t.equal(answered.headers['retry-after'], '1')
      t.same(answered.cookies, [])
      await sleep(STALL + 2 * GRACE * 1000)
      const again = await browser.refresh()
      t.equal(again.statusCode, 200)
      t.equal(generationOf(again.json()), 2)
      t.equal((await browser.send('GET', '/page')).statusCode, 200)
      t.same(events.map(({ type }) => type), ['session_created', 'store_unavailable', 'session_renewed'])
    })

    t.test(`${kind}: nor are a login and a refresh that wait in a server that stands still`, async (t) => {
      const server = await startRedis(t)
      const client = kind === 'ioredis' ? await connectIoredis(t, server) : await connectNodeRedis(t, server)
      const app = await buildSite(t, redisStore(client), { storeTimeout: 0.5, refreshGrace: GRACE })
      const { refreshToken, sessionId } = await login(app)
      server.pause()
      const refusals = await Promise.allSettled([app.refreshTokens(refreshToken), app.createTokenPair('ada')])
      for (const refusal of refusals) t.match(refusal, { status: 'rejected', reason: { code: 'FST_JWT_EXT_STORE_UNAVAILABLE' } })
      server.resume()
      await sleep(2 * GRACE * 1000)
      t.equal(generationOf(await app.refreshTokens(refreshToken)), 2)
      t.same((await app.listSessions('ada')).map((session) => session.sessionId), [sessionId])
    })
  }

  t.test('a session that was lost with the server’s memory is refused, and its cookies are cleared', async (t) => {
    const server = await startRedis(t)
    const app = await buildSite(t, redisStore(await connectIoredis(t, server)))
    const browser = new Browser(app)
    await browser.login()
    await server.restart()
    t.equal((await browser.refresh()).statusCode, 401)
    t.same(browser.names, [])
  })

  t.test('a server that lost only the last writes goes on from the token', async (t) => {
    const server = await startRedis(t)
    const events: SessionEvent[] = []
    const app = await buildSite(t, redisStore(await connectIoredis(t, server)), { onSessionEvent: (event) => { events.push(event) } })
    const first = await login(app)
    const [key] = await server.admin.keys('*:session:*')
    const snapshot = await server.admin.dumpBuffer(key!)
    const third = await refresh(app, (await refresh(app, first.refreshToken)).refreshToken)
    await server.admin.restore(key!, 60_000, snapshot, 'REPLACE')
    t.equal(generationOf(await refresh(app, third.refreshToken)), 4)
    t.match(events.at(-1), { type: 'session_renewed', adopted: true })
    t.equal(await visit(app, third.accessToken), 200)
  })
})
