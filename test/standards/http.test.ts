// RFC 9110 (HTTP semantics), mostly §11, and RFC 9111 (caching): docs/standards.md has the table.
import type { FastifyError } from 'fastify'
import t from 'tap'
import { memoryStore, type JwtExtendedOptions } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { head, listen, sendRaw } from '../support/raw-http.js'

t.test('RFC 9110 §5.1: the name of the header is matched without regard to case', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, headerName: 'X-Token' })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  const port = await listen(app)
  const token = await app.createAccessToken('ada')
  for (const name of ['X-Token', 'x-token', 'X-TOKEN']) {
    t.strictSame((await sendRaw(port, head('GET', '/', { [name]: `Bearer ${token}` }))).statuses, [200], name)
  }
})

t.test('RFC 9110 §5.3: of two Authorization lines the first one counts, as Node has it', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  const port = await listen(app)
  const token = await app.createAccessToken('ada')
  const both = (one: string, other: string): string => `GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: ${one}\r\nauthorization: ${other}\r\n\r\n`
  t.strictSame((await sendRaw(port, both(`Bearer ${token}`, 'Bearer x'))).statuses, [200])
  t.strictSame((await sendRaw(port, both('Bearer x', `Bearer ${token}`))).statuses, [422])
})

t.test('RFC 9110 §5.3: of another header all lines are joined, and two tokens in them count as none', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, headerName: 'X-Token' })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  const port = await listen(app)
  const token = await app.createAccessToken('ada')
  const ask = async (...lines: string[]) => (await sendRaw(port, `GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${lines.map((line) => `x-token: ${line}\r\n`).join('')}\r\n`)).statuses
  t.strictSame(await ask(`Bearer ${token}`, 'Basic YTpi'), [200])
  t.strictSame(await ask('Basic YTpi', `Bearer ${token}`), [200])
  t.strictSame(await ask(`Bearer ${token}`, `Bearer ${token}`), [401])
  t.strictSame(await ask(`Bearer ${token}`, 'Bearer x'), [401])
})

t.test('RFC 9110 §9.3.2: a HEAD is judged as the GET is', async (t) => {
  const app = await buildApp(t)
  let reached = 0
  app.get('/', { preHandler: app.jwtRequired() }, async () => { reached++; return 'in' })
  t.equal((await app.inject({ method: 'HEAD', url: '/' })).statusCode, 401)
  t.equal(reached, 0)
  t.equal((await app.inject({ method: 'HEAD', url: '/', headers: bearer(await app.createAccessToken('ada')) })).statusCode, 200)
})

t.test('RFC 9110 §9.3.7: an OPTIONS is not judged, and nothing is known of its sender', async (t) => {
  const app = await buildApp(t)
  app.options('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  app.options('/open', { preHandler: app.jwtRequired() }, async () => 'in')
  const headers = bearer(await app.createAccessToken('ada'))
  t.equal((await app.inject({ method: 'OPTIONS', url: '/open' })).statusCode, 200)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/', headers })).statusCode, 500, 'a handler that reads the token is told that no guard has passed it')
})

t.test('RFC 9110 §11.1: the scheme is matched without regard to case', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const token = await app.createAccessToken('ada')
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEARER']) {
    t.equal((await app.inject({ url: '/', headers: { authorization: `${scheme} ${token}` } })).statusCode, 200, scheme)
  }
})

t.test('RFC 9110 §11.2: a parameter stands once in a challenge, and its value in quotes', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, errorProfile: 'rfc6750' })
  app.get('/', { preHandler: app.jwtRequired({ scopes: ['a', 'b'] }) }, async () => 'in')
  for (const [token, names] of [[forge({ sub: 'ada' }), ['error', 'scope', 'error_description']], ['x.y.z', ['error', 'error_description']]] as const) {
    const challenge = String((await app.inject({ url: '/', headers: bearer(token) })).headers['www-authenticate'])
    t.match(challenge, /^Bearer [a-z_]+="[^"]*"(, [a-z_]+="[^"]*")*$/)
    t.strictSame(Array.from(challenge.matchAll(/([a-z_]+)="/g), ([, name]) => name), names)
  }
})

t.test('RFC 9110 §11.4: credentials that are no one word behind the scheme are refused', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const token = await app.createAccessToken('ada')
  for (const value of ['Bearer', `Bearer ${token} x`, `Bearer realm="x" ${token}`, `Bearer token="${token}"`, `Bearer "${token}"`]) {
    t.equal((await app.inject({ url: '/', headers: { authorization: value } })).statusCode, 422, value.slice(0, 30))
  }
  t.equal((await app.inject({ url: '/', headers: { authorization: `Bearer   ${token}` } })).statusCode, 200, 'several spaces are one')
})

t.test('RFC 9110 §11.5: the realm of a challenge is never sent', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  for (const headers of [{}, bearer(await app.createAccessToken('ada', { expiresDelta: -1 }))]) {
    const response = await app.inject({ url: '/', headers })
    t.equal(response.statusCode, 401)
    t.notMatch(response.headers['www-authenticate'], 'realm')
  }
})

t.test('RFC 9110 §11.6.1: a challenge is one line of one scheme', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, userLookupLoader: () => null })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const port = await listen(app)
  const token = await app.createAccessToken('ada\r\nX-Evil: 1, Basic realm="x"')
  const { text } = await sendRaw(port, head('GET', '/', bearer(token)))
  const lines = text.split('\r\n').filter((line) => /^(www-authenticate|x-evil)/i.test(line))
  t.equal(lines.length, 1)
  t.match(lines[0], /^www-authenticate: Bearer error="invalid_token", error_description="[^"]*"$/)
})

t.test('RFC 9110 §11.6.2: credentials of other schemes beside ours are passed over', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const token = await app.createAccessToken('ada')
  t.equal((await app.inject({ url: '/', headers: { authorization: `Basic YTpi, Bearer ${token}` } })).statusCode, 200)
  t.equal((await app.inject({ url: '/', headers: { authorization: 'Basic YTpi' } })).statusCode, 401)
})

t.test('RFC 9110 §11.7: credentials for a proxy are not looked at, and none are asked for', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const response = await app.inject({ url: '/', headers: { 'proxy-authorization': `Bearer ${await app.createAccessToken('ada')}` } })
  t.equal(response.statusCode, 401)
  t.equal(response.headers['proxy-authenticate'], undefined)
})

t.test('RFC 9110 §15.5.2: every 401 has a challenge, also where a loader wrote its body, or throwErrors handed it on to an error handler that knows nothing of it', async (t) => {
  const rows: [options: JwtExtendedOptions, hasHandler: boolean][] = [[{}, false], [{}, true], [{ throwErrors: true }, false], [{ throwErrors: true }, true], [{ unauthorizedLoader: () => ({ error: 'who are you?' }) }, false]]
  for (const [options, hasHandler] of rows) {
    const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'cookies'], ...options })
    if (hasHandler) app.setErrorHandler((error: FastifyError, _request, reply) => reply.code(error.statusCode ?? 500).send({ problem: error.message }))
    app.route({ method: ['GET', 'POST'], url: '/', preHandler: app.jwtRequired(), handler: async () => 'in' })
    const token = await app.createAccessToken('ada')
    for (const request of [{ url: '/' }, { url: '/', method: 'POST' as const, cookies: { access_token_cookie: token } }]) {
      const response = await app.inject(request)
      t.equal(response.statusCode, 401)
      t.match(response.headers['www-authenticate'], /^Bearer/)
    }
  }
})

t.test('RFC 9110 §15.5.4: a 403 is for a good token that is not enough, and a request without one is asked for it', async (t) => {
  for (const errorProfile of ['flask', 'rfc6750'] as const) {
    const app = await buildApp(t, { secretKey: SECRET, errorProfile })
    app.get('/', { preHandler: app.jwtRequired({ roles: 'admin' }) }, async () => 'in')
    const ask = async (headers: Record<string, string>) => (await app.inject({ url: '/', headers })).statusCode
    t.equal(await ask(bearer(forge({ sub: 'ada' }))), 403)
    t.equal(await ask({}), 401)
    t.not(await ask(bearer(forge({ sub: 'ada', roles: ['admin'] }, undefined, 'k'.repeat(64)))), 403)
    t.equal(await ask(bearer(forge({ sub: 'ada', roles: ['admin'] }))), 200)
  }
})

t.test('RFC 9110 §15.5.21: in the profile flask a token that cannot be processed is a 422', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  t.equal((await app.inject({ url: '/', headers: bearer('x.y.z') })).statusCode, 422)
})

t.test('RFC 9110 §15.6.4: a store that fails is a 503 with Retry-After', async (t) => {
  const fail = async (): Promise<never> => { throw new Error('down') }
  const store = { isRevoked: fail, epochOf: fail, revokeToken: fail, consumeToken: fail, startSession: fail, rotate: fail, endSession: fail, endAll: fail, listSessions: fail }
  const app = await buildApp(t, { secretKey: SECRET, store })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
  t.equal(response.statusCode, 503)
  t.match(response.headers['retry-after'], /^[1-9]\d*$/)
})

t.test('RFC 9111 §5.2.2.5: an answer that sets a token cookie is not to be stored', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, store: memoryStore() })
  const pair = await app.createTokenPair('ada')
  app.get('/access', (_request, reply) => { reply.setAccessCookies(pair.accessToken).send('in') })
  app.get('/refresh', (_request, reply) => { reply.setRefreshCookies(pair.refreshToken).send('in') })
  app.get('/pair', (_request, reply) => { reply.setTokenCookies(pair).send('in') })
  app.get('/own', (_request, reply) => { reply.header('cache-control', 'private, max-age=60').setRefreshCookies(pair.refreshToken).send('in') })
  for (const url of ['/access', '/refresh', '/pair']) t.equal((await app.inject(url)).headers['cache-control'], 'no-store', url)
  t.equal((await app.inject('/own')).headers['cache-control'], 'private, max-age=60')
})
