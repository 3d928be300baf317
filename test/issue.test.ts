import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { CreateAccessTokenOptions, JwtExtendedOptions } from '../index.js'
import { buildApp, SECRET } from './support/app.js'
import { moveClock, stopClock } from './support/clock.js'

const NOW = 1_750_000_000
const KINDS = ['createAccessToken', 'createRefreshToken'] as const

/** The header and payload of a token as they stand in its text. */
function read (token: string): { header: Record<string, unknown>, payload: Record<string, unknown> } {
  const [header, payload] = token.split('.').map((part) => Buffer.from(part, 'base64url').toString())
  return { header: JSON.parse(header!), payload: JSON.parse(payload!) }
}

/** Asserts that no token is made, and that the message says why. */
async function refuses (t: Test, promise: Promise<string>, message: string | RegExp, name = 'makes no token'): Promise<void> {
  await t.rejects(promise, { code: 'FST_JWT_EXT_USAGE', message }, name)
}

t.test('an access token carries the default claims, all times from one reading of the clock', async (t) => {
  stopClock(t, NOW)
  const app = await buildApp(t)
  const { header, payload } = read(await app.createAccessToken('ada'))
  t.strictSame(header, { alg: 'HS256', typ: 'JWT' })
  const { jti, csrf, ...rest } = payload
  t.strictSame(rest, { fresh: false, iat: NOW, type: 'access', sub: 'ada', nbf: NOW, exp: NOW + 15 * 60 })
  t.match(jti, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.match(csrf, /^[0-9a-f-]{36}$/)
  t.not(jti, csrf)
})

t.test('a refresh token carries the default claims, too', async (t) => {
  stopClock(t, NOW)
  const app = await buildApp(t)
  const { jti, csrf, ...rest } = read(await app.createRefreshToken('ada')).payload
  t.strictSame(rest, { fresh: false, iat: NOW, type: 'refresh', sub: 'ada', nbf: NOW, exp: NOW + 30 * 24 * 60 * 60 })
  t.ok(jti)
  t.ok(csrf)
})

t.test('iat, nbf and exp agree also where the clock runs on while the loaders work', async (t) => {
  stopClock(t, NOW)
  const later = async (): Promise<Record<string, never>> => { moveClock(t, 7); return {} }
  const app = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: later, additionalHeadersLoader: later })
  const { payload } = read(await app.createAccessToken('ada', { expiresDelta: 60, fresh: 30 }))
  t.equal(payload['nbf'], payload['iat'])
  t.equal(payload['exp'], Number(payload['iat']) + 60)
  t.equal(payload['fresh'], Number(payload['iat']) + 30)
  t.equal(payload['iat'], NOW + 14, 'the reading comes after the loaders')
})

t.test('a clock between two seconds gives the one that has begun', async (t) => {
  stopClock(t, NOW + 0.999)
  const app = await buildApp(t)
  t.match(read(await app.createAccessToken('ada')).payload, { iat: NOW, nbf: NOW, exp: NOW + 900 })
})

t.test('no two tokens have the same id or the same CSRF value', async (t) => {
  const app = await buildApp(t)
  const payloads = await Promise.all(Array.from({ length: 200 }, async (_, i) => read(await app[KINDS[i % 2]!]('ada')).payload))
  t.equal(new Set(payloads.map((payload) => payload['jti'])).size, 200)
  t.equal(new Set(payloads.map((payload) => payload['csrf'])).size, 200)
})

t.test('the configuration decides on nbf, csrf, audience, issuer and the identity claim', async (t) => {
  const rows: [JwtExtendedOptions, (payload: Record<string, unknown>) => boolean][] = [
    [{ encodeNbf: false }, (payload) => !('nbf' in payload)],
    [{ cookieCsrfProtect: false }, (payload) => !('csrf' in payload)],
    [{ encodeAudience: 'api' }, (payload) => payload['aud'] === 'api'],
    [{ encodeAudience: ['api', 'web'] }, (payload) => JSON.stringify(payload['aud']) === '["api","web"]'],
    [{ encodeIssuer: 'us' }, (payload) => payload['iss'] === 'us'],
    [{ identityClaim: 'user' }, (payload) => payload['user'] === 'ada' && !('sub' in payload)],
    [{}, (payload) => !('aud' in payload) && !('iss' in payload)],
    [{ accessTokenExpires: false, refreshTokenExpires: false }, (payload) => !('exp' in payload)],
  ]
  for (const [options, holds] of rows) {
    const app = await buildApp(t, { secretKey: SECRET, ...options })
    for (const kind of KINDS) t.ok(holds(read(await app[kind]('ada')).payload), `${kind} ${JSON.stringify(options)}`)
  }
})

t.test('expiresDelta is a duration, false for never, and may be negative', async (t) => {
  stopClock(t, NOW)
  const app = await buildApp(t)
  for (const kind of KINDS) {
    for (const [expiresDelta, seconds] of [[60, 60], ['1h', 3600], ['30d', 2_592_000], [-5, -5], ['-15m', -900]] as const) {
      t.equal(read(await app[kind]('ada', { expiresDelta })).payload['exp'], NOW + seconds, `${kind} ${expiresDelta}`)
    }
    t.notOk('exp' in read(await app[kind]('ada', { expiresDelta: false })).payload)
    const fallback = kind === 'createAccessToken' ? 900 : 2_592_000
    t.equal(read(await app[kind]('ada', { expiresDelta: undefined })).payload['exp'], NOW + fallback)
    for (const expiresDelta of [0, -0, NaN, Infinity, 1.5, '', '0s', '15', 'soon', null, true, {}, []]) {
      await refuses(t, app[kind]('ada', { expiresDelta: expiresDelta as never }), 'expiresDelta must be false (never) or a duration other than 0', `${kind} ${String(expiresDelta)}`)
    }
  }
  await t.rejects(app.decodeToken(await app.createAccessToken('ada', { expiresDelta: -5 })), { code: 'FST_JWT_EXT_EXPIRED' })
})

t.test('fresh is a boolean or a duration for which it stays so, and may be negative', async (t) => {
  stopClock(t, NOW)
  const app = await buildApp(t)
  for (const [fresh, claim] of [[true, true], [false, false], [undefined, false], [60, NOW + 60], ['5m', NOW + 300], [-5, NOW - 5], ['-1h', NOW - 3600]] as const) {
    t.equal(read(await app.createAccessToken('ada', { fresh })).payload['fresh'], claim, String(fresh))
  }
  for (const fresh of [0, NaN, Infinity, 0.5, '', '15', 'yes', null, {}, []]) {
    await refuses(t, app.createAccessToken('ada', { fresh: fresh as never }), 'fresh must be true, false, or a duration other than 0', String(fresh))
  }
})

t.test('per-call claims win over the loader\'s, and those over the defaults', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, encodeIssuer: 'us', additionalClaimsLoader: () => ({ a: 'loader', b: 'loader', jti: 'loader', iss: 'loader' }) })
  for (const kind of KINDS) {
    const { payload } = read(await app[kind]('ada', { additionalClaims: { b: 'call', c: 'call', jti: 'call' } }))
    t.match(payload, { a: 'loader', b: 'call', c: 'call', jti: 'call', iss: 'loader' })
  }
})

t.test('per-call claims may override any default claim', async (t) => {
  stopClock(t, NOW)
  const app = await buildApp(t, { secretKey: SECRET, encodeAudience: 'api', encodeIssuer: 'us' })
  const claims = { iat: NOW - 5, nbf: NOW - 4, exp: NOW + 3, jti: 'mine', fresh: true, csrf: 'mine', aud: ['x'], iss: 'them', sub: 'bob' }
  for (const kind of KINDS) {
    const type = kind === 'createAccessToken' ? 'access' : 'refresh'
    t.strictSame(read(await app[kind]('ada', { additionalClaims: claims })).payload, { ...claims, type })
    t.equal(read(await app[kind]('ada', { additionalClaims: { type } })).payload['type'], type)
  }
})

t.test('no claim turns one kind of token into the other, whoever gives it', async (t) => {
  const plain = await buildApp(t)
  await refuses(t, plain.createAccessToken('ada', { additionalClaims: { type: 'refresh' } }), "additional claims must not turn this access token into one of the type 'refresh'")
  await refuses(t, plain.createRefreshToken('ada', { additionalClaims: { type: 'access' } }), "additional claims must not turn this refresh token into one of the type 'access'")
  const access = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: () => ({ type: 'access' }) })
  t.equal(read(await access.createAccessToken('ada')).payload['type'], 'access')
  await refuses(t, access.createRefreshToken('ada'), 'must not turn')
  const refresh = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: async () => ({ type: 'refresh' }) })
  await refuses(t, refresh.createAccessToken('ada'), 'must not turn')
})

t.test('no claim that leaves the type out or gives it an odd value makes a refresh token pass as an access token', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  for (const type of [undefined, null, '', 'Access', ['access'], 0, false, { toJSON: () => 'access' }, new String('access')]) { // eslint-disable-line no-new-wrappers
    const token = await app.createRefreshToken('ada', { additionalClaims: { type: type as never } }).catch(() => undefined)
    if (token === undefined) continue
    const response = await app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })
    t.equal(response.statusCode, 422, `${typeof type} ${JSON.stringify(type)} became ${JSON.stringify(read(token).payload['type'])}`)
  }
})

t.test('a claim of undefined is left out: it erases no default', async (t) => {
  stopClock(t, NOW)
  const app = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: () => ({ exp: undefined, a: undefined, b: 'loader' }) as never })
  const { payload } = read(await app.createAccessToken('ada', { additionalClaims: { exp: undefined, iat: undefined, type: undefined, sub: undefined, b: undefined } as never }))
  t.match(payload, { exp: NOW + 900, iat: NOW, type: 'access', sub: 'ada', b: 'loader' })
  t.notOk('a' in payload)
  t.strictSame(read(await app.createAccessToken('ada', { additionalHeaders: { kid: undefined, typ: undefined } as never })).header, { alg: 'HS256', typ: 'JWT' })
})

t.test('times in additional claims are whole seconds since 1970: no 0, no null, no fraction, no text', async (t) => {
  for (const name of ['exp', 'nbf', 'iat']) {
    for (const value of [0, -0, -1, null, 1.5, NaN, Infinity, 2 ** 53, NOW * 1000, '', String(NOW), true, false, [], {}, new Date()]) {
      const app = await buildApp(t)
      for (const kind of KINDS) {
        await t.rejects(app[kind]('ada', { additionalClaims: { [name]: value } as never }), { code: 'FST_JWT_EXT_USAGE' }, `${name}: ${String(value)}`)
      }
      const loader = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: () => ({ [name]: value }) as never })
      await t.rejects(loader.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE' })
    }
  }
  const app = await buildApp(t)
  await refuses(t, app.createAccessToken('ada', { additionalClaims: { exp: 0 } }), "The claim 'exp' must be a whole number of seconds (not milliseconds) since 1970; for a token without expiry use expiresDelta: false")
})

t.test('claims are what JSON makes of them before they are looked at', async (t) => {
  class Account {
    readonly hash = 'y'
    constructor (readonly role: string) {}
    toJSON (): object { return { role: this.role } }
  }
  const app = await buildApp(t)
  const refresh = { toJSON: () => ({ sub: 'admin', type: 'refresh' }) }
  await refuses(t, app.createAccessToken('ada', { additionalClaims: refresh }), "additional claims must not turn this access token into one of the type 'refresh'")
  const loader = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: () => refresh })
  await refuses(t, loader.createAccessToken('ada'), 'must not turn')
  for (const value of [undefined, 5, 'text', [1]]) {
    await refuses(t, app.createAccessToken('ada', { additionalClaims: { toJSON: () => value } }), 'additionalClaims must be an object')
  }
  const { payload } = read(await app.createAccessToken('ada', { additionalClaims: new Account('admin') as never }))
  t.match(payload, { role: 'admin', type: 'access' })
  t.notOk('hash' in payload)
  const audience = Object.assign(['api'], { toJSON: () => 5 })
  await refuses(t, app.createAccessToken('ada', { additionalClaims: { aud: audience } }), "The claim 'aud' must be a string")
  await refuses(t, app.createAccessToken('ada', { additionalClaims: { list: [undefined] } }), 'holds what JSON cannot')

  const lax = await buildApp(t, { secretKey: SECRET, verifySub: false })
  await refuses(t, lax.createAccessToken({ toJSON: () => undefined } as never), 'A token needs an identity')
  t.equal(read(await lax.createAccessToken({ toJSON: () => '507f' } as never)).payload['sub'], '507f')
})

t.test('claims whose kind our own guards would refuse make no token', async (t) => {
  const app = await buildApp(t)
  const bad = { iss: [5, null, ['us'], {}], jti: [5, true, {}], aud: [5, null, {}, ['api', 5], [[]]] }
  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      await t.rejects(app.createAccessToken('ada', { additionalClaims: { [name]: value } }), { code: 'FST_JWT_EXT_USAGE', message: new RegExp(`'${name}'`) }, `${name}: ${JSON.stringify(value)}`)
    }
  }
  for (const additionalClaims of [{ iss: 'us' }, { jti: 'one' }, { jti: null }, { aud: 'api' }, { aud: ['api', 'web'] }, { aud: [] }]) {
    t.match(await app.decodeToken(await app.createAccessToken('ada', { additionalClaims })), additionalClaims)
  }
})

t.test('the identity must make a string sub, unless verifySub is off', async (t) => {
  const app = await buildApp(t)
  const lax = await buildApp(t, { secretKey: SECRET, verifySub: false })
  for (const kind of KINDS) {
    for (const identity of [5, 0, true, false, {}, { id: 1 }, [], ['ada']]) {
      await refuses(t, app[kind](identity as never), "The claim 'sub' must be a string (RFC 7519 §4.1.2)", `${kind} ${JSON.stringify(identity)}`)
      t.strictSame(read(await lax[kind](identity as never)).payload['sub'], identity)
    }
    for (const identity of [undefined, null]) {
      await refuses(t, app[kind](identity as never), 'A token needs an identity')
      await refuses(t, lax[kind](identity as never), 'A token needs an identity')
    }
    for (const identity of [() => 'ada', Symbol('ada'), NaN, new Map(), 5n]) {
      await t.rejects(lax[kind](identity as never), { code: 'FST_JWT_EXT_USAGE' }, String(identity))
    }
    for (const sub of [5, null, {}]) await t.rejects(app[kind]('ada', { additionalClaims: { sub } as never }), { code: 'FST_JWT_EXT_USAGE' })
  }
  const named = await buildApp(t, { secretKey: SECRET, identityClaim: 'user' })
  t.strictSame(read(await named.createAccessToken({ id: 1 } as never)).payload['user'], { id: 1 })
  await refuses(t, named.createAccessToken('ada', { additionalClaims: { sub: 5 } as never }), "The claim 'sub' must be a string")
  t.equal(read(await named.createAccessToken(5 as never, { additionalClaims: { sub: 'five' } })).payload['sub'], 'five')
})

t.test('userIdentityLoader makes the identity claim, at once or later', async (t) => {
  for (const loader of [(user: unknown) => `user-${(user as { id: number }).id}`, async (user: unknown) => `user-${(user as { id: number }).id}`]) {
    const app = await buildApp(t, { secretKey: SECRET, userIdentityLoader: loader })
    for (const kind of KINDS) t.equal(read(await app[kind]({ id: 7 } as never)).payload['sub'], 'user-7')
  }
  for (const identity of [undefined, null]) {
    const app = await buildApp(t, { secretKey: SECRET, userIdentityLoader: () => identity })
    await refuses(t, app.createAccessToken('ada'), 'A token needs an identity: give createAccessToken one, and let userIdentityLoader return one')
  }
  const number = await buildApp(t, { secretKey: SECRET, userIdentityLoader: () => 7 })
  await refuses(t, number.createAccessToken('ada'), "The claim 'sub' must be a string")
})

t.test('each issuing loader gets the raw identity', async (t) => {
  const user = { id: 7 }
  const seen: unknown[] = []
  const see = <T>(answer: T) => (...given: unknown[]): T => { seen.push(...given); return answer }
  const app = await buildApp(t, {
    secretKey: SECRET, userIdentityLoader: see('seven'), additionalClaimsLoader: see({}), additionalHeadersLoader: see({}), encodeKeyLoader: see(SECRET),
  })
  for (const kind of KINDS) await app[kind](user as never)
  t.equal(seen.length, 8)
  t.ok(seen.every((given) => given === user))
})

t.test('the loaders of claims and headers may be asynchronous, and what they return is never changed', async (t) => {
  const claims = Object.freeze({ role: 'admin', nested: Object.freeze({ list: Object.freeze([1]) }) })
  const headers = Object.freeze({ kid: 'loader', x: 1 })
  for (const wrap of [<T>(value: T) => value, async <T>(value: T) => value]) {
    const app = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: () => wrap(claims as never), additionalHeadersLoader: () => wrap(headers) })
    for (const kind of KINDS) {
      const { header, payload } = read(await app[kind]('ada', { additionalClaims: { more: true }, additionalHeaders: { kid: 'call' } }))
      t.match(payload, { role: 'admin', nested: { list: [1] }, more: true })
      t.strictSame(header, { alg: 'HS256', typ: 'JWT', kid: 'call', x: 1 })
    }
  }
  t.strictSame(claims, { role: 'admin', nested: { list: [1] } })
  t.strictSame(headers, { kid: 'loader', x: 1 })
})

t.test("the caller's claims, headers and options are never changed, and may be frozen", async (t) => {
  const app = await buildApp(t)
  const options = Object.freeze({ fresh: true, expiresDelta: 60, additionalClaims: Object.freeze({ a: 1 }), additionalHeaders: Object.freeze({ kid: 'k' }) })
  const before = structuredClone(options)
  t.match(read(await app.createAccessToken('ada', options)), { header: { kid: 'k' }, payload: { a: 1, fresh: true } })
  t.strictSame(options, before)
  const claims = { a: 1 }
  await app.createAccessToken('ada', { additionalClaims: claims })
  t.strictSame(claims, { a: 1 })
})

t.test('what is no object is no claims and no headers, from the call and from a loader', async (t) => {
  for (const value of [null, 5, 'x', true, [], ['a'], () => {}]) {
    const app = await buildApp(t)
    for (const kind of KINDS) {
      await refuses(t, app[kind]('ada', { additionalClaims: value as never }), 'additionalClaims must be an object', String(value))
      await refuses(t, app[kind]('ada', { additionalHeaders: value as never }), 'additionalHeaders must be an object', String(value))
    }
  }
  for (const value of [undefined, null, 5, 'x', true, [], () => {}]) {
    for (const wrap of [(one: unknown) => one, async (one: unknown) => one]) {
      const claims = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: () => wrap(value) as never })
      await refuses(t, claims.createAccessToken('ada'), 'additionalClaimsLoader must return an object', String(value))
      const headers = await buildApp(t, { secretKey: SECRET, additionalHeadersLoader: () => wrap(value) as never })
      await refuses(t, headers.createAccessToken('ada'), 'additionalHeadersLoader must return an object', String(value))
    }
  }
})

t.test('claims and headers that are no JSON make no token', async (t) => {
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const throwing = { get boom () { throw new Error('boom') } }
  const values: Record<string, unknown> = {
    function: () => {}, symbol: Symbol('x'), bigint: 5n, NaN, Infinity, map: new Map(), set: new Set(), promise: Promise.resolve(), circular, throwing,
  }
  const app = await buildApp(t)
  for (const [name, value] of Object.entries(values)) {
    for (const claims of [{ claim: value }, { deep: { list: [value] } }]) {
      await refuses(t, app.createAccessToken('ada', { additionalClaims: claims }), 'additionalClaims cannot be written as JSON', name)
      await refuses(t, app.createRefreshToken('ada', { additionalHeaders: claims }), 'additionalHeaders cannot be written as JSON', name)
      const loader = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: () => claims as never })
      await refuses(t, loader.createAccessToken('ada'), 'additionalClaimsLoader cannot be written as JSON', name)
    }
  }
})

t.test('what is JSON goes into the token as it is', async (t) => {
  const app = await buildApp(t)
  const claims = { text: 'ünï "q" \\ \u2028 </script> \u{1f600}', number: -1.5e-7, zero: 0, yes: true, no: false, nothing: null, list: [1, [2, { three: 3 }]], empty: {}, 'odd name.': 1, date: '2025-01-01' }
  t.match(read(await app.createAccessToken('ada', { additionalClaims: claims })).payload, claims)
  const payload = await app.decodeToken(await app.createAccessToken('ada', { additionalClaims: claims }))
  for (const [name, value] of Object.entries(claims)) t.strictSame(payload[name], value, name)
  const dated = read(await app.createAccessToken('ada', { additionalClaims: { at: new Date(0) } as never })).payload
  t.equal(dated['at'], '1970-01-01T00:00:00.000Z')
})

t.test('a claim with a name that objects inherit is a claim like any other', async (t) => {
  const app = await buildApp(t)
  const claims = JSON.parse('{"__proto__": {"type": "refresh"}, "constructor": 1, "toString": "x"}') as Record<string, unknown>
  const payload = await app.decodeToken(await app.createAccessToken('ada', { additionalClaims: claims }))
  t.equal(Object.getOwnPropertyDescriptor(payload, '__proto__')?.value.type, 'refresh')
  t.equal(payload['constructor'], 1)
  t.equal(payload.type, 'access')
})

t.test('headers: alg and crit are not the caller\'s, and kid is a string', async (t) => {
  const app = await buildApp(t)
  for (const kind of KINDS) {
    for (const alg of ['none', 'HS256', 'RS256', null]) {
      await refuses(t, app[kind]('ada', { additionalHeaders: { alg: alg as string } }), "additional headers must not contain 'alg'", String(alg))
    }
    await refuses(t, app[kind]('ada', { additionalHeaders: { crit: ['x'] } }), "additional headers must not contain 'crit'")
    for (const kid of [5, null, {}, ['k']]) {
      await refuses(t, app[kind]('ada', { additionalHeaders: { kid: kid as never } }), "The header 'kid' must be a string", String(kid))
    }
    t.equal(read(await app[kind]('ada', { additionalHeaders: { alg: undefined } as never })).header['alg'], 'HS256')
  }
  const loader = await buildApp(t, { secretKey: SECRET, additionalHeadersLoader: () => ({ alg: 'none' }) })
  await refuses(t, loader.createAccessToken('ada'), "additional headers must not contain 'alg'")
})

t.test('an unknown option of a call makes no token', async (t) => {
  const app = await buildApp(t)
  await refuses(t, app.createAccessToken('ada', { expiresIn: 60 } as never), "Unknown option 'expiresIn' of createAccessToken")
  await refuses(t, app.createAccessToken('ada', { aditionalClaims: {} } as never), "did you mean 'additionalClaims'?")
  await refuses(t, app.createRefreshToken('ada', { fresh: true } as never), "Unknown option 'fresh' of createRefreshToken")
})

t.test('a loader that throws or rejects makes no token, and its error comes through', async (t) => {
  const thrown = Object.assign(new Error('the database is down'), { statusCode: 503 })
  for (const name of ['userIdentityLoader', 'additionalClaimsLoader', 'additionalHeadersLoader', 'encodeKeyLoader'] as const) {
    for (const fail of [() => { throw thrown }, async () => { throw thrown }]) {
      const app = await buildApp(t, { secretKey: SECRET, [name]: fail })
      app.post('/login', async () => ({ token: await app.createAccessToken('ada') }))
      await t.rejects(app.createAccessToken('ada'), thrown)
      const response = await app.inject({ method: 'POST', url: '/login' })
      t.equal(response.statusCode, 503, name)
      t.equal(response.json().message, 'the database is down')
    }
  }
})

t.test('every token that is issued is one that is accepted', async (t) => {
  const rows: [JwtExtendedOptions, CreateAccessTokenOptions][] = [
    [{}, {}],
    [{ algorithm: 'HS512' }, {}],
    [{ encodeAudience: 'api', decodeAudience: 'api', encodeIssuer: 'us', decodeIssuer: ['us'] }, {}],
    [{ identityClaim: 'user', encodeNbf: false, cookieCsrfProtect: false }, { fresh: true }],
    [{ verifyCache: false }, { additionalClaims: { jti: null }, additionalHeaders: { kid: 'k', typ: 'at+jwt' } }],
    [{}, { additionalClaims: { deep: { list: [1, null] } } }],
  ]
  for (const [options, call] of rows) {
    const app: FastifyInstance = await buildApp(t, { secretKey: SECRET, ...options })
    app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
    const token = await app.createAccessToken('ada', call)
    t.equal((await app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })).body, 'ada', JSON.stringify(options))
  }
})
