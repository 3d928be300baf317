import t, { type Test } from 'tap'
import type { FastifyInstance, HTTPMethods } from 'fastify'
import type { JwtExtendedOptions } from '../index.js'
import { createCsrfValue, isSameCsrfValue } from '../lib/csrf.js'
import { buildApp, SECRET } from './support/app.js'
import { moveClock } from './support/clock.js'
import { forge } from './support/forge.js'

interface Carried {
  method?: HTTPMethods
  headers?: Record<string, string>
  form?: string
}

/** An app that takes its tokens from cookies, with a route for each method and for each kind of token. */
async function cookieApp (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', ...options })
  const parse = (_request: unknown, body: string, done: (error: null, body: unknown) => void): void => { done(null, Object.fromEntries(new URLSearchParams(body))) }
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, parse as never)
  app.addHttpMethod('PROPFIND')
  const method = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND']
  app.route({ method, url: '/', preHandler: app.jwtRequired(), handler: async () => 'in' })
  app.route({ method, url: '/refresh', preHandler: app.jwtRequired({ refresh: true }), handler: async () => 'in' })
  app.route({ method, url: '/optional', preHandler: app.jwtRequired({ optional: true }), handler: async (request) => request.jwtIdentity ?? 'anonymous' })
  return app
}

async function send (app: FastifyInstance, cookies: Record<string, string>, url: string, { method = 'POST', headers = {}, form }: Carried = {}): Promise<string> {
  const type = form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }
  const response = await app.inject({ method: method as 'POST', url, cookies, headers: { ...type, ...headers }, ...(form !== undefined && { payload: form }) })
  return response.statusCode === 200 ? response.body : `${response.statusCode} ${response.json().msg ?? response.body}`
}

const access = (token: string): Record<string, string> => ({ access_token_cookie: token })
const refresh = (token: string): Record<string, string> => ({ refresh_token_cookie: token })
const value = (csrf: string): Carried => ({ headers: { 'x-csrf-token': csrf } })

const MISSING = '401 Missing CSRF token'
const WRONG = '401 CSRF double submit tokens do not match'

t.test('a value is unique, and of a length that nobody guesses', async (t) => {
  const values = new Set(Array.from({ length: 1000 }, createCsrfValue))
  t.equal(values.size, 1000)
  for (const one of values) t.match(one, /^[0-9a-f-]{36}$/)
})

t.test('values are the same only where every byte of them is', async (t) => {
  t.ok(isSameCsrfValue('', ''))
  t.ok(isSameCsrfValue('abc', 'abc'))
  t.ok(isSameCsrfValue('ünïcödé', 'ünïcödé'))
  for (const other of ['', 'ab', 'abcd', 'abC', 'xbc', 'abc ', 'abc\0']) t.notOk(isSameCsrfValue('abc', other), other)
})

t.test('a token that came by cookie needs its CSRF value on the methods that change something', async (t) => {
  const app = await cookieApp(t)
  const token = await app.createAccessToken('ada')
  const csrf = await app.getCsrfToken(token)
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
    t.equal(await send(app, access(token), '/', { method }), MISSING, method)
    t.equal(await send(app, access(token), '/', { method, headers: { 'x-csrf-token': '' } }), MISSING, method)
    t.equal(await send(app, access(token), '/', { method, headers: { 'x-csrf-token': 'another' } }), WRONG, method)
    t.equal(await send(app, access(token), '/', { method, headers: { 'x-csrf-token': csrf.toUpperCase() } }), WRONG, method)
    t.equal(await send(app, access(token), '/', { method, headers: { 'X-CSRF-Token': csrf } }), 'in', method)
  }
  for (const method of ['GET', 'HEAD', 'PROPFIND'] as const) {
    t.equal((await send(app, access(token), '/', { method, headers: { 'x-csrf-token': 'another' } })).replace(/^$/, 'in'), 'in', method)
  }
})

t.test('the methods that need it are the configured ones', async (t) => {
  const app = await cookieApp(t, { csrfMethods: ['get', 'PROPFIND'] })
  const token = await app.createAccessToken('ada')
  for (const method of ['GET', 'PROPFIND'] as const) t.equal(await send(app, access(token), '/', { method }), MISSING, method)
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) t.equal(await send(app, access(token), '/', { method }), 'in', method)
})

t.test('without the protection no value is needed, and tokens carry none', async (t) => {
  const app = await cookieApp(t, { cookieCsrfProtect: false })
  const token = await app.createAccessToken('ada')
  t.notOk('csrf' in await app.decodeToken(token))
  await t.rejects(app.getCsrfToken(token), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Missing claim: csrf' })
  t.equal(await send(app, access(token), '/'), 'in')
  t.equal(await send(app, access(token), '/', value('another')), 'in')
})

t.test('a token that did not come by cookie needs no value', async (t) => {
  const app = await cookieApp(t, { tokenLocation: ['headers', 'cookies'] })
  const token = await app.createAccessToken('ada')
  t.equal(await send(app, {}, '/', { headers: { authorization: `Bearer ${token}` } }), 'in')
  t.equal(await send(app, access(token), '/', { headers: { authorization: `Bearer ${token}` } }), 'in', 'the header comes first')
  t.equal(await send(app, access(token), '/'), MISSING)
})

t.test('access and refresh tokens have names of their own for the header that carries the value', async (t) => {
  const app = await cookieApp(t, { accessCsrfHeaderName: 'X-Access', refreshCsrfHeaderName: 'X-Refresh' })
  const [token, refreshToken] = [await app.createAccessToken('ada'), await app.createRefreshToken('ada')]
  const [csrf, refreshCsrf] = [await app.getCsrfToken(token), await app.getCsrfToken(refreshToken)]
  t.equal(await send(app, access(token), '/', { headers: { 'x-access': csrf } }), 'in')
  t.equal(await send(app, access(token), '/', { headers: { 'x-refresh': csrf, 'x-csrf-token': csrf } }), MISSING)
  t.equal(await send(app, refresh(refreshToken), '/refresh', { headers: { 'x-refresh': refreshCsrf } }), 'in')
  t.equal(await send(app, refresh(refreshToken), '/refresh', { headers: { 'x-access': refreshCsrf } }), MISSING)
  t.equal(await send(app, refresh(refreshToken), '/refresh', { headers: { 'x-refresh': csrf } }), WRONG, 'the value of the other token')
})

t.test('a form\'s field may carry the value where that is allowed', async (t) => {
  const app = await cookieApp(t, { csrfCheckForm: true, refreshCsrfFieldName: 'refresh_csrf' })
  const [token, refreshToken] = [await app.createAccessToken('ada'), await app.createRefreshToken('ada')]
  const [csrf, refreshCsrf] = [await app.getCsrfToken(token), await app.getCsrfToken(refreshToken)]
  t.equal(await send(app, access(token), '/', { form: `csrf_token=${csrf}` }), 'in')
  t.equal(await send(app, access(token), '/', { form: 'csrf_token=another' }), WRONG)
  t.equal(await send(app, access(token), '/', { form: 'csrf_token=' }), MISSING)
  t.equal(await send(app, access(token), '/', { form: 'other=1' }), MISSING)
  t.equal(await send(app, refresh(refreshToken), '/refresh', { form: `refresh_csrf=${refreshCsrf}` }), 'in')
  t.equal(await send(app, refresh(refreshToken), '/refresh', { form: `csrf_token=${refreshCsrf}` }), MISSING)
  t.equal(await send(app, access(token), '/', { form: `csrf_token=${csrf}`, headers: { 'x-csrf-token': 'another' } }), WRONG, 'the header comes first')
  t.equal(await send(app, access(token), '/', { form: `csrf_token=${csrf}`, headers: { 'x-csrf-token': '' } }), 'in', 'an empty header is none')
  const closed = await cookieApp(t)
  t.equal(await send(closed, access(token), '/', { form: `csrf_token=${csrf}` }), MISSING)
})

t.test('a JSON body is no form', async (t) => {
  const app = await cookieApp(t, { csrfCheckForm: true })
  const token = await app.createAccessToken('ada')
  const response = await app.inject({ method: 'POST', url: '/', cookies: access(token), payload: { csrf_token: await app.getCsrfToken(token) } })
  t.equal(response.statusCode, 401)
  t.strictSame(response.json(), { msg: 'Missing CSRF token' })
})

t.test('a token without a csrf claim is refused where one is needed', async (t) => {
  const app = await cookieApp(t)
  for (const claims of [{ sub: 'ada' }, { sub: 'ada', csrf: null }, { sub: 'ada', csrf: 5 }, { sub: 'ada', csrf: ['x'] }]) {
    t.equal(await send(app, access(forge(claims)), '/', value('x')), '422 Missing claim: csrf', JSON.stringify(claims))
    t.equal(await send(app, access(forge(claims)), '/', { method: 'GET' }), 'in')
  }
  t.equal(await send(app, access(forge({ sub: 'ada', csrf: '' })), '/', value('x')), WRONG)
  t.equal(await send(app, access(forge({ sub: 'ada', csrf: '' })), '/'), MISSING, 'an empty claim is no way around the value')
})

t.test('a missing value is noticed before the token is looked at, a wrong one before its expiry', async (t) => {
  const app = await cookieApp(t)
  t.equal(await send(app, access('no token at all'), '/'), MISSING)
  t.equal(await send(app, access('no-token'), '/', value('x')), '422 Not enough segments')
  const token = await app.createAccessToken('ada', { expiresDelta: 60 })
  const csrf = await app.getCsrfToken(token)
  moveClock(t, 61)
  t.equal(await send(app, access(token), '/'), MISSING)
  t.equal(await send(app, access(token), '/', value('another')), WRONG)
  t.equal(await send(app, access(token), '/', value(csrf)), '401 Token has expired')
})

t.test('a wrong value comes after the signature and the claims, and before type, freshness and all the rest', async (t) => {
  const app = await cookieApp(t, { tokenInBlocklistLoader: () => { throw new Error('not asked') } })
  t.equal(await send(app, access(forge({ sub: 'ada', csrf: 'x' }, { alg: 'HS256' }, 'another')), '/', value('y')), '422 Signature verification failed')
  t.equal(await send(app, access(forge({ csrf: 'x' })), '/', value('y')), '422 Missing claim: sub')
  t.equal(await send(app, access(forge({ sub: 'ada', csrf: 'x', type: 'refresh' })), '/', value('y')), WRONG)
  t.equal(await send(app, access(forge({ sub: 'ada', csrf: 'x', type: 'refresh', exp: 1 })), '/', value('y')), WRONG)
  t.equal(await send(app, access(forge({ sub: 'ada', csrf: 'x', type: 'refresh', exp: 1 })), '/', value('x')), '401 Token has expired')
})

t.test('an optional guard forgives no missing and no wrong value, and needs none without a token', async (t) => {
  const app = await cookieApp(t)
  const token = await app.createAccessToken('ada')
  t.equal(await send(app, access(token), '/optional'), MISSING)
  t.equal(await send(app, access(token), '/optional', value('another')), WRONG)
  t.equal(await send(app, access(token), '/optional', value(await app.getCsrfToken(token))), 'ada')
  t.equal(await send(app, {}, '/optional'), 'anonymous')
  t.equal(await send(app, access(''), '/optional'), 'anonymous')
})

t.test('decodeToken compares a value that it is given', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  const csrfValue = await app.getCsrfToken(token)
  t.equal((await app.decodeToken(token, { csrfValue })).sub, 'ada')
  for (const wrong of ['', 'another', csrfValue.toUpperCase(), `${csrfValue} `]) {
    await t.rejects(app.decodeToken(token, { csrfValue: wrong }), { code: 'FST_JWT_EXT_CSRF', statusCode: 401, message: 'CSRF double submit tokens do not match' })
  }
  for (const csrfToken of [token, 'no token at all']) {
    await t.rejects(app.decodeToken(csrfToken, { csrfValue: undefined }), { code: 'FST_JWT_EXT_CSRF', message: 'Missing CSRF token' }, 'what the client left out')
  }
  await t.rejects(app.decodeToken(forge({ sub: 'ada' }), { csrfValue: 'x' }), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Missing claim: csrf' })
  await t.rejects(app.decodeToken(forge({ sub: 'ada', csrf: 'x', exp: 1 }), { csrfValue: 'y' }), { code: 'FST_JWT_EXT_CSRF' })
  await t.rejects(app.decodeToken(forge({ sub: 'ada', csrf: 'x', exp: 1 }), { csrfValue: 'x' }), { code: 'FST_JWT_EXT_EXPIRED' })
})

t.test('the refusal for a missing value carries a hint for the log, and none for the client', async (t) => {
  const lines: string[] = []
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', csrfCheckForm: true }, { logger: { stream: { write: (line: string) => { lines.push(line) } } } })
  app.post('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const response = await app.inject({ method: 'POST', url: '/', cookies: access(await app.createAccessToken('ada')) })
  t.strictSame(response.json(), { msg: 'Missing CSRF token' })
  t.match(lines.join(''), 'expected it in the header X-CSRF-TOKEN or in the form field csrf_token')
})
