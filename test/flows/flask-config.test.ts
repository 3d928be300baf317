import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions, JwtRule, TokenLocation } from '../../index.js'
import { bearer, buildApp, registrationError, SECRET } from '../support/app.js'
import { stopClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { pairFor, pem } from '../support/keys.js'

interface Answer { status: number, body: unknown }

const NOON = 1_700_000_000
const LOCATIONS: readonly TokenLocation[] = ['headers', 'cookies', 'query_string', 'json']
const REACHED: Answer = { status: 200, body: { who: 'ada' } }

/** A server with one route for every method behind one guard; what `options` leave out is as the plugin has it. */
async function buildGuarded (t: Test, options: JwtExtendedOptions = {}, rule?: JwtRule): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  app.route({
    method: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    url: '/',
    preValidation: app.jwtRequired(rule),
    handler: async (request) => ({ who: request.jwtIdentity }),
  })
  return app
}

async function send (app: FastifyInstance, request: InjectOptions = {}): Promise<Answer> {
  const response = await app.inject({ url: '/', ...request })
  return { status: response.statusCode, body: response.body === '' ? undefined : response.json() }
}

/** A request that carries a token in one location, under its default name. */
function carry (location: TokenLocation, token: string): InjectOptions {
  switch (location) {
    case 'headers': return { headers: bearer(token) }
    case 'cookies': return { headers: { cookie: `access_token_cookie=${token}` } }
    case 'query_string': return { query: { jwt: token } }
    case 'json': return { method: 'POST', payload: { access_token: token } }
  }
}

function missing (msg: string): Answer {
  return { status: 401, body: { msg } }
}

// Defaults

t.test('by default a token is looked for in the Authorization header only', async (t) => {
  const app = await buildGuarded(t)
  const token = await app.createAccessToken('ada')
  for (const location of LOCATIONS) {
    const expected = location === 'headers' ? REACHED : missing('Missing Authorization Header')
    t.strictSame(await send(app, carry(location, token)), expected, location)
  }
})

t.test('by default each location has the name that Flask-JWT-Extended gives it', async (t) => {
  for (const location of LOCATIONS) {
    const app = await buildGuarded(t, { cookieCsrfProtect: false }, { locations: location })
    t.strictSame(await send(app, carry(location, await app.createAccessToken('ada'))), REACHED, location)
  }
  const cookies = await buildGuarded(t, {}, { locations: 'cookies', refresh: true })
  t.strictSame(
    await send(cookies, { headers: { cookie: `refresh_token_cookie=${await cookies.createRefreshToken('ada')}` } }), REACHED, 'refresh cookie'
  )
  const json = await buildGuarded(t, {}, { locations: 'json', refresh: true })
  t.strictSame(
    await send(json, { method: 'POST', payload: { refresh_token: await json.createRefreshToken('ada') } }), REACHED, 'refresh in JSON'
  )
})

t.test('by default a cookie needs the X-CSRF-TOKEN header for POST, PUT, PATCH and DELETE', async (t) => {
  for (const refresh of [false, true]) {
    const app = await buildGuarded(t, {}, { locations: 'cookies', refresh })
    const token = refresh ? await app.createRefreshToken('ada') : await app.createAccessToken('ada')
    const cookie = `${refresh ? 'refresh' : 'access'}_token_cookie=${token}`
    const csrf = await app.getCsrfToken(token)
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
      t.strictSame(await send(app, { method, headers: { cookie } }), missing('Missing CSRF token'), `${method} without`)
      t.strictSame(await send(app, { method, headers: { cookie, 'X-CSRF-TOKEN': csrf } }), REACHED, `${method} with`)
    }
    t.strictSame(await send(app, { method: 'GET', headers: { cookie } }), REACHED, 'GET')
    t.equal((await send(app, { method: 'HEAD', headers: { cookie } })).status, 200, 'HEAD')
  }
})

t.test('by default tokens have no issuer, and any issuer will do', async (t) => {
  const app = await buildGuarded(t)
  t.notOk('iss' in await app.decodeToken(await app.createAccessToken('ada')))
  t.strictSame(await send(app, { headers: bearer(forge({ sub: 'ada', iss: 'them' })) }), REACHED)
})

t.test('by default access tokens live for 15 minutes and refresh tokens for 30 days', async (t) => {
  stopClock(t, NOON)
  const app = await buildApp(t)
  t.equal((await app.decodeToken(await app.createAccessToken('ada')))['exp'], NOON + 15 * 60)
  t.equal((await app.decodeToken(await app.createRefreshToken('ada')))['exp'], NOON + 30 * 24 * 60 * 60)
})

t.test('by default HS256 signs, and nothing else is accepted', async (t) => {
  const app = await buildGuarded(t)
  t.equal(app.getUnverifiedJwtHeaders(await app.createAccessToken('ada')).alg, 'HS256')
  t.strictSame(await send(app, { headers: bearer(forge({ sub: 'ada' }, { alg: 'HS256' })) }), REACHED)
  for (const alg of ['HS384', 'HS512', 'none']) {
    const answer = await send(app, { headers: bearer(forge({ sub: 'ada' }, { alg })) })
    t.strictSame(answer, { status: 422, body: { msg: 'The specified alg value is not allowed' } }, alg)
  }
})

t.test('by default the identity stands in sub, and a message under msg', async (t) => {
  const app = await buildGuarded(t)
  t.equal((await app.decodeToken(await app.createAccessToken('ada')))['sub'], 'ada')
  t.strictSame(await send(app), { status: 401, body: { msg: 'Missing Authorization Header' } })
})

// Overriding

t.test('tokenLocation takes away the header and adds the others', async (t) => {
  const app = await buildGuarded(t, { tokenLocation: ['cookies', 'query_string', 'json'], cookieCsrfProtect: false })
  const token = await app.createAccessToken('ada')
  for (const location of LOCATIONS) {
    const { status } = await send(app, carry(location, token))
    t.equal(status, location === 'headers' ? 401 : 200, location)
  }
})

t.test('every name can be another', async (t) => {
  const names: JwtExtendedOptions = {
    headerName: 'X-Ticket',
    headerType: 'Ticket',
    jsonKey: 'ticket',
    refreshJsonKey: 'renewal',
    queryStringName: 'pass',
    queryStringValuePrefix: 'v1.',
    accessCookieName: 'ticket_cookie',
    refreshCookieName: 'renewal_cookie',
    cookieCsrfProtect: false,
  }
  const requests: [rule: JwtRule, request: (token: string) => InjectOptions, absence: string][] = [
    [{ locations: 'headers' }, (token) => ({ headers: { 'x-ticket': `Ticket ${token}` } }), 'Missing X-Ticket Header'],
    [{ locations: 'json' }, (ticket) => ({ method: 'POST', payload: { ticket } }), 'Missing "ticket" key in json data.'],
    [{ locations: 'json', refresh: true }, (renewal) => ({ method: 'POST', payload: { renewal } }), 'Missing "renewal" key in json data.'],
    [{ locations: 'query_string' }, (token) => ({ query: { pass: `v1.${token}` } }), "Missing 'pass' query parameter"],
    [{ locations: 'cookies' }, (token) => ({ headers: { cookie: `ticket_cookie=${token}` } }), 'Missing cookie "ticket_cookie"'],
    [{ locations: 'cookies', refresh: true }, (token) => ({ headers: { cookie: `renewal_cookie=${token}` } }), 'Missing cookie "renewal_cookie"'],
  ]
  for (const [rule, request, absence] of requests) {
    const app = await buildGuarded(t, names, rule)
    const token = rule.refresh ? await app.createRefreshToken('ada') : await app.createAccessToken('ada')
    t.strictSame(await send(app, request(token)), REACHED, JSON.stringify(rule))
    t.strictSame(await send(app, { method: 'POST', payload: {} }), missing(absence), absence)
  }
})

t.test('issuers can be issued and asked for', async (t) => {
  const app = await buildGuarded(t, { encodeIssuer: 'us', decodeIssuer: 'them' })
  const token = await app.createAccessToken('ada')
  t.strictSame(await send(app, { headers: bearer(token) }), { status: 422, body: { msg: 'Invalid issuer' } })
  t.strictSame(await send(app, { headers: bearer(forge({ sub: 'ada', iss: 'them' })) }), REACHED)

  const own = await buildApp(t, { secretKey: SECRET, encodeIssuer: 'us' })
  t.equal((await own.decodeToken(token))['iss'], 'us')
})

t.test('CSRF protection can have other methods and other headers', async (t) => {
  const options: JwtExtendedOptions = {
    csrfMethods: ['GET'], accessCsrfHeaderName: 'X-ACCESS-CSRF', refreshCsrfHeaderName: 'X-REFRESH-CSRF',
  }
  for (const refresh of [false, true]) {
    const app = await buildGuarded(t, options, { locations: 'cookies', refresh })
    const token = refresh ? await app.createRefreshToken('ada') : await app.createAccessToken('ada')
    const cookie = `${refresh ? 'refresh' : 'access'}_token_cookie=${token}`
    const csrf = await app.getCsrfToken(token)
    const header = refresh ? 'x-refresh-csrf' : 'x-access-csrf'
    t.strictSame(await send(app, { method: 'POST', headers: { cookie } }), REACHED, 'POST needs none now')
    t.strictSame(await send(app, { headers: { cookie } }), missing('Missing CSRF token'), 'GET does')
    t.strictSame(await send(app, { headers: { cookie, 'x-csrf-token': csrf } }), missing('Missing CSRF token'), 'the old name will not do')
    t.strictSame(await send(app, { headers: { cookie, [header]: csrf } }), REACHED, header)
  }
})

t.test('lifetimes can be others, as numbers of seconds and as text', async (t) => {
  stopClock(t, NOON)
  for (const [accessTokenExpires, refreshTokenExpires] of [['5m', '5d'], [300, 432_000]] as const) {
    const app = await buildApp(t, { secretKey: SECRET, accessTokenExpires, refreshTokenExpires })
    t.equal((await app.decodeToken(await app.createAccessToken('ada')))['exp'], NOON + 300)
    t.equal((await app.decodeToken(await app.createRefreshToken('ada')))['exp'], NOON + 432_000)
  }
})

t.test('another algorithm can sign, and several can verify', async (t) => {
  const app = await buildGuarded(t, { algorithm: 'HS512', decodeAlgorithms: ['HS512', 'HS256'] })
  t.equal(app.getUnverifiedJwtHeaders(await app.createAccessToken('ada')).alg, 'HS512')
  for (const [alg, status] of [['HS512', 200], ['HS256', 200], ['HS384', 422]] as const) {
    t.equal((await send(app, { headers: bearer(forge({ sub: 'ada' }, { alg })) })).status, status, alg)
  }
})

t.test('the identity can stand in another claim, and a message under another key', async (t) => {
  const app = await buildGuarded(t, { identityClaim: 'login', errorMessageKey: 'message' })
  t.match(await app.decodeToken(await app.createAccessToken('ada')), { login: 'ada' })
  t.strictSame(await send(app, { headers: bearer(forge({ sub: 'ada' })) }), { status: 422, body: { message: 'Missing claim: login' } })
})

t.test('a date in a claim is written as JSON has it, and no option changes that', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada', { additionalClaims: { born: new Date('2022-08-12T00:00:00Z') } })
  t.equal((await app.decodeToken(token))['born'], '2022-08-12T00:00:00.000Z')
  t.match(await registrationError(t, { secretKey: SECRET, jsonEncoder: JSON.stringify }), { message: /jsonEncoder/ })
})

t.test('tokens of either kind can live for ever', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, accessTokenExpires: false, refreshTokenExpires: false })
  t.notOk('exp' in await app.decodeToken(await app.createAccessToken('ada')))
  t.notOk('exp' in await app.decodeToken(await app.createRefreshToken('ada')))
})

t.test('a lifetime that is a number counts seconds', async (t) => {
  stopClock(t, NOON)
  const app = await buildApp(t, { secretKey: SECRET, accessTokenExpires: 300, refreshTokenExpires: 432_000 })
  t.equal((await app.decodeToken(await app.createAccessToken('ada')))['exp'], NOON + 5 * 60)
  t.equal((await app.decodeToken(await app.createRefreshToken('ada')))['exp'], NOON + 5 * 24 * 60 * 60)
})

t.test('registering fails without a key, and works with a secret', async (t) => {
  t.match(await registrationError(t, {}), { code: 'FST_JWT_EXT_USAGE', message: /secretKey/ })
  t.match(await registrationError(t, { secretKey: '' }), { message: /secretKey/ })
  const app = await buildGuarded(t, { secretKey: SECRET })
  t.strictSame(await send(app, { headers: bearer(await app.createAccessToken('ada')) }), REACHED)
})

t.test('an asymmetric algorithm takes a key pair and never the secret', async (t) => {
  t.match(await registrationError(t, { algorithm: 'RS256' }), { message: /privateKey/ }, 'no key')
  t.match(await registrationError(t, { algorithm: 'RS256', secretKey: SECRET }), { message: /privateKey/ }, 'a secret only')
  t.match(await registrationError(t, { algorithm: 'RS256', privateKey: 'some', publicKey: 'words' }), { message: /privateKey/ }, 'no keys')

  const { privateKey, publicKey } = pairFor('RS256')
  const app = await buildGuarded(t, { algorithm: 'RS256', secretKey: SECRET, privateKey: pem(privateKey), publicKey: pem(publicKey) })
  const token = await app.createAccessToken('ada')
  t.equal(app.getUnverifiedJwtHeaders(token).alg, 'RS256')
  t.strictSame(await send(app, { headers: bearer(token) }), REACHED)
})

t.test('registering fails with an option of the wrong kind, and names it', async (t) => {
  const wrong: [option: keyof JwtExtendedOptions, value: unknown][] = [
    ['tokenLocation', []],
    ['tokenLocation', 'banana'],
    ['tokenLocation', 1],
    ['tokenLocation', { location: 'headers' }],
    ['tokenLocation', Array.from({ length: 99 }, (_, index) => index)],
    ['tokenLocation', ['headers', 'cookies', 'banana']],
    ['tokenLocation', new Set(['headers'])],
    ['headerName', ''],
    ['accessTokenExpires', 'banana'],
    ['refreshTokenExpires', 'banana'],
    ['accessTokenExpires', true],
    ['refreshTokenExpires', true],
  ]
  for (const [option, value] of wrong) {
    const error = await registrationError(t, { secretKey: SECRET, [option]: value })
    t.match(error, { code: 'FST_JWT_EXT_USAGE', message: new RegExp(`\\b${option}\\b`) }, `${option}: ${JSON.stringify(value)}`)
  }
})

t.test('tokenLocation takes each location by itself, in a list, and several in a list', async (t) => {
  const several = LOCATIONS.map((_, index) => LOCATIONS.slice(0, index + 1))
  for (const tokenLocation of [...LOCATIONS, ...LOCATIONS.map((location) => [location]), ...several]) {
    const app = await buildGuarded(t, { tokenLocation, cookieCsrfProtect: false })
    const token = await app.createAccessToken('ada')
    for (const location of LOCATIONS) {
      const { status } = await send(app, carry(location, token))
      t.equal(status, [tokenLocation].flat().includes(location) ? 200 : 401, `${location} with ${JSON.stringify(tokenLocation)}`)
    }
  }
})

t.test('CSRF protection can be on and off', async (t) => {
  for (const cookieCsrfProtect of [true, false]) {
    const app = await buildGuarded(t, { cookieCsrfProtect }, { locations: 'cookies' })
    const token = await app.createAccessToken('ada')
    t.equal('csrf' in await app.decodeToken(token), cookieCsrfProtect)
    const answer = await send(app, { method: 'POST', headers: { cookie: `access_token_cookie=${token}` } })
    t.strictSame(answer, cookieCsrfProtect ? missing('Missing CSRF token') : REACHED)
  }
})

t.test('the algorithm that signs always verifies, whatever decodeAlgorithms says', async (t) => {
  const { privateKey } = pairFor('RS256')
  const app = await buildGuarded(t, {
    algorithm: 'RS256', decodeAlgorithms: ['HS512'], privateKey: pem(privateKey), secretKey: SECRET,
  })
  t.strictSame(await send(app, { headers: bearer(await app.createAccessToken('ada')) }), REACHED, 'RS256')
  t.strictSame(await send(app, { headers: bearer(forge({ sub: 'ada' }, { alg: 'HS512' })) }), REACHED, 'HS512')
  t.equal((await send(app, { headers: bearer(forge({ sub: 'ada' }, { alg: 'HS256' })) })).status, 422, 'HS256')
})
