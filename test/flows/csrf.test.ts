import { request as httpRequest } from 'node:http'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import formbody from '@fastify/formbody'
import multipart from '@fastify/multipart'
import Fastify, { type FastifyInstance, type HTTPMethods } from 'fastify'
import t, { type Test } from 'tap'
import jwtExtended, { type JwtExtendedOptions } from '../../index.js'
import { bearer, SECRET } from '../support/app.js'
import { moveClock } from '../support/clock.js'
import { forge } from '../support/forge.js'

const FORM = 'application/x-www-form-urlencoded'
const ALL_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const satisfies HTTPMethods[]

interface Pair {
  token: string
  csrf: string
  cookie: string
}

/** What each server wrote into its log so far. */
const logs = new WeakMap<FastifyInstance, string[]>()

/** A server that takes tokens from cookies and keeps what it logs. */
async function build (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const logged: string[] = []
  const app = Fastify({ logger: { level: 'info', stream: { write: (line: string) => { logged.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(jwtExtended, { secretKey: SECRET, tokenLocation: 'cookies', ...options })
  logs.set(app, logged)
  return app
}

async function accessPair (app: FastifyInstance, identity = 'ada'): Promise<Pair> {
  const token = await app.createAccessToken(identity)
  return { token, csrf: await app.getCsrfToken(token), cookie: `access_token_cookie=${token}` }
}

async function refreshPair (app: FastifyInstance, identity = 'ada'): Promise<Pair> {
  const token = await app.createRefreshToken(identity)
  return { token, csrf: await app.getCsrfToken(token), cookie: `refresh_token_cookie=${token}` }
}

function guardAll (app: FastifyInstance): void {
  app.route({
    method: [...ALL_METHODS],
    url: '/',
    preHandler: app.jwtRequired(),
    handler: async (request) => ({ who: request.jwtIdentity, body: request.body }),
  })
}

t.test('a method that changes something needs the value of the double submit, one that only reads does not', async (t) => {
  const app = await build(t)
  guardAll(app)
  const { cookie, csrf } = await accessPair(app)
  for (const method of ALL_METHODS) {
    const needed = method !== 'GET' && method !== 'HEAD'
    const without = await app.inject({ method, url: '/', headers: { cookie } })
    t.equal(without.statusCode, needed ? 401 : 200, `${method} without the value`)
    if (needed) t.same(without.json(), { msg: 'Missing CSRF token' })
    const wrong = await app.inject({ method, url: '/', headers: { cookie, 'x-csrf-token': 'guessed' } })
    t.equal(wrong.statusCode, needed ? 401 : 200, `${method} with a wrong value`)
    if (needed) t.same(wrong.json(), { msg: 'CSRF double submit tokens do not match' })
    const right = await app.inject({ method, url: '/', headers: { cookie, 'x-csrf-token': csrf } })
    t.equal(right.statusCode, 200, `${method} with the value`)
  }
})

t.test('csrfMethods says which methods need it, in letters of any size', async (t) => {
  const app = await build(t, { csrfMethods: ['get', 'Post'] })
  guardAll(app)
  const { cookie, csrf } = await accessPair(app)
  for (const method of ALL_METHODS) {
    const needed = method === 'GET' || method === 'POST'
    t.equal((await app.inject({ method, url: '/', headers: { cookie } })).statusCode, needed ? 401 : 200, method)
    t.equal((await app.inject({ method, url: '/', headers: { cookie, 'x-csrf-token': csrf } })).statusCode, 200, method)
  }
})

t.test('each kind of token has its header', async (t) => {
  const app = await build(t, { accessCsrfHeaderName: 'X-Access-Csrf', refreshCsrfHeaderName: 'X-Refresh-Csrf' })
  app.post('/', { onRequest: app.jwtRequired() }, async () => ({}))
  app.post('/refresh', { onRequest: app.jwtRequired({ refresh: true }) }, async () => ({}))
  const access = await accessPair(app)
  const refresh = await refreshPair(app)
  const cookie = `${access.cookie}; ${refresh.cookie}`
  const status = async (url: string, headers: Record<string, string>): Promise<number> =>
    (await app.inject({ method: 'POST', url, headers: { cookie, ...headers } })).statusCode
  t.equal(await status('/', { 'x-access-csrf': access.csrf }), 200)
  t.equal(await status('/', { 'X-ACCESS-CSRF': access.csrf }), 200)
  t.equal(await status('/', { 'x-refresh-csrf': access.csrf }), 401)
  t.equal(await status('/', { 'x-csrf-token': access.csrf }), 401, 'the default name counts for nothing then')
  t.equal(await status('/refresh', { 'x-refresh-csrf': refresh.csrf }), 200)
  t.equal(await status('/refresh', { 'x-access-csrf': refresh.csrf }), 401)
  t.equal(await status('/refresh', { 'x-refresh-csrf': access.csrf }), 401, "nor does the other token's value")
})

t.test('the value belongs to one token: neither another one of the same user nor a part of it will do', async (t) => {
  const app = await build(t)
  guardAll(app)
  const { cookie, csrf } = await accessPair(app)
  const other = await accessPair(app)
  for (const value of [other.csrf, csrf.slice(0, -1), `${csrf}0`, csrf.toUpperCase(), `${csrf}, ${csrf}`, 'undefined', '[object Object]', 'ü']) {
    const response = await app.inject({ method: 'POST', url: '/', headers: { cookie, 'x-csrf-token': value } })
    t.same([response.statusCode, response.json()], [401, { msg: 'CSRF double submit tokens do not match' }], value)
  }
  for (const value of ['', ' ']) {
    const response = await app.inject({ method: 'POST', url: '/', headers: { cookie, 'x-csrf-token': value.trim() } })
    t.same([response.statusCode, response.json()], [401, { msg: 'Missing CSRF token' }], JSON.stringify(value))
  }
})

t.test('a CSRF cookie that comes back by itself proves nothing', async (t) => {
  const app = await build(t)
  guardAll(app)
  const { cookie, csrf } = await accessPair(app)
  const response = await app.inject({ method: 'POST', url: '/', headers: { cookie: `${cookie}; csrf_access_token=${csrf}` } })
  t.same([response.statusCode, response.json()], [401, { msg: 'Missing CSRF token' }])
})

t.test('a token from anywhere but a cookie needs no value, and the location that decides is the one that matters', async (t) => {
  const app = await build(t, { tokenLocation: ['headers', 'cookies', 'query_string', 'json'] })
  app.post('/', { preHandler: app.jwtRequired() }, async (request) => ({ where: request.jwtLocation }))
  app.post('/cookies_first', { preHandler: app.jwtRequired({ locations: ['cookies', 'headers'] }) }, async () => ({}))
  const { token, cookie } = await accessPair(app)
  const where = async (options: object): Promise<unknown> => (await app.inject({ method: 'POST', url: '/', ...options })).json()
  t.same(await where({ headers: bearer(token) }), { where: 'headers' })
  t.same(await where({ headers: { cookie, ...bearer(token) } }), { where: 'headers' })
  t.same(await where({ query: { jwt: token } }), { where: 'query_string' })
  t.same(await where({ payload: { access_token: token } }), { where: 'json' })
  t.same(await where({ headers: { cookie }, query: { jwt: token } }), { msg: 'Missing CSRF token' })
  const both = await app.inject({ method: 'POST', url: '/cookies_first', headers: { cookie, ...bearer(token) } })
  t.same(both.json(), { msg: 'Missing CSRF token' }, 'a good header behind a cookie does not help')
})

t.test('an optional guard forgives a missing token, not a missing value', async (t) => {
  const app = await build(t)
  app.post('/', { onRequest: app.jwtRequired({ optional: true }) }, async (request) => ({ who: request.jwtIdentity }))
  const { cookie, csrf } = await accessPair(app)
  t.same((await app.inject({ method: 'POST', url: '/' })).json(), { who: null })
  t.same((await app.inject({ method: 'POST', url: '/', headers: { 'x-csrf-token': csrf } })).json(), { who: null })
  t.same((await app.inject({ method: 'POST', url: '/', headers: { cookie } })).json(), { msg: 'Missing CSRF token' })
  t.same((await app.inject({ method: 'POST', url: '/', headers: { cookie, 'x-csrf-token': csrf } })).json(), { who: 'ada' })
})

t.test('cookieCsrfProtect: false asks for nothing, whatever the other CSRF options say', async (t) => {
  const app = await build(t, { cookieCsrfProtect: false, csrfCheckForm: true })
  app.post('/', { onRequest: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity }))
  const token = await app.createAccessToken('ada')
  const headers = { cookie: `access_token_cookie=${token}` }
  t.same((await app.inject({ method: 'POST', url: '/', headers })).json(), { who: 'ada' })
  t.same((await app.inject({ method: 'POST', url: '/', headers: { ...headers, 'x-csrf-token': 'anything' } })).json(), { who: 'ada' })
})

t.test('request.verifyJwt asks for the value as a guard does', async (t) => {
  const app = await build(t)
  app.post('/', async (request) => ({ who: (await request.verifyJwt())?.jwtPayload.sub }))
  const { cookie, csrf } = await accessPair(app)
  t.match((await app.inject({ method: 'POST', url: '/', headers: { cookie } })).json(), { statusCode: 401, code: 'FST_JWT_EXT_CSRF' })
  t.same((await app.inject({ method: 'POST', url: '/', headers: { cookie, 'x-csrf-token': csrf } })).json(), { who: 'ada' })
})

t.test('csrfInCookies: false hands the value out as the application likes', async (t) => {
  const app = await build(t, { csrfInCookies: false })
  app.post('/login', async (request, reply) => {
    const token = await app.createAccessToken('ada')
    reply.setAccessCookies(token)
    return { csrf_token: await app.getCsrfToken(token) }
  })
  guardAll(app)
  const login = await app.inject({ method: 'POST', url: '/login' })
  t.same(login.cookies.map(({ name }) => name), ['access_token_cookie'])
  const cookie = `access_token_cookie=${login.cookies[0]!.value}`
  t.equal((await app.inject({ method: 'POST', url: '/', headers: { cookie } })).statusCode, 401)
  const { csrf_token: csrf } = login.json<{ csrf_token: string }>()
  t.equal((await app.inject({ method: 'POST', url: '/', headers: { cookie, 'x-csrf-token': csrf } })).statusCode, 200)
})

const ORDER: [title: string, token: (now: number) => string, csrf: 'none' | 'wrong' | 'right', status: number, message: string][] = [
  ['a missing value is noticed before an expired token', (now) => forge({ sub: 'ada', csrf: 'right', exp: now - 1 }), 'none', 401, 'Missing CSRF token'],
  ['a wrong value is noticed before an expired token', (now) => forge({ sub: 'ada', csrf: 'right', exp: now - 1 }), 'wrong', 401, 'CSRF double submit tokens do not match'],
  ['the right value lets the expired token be seen', (now) => forge({ sub: 'ada', csrf: 'right', exp: now - 1 }), 'right', 401, 'Token has expired'],
  ['a missing value is noticed before a forged token', () => forge({ sub: 'ada', csrf: 'right' }, undefined, 'k'.repeat(64)), 'none', 401, 'Missing CSRF token'],
  ['a forged token is noticed before a wrong value', () => forge({ sub: 'ada', csrf: 'right' }, undefined, 'k'.repeat(64)), 'wrong', 422, 'Signature verification failed'],
  ['a forged token does not get by with its own value', () => forge({ sub: 'ada', csrf: 'right' }, undefined, 'k'.repeat(64)), 'right', 422, 'Signature verification failed'],
  ['a token without the claim is refused', () => forge({ sub: 'ada' }), 'right', 422, 'Missing claim: csrf'],
  ['a token with an empty header and no claim misses the value first', () => forge({ sub: 'ada' }), 'none', 401, 'Missing CSRF token'],
  ['a claim that is no string is none', () => forge({ sub: 'ada', csrf: { right: true } }), 'right', 422, 'Missing claim: csrf'],
  ['the missing claim is noticed before an expired token', (now) => forge({ sub: 'ada', exp: now - 1 }), 'right', 422, 'Missing claim: csrf'],
  ['a wrong value is noticed before a wrong type', () => forge({ sub: 'ada', csrf: 'right', type: 'refresh' }), 'wrong', 401, 'CSRF double submit tokens do not match'],
  ['the right value lets the wrong type be seen', () => forge({ sub: 'ada', csrf: 'right', type: 'refresh' }), 'right', 422, 'Only non-refresh tokens are allowed'],
]

for (const [title, token, csrf, status, message] of ORDER) {
  t.test(`the order of checks: ${title}`, async (t) => {
    const app = await build(t)
    guardAll(app)
    const headers: Record<string, string> = { cookie: `access_token_cookie=${token(Math.floor(Date.now() / 1000))}` }
    if (csrf !== 'none') headers['x-csrf-token'] = csrf
    const response = await app.inject({ method: 'POST', url: '/', headers })
    t.same([response.statusCode, response.json()], [status, { msg: message }])
  })
}

t.test('a token that was good when it was first seen: the value is looked at again when it has expired', async (t) => {
  const app = await build(t)
  guardAll(app)
  const { cookie, csrf } = await accessPair(app)
  const send = async (value: string): Promise<unknown> =>
    (await app.inject({ method: 'POST', url: '/', headers: { cookie, 'x-csrf-token': value } })).json<{ msg?: string, who?: string }>()
  t.match(await send(csrf), { who: 'ada' })
  t.same(await send('guessed'), { msg: 'CSRF double submit tokens do not match' })
  moveClock(t, 15 * 60)
  t.same(await send('guessed'), { msg: 'CSRF double submit tokens do not match' })
  t.same(await send(csrf), { msg: 'Token has expired' })
})

t.test('the answer has the status and the challenge of its profile', async (t) => {
  const answers = {
    flask: [401, 'Bearer error="invalid_token", error_description="Missing CSRF token"'],
    rfc6750: [403, 'Bearer error="invalid_token", error_description="Missing CSRF token"'],
  } as const
  for (const errorProfile of ['flask', 'rfc6750'] as const) {
    const app = await build(t, { errorProfile })
    guardAll(app)
    const { cookie } = await accessPair(app)
    const response = await app.inject({ method: 'POST', url: '/', headers: { cookie } })
    t.same([response.statusCode, response.headers['www-authenticate']], answers[errorProfile])
    const wrong = await app.inject({ method: 'POST', url: '/', headers: { cookie, 'x-csrf-token': 'guessed' } })
    t.equal(wrong.statusCode, answers[errorProfile][0])
  }
})

t.test('unauthorizedLoader words the answer', async (t) => {
  const app = await build(t, { unauthorizedLoader: (error) => ({ code: error.code, because: error.message }) })
  guardAll(app)
  const { cookie } = await accessPair(app)
  const response = await app.inject({ method: 'POST', url: '/', headers: { cookie } })
  t.same([response.statusCode, response.json()], [401, { code: 'FST_JWT_EXT_CSRF', because: 'Missing CSRF token' }])
})

t.test('the log says where the value was expected; the client is not told', async (t) => {
  const cases: [options: JwtExtendedOptions, refresh: boolean, hint: string][] = [
    [{}, false, 'expected it in the header X-CSRF-TOKEN'],
    [{ refreshCsrfHeaderName: 'X-Refresh-Csrf' }, false, 'expected it in the header X-CSRF-TOKEN'],
    [{ refreshCsrfHeaderName: 'X-Refresh-Csrf' }, true, 'expected it in the header X-Refresh-Csrf'],
    [{ csrfCheckForm: true, accessCsrfFieldName: 'csrf' }, false, 'expected it in the header X-CSRF-TOKEN or in the form field csrf'],
    [{ csrfCheckForm: true, refreshCsrfFieldName: 'r_csrf' }, true, 'expected it in the header X-CSRF-TOKEN or in the form field r_csrf'],
  ]
  for (const errorProfile of ['flask', 'rfc6750'] as const) {
    for (const [options, refresh, hint] of cases) {
      const app = await build(t, { ...options, errorProfile })
      app.post('/', { preHandler: app.jwtRequired({ refresh }) }, async () => ({}))
      const { cookie } = refresh ? await refreshPair(app) : await accessPair(app)
      const response = await app.inject({ method: 'POST', url: '/', headers: { cookie } })
      t.equal(response.payload, '{"msg":"Missing CSRF token"}')
      t.notMatch(JSON.stringify(response.headers), /x-(refresh-)?csrf/i)
      const lines = logs.get(app)!.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ code }) => code === 'FST_JWT_EXT_CSRF')
      t.match(lines, [{ level: 30, hint, msg: 'Missing CSRF token' }])
      t.equal(lines.length, 1)
    }
  }
})

t.test('no log line holds a token or a CSRF value, whatever becomes of the request', async (t) => {
  for (const throwErrors of [false, true]) {
    const app = await build(t, { throwErrors })
    guardAll(app)
    app.post('/fails', { preHandler: app.jwtRequired() }, async (request) => {
      request.log.error({ err: new Error('the handler failed') }, 'the handler failed')
      request.log.info({ req: request }, 'a request')
      throw new Error('the handler failed')
    })
    const good = await accessPair(app)
    const tokens = [
      good.token, forge({ sub: 'ada', csrf: good.csrf, exp: 1 }), forge({ sub: 'ada', csrf: good.csrf, type: 'refresh' }),
      forge({ sub: 'ada' }), forge({ sub: 'ada', csrf: good.csrf }, undefined, 'k'.repeat(64)), 'no-token-at-all',
    ]
    for (const url of ['/', '/fails']) {
      for (const token of tokens) {
        for (const value of [undefined, 'a-guessed-value', good.csrf]) {
          const headers: Record<string, string> = { cookie: `access_token_cookie=${token}` }
          if (value !== undefined) headers['x-csrf-token'] = value
          await app.inject({ method: 'POST', url, headers })
        }
      }
    }
    const log = logs.get(app)!.join('')
    t.ok(logs.get(app)!.length > 36, 'there is a log to look at')
    for (const secret of [good.csrf, 'a-guessed-value', ...tokens, ...tokens.flatMap((token) => token.split('.').slice(1))]) {
      t.notOk(log.includes(secret), secret.slice(0, 20))
    }
  }
})

type Parser = 'formbody' | 'multipart fields' | 'multipart values'

function encodeForm (parser: Parser, fields: [name: string, value: string, file?: string][]): { headers: Record<string, string>, payload: string } {
  if (parser === 'formbody') {
    return { headers: { 'content-type': FORM }, payload: new URLSearchParams(fields.map(([name, value]): [string, string] => [name, value])).toString() }
  }
  const parts = fields.map(([name, value, file]) => {
    const filename = file === undefined ? '' : `; filename="${file}"\r\nContent-Type: text/plain`
    return `--edge\r\nContent-Disposition: form-data; name="${name}"${filename}\r\n\r\n${value}\r\n`
  })
  return { headers: { 'content-type': 'multipart/form-data; boundary=edge' }, payload: `${parts.join('')}--edge--\r\n` }
}

async function registerParser (app: FastifyInstance, parser: Parser): Promise<void> {
  if (parser === 'formbody') await app.register(formbody)
  else await app.register(multipart, { attachFieldsToBody: parser === 'multipart fields' ? true : 'keyValues' })
}

for (const parser of ['formbody', 'multipart fields', 'multipart values'] as const) {
  t.test(`csrfCheckForm takes the value from a form's field, by ${parser}`, async (t) => {
    const app = await build(t, { csrfCheckForm: true })
    await registerParser(app, parser)
    app.post('/handler', { preHandler: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity }))
    app.post('/validation', { preValidation: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity }))
    const { cookie, csrf } = await accessPair(app)
    const missing = [401, { msg: 'Missing CSRF token' }]
    const wrong = [401, { msg: 'CSRF double submit tokens do not match' }]
    const passed = [200, { who: 'ada' }]
    const cases: [title: string, fields: [string, string, string?][], header: string | undefined, expected: unknown][] = [
      ['the right field', [['amount', '5'], ['csrf_token', csrf]], undefined, passed],
      ['no such field', [['amount', '5']], undefined, missing],
      ['an empty field', [['csrf_token', '']], undefined, missing],
      ['a wrong field', [['csrf_token', 'guessed']], undefined, wrong],
      ['a field of another name', [['CSRF_TOKEN', csrf]], undefined, missing],
      ['the field twice', [['csrf_token', csrf], ['csrf_token', csrf]], undefined, missing],
      ['a wrong header before the right field', [['csrf_token', csrf]], 'guessed', wrong],
      ['the right header before a wrong field', [['csrf_token', 'guessed']], csrf, passed],
      ['an empty header and the right field', [['csrf_token', csrf]], '', passed],
      // The multipart parser refuses names that every object has for itself.
      parser === 'formbody'
        ? ['names that every object has', [['constructor', csrf], ['__proto__', csrf]], undefined, missing]
        : ['a file in place of the field', [['csrf_token', csrf, 'csrf.txt']], undefined, missing],
    ]
    for (const url of ['/handler', '/validation']) {
      for (const [title, fields, header, expected] of cases) {
        const { headers, payload } = encodeForm(parser, fields)
        const response = await app.inject({
          method: 'POST', url, payload, headers: { cookie, ...headers, ...(header !== undefined && { 'x-csrf-token': header }) },
        })
        t.same([response.statusCode, response.json()], expected, `${title}, ${url}`)
      }
    }
  })

  t.test(`each kind of token has its form field, by ${parser}`, async (t) => {
    const app = await build(t, { csrfCheckForm: true, accessCsrfFieldName: 'a_csrf', refreshCsrfFieldName: 'r_csrf' })
    await registerParser(app, parser)
    app.post('/', { preHandler: app.jwtRequired() }, async () => ({}))
    app.post('/refresh', { preHandler: app.jwtRequired({ refresh: true }) }, async () => ({}))
    const access = await accessPair(app)
    const refresh = await refreshPair(app)
    const status = async (url: string, field: string, { cookie, csrf }: Pair): Promise<number> => {
      const { headers, payload } = encodeForm(parser, [[field, csrf]])
      return (await app.inject({ method: 'POST', url, payload, headers: { cookie, ...headers } })).statusCode
    }
    t.equal(await status('/', 'a_csrf', access), 200)
    t.equal(await status('/', 'r_csrf', access), 401)
    t.equal(await status('/refresh', 'r_csrf', refresh), 200)
    t.equal(await status('/refresh', 'a_csrf', refresh), 401)
  })

  t.test(`without csrfCheckForm a form's field counts for nothing, by ${parser}`, async (t) => {
    const app = await build(t)
    await registerParser(app, parser)
    app.post('/', { preHandler: app.jwtRequired() }, async () => ({}))
    const { cookie, csrf } = await accessPair(app)
    const { headers, payload } = encodeForm(parser, [['csrf_token', csrf]])
    const response = await app.inject({ method: 'POST', url: '/', payload, headers: { cookie, ...headers } })
    t.same([response.statusCode, response.json()], [401, { msg: 'Missing CSRF token' }])
  })
}

t.test('a field of a body that is no form counts for nothing', async (t) => {
  const app = await build(t, { csrfCheckForm: true })
  await app.register(formbody)
  app.addContentTypeParser('text/plain', { parseAs: 'string' }, (request, body, done) => { done(null, { csrf_token: body }) })
  guardAll(app)
  const { cookie, csrf } = await accessPair(app)
  const post = async (type: string, payload: string): Promise<unknown> =>
    (await app.inject({ method: 'POST', url: '/', payload, headers: { cookie, 'content-type': type } })).json<{ msg: string }>().msg
  t.equal(await post('application/json', JSON.stringify({ csrf_token: csrf })), 'Missing CSRF token')
  t.equal(await post('text/plain', csrf), 'Missing CSRF token')
  t.equal(await post(`${FORM}; charset=utf-8`, `csrf_token=${csrf}`), undefined, 'a parameter behind the type does not matter')
  t.equal(await post('APPLICATION/X-WWW-Form-Urlencoded', `csrf_token=${csrf}`), undefined, 'nor does its spelling')
})

t.test('a multipart body that the route reads for itself has no field to look at', async (t) => {
  const app = await build(t, { csrfCheckForm: true })
  await app.register(multipart)
  app.post('/', { preHandler: app.jwtRequired() }, async (request) => {
    const names: string[] = []
    for await (const part of request.parts()) names.push(part.fieldname)
    return { who: request.jwtIdentity, names }
  })
  const { cookie, csrf } = await accessPair(app)
  const { headers, payload } = encodeForm('multipart fields', [['csrf_token', csrf]])
  const byField = await app.inject({ method: 'POST', url: '/', payload, headers: { cookie, ...headers } })
  t.same([byField.statusCode, byField.json()], [401, { msg: 'Missing CSRF token' }])
  const byHeader = await app.inject({ method: 'POST', url: '/', payload, headers: { cookie, 'x-csrf-token': csrf, ...headers } })
  t.same([byHeader.statusCode, byHeader.json()], [200, { who: 'ada', names: ['csrf_token'] }])
})

t.test('a guard that reads the body cannot be declared in a hook that has none yet', async (t) => {
  const readers: [title: string, options: JwtExtendedOptions, rule: object][] = [
    ['json', { tokenLocation: 'json' }, {}],
    ['json among others', { tokenLocation: ['headers', 'json'] }, {}],
    ['json by rule', {}, { locations: ['headers', 'json'] }],
    ['json, optional', { tokenLocation: 'json' }, { optional: true }],
    ['cookies with csrfCheckForm', { csrfCheckForm: true }, {}],
    ['cookies with csrfCheckForm, for refreshing', { csrfCheckForm: true }, { refresh: true }],
  ]
  for (const [title, options, rule] of readers) {
    const app = await build(t, options)
    const guard = app.jwtRequired(rule)
    const handler = async (): Promise<object> => ({})
    for (const hook of ['onRequest', 'preParsing'] as const) {
      const message = new RegExp(`The ${hook} guard of POST /${hook} reads the body, which is not parsed yet there; use it as a preValidation or preHandler hook`)
      t.throws(() => app.post(`/${hook}`, { [hook]: guard }, handler), { message, code: 'FST_JWT_EXT_USAGE' }, `${title}, ${hook}`)
      t.throws(() => app.post(`/${hook}`, { [hook]: [(request: unknown, reply: unknown, done: () => void) => done(), guard] }, handler), { message }, `${title}, ${hook} in a list`)
      t.throws(() => app.route({ method: ['GET', 'POST'], url: `/${hook}`, [hook]: guard, handler }), /GET, POST/, `${title}, ${hook}, several methods`)
    }
    await app.register(async (child) => {
      t.throws(() => child.post('/child', { onRequest: guard }, handler), /POST \/child/, `${title}, in a child scope`)
    })
    app.post('/validation', { preValidation: guard }, handler)
    app.post('/handler', { preHandler: guard }, handler)
    await app.ready()
  }
})

t.test('a guard that does not read the body may be declared in any hook', async (t) => {
  const cases: [options: JwtExtendedOptions, rule: object][] = [
    [{ csrfCheckForm: true }, { locations: 'headers' }],
    [{ csrfCheckForm: true, cookieCsrfProtect: false }, {}],
    [{ tokenLocation: ['json', 'cookies'] }, { locations: ['cookies', 'query_string'] }],
    [{}, {}],
  ]
  for (const [options, rule] of cases) {
    const app = await build(t, options)
    const guard = app.jwtRequired(rule)
    app.post('/request', { onRequest: guard }, async () => ({}))
    app.post('/parsing', { preParsing: guard }, async () => ({}))
    await app.ready()
  }
})

for (const hook of ['onRequest', 'preParsing'] as const) {
  t.test(`as the ${hook} hook of a scope, a guard that reads the body says so to a request with one`, async (t) => {
    const app = await build(t, { csrfCheckForm: true, tokenLocation: ['cookies', 'json'] })
    await app.register(formbody)
    const guard = app.jwtRequired()
    if (hook === 'onRequest') app.addHook('onRequest', guard)
    else app.addHook('preParsing', guard)
    guardlessRoutes(app)
    const { token, cookie, csrf } = await accessPair(app)

    const fails: [title: string, options: object][] = [
      ['a JSON body', { method: 'POST', payload: { access_token: token } }],
      ['a JSON body of DELETE', { method: 'DELETE', payload: { access_token: token } }],
      ['a form', { method: 'POST', payload: `csrf_token=${csrf}`, headers: { cookie, 'content-type': FORM } }],
    ]
    for (const [title, options] of fails) {
      const response = await app.inject({ url: '/', ...options })
      t.equal(response.statusCode, 500, title)
      t.match(response.json(), { code: 'FST_JWT_EXT_USAGE', message: 'This guard reads the body, which is not parsed yet here: use it as a preValidation or preHandler hook' })
    }
    const passes = await app.inject({ url: '/', headers: { cookie } })
    t.same([passes.statusCode, passes.json()], [200, { who: 'ada' }], 'GET by cookie needs no body')
    const refused = await app.inject({ url: '/', headers: { 'content-type': 'application/json' } })
    t.equal(refused.statusCode, 401, 'and GET without a token is refused as anywhere')
    const empty = await app.inject({ method: 'POST', url: '/' })
    t.equal(empty.statusCode, 401, 'so is a request without a body')
  })

  t.test(`as the ${hook} hook of a scope, it says so to a body that comes in chunks over a socket`, async (t) => {
    const app = await build(t, { tokenLocation: 'json' })
    const guard = app.jwtRequired({ optional: true })
    if (hook === 'onRequest') app.addHook('onRequest', guard)
    else app.addHook('preParsing', guard)
    guardlessRoutes(app)
    await app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = app.server.address() as AddressInfo
    const status = await new Promise((resolve, reject) => {
      const request = httpRequest({ host: '127.0.0.1', port, method: 'POST', headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' } })
      request.on('response', (response) => {
        response.resume()
        resolve(response.statusCode)
      }).on('error', reject)
      request.write('{"access_')
      request.end('token":"x"}')
    })
    t.equal(status, 500)
  })
}

t.test('as the onRequest hook of a scope, it says so over HTTP/2, where a body needs no header to say that it is there', async (t) => {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(jwtExtended, { secretKey: SECRET, tokenLocation: 'json' })
  app.addHook('onRequest', app.jwtRequired({ optional: true }))
  app.post('/', async (request) => ({ who: request.jwtIdentity }))
  await app.listen({ host: '127.0.0.1', port: 0 })
  const session = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => session.close())
  const status = async (body: string): Promise<unknown> => await new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ':path': '/', ...(body !== '' && { 'content-type': 'application/json' }) }, { endStream: body === '' })
    stream.on('response', (headers) => {
      stream.resume()
      resolve(headers[':status'])
    }).on('error', reject)
    if (body !== '') stream.end(body)
  })
  t.equal(await status('{"access_token":"x"}'), 500)
  t.equal(await status(''), 200, 'a request without a body is anonymous')
})

function guardlessRoutes (app: FastifyInstance): void {
  app.route({ method: [...ALL_METHODS], url: '/', handler: async (request) => ({ who: request.jwtIdentity }) })
}

t.test('as a preValidation or preHandler hook of a scope, a guard reads the body', async (t) => {
  for (const hook of ['preValidation', 'preHandler'] as const) {
    const app = await build(t, { csrfCheckForm: true, tokenLocation: ['cookies', 'json'] })
    await app.register(formbody)
    const guard = app.jwtRequired()
    if (hook === 'preValidation') app.addHook('preValidation', guard)
    else app.addHook('preHandler', guard)
    guardlessRoutes(app)
    const { token, cookie, csrf } = await accessPair(app)
    t.same((await app.inject({ method: 'POST', url: '/', payload: { access_token: token } })).json(), { who: 'ada' })
    t.same((await app.inject({ method: 'POST', url: '/', payload: `csrf_token=${csrf}`, headers: { cookie, 'content-type': FORM } })).json(), { who: 'ada' })
  }
})
