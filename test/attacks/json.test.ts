// What JSON allows and people do not expect: members twice, any depth, names of prototypes, odd numbers.
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { JwtDecodeError } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { stopClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { claimsOf } from '../support/sign.js'
import { buildTarget } from '../support/target.js'

const PROTOTYPE_NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty', '__defineGetter__', '__lookupSetter__', 'toJSON']

/** What every object would have if a prototype had been changed. */
function pollution (): string[] {
  return Object.keys({}).concat(...['type', 'fresh', 'sub', 'admin', 'access_token', 'jwt', 'csrf'].filter((name) => name in {}))
}

t.test('of members named twice, what the verdict sees is what the loader and the request see', async (t) => {
  const seen: unknown[] = []
  const target = await buildTarget(t, {
    secretKey: SECRET,
    decodeKeyLoader (header, payload) {
      seen.push([header.kid, payload.sub])
      return SECRET
    },
  })
  const claims = await target.passes(t, forge('{"sub":"eve","sub":"ada","x":1,"x":2}', '{"alg":"HS256","kid":"a","kid":"b"}'), 'twice')
  t.match(claims, { sub: 'ada', x: 2 })
  t.strictSame(seen.at(-1), ['b', 'ada'])
  await target.refuses(t, forge('{"sub":"ada","exp":9999999999,"exp":1}'), 'the later exp has passed')
  await target.refuses(t, forge('{"sub":"ada","type":"access","type":"refresh"}'), 'the later type is another')
  await target.refuses(t, forge('{"sub":"ada","t\\u0079pe":"refresh"}'), 'an escaped name is the same name')
  await target.refuses(t, forge('{"sub":"ada"}', '{"alg":"HS256","alg":"none"}'), 'the later alg')
  await target.refuses(t, forge('{"sub":"ada"}', '{"alg":"HS256","\\u0061lg":"none"}'), 'the later alg, escaped')
  await target.refuses(t, forge('{"sub":"ada"}', '{"alg":"none","alg":"HS512"}'), 'neither alg')
  await target.refuses(t, forge('{"sub":"ada"}', '{"alg":"HS256","crit":["x"],"crit":[]}'), 'a crit in either place')
})

t.test('of tokens sent twice, the first cookie, the last member and the one header count, and two query parameters are refused', async (t) => {
  const { app, token } = await buildTarget(t)
  const eve = await app.createAccessToken('eve')
  const who = async (response: { statusCode: number, body: string }): Promise<string> => response.statusCode === 200 ? String(JSON.parse(response.body).who) : String(response.statusCode)
  t.equal(await who(await app.inject({ url: '/', headers: { cookie: `access_token_cookie=${token}; access_token_cookie=${eve}` } })), 'ada')
  t.equal(await who(await app.inject({ url: `/?jwt=${token}&jwt=${eve}` })), '422')
  t.equal(await who(await app.inject({ url: `/?jwt=&jwt=${eve}` })), '422')
  t.equal(await who(await app.inject({ url: '/', headers: { authorization: `Bearer ${token}, Bearer ${eve}` } })), '401')
  t.equal(await who(await app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload: `{"access_token":"${token}","access_token":"${eve}"}` })), 'eve')
})

t.test('nesting of any depth is no crash, signed or not', async (t) => {
  const target = await buildTarget(t)
  for (const depth of [100, 10_000, 200_000]) {
    const [open, close] = ['['.repeat(depth), ']'.repeat(depth)]
    const deep = depth > 1000 ? 'headers' : 'any'
    const objects = `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
    for (const value of [`${open}${close}`, objects]) {
      const inHeader = (token: string) => target.app.inject({ url: '/', headers: bearer(token) })
      t.equal((await inHeader(forge(`{"sub":"ada","x":${value}}`))).statusCode, 200, `signed, ${depth}`)
      t.equal((await inHeader(forge(`{"sub":${value}}`))).statusCode, 422, `as the subject, ${depth}`)
      t.equal((await inHeader(forge({ sub: 'ada' }, `{"alg":"HS256","x":${value}}`))).statusCode, 200, `in the header, ${depth}`)
      t.equal((await inHeader(forge({ sub: 'ada' }, `{"alg":${value}}`))).statusCode, 422, `as the alg, ${depth}`)
      t.equal((await inHeader(forge(`{"sub":"eve","x":${value}}`, undefined, 'k'.repeat(64)))).statusCode, 422, `forged, ${depth}`)
      t.equal((await inHeader(forge(value))).statusCode, 422, `as the payload, ${depth}`)
      if (deep === 'any') {
        for (const payload of [`{"access_token":${value}}`, `{"a":${value}}`, value]) {
          const response = await target.app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload })
          t.ok([400, 401, 422].includes(response.statusCode), `in a body, ${depth}: ${response.statusCode}`)
        }
      }
    }
  }
  await target.passes(t, target.token, 'a good token afterwards')
})

t.test('a deep body is refused or passed over, with a token beside it or without', async (t) => {
  const { app, token } = await buildTarget(t)
  const post = async (payload: string): Promise<number> => (await app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload })).statusCode
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
  t.equal(await post(`{"a":${deep}}`), 401)
  t.equal(await post(`{"access_token":${deep}}`), 422)
  t.equal(await post(`{"a":${deep},"access_token":"${token}"}`), 200)
  t.equal(await post(deep), 401)
})

t.test('names of prototypes as claims are claims, and give nobody anything', async (t) => {
  const target = await buildTarget(t)
  target.app.get('/fresh', { preHandler: target.app.jwtRequired({ fresh: true }) }, async () => 'in')
  target.app.get('/refresh', { preHandler: target.app.jwtRequired({ refresh: true }) }, async () => 'in')
  for (const name of PROTOTYPE_NAMES) {
    const hostile = '{"sub":"root","type":"refresh","fresh":true,"admin":true,"exp":9999999999}'
    const token = forge(`{"sub":"ada","${name}":${hostile}}`)
    const claims = await target.passes(t, token, name)
    t.equal(claims['sub'], 'ada')
    t.equal(claims['type'], 'access')
    t.equal(claims['fresh'], false)
    t.strictSame(JSON.parse(JSON.stringify(Object.getOwnPropertyDescriptor(claims, name)!.value)), JSON.parse(hostile))
    for (const url of ['/fresh', '/refresh']) t.not((await target.app.inject({ url, headers: bearer(token) })).statusCode, 200, `${name} ${url}`)
    await target.refuses(t, forge(`{"${name}":${hostile}}`), `${name} with a sub of its own`)
    await target.refuses(t, forge(`{"sub":"ada","exp":1,"${name}":${hostile}}`), `${name} with an exp of its own`)
    await target.refuses(t, forge({ sub: 'ada' }, `{"${name}":{"alg":"HS256"}}`), `${name} with an alg of its own`)
    await target.passes(t, forge({ sub: 'ada' }, `{"alg":"HS256","${name}":{"crit":["x"],"kid":5}}`), `${name} in the header`)
  }
  t.strictSame(pollution(), [])
})

t.test('names of prototypes as new claims and headers stand in the token as they are', async (t) => {
  const app = await buildApp(t)
  for (const name of PROTOTYPE_NAMES.filter((name) => name !== 'toJSON')) {
    const more = JSON.parse(`{"${name}":{"admin":true}}`) as Record<string, unknown>
    const token = await app.createAccessToken('ada', { additionalClaims: more, additionalHeaders: more })
    t.match(Buffer.from(token.split('.')[1]!, 'base64url').toString(), `"${name}":{"admin":true}`)
    t.equal((await app.decodeToken(token)).sub, 'ada')
  }
  t.strictSame(pollution(), [])
})

t.test('an identity claim with the name of a prototype is read from the token only', async (t) => {
  for (const identityClaim of PROTOTYPE_NAMES) {
    const app = await buildApp(t, { secretKey: SECRET, identityClaim, verifySub: false })
    app.get('/', { preHandler: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity }))
    t.equal((await app.inject({ url: '/', headers: bearer(forge({ x: 1 })) })).statusCode, 422, identityClaim)
    t.strictSame((await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })).json(), { who: 'ada' }, identityClaim)
  }
})

t.test('names of prototypes as a kid reach a loader as they are', async (t) => {
  const keys = new Map([['k1', SECRET]])
  const target = await buildTarget(t, {
    secretKey: SECRET,
    additionalHeadersLoader: () => ({ kid: 'k1' }),
    decodeKeyLoader ({ kid }) {
      const key = keys.get(String(kid))
      if (key === undefined) throw new JwtDecodeError('Unknown key')
      return key
    },
  })
  for (const kid of PROTOTYPE_NAMES) await target.refuses(t, forge({ sub: 'eve' }, { alg: 'HS256', kid }), kid)
})

t.test('names of prototypes as cookies, parameters, fields and members hold no token', async (t) => {
  async function ask (app: FastifyInstance, url: string, payload?: string, headers: Record<string, string> = {}): Promise<number> {
    return (await app.inject(payload === undefined ? { url, headers } : { method: 'POST', url, payload, headers: { 'content-type': 'application/json', ...headers } })).statusCode
  }
  const poisoned = { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'ignore' } as const
  for (const server of [{}, poisoned]) {
    const { app, token, reached } = await buildTarget(t, undefined, server)
    for (const name of PROTOTYPE_NAMES) {
      t.equal(await ask(app, '/', undefined, { cookie: `${name}=${token}` }), 401, `the cookie ${name}`)
      t.equal(await ask(app, '/', undefined, { cookie: `${name}=x; access_token_cookie=${token}` }), 200, `the cookie ${name} beside a good one`)
      for (const query of [`${name}=${token}`, `${name}[jwt]=${token}`, `jwt[${name}]=${token}`, `${name}.jwt=${token}`, `${name}=x&${name}=y`]) {
        t.equal(await ask(app, `/?${query}`), 401, query.slice(0, 20))
        t.equal(await ask(app, `/?${query}&jwt=${token}`), 200, `${query.slice(0, 20)} beside a good one`)
      }
      for (const body of [`{"${name}":{"access_token":"${token}"}}`, `{"${name}":"${token}"}`, `{"access_token":{"${name}":"${token}"}}`, `[{"${name}":{"access_token":"${token}"}}]`]) {
        t.ok([400, 401, 422].includes(await ask(app, '/', body)), body.slice(0, 40))
      }
      t.equal(await ask(app, '/', undefined, { [name]: `Bearer ${token}` }), 401, `the header ${name}`)
    }
    t.ok(reached.every((claims) => claims['sub'] === 'ada'))
  }
  t.strictSame(pollution(), [])
})

t.test('a location that the application gives the name of a prototype works, and is absent where it is', async (t) => {
  for (const name of PROTOTYPE_NAMES) {
    const app = await buildApp(t, {
      secretKey: SECRET, tokenLocation: ['cookies', 'query_string', 'json', 'headers'], accessCookieName: name, queryStringName: name, jsonKey: name, headerName: name,
    }, { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'ignore' })
    app.route({ method: ['GET', 'POST'], url: '/', preHandler: app.jwtRequired(), handler: async (request) => request.jwtLocation })
    const token = await app.createAccessToken('ada')
    t.equal((await app.inject('/')).statusCode, 401, `${name}: nothing`)
    t.equal((await app.inject({ method: 'POST', url: '/', payload: {} })).statusCode, 401, `${name}: nothing in a body`)
    t.equal((await app.inject({ url: '/', headers: { cookie: `${name}=${token}` } })).body, 'cookies', name)
    t.equal((await app.inject(`/?${name}=${token}`)).body, 'query_string', name)
    t.equal((await app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload: `{"${name}":"${token}"}` })).body, 'json', name)
  }
})

t.test('a query parser of the application that makes plain objects shows no inherited member as a token', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'query_string', queryStringName: 'constructor' }, {
    routerOptions: { querystringParser: (text: string) => Object.fromEntries(new URLSearchParams(text)) },
  })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  t.equal((await app.inject('/')).statusCode, 401)
  t.equal((await app.inject(`/?constructor=${await app.createAccessToken('ada')}`)).statusCode, 200)
})

const NOW = 1_700_000_000

t.test('numbers at the edges in exp, nbf and iat are times or refused, and no token lives by them', async (t) => {
  const target = await buildTarget(t)
  stopClock(t, NOW)
  const good = await target.app.createAccessToken('ada')
  t.equal(claimsOf(good)['iat'], NOW)
  const never = ['1e999', '-1e999', '"1700000001"', '"NaN"', '""', 'null', 'true', 'false', '[1700000001]', '{}', '{"valueOf":1}', '"Infinity"', '"1e999"', '"2099-01-01"']
  for (const claim of ['exp', 'nbf', 'iat']) {
    for (const value of never) await targetRefuses(`{"sub":"ada","${claim}":${value}}`, `${claim} ${value}`)
  }
  for (const value of ['0', '-0', '-1', '-1.5', '0.1', '1e-323', '1699999999.999999', '1.7e9', '1700000000', '-1e308', '-9007199254740993', '1.7000000000000000000000001e9']) await targetRefuses(`{"sub":"ada","exp":${value}}`, `exp ${value}`)
  for (const value of ['1700000000.5', '1700000001', '1e308', '9007199254740993', '179769313486231570000', '1.7e10']) {
    await target.passes(t, forge(`{"sub":"ada","exp":${value}}`), `exp ${value}`)
    for (const claim of ['nbf', 'iat']) await targetRefuses(`{"sub":"ada","${claim}":${value}}`, `${claim} ${value}`)
  }
  for (const value of ['0', '-0', '-1', '-1e308', '1700000000', '1699999999.5', '1e-323']) {
    for (const claim of ['nbf', 'iat']) await target.passes(t, forge(`{"sub":"ada","${claim}":${value}}`), `${claim} ${value}`)
  }

  async function targetRefuses (claims: string, name: string): Promise<void> {
    const token = forge(claims)
    for (const url of ['/', '/optional']) {
      const { statusCode } = await target.app.inject({ url, headers: bearer(token) })
      t.ok(statusCode === 422 || statusCode === 401, `${name} ${url}: ${statusCode}`)
    }
  }
})

t.test('what is not true and no time in the future is not fresh', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired({ fresh: true }) }, async () => 'in')
  stopClock(t, NOW)
  const ask = async (fresh: string): Promise<number> => (await app.inject({ url: '/', headers: bearer(forge(`{"sub":"ada","fresh":${fresh}}`)) })).statusCode
  for (const fresh of ['false', 'null', '"true"', '1', '0', '-1', '-0', '"1800000000"', '[true]', '{}', '[]', '1700000000', '-1e999']) t.equal(await ask(fresh), 401, fresh)
  for (const fresh of ['true', '1700000001', '1700000000.5']) t.equal(await ask(fresh), 200, fresh)
})
