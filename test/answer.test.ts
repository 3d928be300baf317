import type { FastifyInstance, FastifyReply, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { ExpiredTokenError, JwtDecodeError, JwtError, type AnswerLoader, type JwtExtendedOptions, type JwtFailure } from '../index.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { forge } from './support/forge.js'

type LoaderName =
  | 'expiredTokenLoader' | 'insufficientScopeLoader' | 'invalidTokenLoader' | 'needsFreshTokenLoader' | 'revokedTokenLoader'
  | 'tokenVerificationFailedLoader' | 'unauthorizedLoader' | 'userLookupErrorLoader'

interface Row {
  name: string
  request: InjectOptions
  code: string
  message: string
  flask: number
  rfc6750: number
  /** `error` of the challenge; `''`: a challenge without one. */
  error: string
  loader: LoaderName
  /** `scope` of the challenge. */
  scope?: string
}

const good = { sub: 'ada', csrf: 'right', fresh: true }
const LONG = `${'x'.repeat(300)}`

// Each failure of the contract, once for every message that it has.
const ROWS: Row[] = [
  { name: 'no header', request: { url: '/' }, code: 'NO_AUTHORIZATION', message: 'Missing Authorization Header', flask: 401, rfc6750: 401, error: '', loader: 'unauthorizedLoader' },
  { name: 'another scheme', request: { url: '/', headers: { authorization: 'Basic x' } }, code: 'NO_AUTHORIZATION', message: "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'", flask: 401, rfc6750: 401, error: '', loader: 'unauthorizedLoader' },
  { name: 'no cookie', request: { url: '/cookies' }, code: 'NO_AUTHORIZATION', message: 'Missing cookie "access_token_cookie"', flask: 401, rfc6750: 401, error: '', loader: 'unauthorizedLoader' },
  { name: 'no parameter', request: { url: '/query' }, code: 'NO_AUTHORIZATION', message: "Missing 'jwt' query parameter", flask: 401, rfc6750: 401, error: '', loader: 'unauthorizedLoader' },
  { name: 'no JSON', request: { url: '/json', method: 'POST' }, code: 'NO_AUTHORIZATION', message: 'Invalid content-type. Must be application/json.', flask: 401, rfc6750: 401, error: '', loader: 'unauthorizedLoader' },
  { name: 'no member', request: { url: '/json', method: 'POST', payload: {} }, code: 'NO_AUTHORIZATION', message: 'Missing "access_token" key in json data.', flask: 401, rfc6750: 401, error: '', loader: 'unauthorizedLoader' },
  { name: 'nowhere', request: { url: '/several' }, code: 'NO_AUTHORIZATION', message: "Missing JWT in query_string or headers (Missing 'jwt' query parameter; Missing Authorization Header)", flask: 401, rfc6750: 401, error: '', loader: 'unauthorizedLoader' },
  { name: 'bad header', request: { url: '/', headers: { authorization: 'Bearer' } }, code: 'INVALID_HEADER', message: "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'", flask: 422, rfc6750: 400, error: 'invalid_request', loader: 'invalidTokenLoader' },
  { name: 'bad parameter', request: { url: '/query?jwt=x&jwt=y' }, code: 'INVALID_QUERY_PARAM', message: "Invalid value for query parameter 'jwt'. Expected it once", flask: 422, rfc6750: 400, error: 'invalid_request', loader: 'invalidTokenLoader' },
  { name: 'no CSRF value', request: { url: '/cookies', method: 'POST', cookies: { access_token_cookie: forge(good) } }, code: 'CSRF', message: 'Missing CSRF token', flask: 401, rfc6750: 403, error: 'invalid_token', loader: 'unauthorizedLoader' },
  { name: 'wrong CSRF value', request: { url: '/cookies', method: 'POST', cookies: { access_token_cookie: forge(good) }, headers: { 'x-csrf-token': 'x' } }, code: 'CSRF', message: 'CSRF double submit tokens do not match', flask: 401, rfc6750: 403, error: 'invalid_token', loader: 'unauthorizedLoader' },
  { name: 'no CSRF claim', request: { url: '/cookies', method: 'POST', cookies: { access_token_cookie: forge({ sub: 'ada' }) }, headers: { 'x-csrf-token': 'x' } }, code: 'INVALID_TOKEN', message: 'Missing claim: csrf', flask: 422, rfc6750: 401, error: 'invalid_token', loader: 'invalidTokenLoader' },
  { name: 'forged', request: { url: '/', headers: bearer(forge(good, { alg: 'HS256' }, 'another')) }, code: 'INVALID_TOKEN', message: 'Signature verification failed', flask: 422, rfc6750: 401, error: 'invalid_token', loader: 'invalidTokenLoader' },
  { name: 'no identity', request: { url: '/', headers: bearer(forge({})) }, code: 'INVALID_TOKEN', message: 'Missing claim: sub', flask: 422, rfc6750: 401, error: 'invalid_token', loader: 'invalidTokenLoader' },
  { name: 'not a text', request: { url: '/json', method: 'POST', payload: { access_token: 5 } }, code: 'INVALID_TOKEN', message: 'The token must be a string', flask: 422, rfc6750: 401, error: 'invalid_token', loader: 'invalidTokenLoader' },
  { name: 'refresh', request: { url: '/', headers: bearer(forge({ ...good, type: 'refresh' })) }, code: 'WRONG_TYPE', message: 'Only non-refresh tokens are allowed', flask: 422, rfc6750: 401, error: 'invalid_token', loader: 'invalidTokenLoader' },
  { name: 'access', request: { url: '/refresh', headers: bearer(forge(good)) }, code: 'WRONG_TYPE', message: 'Only refresh tokens are allowed', flask: 422, rfc6750: 401, error: 'invalid_token', loader: 'invalidTokenLoader' },
  { name: 'other type', request: { url: '/', headers: bearer(forge({ ...good, type: 'other' })) }, code: 'WRONG_TYPE', message: 'Only access tokens are allowed', flask: 422, rfc6750: 401, error: 'invalid_token', loader: 'invalidTokenLoader' },
  { name: 'expired', request: { url: '/', headers: bearer(forge({ ...good, exp: 1 })) }, code: 'EXPIRED', message: 'Token has expired', flask: 401, rfc6750: 401, error: 'invalid_token', loader: 'expiredTokenLoader' },
  { name: 'stale', request: { url: '/', headers: bearer(forge({ ...good, fresh: false })) }, code: 'FRESH_REQUIRED', message: 'Fresh token required', flask: 401, rfc6750: 401, error: 'insufficient_user_authentication', loader: 'needsFreshTokenLoader' },
  { name: 'revoked', request: { url: '/', headers: bearer(forge({ ...good, revoked: true })) }, code: 'REVOKED', message: 'Token has been revoked', flask: 401, rfc6750: 401, error: 'invalid_token', loader: 'revokedTokenLoader' },
  { name: 'no scope', request: { url: '/scopes', headers: bearer(forge({ ...good, scope: 'read writer' })) }, code: 'INSUFFICIENT_SCOPE', message: 'Missing scope: write', flask: 403, rfc6750: 403, error: 'insufficient_scope', scope: 'read write', loader: 'insufficientScopeLoader' },
  { name: 'no role', request: { url: '/roles', headers: bearer(forge({ ...good, roles: ['reader'] })) }, code: 'INSUFFICIENT_SCOPE', message: 'Missing role: one of admin, editor', flask: 403, rfc6750: 403, error: 'insufficient_scope', loader: 'insufficientScopeLoader' },
  { name: 'unknown user', request: { url: '/', headers: bearer(forge({ ...good, sub: 'nobody' })) }, code: 'USER_LOOKUP', message: 'Error loading the user nobody', flask: 401, rfc6750: 401, error: 'invalid_token', loader: 'userLookupErrorLoader' },
  { name: 'refused claims', request: { url: '/', headers: bearer(forge({ ...good, refused: true })) }, code: 'CLAIMS_REFUSED', message: 'User claims verification failed', flask: 400, rfc6750: 403, error: 'insufficient_scope', loader: 'tokenVerificationFailedLoader' },
]

/** An app in which each failure can happen; with `isAsync` its loaders answer later. */
async function failingApp (
  t: Test, options: JwtExtendedOptions = {}, isAsync = false, prepare: (app: FastifyInstance) => void = () => {}
): Promise<FastifyInstance> {
  const later = <T>(value: T): T | Promise<T> => isAsync ? new Promise((resolve) => { setImmediate(resolve, value) }) : value
  const app = await buildApp(t, {
    secretKey: SECRET,
    tokenInBlocklistLoader: (_header, payload) => later(payload['revoked'] === true),
    tokenVerificationLoader: (_header, payload) => later(payload['refused'] !== true),
    userLookupLoader: (_header, payload) => later(payload.sub === 'ada' ? {} : null),
    ...options,
  })
  prepare(app)
  app.get('/', { onRequest: app.jwtRequired({ fresh: true }) }, async () => 'in')
  app.get('/scopes', { onRequest: app.jwtRequired({ scopes: ['read', 'write'] }) }, async () => 'in')
  app.get('/roles', { onRequest: app.jwtRequired({ roles: ['admin', 'editor'] }) }, async () => 'in')
  app.get('/refresh', { onRequest: app.jwtRequired({ refresh: true }) }, async () => 'in')
  app.get('/several', { onRequest: app.jwtRequired({ locations: ['query_string', 'headers'] }) }, async () => 'in')
  app.get('/query', { onRequest: app.jwtRequired({ locations: 'query_string' }) }, async () => 'in')
  app.route({ method: ['GET', 'POST'], url: '/cookies', preHandler: app.jwtRequired({ locations: 'cookies' }), handler: async () => 'in' })
  app.post('/json', { preHandler: app.jwtRequired({ locations: 'json' }) }, async () => 'in')
  return app
}

function challengeOf (row: Row, profile: 'flask' | 'rfc6750'): string | undefined {
  if (profile === 'flask' && row.flask !== 401 && row.code !== 'INSUFFICIENT_SCOPE') return undefined
  const scope = row.scope === undefined ? '' : `scope="${row.scope}", `
  return row.error === '' ? 'Bearer' : `Bearer error="${row.error}", ${scope}error_description="${row.message.replaceAll('"', "'")}"`
}

t.test('each failure is answered with its status, its message and its challenge, in either profile', async (t) => {
  for (const errorProfile of ['flask', 'rfc6750'] as const) {
    for (const isAsync of [false, true]) {
      const app = await failingApp(t, errorProfile === 'flask' ? {} : { errorProfile }, isAsync)
      for (const row of ROWS) {
        const response = await app.inject(row.request)
        t.equal(response.statusCode, row[errorProfile], `${errorProfile}: ${row.name}`)
        t.equal(response.body, JSON.stringify({ msg: row.message }))
        t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
        t.equal(response.headers['www-authenticate'], challengeOf(row, errorProfile), `${errorProfile}: ${row.name}`)
      }
    }
  }
})

t.test('the message stands under the configured key', async (t) => {
  for (const errorMessageKey of ['message', 'error', 'Fehler!', '__proto__']) {
    const app = await failingApp(t, { errorMessageKey })
    for (const row of ROWS) t.equal((await app.inject(row.request)).body, `{${JSON.stringify(errorMessageKey)}:${JSON.stringify(row.message)}}`, row.name)
  }
})

t.test('the scheme of the challenge is Bearer, whatever the header\'s is', async (t) => {
  const app = await failingApp(t, { headerType: 'JWT', errorProfile: 'rfc6750' })
  t.equal((await app.inject('/')).headers['www-authenticate'], 'Bearer')
  t.match((await app.inject({ url: '/', headers: { authorization: 'JWT' } })).headers['www-authenticate'], 'Bearer error="invalid_request"')
})

t.test('throwErrors hands each failure to the application\'s error handler, with status and challenge', async (t) => {
  for (const errorProfile of ['flask', 'rfc6750'] as const) {
    for (const isAsync of [false, true]) {
      const app = await failingApp(t, { errorProfile, throwErrors: true, [ROWS[0]!.loader]: () => 'not asked' }, isAsync, (app) => {
        app.setErrorHandler<JwtFailure>(async (error, _request, reply) => {
          reply.code(error.statusCode)
          return { own: true, isOurs: error instanceof JwtError, code: error.code, message: error.message, challenge: error.challenge ?? null }
        })
      })
      for (const row of ROWS) {
        const response = await app.inject(row.request)
        const challenge = challengeOf(row, errorProfile)
        t.equal(response.statusCode, row[errorProfile], row.name)
        t.strictSame(response.json(), { own: true, isOurs: true, code: `FST_JWT_EXT_${row.code}`, message: row.message, challenge: challenge ?? null })
        t.equal(response.headers['www-authenticate'], challenge)
      }
    }
  }
})

t.test('throwErrors with Fastify\'s own error handler answers in its form', async (t) => {
  const app = await failingApp(t, { throwErrors: true })
  for (const row of ROWS) {
    const response = await app.inject(row.request)
    t.equal(response.statusCode, row.flask)
    t.match(response.json(), { statusCode: row.flask, code: `FST_JWT_EXT_${row.code}`, message: row.message })
    t.equal(response.headers['www-authenticate'], challengeOf(row, 'flask'))
  }
})

t.test('without throwErrors no error handler sees a failure', async (t) => {
  let seen = 0
  const app = await failingApp(t, {}, false, (app) => {
    app.setErrorHandler(async () => { seen++; return 'seen' })
    app.get('/throws', async () => { throw new Error('seen') })
  })
  for (const row of ROWS) t.equal((await app.inject(row.request)).statusCode, row.flask)
  t.equal(seen, 0)
  t.equal((await app.inject('/throws')).body, 'seen')
})

t.test('each failure asks its own loader and no other, at once or later', async (t) => {
  for (const errorProfile of ['flask', 'rfc6750'] as const) {
    for (const isAsync of [false, true]) {
      const seen: string[] = []
      const loaders = Object.fromEntries([...new Set(ROWS.map((row) => row.loader))].map((name) => [name, (error: JwtFailure) => {
        seen.push(name)
        const body = { loader: name, code: error.code, status: error.statusCode, message: error.message, challenge: error.challenge ?? null }
        return isAsync ? Promise.resolve(body) : body
      }]))
      t.equal(Object.keys(loaders).length, 8)
      const app = await failingApp(t, { errorProfile, ...loaders }, isAsync)
      for (const row of ROWS) {
        seen.length = 0
        const response = await app.inject(row.request)
        const challenge = challengeOf(row, errorProfile)
        t.equal(response.statusCode, row[errorProfile], row.name)
        t.equal(response.headers['www-authenticate'], challenge, 'the challenge stays')
        t.strictSame(response.json(), { loader: row.loader, code: `FST_JWT_EXT_${row.code}`, status: row[errorProfile], message: row.message, challenge: challenge ?? null })
        t.strictSame(seen, [row.loader])
      }
    }
  }
})

/** Sends a request without a token to a route whose unauthorizedLoader is this one. */
async function answer (t: Test, unauthorizedLoader: AnswerLoader): Promise<{ status: number, body: string, type: unknown, challenge: unknown }> {
  const app = await buildApp(t, { secretKey: SECRET, unauthorizedLoader })
  app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
  const response = await app.inject('/')
  return { status: response.statusCode, body: response.body, type: response.headers['content-type'], challenge: response.headers['www-authenticate'] }
}

t.test('the body is what the loader returns, of whatever kind', async (t) => {
  const rows: [unknown, string, string | undefined][] = [
    [{ a: 1 }, '{"a":1}', 'application/json; charset=utf-8'], [[1, 2], '[1,2]', 'application/json; charset=utf-8'], ['text', 'text', 'text/plain; charset=utf-8'],
    ['', '', 'text/plain; charset=utf-8'], [5, '5', 'application/json; charset=utf-8'], [false, 'false', 'application/json; charset=utf-8'],
    [Buffer.from('bytes'), 'bytes', 'application/octet-stream']
  ]
  for (const [value, body, type] of rows) {
    for (const wrap of [(one: unknown) => one, async (one: unknown) => one]) {
      t.match(await answer(t, () => wrap(value)), { status: 401, body, type, challenge: 'Bearer' }, String(value))
    }
  }
  t.match(await answer(t, () => null), { status: 401, body: /^(null)?$/ })
})

t.test('a loader that returns undefined leaves the default body', async (t) => {
  const body = '{"msg":"Missing Authorization Header"}'
  t.match(await answer(t, () => undefined), { status: 401, body })
  t.match(await answer(t, async () => {}), { status: 401, body })
  t.match(await answer(t, (_error, _request, reply) => { reply.code(418).header('x-own', 'y') }), { status: 418, body })
  t.match(await answer(t, async (_error, _request, reply) => { await new Promise(setImmediate); reply.code(418) }), { status: 418, body })
})

t.test('a loader may set the status, headers and the type of the answer', async (t) => {
  for (const wrap of [<T>(one: T) => one, async <T>(one: T) => one]) {
    t.match(await answer(t, (_error, _request, reply) => { reply.code(404); return wrap({ hidden: true }) }), { status: 404, body: '{"hidden":true}' })
    t.match(await answer(t, (_error, _request, reply) => { reply.code(200); return wrap('fine') }), { status: 200, body: 'fine' })
    t.match(await answer(t, (_error, _request, reply) => { reply.type('text/html'); return wrap('<p>no</p>') }), { status: 401, body: '<p>no</p>', type: 'text/html' })
    t.match(await answer(t, (_error, _request, reply) => { reply.removeHeader('WWW-Authenticate'); return wrap('quiet') }), { status: 401, challenge: undefined })
    t.match(await answer(t, (_error, _request, reply) => { reply.header('www-authenticate', 'Own realm="x"'); return wrap('own') }), { challenge: 'Own realm="x"' })
  }
})

t.test('a loader that sends the answer itself returns the reply, or nothing', async (t) => {
  const own = { status: 403, body: 'own' }
  t.match(await answer(t, (_error, _request, reply) => reply.code(403).send('own')), own)
  t.match(await answer(t, async (_error, _request, reply) => { reply.code(403).send('own'); return reply }), own)
  t.match(await answer(t, async (_error, _request, reply) => { await new Promise(setImmediate); return reply.code(403).send('own') }), own)
  t.match(await answer(t, (_error, _request, reply) => { reply.code(403).send('own') }), own)
  t.match(await answer(t, async (_error, _request, reply) => { reply.code(403).send('own') }), own)
  t.match(await answer(t, (_error, _request, reply) => { setImmediate(() => { reply.code(403).send('own') }); return reply }), own)
  t.match(await answer(t, (_error, _request, reply) => { reply.hijack(); reply.raw.writeHead(403).end('own'); return reply }), own)
  t.match(await answer(t, (_error, _request, reply) => reply.redirect('/login', 303)), { status: 303 })
  t.match(await answer(t, (_error, _request, reply) => reply.redirect('/login')), { status: 302 })
  t.match(await answer(t, async (_error, _request, reply) => reply.redirect('/login')), { status: 302 })
})

t.test('nothing is sent a second time behind a loader that has sent', async (t) => {
  for (const unauthorizedLoader of [
    (_error: unknown, _request: unknown, reply: FastifyReply) => { reply.code(403).send('own'); return 'another' },
    async (_error: unknown, _request: unknown, reply: FastifyReply) => { reply.code(403).send('own') },
  ]) {
    const warnings: string[] = []
    const app = await buildApp(t, { secretKey: SECRET, unauthorizedLoader }, { logger: { level: 'warn', stream: { write: (line: string) => { warnings.push(line) } } } })
    app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
    t.match(await app.inject('/'), { statusCode: 403, body: 'own' })
    t.strictSame(warnings, [])
  }
})

t.test('a loader finds the status of the error on the reply, and what it returns has it, be it an error', async (t) => {
  t.match(await answer(t, (_error, _request, reply) => `${reply.statusCode}`), { status: 401, body: '401' })
  t.match(await answer(t, () => new Error('in other words')), { status: 401, body: /in other words/ })
})

t.test('a loader that throws or rejects is a 500 or the status of its error, without the challenge, and lets nobody in', async (t) => {
  const failures: [thrown: unknown, status: number, message: string][] = [
    [new Error('no template'), 500, 'no template'],
    [Object.assign(new Error('busy'), { statusCode: 503 }), 503, 'busy'],
    [undefined, 500, 'A loader threw something that is no Error'],
    [null, 500, 'A loader threw something that is no Error'],
    ['text', 500, 'A loader threw something that is no Error'],
    [{ statusCode: 403, message: 'no' }, 403, 'A loader threw something that is no Error'],
    [{ statusCode: 200 }, 500, 'A loader threw something that is no Error'],
    [{ statusCode: 399 }, 500, 'A loader threw something that is no Error'],
    [{ statusCode: 400 }, 400, 'A loader threw something that is no Error'],
    [{ statusCode: 403.5 }, 500, 'A loader threw something that is no Error'],
    [{ statusCode: 599 }, 599, 'A loader threw something that is no Error'],
    [{ statusCode: 600 }, 500, 'A loader threw something that is no Error'],
    [{ statusCode: '403' }, 500, 'A loader threw something that is no Error'],
  ]
  for (const [thrown, status, message] of failures) {
    for (const fail of [() => { throw thrown }, async () => { throw thrown }, async () => { await new Promise(setImmediate); throw thrown }]) {
      const result = await answer(t, fail)
      t.equal(result.status, status, String(thrown))
      t.match(JSON.parse(result.body), { message })
      t.equal(result.challenge, undefined)
    }
  }
})

t.test('a status that a loader has set before it throws is not that of its mistake', async (t) => {
  for (const wrap of [(work: () => never) => work(), async (work: () => never) => { await new Promise(setImmediate); return work() }]) {
    t.match(await answer(t, (_error, _request, reply) => { reply.code(403); return wrap(() => { throw new Error('no template') }) }), { status: 500, challenge: undefined })
  }
})

t.test('a loader that throws an error of ours is answered with that error\'s status', async (t) => {
  const result = await answer(t, () => { throw new ExpiredTokenError() })
  t.equal(result.status, 401)
  t.match(JSON.parse(result.body), { code: 'FST_JWT_EXT_EXPIRED', message: 'Token has expired' })
})

t.test('a loader that throws after it has sent changes nothing', async (t) => {
  for (const loader of [
    (_error: unknown, _request: unknown, reply: FastifyReply) => { reply.code(403).send('own'); throw new Error('too late') },
    async (_error: unknown, _request: unknown, reply: FastifyReply) => { reply.code(403).send('own'); throw new Error('too late') }
  ]) t.match(await answer(t, loader), { status: 403, body: 'own' })
})

t.test('a body that cannot be sent is answered with an error all the same, and ends no process', async (t) => {
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  for (const wrap of [(one: unknown) => one, async (one: unknown) => one]) {
    t.ok((await answer(t, () => wrap(circular))).status >= 400)
    t.equal((await answer(t, (_error, _request, reply) => { reply.type('text/html'); return wrap({ an: 'object' }) })).status, 500)
  }
})

/** Collects the rejections that nobody handles, any of which would end the process, until the test ends. */
function collectUnhandled (t: Test): unknown[] {
  const unhandled: unknown[] = []
  const listen = (error: unknown): void => { unhandled.push(error) }
  const before = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', listen)
  t.teardown(() => {
    process.off('unhandledRejection', listen)
    for (const one of before) process.on('unhandledRejection', one)
  })
  return unhandled
}

/** The status of an answer, or that none came. */
async function statusInTime (promise: Promise<{ statusCode: number }>): Promise<number> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<number>((resolve) => { timer = setTimeout(resolve, 1000, -1) })
  return await Promise.race([promise.then((response) => response.statusCode), late]).finally(() => { clearTimeout(timer) })
}

t.test('an answer is given whatever type an earlier hook has set, and ends no process', async (t) => {
  const unhandled = collectUnhandled(t)
  for (const later of [false, true]) {
    const app = await buildApp(t, { secretKey: SECRET, tokenInBlocklistLoader: () => later ? Promise.resolve(true) : true })
    app.addHook('onRequest', async (_request, reply) => { reply.type('text/html') })
    app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
    const response = app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })
    t.equal(await statusInTime(response), 401, later ? 'asynchronous' : 'synchronous')
    t.match(await response, { headers: { 'content-type': 'application/json; charset=utf-8' }, body: '{"msg":"Token has been revoked"}' })
  }
  await new Promise(setImmediate)
  t.strictSame(unhandled, [])
})

t.test('an error of ours that a loader throws is answered as the failure that it is', async (t) => {
  for (const fail of [() => { throw new JwtDecodeError('Another tenant') }, async () => { throw new JwtDecodeError('Another tenant') }]) {
    for (const name of ['tokenInBlocklistLoader', 'tokenVerificationLoader', 'userLookupLoader', 'decodeKeyLoader'] as const) {
      const app = await buildApp(t, { secretKey: SECRET, [name]: fail, invalidTokenLoader: (error) => ({ own: error.message }) })
      app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
      const response = await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })
      t.equal(response.statusCode, 422, name)
      t.strictSame(response.json(), { own: 'Another tenant' })
    }
  }
})

t.test('the error that a loader gets has the header and the payload of a verified token, filled in and frozen', async (t) => {
  const rows: [claims: Record<string, unknown>, loader: LoaderName][] = [
    [{ sub: 'ada', exp: 1 }, 'expiredTokenLoader'], [{ sub: 'ada', type: 'refresh' }, 'invalidTokenLoader'], [{ sub: 'ada' }, 'needsFreshTokenLoader'],
    [{ sub: 'ada', fresh: true, revoked: true }, 'revokedTokenLoader'], [{ sub: 'ada', fresh: true, refused: true }, 'tokenVerificationFailedLoader'],
    [{ sub: 'nobody', fresh: true }, 'userLookupErrorLoader']
  ]
  for (const [claims, loader] of rows) {
    let error: JwtFailure | undefined
    const app = await failingApp(t, { [loader]: (given: JwtFailure) => { error = given } })
    await app.inject({ url: '/', headers: bearer(forge(claims, { alg: 'HS256', kid: 'k' })) })
    t.strictSame(error?.jwtHeader, { alg: 'HS256', kid: 'k' }, loader)
    t.strictSame(error?.jwtPayload, { type: 'access', fresh: false, jti: null, ...claims }, loader)
    t.ok(Object.isFrozen(error?.jwtPayload))
  }
  for (const request of [{ url: '/' }, { url: '/', headers: bearer('x.y.z') }, { url: '/', headers: bearer(forge(good, { alg: 'HS256' }, 'another')) }]) {
    let error: JwtFailure | undefined
    const keep = (given: JwtFailure): void => { error = given }
    const app = await failingApp(t, { unauthorizedLoader: keep, invalidTokenLoader: keep })
    await app.inject(request)
    t.ok(error)
    t.equal(error?.jwtPayload, undefined, 'nothing that was not verified')
    t.equal(error?.jwtHeader, undefined)
  }
})

t.test('no identity can break out of the challenge or the body', async (t) => {
  const identities = ['"', '\\', 'a"b\\c', '\r\nX-Injected: yes', '\n\n<script>', '\0', '日本語 \u{1f600}', '\u2028', '", error="other', LONG, `"${LONG}"`, '\ud800']
  for (const isAsync of [false, true]) {
    const app = await failingApp(t, { userLookupLoader: () => isAsync ? Promise.resolve(null) : null }, isAsync)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const origin = app.listeningOrigin
    for (const sub of identities) {
      const headers = bearer(forge({ ...good, sub }))
      const response = await fetch(origin, { headers })
      t.equal(response.status, 401)
      t.strictSame(await response.json(), { msg: `Error loading the user ${sub}` })
      t.match(response.headers.get('www-authenticate'), /^Bearer error="invalid_token", error_description="Error loading the user [\x20-\x21\x23-\x5b\x5d-\x7e]{1,177}"$/)
      t.equal(response.headers.get('x-injected'), null)
    }
  }
})

t.test('names that the operator configured cannot break the challenge either', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, errorProfile: 'rfc6750', tokenLocation: 'query_string', queryStringName: 'j"\\\r\nw', queryStringValuePrefix: 'é"\n' })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const response = await app.inject({ url: '/', query: { 'j"\\\r\nw': 'x' } })
  t.equal(response.statusCode, 400)
  t.match(response.headers['www-authenticate'], /^Bearer error="invalid_request", error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]+"$/)
})

t.test('a refusal is logged with its code, and neither the token nor its claims are', async (t) => {
  const lines: string[] = []
  const app = await buildApp(t, { secretKey: SECRET }, { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const token = forge({ sub: 'ada', exp: 1, private: 'diary' })
  await app.inject({ url: '/', headers: bearer(token) })
  const line = lines.map((one) => JSON.parse(one) as Record<string, unknown>).find((one) => one['code'] !== undefined)
  t.match(line, { level: 30, code: 'FST_JWT_EXT_EXPIRED', msg: 'Token has expired' })
  t.notMatch(lines.join(''), 'diary')
  t.notMatch(lines.join(''), token)
})

t.test('an error that the application throws again and again, frozen even, is answered each time and ends no process', async (t) => {
  const unhandled = collectUnhandled(t)
  for (const error of [new JwtDecodeError('Always the same'), Object.freeze(new JwtDecodeError('Always the same'))]) {
    for (const fail of [() => { throw error }, async () => { throw error }]) {
      const app = await buildApp(t, { secretKey: SECRET, errorProfile: 'rfc6750', tokenInBlocklistLoader: fail })
      app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
      for (let round = 0; round < 2; round++) t.ok(await statusInTime(app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })) >= 400)
    }
  }
  await new Promise(setImmediate)
  t.strictSame(unhandled, [])
})

t.test('an error of the base class that a loader throws is answered, lets nobody in and ends no process', async (t) => {
  const unhandled = collectUnhandled(t)
  class OwnError extends JwtError {}
  for (const make of [() => new JwtError('Not like this'), () => new OwnError('Not like this')]) {
    for (const fail of [() => { throw make() }, async () => { throw make() }]) {
      const app = await buildApp(t, { secretKey: SECRET, tokenInBlocklistLoader: fail })
      app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
      t.ok(await statusInTime(app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })) >= 400)
    }
  }
  await new Promise(setImmediate)
  t.strictSame(unhandled, [])
})
