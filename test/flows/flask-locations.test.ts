import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions, JwtRule, TokenLocation } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'

interface Answer { status: number, body: unknown }

const ALL: TokenLocation[] = ['headers', 'cookies', 'query_string', 'json']

async function buildGuarded (t: Test, tokenLocation: JwtExtendedOptions['tokenLocation'], rule?: JwtRule): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation })
  app.route({
    method: ['GET', 'POST'],
    url: '/',
    preValidation: app.jwtRequired(rule),
    handler: async (request) => ({ who: request.jwtIdentity, location: request.jwtLocation }),
  })
  return app
}

// The locations may be the configuration's or the guard's own.
async function buildBoth (t: Test): Promise<FastifyInstance[]> {
  return [await buildGuarded(t, ALL), await buildGuarded(t, ['headers'], { locations: ALL })]
}

async function send (app: FastifyInstance, request: InjectOptions = {}): Promise<Answer> {
  const response = await app.inject({ url: '/', ...request })
  return { status: response.statusCode, body: response.json() }
}

function reachedBy (location: TokenLocation): Answer {
  return { status: 200, body: { who: 'ada', location } }
}

t.test('finds a token in the header, where all locations are looked at', async (t) => {
  for (const app of await buildBoth(t)) {
    t.strictSame(await send(app, { headers: bearer(await app.createAccessToken('ada')) }), reachedBy('headers'))
  }
})

t.test('finds a token in a cookie, where all locations are looked at', async (t) => {
  for (const app of await buildBoth(t)) {
    const cookie = `theme=dark; access_token_cookie=${await app.createAccessToken('ada')}`
    t.strictSame(await send(app, { headers: { cookie } }), reachedBy('cookies'))
  }
})

t.test('finds a token in the query, where all locations are looked at', async (t) => {
  for (const app of await buildBoth(t)) {
    t.strictSame(await send(app, { query: { jwt: await app.createAccessToken('ada') } }), reachedBy('query_string'))
  }
})

t.test('finds a token in a JSON body, where all locations are looked at', async (t) => {
  for (const app of await buildBoth(t)) {
    t.strictSame(await send(app, { method: 'POST', payload: { access_token: await app.createAccessToken('ada') } }), reachedBy('json'))
  }
})

t.test('says of each location why it holds no token', async (t) => {
  const cases: [locations: TokenLocation[], msg: string][] = [
    [['cookies', 'headers'], 'Missing JWT in cookies or headers (Missing cookie "access_token_cookie"; Missing Authorization Header)'],
    [
      ['json', 'query_string'],
      "Missing JWT in json or query_string (Invalid content-type. Must be application/json.; Missing 'jwt' query parameter)",
    ],
    [
      ['cookies', 'json', 'headers'],
      'Missing JWT in cookies, json or headers ' +
      '(Missing cookie "access_token_cookie"; Invalid content-type. Must be application/json.; Missing Authorization Header)',
    ],
  ]
  for (const [locations, msg] of cases) {
    t.strictSame(await send(await buildGuarded(t, locations)), { status: 401, body: { msg } })
    t.strictSame(await send(await buildGuarded(t, 'headers', { locations })), { status: 401, body: { msg } }, "the guard's own")
  }
})

t.test('passes over a location without a token, whatever the order', async (t) => {
  for (const locations of [['cookies', 'headers'], ['headers', 'cookies']] as TokenLocation[][]) {
    const app = await buildGuarded(t, locations)
    const cookie = `access_token_cookie=${await app.createAccessToken('ada')}`
    t.strictSame(await send(app, { headers: { cookie } }), reachedBy('cookies'), locations.join())
  }
})

t.test('the first location with a token decides, also when it is bad', async (t) => {
  const order = await buildGuarded(t, ['cookies', 'headers'])
  const token = await order.createAccessToken('ada')
  const headers = { cookie: `access_token_cookie=${token}`, ...bearer(`000000${token.slice(5)}`) }
  t.strictSame(await send(order, { headers }), reachedBy('cookies'), 'the good cookie comes first')

  const reverse = await buildGuarded(t, ['headers', 'cookies'])
  t.strictSame(await send(reverse, { headers }), { status: 422, body: { msg: 'Malformed token' } }, 'the bad header comes first')
})

t.test('an expired cookie is not made good by a header behind it', async (t) => {
  const app = await buildGuarded(t, ['cookies', 'headers'])
  const expired = await app.createAccessToken('ada', { expiresDelta: -60 })
  const headers = { cookie: `access_token_cookie=${expired}`, ...bearer(await app.createAccessToken('ada')) }
  t.strictSame(await send(app, { headers }), { status: 401, body: { msg: 'Token has expired' } })
})

t.test('finds tokens in all locations of a request over a socket', async (t) => {
  const app = await buildGuarded(t, ALL)
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const token = await app.createAccessToken('ada')
  const requests: [TokenLocation, string, RequestInit][] = [
    ['headers', origin, { headers: bearer(token) }],
    ['cookies', origin, { headers: { cookie: `access_token_cookie=${token}` } }],
    ['query_string', `${origin}/?jwt=${token}`, {}],
    ['json', origin, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ access_token: token }) }],
  ]
  for (const [location, url, init] of requests) {
    t.strictSame(await (await fetch(url, init)).json(), { who: 'ada', location })
  }
})
