import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { buildApp as buildImplicitRefresh } from '../../examples/implicit-refresh.js'
import { buildApp as buildTokenLocations } from '../../examples/token-locations.js'
import { SECRET } from '../support/app.js'
import { moveClock, stopClock } from '../support/clock.js'
import { start as startExample } from '../support/examples.js'

const MINUTE = 60
const HOUR = 60 * MINUTE
const LOGIN = { username: 'test', password: 'test' }

interface Answer {
  status: number
  body: Record<string, unknown>
  headers: Headers
  setCookies: string[]
}

/** A browser of sorts: keeps what it is given by name and path, and sends it back. */
class Client {
  readonly jar = new Map<string, { value: string, path: string }>()
  constructor (readonly address: string) {}

  get (path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.send(path, { headers })
  }

  /** With the CSRF value of the access cookie, unless told otherwise. */
  post (path: string, body?: unknown, headers: Record<string, string> = { 'x-csrf-token': this.value('csrf_access_token') ?? '' }): Promise<Answer> {
    return this.send(path, {
      method: 'POST',
      headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  }

  value (name: string): string | undefined {
    return this.jar.get(name)?.value
  }

  /** The claims of the token in the access cookie. */
  get claims (): Record<string, unknown> {
    return JSON.parse(Buffer.from(this.value('access_token_cookie')!.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
  }

  async send (path: string, options: RequestInit & { headers?: Record<string, string> } = {}): Promise<Answer> {
    const cookie = [...this.jar].filter(([, one]) => path.startsWith(one.path)).map(([name, one]) => `${name}=${one.value}`).join('; ')
    const response = await fetch(this.address + path, { ...options, headers: { ...(cookie !== '' && { cookie }), ...options.headers } })
    const setCookies = response.headers.getSetCookie()
    for (const line of setCookies) {
      const [pair, ...attributes] = line.split('; ')
      const [name, value] = pair!.split('=') as [string, string]
      if (attributes.includes('Max-Age=0')) this.jar.delete(name)
      else this.jar.set(name, { value, path: attributes.find((one) => one.startsWith('Path='))!.slice('Path='.length) })
    }
    const text = await response.text()
    const body = response.headers.get('content-type')?.startsWith('application/json') ? JSON.parse(text) as Record<string, unknown> : { text }
    return { status: response.status, body, headers: response.headers, setCookies }
  }
}

async function start (t: Test, app: FastifyInstance): Promise<Client> {
  t.teardown(() => app.close())
  return new Client(await app.listen({ host: '127.0.0.1', port: 0 }))
}

/** A client of the example that has just logged in, at a time that stands still until it is moved. */
async function logIn (t: Test): Promise<Client> {
  stopClock(t, 1_800_000_000)
  const client = await start(t, await buildImplicitRefresh(SECRET))
  const { status } = await client.post('/login', LOGIN)
  t.equal(status, 200)
  return client
}

t.test('implicit refreshing: a cookie that is used in the second half of its time is replaced', async (t) => {
  const client = await logIn(t)
  const { exp: first } = client.claims
  moveClock(t, 14 * MINUTE)
  t.same((await client.get('/protected')).setCookies, [], 'not before')
  moveClock(t, 2 * MINUTE)
  const renewed = await client.get('/protected')
  t.same([renewed.status, renewed.body], [200, { logged_in_as: 'test' }])
  t.equal(renewed.setCookies.length, 2)
  t.equal(client.claims['exp'], (first as number) + 16 * MINUTE)
  t.same((await client.get('/protected')).setCookies, [], 'and then not again')
  moveClock(t, 20 * MINUTE)
  t.equal((await client.get('/protected')).status, 200, 'when the first one would have expired long ago')
})

t.test('implicit refreshing: a cookie that is not used expires', async (t) => {
  const client = await logIn(t)
  moveClock(t, 30 * MINUTE)
  const answer = await client.get('/protected')
  t.same([answer.status, answer.body, answer.setCookies], [401, { msg: 'Token has expired' }, []])
})

t.test('implicit refreshing: freshness is not extended', async (t) => {
  const client = await logIn(t)
  const { fresh } = client.claims
  t.equal((await client.post('/transfer', { amount: 5 })).status, 200)
  moveClock(t, 16 * MINUTE)
  t.equal((await client.get('/protected')).setCookies.length, 2)
  t.equal(client.claims['fresh'], fresh, 'the same second as before')
  const stale = await client.post('/transfer', { amount: 5 })
  t.same([stale.status, stale.body], [401, { msg: 'Fresh token required' }])
})

t.test('implicit refreshing: a logout stays a logout', async (t) => {
  const client = await logIn(t)
  const [access, csrf] = [client.value('access_token_cookie')!, client.value('csrf_access_token')!]
  moveClock(t, 20 * MINUTE)
  const answer = await client.post('/logout')
  t.equal(answer.status, 200)
  t.ok(answer.setCookies.every((line) => line.includes('Max-Age=0')), 'the answer only clears')
  t.equal(answer.setCookies.length, 4)
  t.same([...client.jar.keys()], [])
  t.same((await client.get('/protected')).body, {
    msg: 'Missing JWT in cookies or headers (Missing cookie "access_token_cookie"; Missing Authorization Header)',
  })
  const kept = await client.get('/protected', { cookie: `access_token_cookie=${access}; csrf_access_token=${csrf}` })
  t.same([kept.status, kept.body, kept.setCookies], [401, { msg: 'Token has been revoked' }, []], 'a copy of the cookie is dead, too')
})

t.test('implicit refreshing: an answer that was under way during the logout brings nothing back', async (t) => {
  stopClock(t, 1_800_000_000)
  const app = await buildImplicitRefresh(SECRET)
  let finish: (value: object) => void = () => {}
  const begun = new Promise<void>((resolve) => {
    app.get('/slow', { onRequest: app.jwtRequired() }, () => {
      resolve()
      return new Promise<object>((resolve) => { finish = resolve })
    })
  })
  const client = await start(t, app)
  await client.post('/login', LOGIN)
  moveClock(t, 20 * MINUTE)
  const slow = client.get('/slow')
  await begun
  t.equal((await client.post('/logout')).status, 200)
  finish({ late: true })
  const answer = await slow
  t.same([answer.status, answer.setCookies], [200, []])
  t.same([...client.jar.keys()], [])
})

t.test('implicit refreshing: a route that clears the cookies or sets them itself has the last word', async (t) => {
  stopClock(t, 1_800_000_000)
  const app = await buildImplicitRefresh(SECRET)
  app.get('/forget', { onRequest: app.jwtRequired() }, async (request, reply) => {
    reply.unsetAccessCookies()
    return {}
  })
  app.get('/become', { onRequest: app.jwtRequired() }, async (request, reply) => {
    reply.setAccessCookies(await app.createAccessToken('somebody else', { additionalClaims: { login: 'another' } }))
    return {}
  })
  const client = await start(t, app)
  await client.post('/login', LOGIN)
  moveClock(t, 20 * MINUTE)
  const { setCookies } = await client.get('/become')
  t.equal(setCookies.length, 2)
  t.equal(client.claims['sub'], 'somebody else')
  await client.post('/login', LOGIN)
  moveClock(t, 20 * MINUTE)
  const cleared = await client.get('/forget')
  t.equal(cleared.setCookies.length, 2)
  t.same([...client.jar.keys()], [])
})

t.test('implicit refreshing: a token that came in a header is not turned into a cookie', async (t) => {
  const client = await logIn(t)
  const authorization = `Bearer ${client.value('access_token_cookie')}`
  moveClock(t, 20 * MINUTE)
  const other = new Client(client.address)
  const answer = await other.get('/protected', { authorization })
  t.same([answer.status, answer.setCookies], [200, []])
})

t.test('implicit refreshing: an answer that is an error renews nothing', async (t) => {
  const client = await logIn(t)
  const access = client.value('access_token_cookie')
  moveClock(t, 4 * MINUTE)
  t.equal((await client.post('/transfer', { amount: 0 })).status, 400)
  moveClock(t, 16 * MINUTE)
  const errors: [title: string, send: () => Promise<Answer>, status: number][] = [
    ['a guard that wants a fresh token', () => client.post('/transfer', { amount: 5 }), 401],
    ['a missing CSRF value', () => client.post('/logout', undefined, {}), 401],
    ['a login that fails', () => client.post('/login', { username: 'test', password: 'wrong' }), 401],
    ['a body that cannot be parsed', () => client.send('/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{' }), 400],
    ['no such route', () => client.get('/nowhere'), 404],
  ]
  for (const [title, send, status] of errors) {
    const answer = await send()
    t.same([answer.status, answer.setCookies], [status, []], title)
  }
  t.equal(client.value('access_token_cookie'), access)
})

t.test('implicit refreshing: an error of the handler itself renews nothing', async (t) => {
  stopClock(t, 1_800_000_000)
  const app = await buildImplicitRefresh(SECRET)
  app.get('/fails', { onRequest: app.jwtRequired() }, async () => { throw new Error('the handler failed') })
  const client = await start(t, app)
  await client.post('/login', LOGIN)
  moveClock(t, 20 * MINUTE)
  const answer = await client.get('/fails')
  t.same([answer.status, answer.setCookies], [500, []])
})

t.test('implicit refreshing: a login sets one token and not two', async (t) => {
  const client = await logIn(t)
  moveClock(t, 20 * MINUTE)
  const { setCookies } = await client.post('/login', LOGIN)
  t.same(setCookies.map((line) => line.split('=', 1)[0]), ['access_token_cookie', 'csrf_access_token'])
})

t.test('implicit refreshing: no answer with a token may be stored, whatever the route says', async (t) => {
  const client = await logIn(t)
  t.equal((await client.get('/prices')).headers.get('cache-control'), 'private, max-age=600')
  moveClock(t, 20 * MINUTE)
  const renewed = await client.get('/prices')
  t.equal(renewed.setCookies.length, 2)
  t.equal(renewed.headers.get('cache-control'), 'no-store')
})

t.test('implicit refreshing: the CSRF value stays, for forms that are open already', async (t) => {
  const client = await logIn(t)
  const csrf = client.value('csrf_access_token')!
  moveClock(t, 20 * MINUTE)
  t.equal((await client.get('/protected')).setCookies.length, 2)
  t.equal((await client.post('/logout', undefined, { 'x-csrf-token': csrf })).status, 200)
})

t.test('implicit refreshing: a login ends, however busily it is used', async (t) => {
  const client = await logIn(t)
  const { login_at: loginAt } = client.claims
  for (let minutes = 20; minutes < 12 * 60; minutes += 20) {
    moveClock(t, 20 * MINUTE)
    t.equal((await client.get('/protected')).status, 200, `${minutes} minutes`)
  }
  t.equal(client.claims['exp'], (loginAt as number) + 12 * HOUR)
  moveClock(t, 20 * MINUTE)
  t.equal((await client.get('/protected')).status, 401, 'twelve hours')
})

for (const name of ['implicit-refresh', 'token-locations']) {
  t.test(`${name}: starts as a program, and says where it is`, async (t) => {
    const { address } = await startExample(t, name)
    const client = new Client(address)
    t.equal((await client.get('/protected')).status, 401)
    t.equal((await client.post('/login', LOGIN)).status, 200)
  })
}

t.test('token locations: each place holds the token', async (t) => {
  const client = await start(t, await buildTokenLocations(SECRET))
  const { access_token: token } = (await client.post('/login', LOGIN)).body
  t.same([...client.jar.keys()], [], 'that login sets no cookie')
  const authorization = `Bearer ${String(token)}`
  const passed = (place: string): object => ({ logged_in_as: 'test', found_in: place })
  t.same((await client.get('/protected', { authorization })).body, passed('headers'))
  t.same((await client.get('/only_headers', { authorization })).body, passed('headers'))
  t.same((await client.post('/protected', { access_token: token })).body, passed('json'))
  const byQuery = await client.get(`/protected?jwt=${String(token)}`)
  t.same([byQuery.body, byQuery.headers.get('cache-control')], [passed('query_string'), 'private'])
  t.match((await client.get('/protected')).body, { msg: /^Missing JWT in headers, cookies, json or query_string \(/ })

  const login = await client.post('/login_with_cookies', LOGIN)
  t.same(login.body, { msg: 'Logged in with cookies' }, 'and this one shows no token')
  t.equal(login.headers.get('cache-control'), 'no-store')
  t.same([...client.jar.keys()], ['access_token_cookie', 'csrf_access_token', 'refresh_token_cookie', 'csrf_refresh_token'])
  t.same((await client.get('/protected')).body, passed('cookies'))
  t.same((await client.post('/protected')).body, passed('cookies'))
  t.same((await client.post('/protected', undefined, {})).body, { msg: 'Missing CSRF token' })
  t.same((await client.get('/only_headers')).body, { msg: 'Missing Authorization Header' })
  t.same((await client.get('/whoami')).body, { logged_in_as: 'test' })
})

t.test('token locations: the refresh cookie gets a new access cookie', async (t) => {
  stopClock(t, 1_800_000_000)
  const client = await start(t, await buildTokenLocations(SECRET))
  await client.post('/login_with_cookies', LOGIN)
  moveClock(t, HOUR)
  t.same((await client.get('/protected')).body, { msg: 'Token has expired' })
  t.same((await client.post('/refresh_with_cookies')).body, { msg: 'CSRF double submit tokens do not match' }, "by the refresh token's own value")
  const answer = await client.post('/refresh_with_cookies', undefined, { 'x-csrf-token': client.value('csrf_refresh_token')! })
  t.same([answer.status, answer.setCookies.length], [200, 2])
  t.equal((await client.post('/protected')).status, 200)
})

t.test('token locations: logging out clears all four cookies, and needs no good token', async (t) => {
  stopClock(t, 1_800_000_000)
  const client = await start(t, await buildTokenLocations(SECRET))
  await client.post('/login_with_cookies', LOGIN)
  moveClock(t, HOUR)
  t.equal((await client.post('/logout_with_cookies', undefined, {})).status, 200)
  t.same([...client.jar.keys()], [])
})

t.test('token locations: a login takes the right password and nothing else', async (t) => {
  const client = await start(t, await buildTokenLocations(SECRET))
  for (const path of ['/login', '/login_with_cookies']) {
    for (const body of [{}, null, 'test', 5, [], { username: 'test' }, { username: 'test', password: 'wrong' }, { username: ['test'], password: ['test'] }]) {
      const answer = await client.post(path, body, {})
      t.same([answer.status, answer.body, answer.setCookies], [401, { msg: 'Bad username or password' }, []], JSON.stringify(body))
    }
    t.equal((await client.post(path, undefined, {})).status, 401, 'no body')
  }
})

t.test('token locations: the page runs nothing but its own script', async (t) => {
  const client = await start(t, await buildTokenLocations(SECRET))
  const nonces = new Set<string>()
  for (let i = 0; i < 3; i++) {
    const { headers, body } = await client.get('/')
    t.equal(headers.get('content-type'), 'text/html; charset=utf-8')
    const policy = headers.get('content-security-policy')!
    const nonce = /script-src 'nonce-([^']+)'/.exec(policy)![1]!
    t.equal(policy, `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'`)
    const html = body['text'] as string
    t.equal(html.split(`<script nonce="${nonce}">`).length, 2)
    t.equal(html.split('<script').length, 2)
    t.notMatch(html, / (on\w+|style)=/, 'nothing that the policy would have to allow')
    nonces.add(nonce)
  }
  t.equal(nonces.size, 3, 'a new nonce each time')
})
