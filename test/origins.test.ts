import t from 'tap'
import { identifyRule, readRule } from '../lib/rule.js'
import { readSettings } from '../lib/settings.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import type { JwtExtendedOptions, JwtRule } from '../index.js'

const COOKIES: JwtExtendedOptions = { secretKey: SECRET, tokenLocation: ['cookies', 'headers'] }
const UPGRADE = { connection: 'Upgrade', upgrade: 'websocket' }

t.test('allowed origins are one or a list, as browsers write them', (t) => {
  const settings = readSettings(COOKIES)
  const read = (allowedOrigins: unknown): unknown => readRule({ allowedOrigins }, settings).allowedOrigins
  t.equal(read(undefined), undefined)
  for (const good of ['https://app.example.com', 'http://localhost:3000', 'https://app.example.com:8443', 'http://127.0.0.1', 'http://[::1]:3000', 'https://xn--bcher-kva.example']) t.strictSame(read(good), [good])
  t.strictSame(read(['https://a.example', 'https://b.example', 'https://a.example']), ['https://a.example', 'https://b.example'])
  const bad = [
    '', '*', 'null', 'app.example.com', '//app.example.com', 'https://app.example.com/', 'https://app.example.com/path', 'https://App.example.com', 'HTTPS://app.example.com',
    'https://app.example.com:443', 'https://*.example.com/', 'https://user@app.example.com', 'https://app.example.com?', 'ws://app.example.com', 'wss://app.example.com', 'file://', 'http:',
    'http://', 'https://app.example.com ', 'https://bücher.example', 'blob:https://app.example.com', 'https://a.example,https://b.example', [], ['*'], ['https://a.example', ''], null, true, 0, {}, /x/,
  ]
  for (const value of bad) {
    t.throws(() => read(value), {
      code: 'FST_JWT_EXT_USAGE', message: "A guard's allowedOrigins must be the origin of a page, such as 'https://app.example.com', without a path, or a list of such, not empty",
    }, JSON.stringify(value))
  }
  t.end()
})

t.test('allowed origins of a guard that looks into no cookies would protect nothing', async (t) => {
  const app = await buildApp(t)
  const allowedOrigins = 'https://a.example'
  t.throws(() => app.jwtRequired({ allowedOrigins }), { code: 'FST_JWT_EXT_USAGE', message: "A guard's allowedOrigins are for tokens in cookies" })
  t.doesNotThrow(() => app.jwtRequired({ allowedOrigins, locations: ['headers', 'cookies'] }))
})

t.test('rules with other origins are other rules', async (t) => {
  const settings = readSettings(COOKIES)
  const rules: JwtRule[] = [{}, { allowedOrigins: 'https://a.example' }, { allowedOrigins: 'https://b.example' }, { allowedOrigins: ['https://a.example', 'https://b.example'] }]
  t.equal(new Set(rules.map((rule) => identifyRule(readRule(rule, settings)))).size, rules.length)
  const app = await buildApp(t, COOKIES)
  app.get('/a', { onRequest: app.jwtRequired({ allowedOrigins: 'https://a.example' }) }, async () => 'in')
  app.get('/b', { onRequest: app.jwtRequired({ allowedOrigins: 'https://b.example' }) }, async () => 'in')
  const headers = { ...UPGRADE, cookie: `access_token_cookie=${await app.createAccessToken('ada')}`, origin: 'https://a.example' }
  t.equal((await app.inject({ url: '/a', headers })).statusCode, 200)
  t.equal((await app.inject({ url: '/b', headers })).statusCode, 401)
})

// Without a WebSocket server an upgrade is a request like others: enough to see which ones a guard refuses.
t.test('an upgrade with a cookie comes from an allowed page or is refused', async (t) => {
  for (const [options, status] of [[{}, 401], [{ errorProfile: 'rfc6750' }, 403], [{ cookieCsrfProtect: false }, 401]] as const) {
    const app = await buildApp(t, { ...COOKIES, ...options })
    app.get('/named', { onRequest: app.jwtRequired({ allowedOrigins: ['https://a.example', 'https://b.example'] }) }, async () => 'in')
    app.get('/same', { onRequest: app.jwtRequired() }, async () => 'in')
    app.get('/optional', { onRequest: app.jwtRequired({ optional: true }) }, async () => 'in')
    const cookie = `access_token_cookie=${await app.createAccessToken('ada')}`
    const host = 'api.example:8443'
    const rows: [string, string | undefined, boolean][] = [
      ['/named', 'https://a.example', true], ['/named', 'https://b.example', true], ['/named', 'https://c.example', false], ['/named', 'http://a.example', false],
      ['/named', 'https://a.example:8443', false], ['/named', 'https://a.example.evil.example', false], ['/named', 'null', false], ['/named', '', false], ['/named', undefined, false],
      ['/named', 'https://a.example, https://b.example', false], ['/named', `https://${host}`, false],
      ['/named', 'HTTPS://A.EXAMPLE', false], ['/named', 'https://A.example', false], ['/named', 'HTTPS://a.example', false], ['/named', 'https://a.example/', false], ['/named', 'https://a.example:443', false], ['/named', 'https://\uff41.example', false],
      ['/same', `https://${host}`, true], ['/same', `http://${host}`, true], ['/same', 'https://api.example', false], ['/same', `https://${host}.evil.example`, false],
      ['/same', `HTTPS://${host.toUpperCase()}`, false], ['/same', `https://${host.toUpperCase()}`, false], ['/same', `HTTPS://${host}`, false], ['/same', `https://${host}/`, false], ['/same', 'https://evil.example', false], ['/same', host, false], ['/same', `ftp://${host}`, false], ['/same', 'null', false], ['/same', '', false], ['/same', undefined, false],
      ['/optional', 'https://evil.example', false], ['/optional', undefined, false], ['/optional', `https://${host}`, true],
    ]
    for (const upgrade of ['websocket', 'WebSocket', 'h2c, websocket']) {
      for (const [url, origin, passes] of rows) {
        const response = await app.inject({ url, headers: { ...UPGRADE, upgrade, host, cookie, ...(origin !== undefined && { origin }) } })
        t.equal(response.statusCode, passes ? 200 : status, `${url} ${origin}`)
        if (!passes) t.strictSame(response.json(), { msg: 'Origin is not allowed' })
      }
    }
    t.equal((await app.inject({ url: '/optional', headers: { ...UPGRADE, origin: 'https://evil.example' } })).statusCode, 200, 'there is no token to misuse')
  }
})

t.test('what is no upgrade, or carries its token elsewhere, needs no origin', async (t) => {
  const app = await buildApp(t, COOKIES)
  app.get('/', { onRequest: app.jwtRequired({ allowedOrigins: 'https://a.example' }) }, async (request) => request.jwtLocation)
  const token = await app.createAccessToken('ada')
  const cookie = `access_token_cookie=${token}`
  for (const headers of [{ cookie }, { cookie, origin: 'https://evil.example' }, { cookie, upgrade: 'h2c', connection: 'Upgrade' }]) {
    t.equal((await app.inject({ url: '/', headers })).body, 'cookies')
  }
  for (const origin of ['https://evil.example', 'https://a.example']) t.equal((await app.inject({ url: '/', headers: { ...UPGRADE, ...bearer(token), origin } })).body, 'headers')
})

t.test('verifyJwt judges an upgrade as a guard does', async (t) => {
  const app = await buildApp(t, COOKIES)
  app.get('/same', async (request) => (await request.verifyJwt())?.jwtPayload.sub)
  app.get('/named', async (request) => (await request.verifyJwt({ allowedOrigins: 'https://a.example' }))?.jwtPayload.sub)
  const cookie = `access_token_cookie=${await app.createAccessToken('ada')}`
  for (const [url, origin, status] of [['/same', 'http://localhost:80', 200], ['/same', 'https://a.example', 401], ['/named', 'https://a.example', 200], ['/named', 'http://localhost:80', 401]] as const) {
    t.equal((await app.inject({ url, headers: { ...UPGRADE, cookie, origin } })).statusCode, status, `${url} ${origin}`)
  }
})

t.test('behind a trusted proxy the host is the one that the browser asked', async (t) => {
  for (const [trustProxy, status] of [[true, 200], [false, 401]] as const) {
    const app = await buildApp(t, COOKIES, { trustProxy })
    app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
    const cookie = `access_token_cookie=${await app.createAccessToken('ada')}`
    const response = await app.inject({ url: '/', headers: { ...UPGRADE, cookie, host: 'inner:3000', 'x-forwarded-host': 'app.example', origin: 'https://app.example' } })
    t.equal(response.statusCode, status)
  }
})

t.test('a page of http is of the same origin only where the server may be one of http', async (t) => {
  for (const [proto, origin, status] of [['https', 'http', 401], ['https', 'https', 200], ['http', 'http', 200], ['http', 'https', 200]] as const) {
    const app = await buildApp(t, COOKIES, { trustProxy: true })
    app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
    const cookie = `access_token_cookie=${await app.createAccessToken('ada')}`
    const response = await app.inject({ url: '/', headers: { ...UPGRADE, cookie, host: 'app.example', 'x-forwarded-proto': proto, origin: `${origin}://app.example` } })
    t.equal(response.statusCode, status, `${origin} on ${proto}`)
  }
})

t.test('a refusal is logged with the origin, and worded by its loader', async (t) => {
  const lines: string[] = []
  const app = await buildApp(t, { ...COOKIES, unauthorizedLoader: (error) => ({ code: error.code }) }, { logger: { stream: { write: (line: string) => { lines.push(line) } } } })
  app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
  const cookie = `access_token_cookie=${await app.createAccessToken('ada')}`
  t.strictSame((await app.inject({ url: '/', headers: { ...UPGRADE, cookie, origin: 'https://evil.example' } })).json(), { code: 'FST_JWT_EXT_CSRF' })
  await app.inject({ url: '/', headers: { ...UPGRADE, cookie } })
  const hints = lines.map((line) => JSON.parse(line).hint).filter(Boolean)
  t.strictSame(hints, ['the origin is https://evil.example', 'the origin is not given'])
})
