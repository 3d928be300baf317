import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions } from '../../index.js'
import { buildApp, SECRET } from '../support/app.js'

interface Answer { status: number, body: unknown }

const REACHED: Answer = { status: 200, body: { who: 'ada' } }
const FORM = 'application/x-www-form-urlencoded'

/** The two kinds of token, with where each is got, used and lost. */
const KINDS = [
  {
    login: '/login', page: '/page', logout: '/logout-access', cookie: 'access_token_cookie', csrfCookie: 'csrf_access_token',
  },
  {
    login: '/login-refresh', page: '/refresh', logout: '/logout-refresh', cookie: 'refresh_token_cookie', csrfCookie: 'csrf_refresh_token',
  },
] as const

async function buildCookieApp (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', ...options })
  app.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })

  interface Query { Querystring: { domain?: string } }
  app.get<Query>('/login', async (request, reply) => {
    const token = await app.createAccessToken('ada')
    reply.setAccessCookies(token, { domain: request.query.domain })
    return { in: true }
  })
  app.get<Query>('/login-refresh', async (request, reply) => {
    const token = await app.createRefreshToken('ada')
    reply.setRefreshCookies(token, { domain: request.query.domain })
    return { in: true }
  })
  app.get<Query>('/logout', (request, reply) => reply.unsetJwtCookies({ domain: request.query.domain }).send({ out: true }))
  app.get<Query>('/logout-access', (request, reply) => reply.unsetAccessCookies({ domain: request.query.domain }).send({ out: true }))
  app.get<Query>('/logout-refresh', (request, reply) => reply.unsetRefreshCookies({ domain: request.query.domain }).send({ out: true }))

  for (const [url, rule] of [['/page', {}], ['/refresh', { refresh: true }], ['/optional', { optional: true }]] as const) {
    app.route({
      method: ['GET', 'POST'], url, preValidation: app.jwtRequired(rule), handler: async (request) => ({ who: request.jwtIdentity }),
    })
  }
  return app
}

interface SetCookie {
  name: string
  value: string
  domain?: string
  path?: string
  expires?: Date
  maxAge?: number
  httpOnly?: boolean
  secure?: boolean
  sameSite?: string
}

/** Keeps cookies by name as a browser would, and sends them along. */
class Browser {
  readonly #cookies = new Map<string, string>()
  constructor (readonly app: FastifyInstance) {}

  /** Goes to a page and gives the cookies that it set. */
  async visit (url: string): Promise<SetCookie[]> {
    const response = await this.app.inject({ url, headers: this.#headers() })
    if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}: ${response.body}`)
    const cookies = response.cookies as SetCookie[]
    for (const { name, value, maxAge, expires } of cookies) {
      const gone = maxAge === undefined ? expires !== undefined && expires.getTime() <= Date.now() : maxAge <= 0
      if (gone) this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
    return cookies
  }

  async send (url: string, { headers, ...request }: InjectOptions = {}): Promise<Answer> {
    const response = await this.app.inject({ url, headers: { ...this.#headers(), ...headers }, ...request })
    return { status: response.statusCode, body: response.json() }
  }

  /** A cookie's value, as a script on the page would read it. */
  read (name: string): string {
    const value = this.#cookies.get(name)
    if (value === undefined) throw new Error(`there is no cookie ${name}`)
    return value
  }

  #headers (): Record<string, string> {
    const cookie = Array.from(this.#cookies, ([name, value]) => `${name}=${value}`).join('; ')
    return cookie === '' ? {} : { cookie }
  }
}

function missing (msg: string): Answer {
  return { status: 401, body: { msg } }
}

function named (cookies: SetCookie[], name: string): SetCookie {
  const found = cookies.filter((cookie) => cookie.name === name)
  if (found.length !== 1) throw new Error(`${found.length} cookies of the name ${name} in ${JSON.stringify(cookies)}`)
  return found[0]!
}

t.test('lets a request in from login to logout', async (t) => {
  const app = await buildCookieApp(t)
  for (const { login, page, logout, cookie } of KINDS) {
    const browser = new Browser(app)
    const out = missing(`Missing cookie "${cookie}"`)
    t.strictSame(await browser.send(page), out, `${page} before login`)
    for (const exit of [logout, '/logout']) {
      await browser.visit(login)
      t.strictSame(await browser.send(page), REACHED, `${page} after login`)
      await browser.visit(exit)
      t.strictSame(await browser.send(page), out, `${page} after ${exit}`)
    }
  }
})

t.test('ends one of two logins and leaves the other', async (t) => {
  const browser = new Browser(await buildCookieApp(t))
  await browser.visit('/login')
  await browser.visit('/login-refresh')
  await browser.visit('/logout-access')
  t.equal((await browser.send('/page')).status, 401)
  t.strictSame(await browser.send('/refresh'), REACHED)
})

t.test('a POST needs the value of the CSRF cookie in a header', async (t) => {
  const app = await buildCookieApp(t)
  for (const { login, page, csrfCookie } of KINDS) {
    const browser = new Browser(app)
    await browser.visit(login)
    t.strictSame(await browser.send(page, { method: 'POST' }), missing('Missing CSRF token'), `${page} without`)
    t.strictSame(await browser.send(page, { method: 'POST', headers: { 'X-CSRF-TOKEN': browser.read(csrfCookie) } }), REACHED, `${page} with`)
  }
})

t.test('a POST with another CSRF value is refused', async (t) => {
  const app = await buildCookieApp(t)
  for (const { login, page } of KINDS) {
    const browser = new Browser(app)
    await browser.visit(login)
    const answer = await browser.send(page, { method: 'POST', headers: { 'X-CSRF-TOKEN': 'somebody-elses' } })
    t.strictSame(answer, missing('CSRF double submit tokens do not match'), page)
  }
})

t.test('a POST needs no CSRF value where cookieCsrfProtect is off', async (t) => {
  const app = await buildCookieApp(t, { cookieCsrfProtect: false })
  for (const { login, page } of KINDS) {
    const browser = new Browser(app)
    await browser.visit(login)
    t.strictSame(await browser.send(page, { method: 'POST' }), REACHED, page)
  }
})

t.test('the CSRF value may come in a header of another name', async (t) => {
  const app = await buildCookieApp(t, { accessCsrfHeaderName: 'X-Double', refreshCsrfHeaderName: 'X-Double' })
  for (const { login, page, csrfCookie } of KINDS) {
    const browser = new Browser(app)
    await browser.visit(login)
    const value = browser.read(csrfCookie)
    t.strictSame(await browser.send(page, { method: 'POST', headers: { 'X-Double': value } }), REACHED, page)
    t.strictSame(await browser.send(page, { method: 'POST', headers: { 'X-CSRF-TOKEN': value } }), missing('Missing CSRF token'), `${page} by the old name`)
  }
})

t.test('the CSRF value may come in a form where csrfCheckForm is on', async (t) => {
  const on = await buildCookieApp(t, { csrfCheckForm: true })
  const off = await buildCookieApp(t)
  for (const { login, page, csrfCookie } of KINDS) {
    for (const [app, expected] of [[on, REACHED], [off, missing('Missing CSRF token')]] as const) {
      const browser = new Browser(app)
      await browser.visit(login)
      const form = `csrf_token=${browser.read(csrfCookie)}&note=hello`
      t.strictSame(await browser.send(page, { method: 'POST', headers: { 'content-type': FORM }, payload: form }), expected, page)
    }
  }
})

t.test('the CSRF value may come in a form field of another name', async (t) => {
  const app = await buildCookieApp(t, { csrfCheckForm: true, accessCsrfFieldName: 'double', refreshCsrfFieldName: 'double' })
  for (const { login, page, csrfCookie } of KINDS) {
    const browser = new Browser(app)
    await browser.visit(login)
    for (const [field, expected] of [['double', REACHED], ['csrf_token', missing('Missing CSRF token')]] as const) {
      const answer = await browser.send(page, {
        method: 'POST', headers: { 'content-type': FORM }, payload: `${field}=${browser.read(csrfCookie)}`,
      })
      t.strictSame(answer, expected, `${page} by ${field}`)
    }
  }
})

t.test('csrfMethods says which methods need the CSRF value', async (t) => {
  const app = await buildCookieApp(t, { csrfMethods: ['GET'] })
  for (const { login, page, csrfCookie } of KINDS) {
    const browser = new Browser(app)
    await browser.visit(login)
    t.strictSame(await browser.send(page, { method: 'POST' }), REACHED, `POST ${page} without`)
    t.strictSame(await browser.send(page), missing('Missing CSRF token'), `GET ${page} without`)
    t.strictSame(await browser.send(page, { headers: { 'X-CSRF-TOKEN': browser.read(csrfCookie) } }), REACHED, `GET ${page} with`)
  }
})

t.test('cookies are Secure, Lax and of the session by default, and scripts read only the CSRF value', async (t) => {
  const app = await buildCookieApp(t)
  for (const { login, cookie, csrfCookie } of KINDS) {
    const cookies = await new Browser(app).visit(login)
    t.equal(cookies.length, 2, 'the token and the CSRF value')
    const token = named(cookies, cookie)
    const csrf = named(cookies, csrfCookie)
    t.equal(csrf.value, await app.getCsrfToken(token.value))
    t.equal(token.httpOnly, true)
    t.notOk(csrf.httpOnly)
    for (const { path, secure, sameSite, domain, maxAge, expires } of [token, csrf]) {
      t.strictSame({ path, secure, sameSite, domain, maxAge, expires }, {
        path: '/', secure: true, sameSite: 'Lax', domain: undefined, maxAge: undefined, expires: undefined,
      })
    }
  }
})

t.test('cookies have no SameSite and no Secure where the options say so', async (t) => {
  const app = await buildCookieApp(t, { cookieSecure: false, cookieSameSite: false })
  for (const { login, cookie, csrfCookie } of KINDS) {
    const cookies = await new Browser(app).visit(login)
    for (const name of [cookie, csrfCookie]) {
      t.notOk('sameSite' in named(cookies, name), name)
      t.notOk('secure' in named(cookies, name), name)
    }
  }
})

t.test('cookies take the domain, the age and the SameSite of the options', async (t) => {
  const app = await buildCookieApp(t, { cookieSecure: true, cookieDomain: 'test.com', sessionCookie: false, cookieSameSite: 'Strict' })
  for (const { login, cookie, csrfCookie } of KINDS) {
    const cookies = await new Browser(app).visit(login)
    t.equal(cookies.length, 2)
    t.equal(named(cookies, cookie).httpOnly, true)
    for (const name of [cookie, csrfCookie]) {
      t.match(named(cookies, name), { domain: 'test.com', path: '/', secure: true, sameSite: 'Strict', maxAge: 31_540_000 }, name)
    }
  }
})

t.test('cookies take the names and the paths of the options', async (t) => {
  const app = await buildCookieApp(t, {
    accessCookieName: 'ticket',
    accessCookiePath: '/page',
    accessCsrfCookieName: 'ticket_csrf',
    accessCsrfCookiePath: '/page',
    refreshCookieName: 'renewal',
    refreshCookiePath: '/refresh',
    refreshCsrfCookieName: 'renewal_csrf',
    refreshCsrfCookiePath: '/refresh',
  })
  for (const [login, logout, name, path] of [
    ['/login', '/logout-access', 'ticket', '/page'], ['/login-refresh', '/logout-refresh', 'renewal', '/refresh'],
  ] as const) {
    const browser = new Browser(app)
    for (const url of [login, logout]) {
      const cookies = await browser.visit(url)
      t.equal(cookies.length, 2, url)
      t.equal(named(cookies, name).path, path, `${url} ${name}`)
      t.equal(named(cookies, `${name}_csrf`).path, path, `${url} ${name}_csrf`)
    }
  }
})

t.test('the CSRF value gets no cookie where csrfInCookies is off', async (t) => {
  const app = await buildCookieApp(t, { csrfInCookies: false })
  for (const { login, page, cookie } of KINDS) {
    const browser = new Browser(app)
    const cookies = await browser.visit(login)
    t.strictSame(cookies.map(({ name }) => name), [cookie])
    t.strictSame(await browser.send(page, { method: 'POST' }), missing('Missing CSRF token'), 'it is needed all the same')
    const csrf = await app.getCsrfToken(browser.read(cookie))
    t.strictSame(await browser.send(page, { method: 'POST', headers: { 'X-CSRF-TOKEN': csrf } }), REACHED)
  }
})

t.test('there is no CSRF cookie where cookieCsrfProtect is off', async (t) => {
  const app = await buildCookieApp(t, { cookieCsrfProtect: false })
  for (const { login, cookie } of KINDS) {
    const cookies = await new Browser(app).visit(login)
    t.strictSame(cookies.map(({ name }) => name), [cookie])
  }
})

t.test('an optional route asks for a CSRF value only where a token came by cookie', async (t) => {
  const browser = new Browser(await buildCookieApp(t))
  t.strictSame(await browser.send('/optional', { method: 'POST' }), { status: 200, body: { who: null } }, 'without a token')
  await browser.visit('/login')
  t.strictSame(await browser.send('/optional', { method: 'POST' }), missing('Missing CSRF token'), 'with one')
})

t.test('the domain of a call wins over the configured one, when cookies are set and when they are cleared', async (t) => {
  const app = await buildCookieApp(t, { cookieDomain: 'test.com' })
  for (const { login, logout, cookie, csrfCookie } of KINDS) {
    const browser = new Browser(app)
    for (const url of [login, logout]) {
      for (const [query, domain] of [['?domain=other.com', 'other.com'], ['', 'test.com']] as const) {
        const cookies = await browser.visit(`${url}${query}`)
        t.equal(cookies.length, 2, `${url}${query}`)
        t.equal(named(cookies, cookie).domain, domain)
        t.equal(named(cookies, csrfCookie).domain, domain)
      }
    }
  }
})

t.test('sets and reads cookies over a socket', async (t) => {
  const app = await buildCookieApp(t)
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const login = await fetch(`${origin}/login`)
  t.equal(login.headers.get('cache-control'), 'no-store')
  const pairs = login.headers.getSetCookie().map((cookie) => cookie.slice(0, cookie.indexOf(';')))
  const csrf = pairs.find((pair) => pair.startsWith('csrf_access_token='))?.slice('csrf_access_token='.length) ?? ''
  const cookie = pairs.join('; ')

  t.equal((await fetch(`${origin}/page`, { headers: { cookie } })).status, 200)
  t.equal((await fetch(`${origin}/page`, { method: 'POST', headers: { cookie } })).status, 401)
  t.equal((await fetch(`${origin}/page`, { method: 'POST', headers: { cookie, 'x-csrf-token': csrf } })).status, 200)
})
