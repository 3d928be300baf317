import { connect, type AddressInfo } from 'node:net'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import jwtExtended, { type JwtExtendedOptions } from '../../index.js'
import { SECRET } from '../support/app.js'

const PAGE = 'https://app.example.com'

interface Server { app: FastifyInstance, url: string, port: number, token: string, opened: string[] }

/** A server with one WebSocket for each kind of hook; `/same` is guarded by its scope. */
async function startServer (t: Test, options: JwtExtendedOptions = {}): Promise<Server> {
  const app = Fastify()
  const opened: string[] = []
  t.teardown(() => app.close())
  await app.register(websocket)
  await app.register(jwtExtended, { secretKey: SECRET, tokenLocation: ['headers', 'cookies', 'query_string'], ...options })
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
    app.get(`/${hook}`, { websocket: true, [hook]: app.jwtRequired({ allowedOrigins: PAGE }) }, (socket, request) => {
      opened.push(request.url)
      socket.send(`${String(request.jwtIdentity)} by ${request.jwtLocation} at ${typeof request.jwt.exp}`)
    })
  }
  await app.register(async (scope) => {
    scope.addHook('onRequest', scope.jwtRequired())
    scope.get('/same', { websocket: true }, (socket, request) => { socket.send(`${String(request.jwtIdentity)} by ${request.jwtLocation} at ${typeof request.jwt.exp}`) })
  })
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return { app, port, opened, url: origin.replace('http', 'ws'), token: await app.createAccessToken('ada') }
}

/** The first message, or the answer of a refusal. */
function open (url: string, headers: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { headers, handshakeTimeout: 5000 })
    socket.on('error', reject)
    socket.on('message', (data) => {
      resolve(String(data))
      socket.close()
    })
    socket.on('unexpected-response', (_request, response) => {
      let body = ''
      response.on('data', (chunk) => { body += String(chunk) })
      response.on('error', reject)
      response.on('end', () => { resolve(`${response.statusCode} ${response.headers['www-authenticate'] ?? '-'} ${body}`) })
    })
  })
}

/** Everything that the server sends until it closes the connection. */
function askRaw (port: number, lines: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let received = ''
    socket.setTimeout(5000, () => { socket.destroy(new Error(`still open after: ${received}`)) })
    socket.on('data', (chunk) => { received += String(chunk) })
    socket.on('error', reject)
    socket.on('close', () => { resolve(received) })
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  })
}

const NO_ORIGIN = '401 Bearer error="invalid_token", error_description="Origin is not allowed" {"msg":"Origin is not allowed"}'

t.test('a WebSocket is opened with a good token and refused without one, in every kind of hook', async (t) => {
  const { url, token, opened } = await startServer(t)
  const cookie = `access_token_cookie=${token}`
  for (const hook of ['/onRequest', '/preParsing', '/preValidation', '/preHandler']) {
    t.match(await open(url + hook), /^401 Bearer \{"msg":"Missing JWT in headers, cookies or query_string/)
    t.match(await open(url + hook, { authorization: 'Bearer x' }), /^422 - \{"msg":/)
    t.match(await open(`${url}${hook}?jwt=x`), /^422 - \{"msg":/)
    t.equal(await open(url + hook, { cookie, origin: 'https://evil.example' }), NO_ORIGIN)
    t.equal(await open(url + hook, { cookie }), NO_ORIGIN)
    for (const origin of [PAGE.toUpperCase(), PAGE.replace('https', 'HTTPS'), `${PAGE}/`, `${PAGE}:443`]) t.equal(await open(url + hook, { cookie, origin }), NO_ORIGIN, `${origin} is not made into what a browser would write`)
    t.strictSame(opened, [], 'no handler ran')
    t.equal(await open(url + hook, { authorization: `Bearer ${token}` }), 'ada by headers at number')
    t.equal(await open(url + hook, { authorization: `Bearer ${token}`, origin: 'https://evil.example' }), 'ada by headers at number')
    t.equal(await open(`${url}${hook}?jwt=${token}`), 'ada by query_string at number')
    t.equal(await open(url + hook, { cookie, origin: PAGE }), 'ada by cookies at number')
    t.equal(opened.splice(0).length, 4)
  }
})

t.test("under a scope's guard a cookie opens a WebSocket for pages of the same origin only", async (t) => {
  const { url, token } = await startServer(t)
  const cookie = `access_token_cookie=${token}`
  t.equal(await open(`${url}/same`, { cookie, origin: url.replace('ws', 'http') }), 'ada by cookies at number')
  for (const origin of ['https://evil.example', PAGE, 'null', 'http://127.0.0.1']) t.equal(await open(`${url}/same`, { cookie, origin }), NO_ORIGIN, origin)
  t.equal(await open(`${url}/same`, { cookie }), NO_ORIGIN)
  t.equal(await open(`${url}/same`, { authorization: `Bearer ${token}` }), 'ada by headers at number')
})

t.test('neither RFC 6750 statuses nor missing CSRF protection change who is let in', async (t) => {
  const { url, token } = await startServer(t, { errorProfile: 'rfc6750', cookieCsrfProtect: false })
  const cookie = `access_token_cookie=${token}`
  t.match(await open(`${url}/onRequest`, { cookie, origin: 'https://evil.example' }), /^403 Bearer error="invalid_token"/)
  t.equal(await open(`${url}/onRequest`, { cookie, origin: PAGE }), 'ada by cookies at number')
  t.match(await open(`${url}/onRequest`, { authorization: 'Bearer x' }), /^401 Bearer error="invalid_token"/)
})

t.test('an error that is thrown is answered by the error handler', async (t) => {
  const { url } = await startServer(t, { throwErrors: true })
  t.match(await open(`${url}/preValidation`), /^401 Bearer \{"statusCode":401,"code":"FST_JWT_EXT_NO_AUTHORIZATION"/)
})

t.test('a guard that has to wait opens and refuses the same', async (t) => {
  const { url, token } = await startServer(t, { tokenInBlocklistLoader: async (_header, payload) => { await new Promise(setImmediate); return payload.sub === 'bob' } })
  t.equal(await open(`${url}/onRequest`, { authorization: `Bearer ${token}` }), 'ada by headers at number')
  t.match(await open(`${url}/onRequest`, { authorization: 'Bearer x' }), /^422/)
})

t.test('the bytes of a refusal are one whole answer, and then the connection ends', async (t) => {
  const { port, token } = await startServer(t)
  const upgrade = ['GET /onRequest HTTP/1.1', `Host: 127.0.0.1:${port}`, 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
  const refusals: [string[], RegExp][] = [
    [[], /Missing JWT/],
    [['Origin: https://evil.example', `Cookie: access_token_cookie=${token}`], /Origin is not allowed/],
    [[`Cookie: access_token_cookie=${token}`], /Origin is not allowed/],
  ]
  for (const [more, message] of refusals) {
    const received = await askRaw(port, [...upgrade, ...more])
    const [head, body] = received.split('\r\n\r\n') as [string, string]
    const [status, ...headers] = head.split('\r\n')
    t.equal(status, 'HTTP/1.1 401 Unauthorized')
    t.match(headers.find((line) => /^www-authenticate:/i.test(line)), /: Bearer/)
    t.ok(headers.includes('content-type: application/json; charset=utf-8'))
    t.ok(headers.includes(`content-length: ${Buffer.byteLength(body)}`))
    t.match(JSON.parse(body).msg, message)
    t.notMatch(received, /101 Switching/)
  }
})

t.test('many at once each get their own answer, and the server goes on', async (t) => {
  const { app, url, token } = await startServer(t)
  const cookie = `access_token_cookie=${token}`
  const kinds: [Record<string, string>, RegExp][] = [
    [{}, /^401/], [{ authorization: 'Bearer x' }, /^422/], [{ authorization: `Bearer ${token}` }, /^ada by headers/],
    [{ cookie, origin: PAGE }, /^ada by cookies/], [{ cookie, origin: 'https://evil.example' }, /^401/], [{ cookie }, /^401/],
  ]
  const answers = await Promise.all(Array.from({ length: 120 }, async (_, i) => {
    const [headers, expected] = kinds[i % kinds.length]!
    return expected.test(await open(`${url}/onRequest`, headers))
  }))
  t.ok(answers.every(Boolean))
  t.equal((await app.inject('/onRequest')).statusCode, 401)
})

t.test('a client that leaves in the middle of a refusal leaves the server as it was', async (t) => {
  const { port, url, token } = await startServer(t)
  for (let i = 0; i < 20; i++) {
    await new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write('GET /onRequest HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
        socket.resetAndDestroy()
      })
      socket.on('error', () => {})
      socket.on('close', () => { resolve() })
    })
  }
  t.equal(await open(`${url}/onRequest`, { authorization: `Bearer ${token}` }), 'ada by headers at number')
})

t.test('a WebSocket that looks into cookies cannot be declared without the origins of its pages', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(jwtExtended, { secretKey: SECRET, tokenLocation: ['headers', 'cookies'] })
  await app.register(websocket)
  const guards = { onRequest: app.jwtRequired(), preParsing: [app.jwtRequired()], preValidation: [async () => {}, app.jwtRequired({ optional: true })], preHandler: app.jwtRequired({ locations: 'cookies' }) }
  for (const [hook, guard] of Object.entries(guards)) {
    const error = {
      code: 'FST_JWT_EXT_USAGE',
      message: `The guard of the WebSocket /${hook} looks into cookies, which browsers send for any page; name the origins of your pages: ` +
        "jwtRequired({ allowedOrigins: 'https://app.example.com' }), or take 'cookies' out of its locations",
    }
    t.throws(() => app.get(`/${hook}`, { websocket: true, [hook]: guard }, () => {}), error)
    t.throws(() => app.route({ method: 'GET', url: `/${hook}`, [hook]: guard, handler: async () => 'page', wsHandler: () => {} }), error)
    t.doesNotThrow(() => app.get(`/plain/${hook}`, { [hook]: guard }, async () => 'page'))
  }
  for (const rule of [{ locations: 'headers' }, { allowedOrigins: PAGE }] as const) {
    t.throws(() => app.get('/second', { websocket: true, onRequest: [app.jwtRequired(rule), app.jwtRequired()] }, () => {}), { message: /^The guard of the WebSocket \/second/ })
  }
  for (const [index, rule] of [{ locations: 'headers' }, { allowedOrigins: PAGE }].entries()) {
    t.doesNotThrow(() => app.get(`/good/${index}`, { websocket: true, onRequest: app.jwtRequired(rule as object) }, () => {}))
  }
})
