import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ExpiredTokenError, type JwtExtendedOptions, type JwtRule, type TokenLocation } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { moveClock } from '../support/clock.js'
import { forge } from '../support/forge.js'

interface Answer { status: number, body: unknown }

const REACHED: Answer = { status: 200, body: { who: 'ada' } }
const ANONYMOUS: Answer = { status: 200, body: { who: null } }
const NO_HEADER: Answer = { status: 401, body: { msg: 'Missing Authorization Header' } }
const BAD_HEADER: Answer = { status: 422, body: { msg: "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'" } }
const EXPIRED: Answer = { status: 401, body: { msg: 'Token has expired' } }
const STALE: Answer = { status: 401, body: { msg: 'Fresh token required' } }
const NOT_FOR_REFRESH: Answer = { status: 422, body: { msg: 'Only non-refresh tokens are allowed' } }
const ONLY_FOR_REFRESH: Answer = { status: 422, body: { msg: 'Only refresh tokens are allowed' } }

async function buildGuarded (t: Test, rule?: JwtRule, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  app.get('/', { onRequest: app.jwtRequired(rule) }, async (request) => ({ who: request.jwtIdentity }))
  return app
}

async function get (app: FastifyInstance, token?: string, url = '/'): Promise<Answer> {
  const response = await app.inject({ url, headers: token === undefined ? {} : bearer(token) })
  return { status: response.statusCode, body: response.json() }
}

t.test('lets access tokens into a guarded route, fresh or not, and no refresh token', async (t) => {
  const app = await buildGuarded(t)
  t.strictSame(await get(app, await app.createAccessToken('ada')), REACHED, 'access')
  t.strictSame(await get(app, await app.createAccessToken('ada', { fresh: true })), REACHED, 'fresh access')
  t.strictSame(await get(app), NO_HEADER, 'none')
  t.strictSame(await get(app, await app.createRefreshToken('ada')), NOT_FOR_REFRESH, 'refresh')
})

t.test('refuses a token of an unknown type on a guarded route', async (t) => {
  const token = forge({ sub: 'ada', type: 'app' })
  t.strictSame(await get(await buildGuarded(t), token), { status: 422, body: { msg: 'Only access tokens are allowed' } })
  t.strictSame(await get(await buildGuarded(t, { verifyType: false }), token), REACHED, 'unless the rule asks for no type')
})

t.test('lets only fresh tokens into a route that asks for one', async (t) => {
  const app = await buildGuarded(t, { fresh: true })
  t.strictSame(await get(app, await app.createAccessToken('ada', { fresh: true })), REACHED, 'fresh')
  t.strictSame(await get(app, await app.createAccessToken('ada')), STALE, 'not fresh')
  t.strictSame(await get(app, await app.createAccessToken('ada', { fresh: '5m' })), REACHED, 'fresh for five minutes')
  t.strictSame(await get(app, await app.createAccessToken('ada', { fresh: -60 })), STALE, 'stale for a minute')
  t.strictSame(await get(app), NO_HEADER, 'none')
  t.strictSame(await get(app, await app.createRefreshToken('ada')), NOT_FOR_REFRESH, 'refresh')
})

t.test('lets a token that is fresh for a while in until that while is over', async (t) => {
  const app = await buildGuarded(t, { fresh: true })
  const token = await app.createAccessToken('ada', { fresh: 300 })
  moveClock(t, 290)
  t.strictSame(await get(app, token), REACHED)
  moveClock(t, 20)
  t.strictSame(await get(app, token), STALE)
})

t.test('answers a stale token in the words of needsFreshTokenLoader', async (t) => {
  const app = await buildGuarded(t, { fresh: true }, {
    needsFreshTokenLoader: async (error, request, reply) => {
      reply.code(201)
      return { alg: error.jwtHeader?.alg, sub: error.jwtPayload?.['sub'], url: request.url }
    },
  })
  t.strictSame(await get(app, await app.createAccessToken('ada')), { status: 201, body: { alg: 'HS256', sub: 'ada', url: '/' } })
})

t.test('lets only refresh tokens into a refresh route', async (t) => {
  const app = await buildGuarded(t, { refresh: true })
  t.strictSame(await get(app, await app.createAccessToken('ada', { fresh: true })), ONLY_FOR_REFRESH, 'fresh access')
  t.strictSame(await get(app, await app.createAccessToken('ada')), ONLY_FOR_REFRESH, 'access')
  t.strictSame(await get(app), NO_HEADER, 'none')
  t.strictSame(await get(app, await app.createRefreshToken('ada')), REACHED, 'refresh')
})

t.test('lets tokens of any type in where the rule asks for none', async (t) => {
  const app = await buildGuarded(t, { verifyType: false })
  t.strictSame(await get(app, await app.createAccessToken('ada')), REACHED, 'access')
  t.strictSame(await get(app, await app.createAccessToken('ada', { fresh: true })), REACHED, 'fresh access')
  t.strictSame(await get(app, await app.createRefreshToken('ada')), REACHED, 'refresh')
  t.strictSame(await get(app), NO_HEADER, 'none')
})

t.test('judges a token that comes to an optional route as on any other route', async (t) => {
  for (const ago of [-60, '-1m'] as const) {
    const app = await buildGuarded(t, { optional: true })
    t.strictSame(await get(app, await app.createAccessToken('ada', { fresh: true })), REACHED, 'fresh access')
    t.strictSame(await get(app, await app.createAccessToken('ada')), REACHED, 'access')
    t.strictSame(await get(app, await app.createRefreshToken('ada')), NOT_FOR_REFRESH, 'refresh')
    t.strictSame(await get(app, await app.createAccessToken('ada', { expiresDelta: ago })), EXPIRED, `expired since ${ago}`)
  }
})

t.test('lets a request without a token into an optional route, but not one with a bad header', async (t) => {
  const app = await buildGuarded(t, { optional: true })
  const cases: [header: string | undefined, answer: Answer][] = [
    [undefined, ANONYMOUS],
    ['basic creds', ANONYMOUS],
    ['Bearer ', BAD_HEADER],
    ['Bearer xxx', { status: 422, body: { msg: 'Not enough segments' } }],
    ['Foo 1, Bar 2, Baz, 3', ANONYMOUS],
    ['Foo 1, Bearer, Baz, 3', BAD_HEADER],
    ['Foo 1, Bearer 2, Baz, 3', { status: 422, body: { msg: 'Not enough segments' } }],
    ['Bearer ,,0', BAD_HEADER],
  ]
  for (const [authorization, answer] of cases) {
    const response = await app.inject({ url: '/', headers: authorization === undefined ? {} : { authorization } })
    t.strictSame({ status: response.statusCode, body: response.json() }, answer, String(authorization))
  }
})

t.test("looks for the token where the guard's own locations say, instead of the configured ones", async (t) => {
  const app = await buildGuarded(t, undefined, { tokenLocation: ['cookies'] })
  app.get('/by-header', { onRequest: app.jwtRequired({ locations: 'headers' }) }, async (request) => ({ who: request.jwtIdentity }))
  const token = await app.createAccessToken('ada')
  t.strictSame(await get(app, token, '/by-header'), REACHED)
  t.strictSame(await get(app, token), { status: 401, body: { msg: 'Missing cookie "access_token_cookie"' } })
})

t.test('refuses to make a guard with a location that does not exist', async (t) => {
  const app = await buildApp(t)
  for (const locations of ['INVALID_LOCATION', ['headers', 'INVALID_LOCATION'], []]) {
    t.throws(() => app.jwtRequired({ locations: locations as TokenLocation[] }), { code: 'FST_JWT_EXT_USAGE', message: /locations/ })
  }
})

t.test('refuses three words that are no token, in the words of invalidTokenLoader where there is one', async (t) => {
  const junk = 'aaaaa.bbbbb.ccccc'
  t.strictSame(await get(await buildGuarded(t), junk), { status: 422, body: { msg: 'Malformed token' } })

  const worded = await buildGuarded(t, undefined, {
    invalidTokenLoader: (error, _request, reply) => {
      reply.code(201)
      return { refused: error.code }
    },
  })
  t.strictSame(await get(worded, junk), { status: 201, body: { refused: 'FST_JWT_EXT_INVALID_TOKEN' } })
})

t.test('refuses a token without the identity claim', async (t) => {
  t.strictSame(await get(await buildGuarded(t), forge({ role: 'admin' })), { status: 422, body: { msg: 'Missing claim: sub' } })
})

t.test('asks for an audience only where decodeAudience is set', async (t) => {
  t.strictSame(await get(await buildGuarded(t), forge({ sub: 'ada' })), REACHED, 'none asked, none there')

  const app = await buildGuarded(t, undefined, { decodeAudience: 'our-api' })
  t.strictSame(await get(app, forge({ sub: 'ada' })), { status: 422, body: { msg: 'Token is missing the "aud" claim' } }, 'missing')
  t.strictSame(await get(app, forge({ sub: 'ada', aud: 'their-api' })), { status: 422, body: { msg: "Audience doesn't match" } }, 'another')
  t.strictSame(await get(app, forge({ sub: 'ada', aud: 'our-api' })), REACHED, 'the right one')
})

t.test('asks for an issuer only where decodeIssuer is set', async (t) => {
  t.strictSame(await get(await buildGuarded(t), forge({ sub: 'ada' })), REACHED, 'none asked, none there')

  const app = await buildGuarded(t, undefined, { decodeIssuer: 'us' })
  t.strictSame(await get(app, forge({ sub: 'ada' })), { status: 422, body: { msg: 'Token is missing the "iss" claim' } }, 'missing')
  t.strictSame(await get(app, forge({ sub: 'ada', iss: 'them' })), { status: 422, body: { msg: 'Invalid issuer' } }, 'another')
  t.strictSame(await get(app, forge({ sub: 'ada', iss: 'us' })), REACHED, 'the right one')
})

t.test('refuses a word that is no token', async (t) => {
  t.strictSame(await get(await buildGuarded(t), 'one-word'), { status: 422, body: { msg: 'Not enough segments' } })
})

t.test('refuses an expired token, in the words of expiredTokenLoader where there is one', async (t) => {
  for (const ago of [-60, '-1m'] as const) {
    const plain = await buildGuarded(t)
    const token = await plain.createAccessToken('ada', { expiresDelta: ago })
    t.strictSame(await get(plain, token), EXPIRED)

    const worded = await buildGuarded(t, undefined, {
      expiredTokenLoader: (error, _request, reply) => {
        reply.code(201)
        return { alg: error.jwtHeader?.alg, sub: error.jwtPayload?.['sub'], type: error.jwtPayload?.['type'] }
      },
    })
    t.strictSame(await get(worded, token), { status: 201, body: { alg: 'HS256', sub: 'ada', type: 'access' } })
  }
})

t.test('fills in the claims that an expired token lacks before expiredTokenLoader sees them', async (t) => {
  const app = await buildGuarded(t, undefined, { expiredTokenLoader: (error) => error.jwtPayload })
  const answer = await get(app, forge({ sub: 'ada', exp: 1_000_000_000 }))
  t.strictSame(answer, { status: 401, body: { sub: 'ada', exp: 1_000_000_000, type: 'access', fresh: false, jti: null } })
})

t.test('throws the typed error where a handler decodes an expired token', async (t) => {
  const app = await buildApp(t)
  app.get('/', async () => {
    await app.decodeToken(await app.createAccessToken('ada', { expiresDelta: '-1m' }))
    return { decoded: true }
  })
  const response = await app.inject({ url: '/' })
  t.equal(response.statusCode, 401)
  t.match(response.json(), { code: 'FST_JWT_EXT_EXPIRED', message: 'Token has expired' })
  t.match(response.headers['www-authenticate'], /^Bearer error="invalid_token"/)

  const worded = await buildApp(t)
  worded.setErrorHandler(async (error, _request, reply) => {
    if (!(error instanceof ExpiredTokenError)) throw error
    reply.code(error.statusCode)
    return { alg: error.jwtHeader?.alg, sub: error.jwtPayload?.['sub'] }
  })
  worded.get('/', async () => await worded.decodeToken(await worded.createAccessToken('ada', { expiresDelta: '-1m' })))
  t.strictSame(await get(worded), { status: 401, body: { alg: 'HS256', sub: 'ada' } })
})

t.test('refuses a request without a token, in the words of unauthorizedLoader where there is one', async (t) => {
  t.strictSame(await get(await buildGuarded(t)), NO_HEADER)
  const worded = await buildGuarded(t, undefined, { unauthorizedLoader: async (_error, _request, reply) => await reply.code(201).send({ go: 'away' }) })
  t.strictSame(await get(worded), { status: 201, body: { go: 'away' } })
})

t.test('refuses a token of another algorithm than the configured one', async (t) => {
  const before = await buildApp(t, { secretKey: SECRET, algorithm: 'HS256' })
  const after = await buildGuarded(t, undefined, { algorithm: 'HS512' })
  t.strictSame(await get(after, await before.createAccessToken('ada')), {
    status: 422, body: { msg: 'The specified alg value is not allowed' },
  })
})

t.test('verifyJwt gives a handler the header and the payload of the token', async (t) => {
  const app = await buildApp(t)
  app.get('/', async (request) => {
    const verified = await request.verifyJwt()
    return { alg: verified?.jwtHeader.alg, who: verified?.jwtPayload['sub'] }
  })
  t.strictSame(await get(app, await app.createAccessToken('ada')), { status: 200, body: { alg: 'HS256', who: 'ada' } })
})

t.test('makes no token for an identity that is no string, and takes none', async (t) => {
  const app = await buildGuarded(t)
  await t.rejects(app.createAccessToken(1234), { code: 'FST_JWT_EXT_USAGE', message: /'sub' must be a string/ })
  await t.rejects(app.createRefreshToken(1234), { code: 'FST_JWT_EXT_USAGE' })
  t.strictSame(await get(app, forge({ sub: 1234 })), { status: 422, body: { msg: 'Subject must be a string' } })
})

t.test('guards a listening server', async (t) => {
  const app = await buildGuarded(t, { fresh: true })
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const statuses: number[] = []
  for (const token of [
    await app.createAccessToken('ada', { fresh: true }), await app.createAccessToken('ada'), await app.createRefreshToken('ada'),
  ]) {
    statuses.push((await fetch(origin, { headers: bearer(token) })).status)
  }
  t.strictSame(statuses, [200, 401, 422])
})
