// RFC 6750 (bearer tokens) and RFC 9470 (step-up): docs/standards.md has the table.
import formbody from '@fastify/formbody'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { JwtDecodeError, type JwtError, type JwtExtendedOptions } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { ecPair } from '../support/keys.js'
import { listen } from '../support/listener.js'
import { segment, segmentsOf, signToken } from '../support/sign.js'

const PROFILES = ['flask', 'rfc6750'] as const

/** An app with a route for each rule. */
async function site (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  app.route({ method: ['GET', 'POST'], url: '/', preHandler: app.jwtRequired(), handler: async (request) => request.jwtLocation })
  app.get('/fresh', { preHandler: app.jwtRequired({ fresh: true }) }, async () => 'in')
  return app
}

function challengeOf (response: { headers: Record<string, unknown> }): unknown {
  return response.headers['www-authenticate']
}

t.test('RFC 6750 §2: of two methods in one request the first location decides, and nothing is refused for there being two', async (t) => {
  const app = await site(t, { tokenLocation: ['headers', 'query_string'], errorProfile: 'rfc6750' })
  const token = await app.createAccessToken('ada')
  const both = await app.inject({ url: `/?jwt=${token}`, headers: bearer(token) })
  t.equal(both.statusCode, 200)
  t.equal(both.body, 'headers')
  t.equal((await app.inject({ url: `/?jwt=${token}`, headers: bearer('x.y.z') })).statusCode, 401)
})

t.test('RFC 6750 §2.1: a token in the Authorization header is taken', async (t) => {
  const app = await site(t)
  const response = await app.inject({ url: '/', headers: { authorization: `Bearer ${await app.createAccessToken('ada')}` } })
  t.equal(response.statusCode, 200)
})

t.test('RFC 6750 §2.2: a token in a form is not looked at', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'cookies', 'query_string', 'json'] })
  await app.register(formbody)
  app.post('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const token = await app.createAccessToken('ada')
  const response = await app.inject({
    method: 'POST', url: '/', headers: { 'content-type': 'application/x-www-form-urlencoded' }, payload: `access_token=${token}`,
  })
  t.equal(response.statusCode, 401)
  const json = await app.inject({ method: 'POST', url: '/', payload: { access_token: token } })
  t.equal(json.statusCode, 200, 'a JSON body is the place for it')
})

t.test('RFC 6750 §2.3: the answer to a token in the query is marked private', async (t) => {
  const app = await site(t, { tokenLocation: ['headers', 'query_string'] })
  const token = await app.createAccessToken('ada')
  t.equal((await app.inject(`/?jwt=${token}`)).headers['cache-control'], 'private')
  t.equal((await app.inject({ url: '/', headers: bearer(token) })).headers['cache-control'], undefined)
})

t.test('RFC 6750 §2.3: after verifyJwt the answer is marked private only where the application does so', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'query_string' })
  app.get('/own', async (request) => { await request.verifyJwt(); return 'in' })
  const response = await app.inject(`/own?jwt=${await app.createAccessToken('ada')}`)
  t.equal(response.statusCode, 200)
  t.equal(response.headers['cache-control'], undefined)
})

t.test('RFC 6750 §2.3: the query parameter is access_token only where queryStringName says so', async (t) => {
  const app = await site(t, { tokenLocation: 'query_string' })
  const token = await app.createAccessToken('ada')
  t.equal((await app.inject(`/?access_token=${token}`)).statusCode, 401)
  const named = await site(t, { tokenLocation: 'query_string', queryStringName: 'access_token' })
  t.equal((await named.inject(`/?access_token=${token}`)).statusCode, 200)
})

t.test('RFC 6750 §3: every 401 carries a challenge of the scheme Bearer, in both profiles', async (t) => {
  for (const errorProfile of PROFILES) {
    const app = await site(t, { errorProfile, headerType: 'JWT' })
    const expired = await app.createAccessToken('ada', { expiresDelta: -1 })
    for (const headers of [{}, { authorization: 'Basic YTpi' }, { authorization: `JWT ${expired}` }]) {
      const response = await app.inject({ url: '/', headers })
      t.equal(response.statusCode, 401)
      t.match(challengeOf(response), /^Bearer( |$)/)
    }
  }
})

t.test('RFC 6750 §3: the challenge of an error that verifyJwt throws is sent by the error handler of Fastify, or by one that sends its headers', async (t) => {
  const headersOf = [undefined, ({ headers }: JwtError) => headers, () => ({})]
  const challenges = await Promise.all(headersOf.map(async (choose) => {
    const app = await buildApp(t)
    if (choose !== undefined) app.setErrorHandler((error: JwtError, _request, reply) => reply.code(error.statusCode).headers(choose(error)).send({ msg: 'no' }))
    app.get('/own', async (request) => { await request.verifyJwt(); return 'in' })
    const response = await app.inject('/own')
    t.equal(response.statusCode, 401)
    return challengeOf(response)
  }))
  t.strictSame(challenges, ['Bearer', 'Bearer', undefined])
})

t.test('RFC 6750 §3: the scope of a challenge names once what the route needs, and no role is a scope', async (t) => {
  for (const errorProfile of PROFILES) {
    const app = await site(t, { errorProfile })
    app.get('/scopes', { preHandler: app.jwtRequired({ scopes: ['reports:read', 'reports:write'], roles: 'admin' }) }, async () => 'in')
    app.get('/roles', { preHandler: app.jwtRequired({ roles: 'admin' }) }, async () => 'in')
    const headers = bearer(forge({ sub: 'ada', scope: 'reports:read profile' }))
    const challenge = challengeOf(await app.inject({ url: '/scopes', headers }))
    t.strictSame(Array.from(String(challenge).matchAll(/scope="([^"]*)"/g), ([, scope]) => scope), ['reports:read reports:write'])
    t.notMatch(challengeOf(await app.inject({ url: '/roles', headers })), 'scope=')
    t.notMatch(challengeOf(await app.inject('/scopes')), 'scope=')
  }
})

t.test('RFC 6750 §3: the challenge to a request without credentials is the bare scheme, without a parameter', async (t) => {
  for (const errorProfile of PROFILES) {
    const app = await site(t, { errorProfile })
    t.equal(challengeOf(await app.inject('/')), 'Bearer')
  }
})

t.test('RFC 6750 §3: an error_description has none but the characters that are allowed', async (t) => {
  const messages = ['a "quoted" word', 'a \\ backslash', 'two\r\nlines', 'tab\t', 'é\u2028\u{1f600}', '\u0000\u001b[2J\u007f', 'x'.repeat(5000)]
  for (const message of messages) {
    const app = await site(t, { errorProfile: 'rfc6750', decodeKeyLoader: () => { throw new JwtDecodeError(message) } })
    const response = await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })
    t.equal(response.statusCode, 401)
    t.match(challengeOf(response), /^Bearer error="invalid_token", error_description="[\x20\x21\x23-\x5b\x5d-\x7e]*"$/, encodeURIComponent(message.slice(0, 30)))
  }
})

t.test('RFC 6750 §3.1: without authentication information the challenge has no error', async (t) => {
  const app = await site(t, { errorProfile: 'rfc6750', tokenLocation: ['headers', 'cookies', 'query_string', 'json'] })
  for (const response of [await app.inject('/'), await app.inject({ url: '/', headers: { authorization: 'Basic YTpi' } }), await app.inject({ method: 'POST', url: '/', payload: {} })]) {
    t.equal(response.statusCode, 401)
    t.notMatch(challengeOf(response), 'error')
  }
})

t.test('RFC 6750 §3.1: a malformed request is a 400 with invalid_request, in the profile rfc6750', async (t) => {
  const app = await site(t, { errorProfile: 'rfc6750', tokenLocation: ['headers', 'query_string'] })
  const token = await app.createAccessToken('ada')
  for (const request of [
    { url: '/', headers: { authorization: 'Bearer' } }, { url: '/', headers: { authorization: `Bearer ${token} x` } }, { url: `/?jwt=${token}&jwt=${token}` }
  ]) {
    const response = await app.inject(request)
    t.equal(response.statusCode, 400)
    t.match(challengeOf(response), /^Bearer error="invalid_request"/)
  }
})

t.test('RFC 6750 §3.1: a token that is expired, revoked, malformed or otherwise invalid is a 401 with invalid_token, in the profile rfc6750', async (t) => {
  const app = await site(t, { errorProfile: 'rfc6750', tokenInBlocklistLoader: (_header, payload) => payload.sub === 'revoked', userLookupLoader: (_header, payload) => payload.sub === 'gone' ? null : payload.sub })
  const tokens = [
    forge({ sub: 'ada', exp: 1 }), forge({ sub: 'revoked' }), forge({ sub: 'gone' }), forge({ sub: 'ada', type: 'refresh' }), forge({ sub: 'ada' }, undefined, 'k'.repeat(64)), 'x.y.z', 'x'
  ]
  for (const token of tokens) {
    const response = await app.inject({ url: '/', headers: bearer(token) })
    t.equal(response.statusCode, 401)
    t.match(challengeOf(response), /^Bearer error="invalid_token"/, token)
  }
})

t.test('RFC 6750 §3.1: in the profile flask a token that is malformed or forged is a 422 without a challenge', async (t) => {
  const app = await site(t)
  for (const token of ['x.y.z', forge({ sub: 'ada' }, undefined, 'k'.repeat(64)), forge({ sub: 'ada', type: 'refresh' })]) {
    const response = await app.inject({ url: '/', headers: bearer(token) })
    t.equal(response.statusCode, 422)
    t.equal(challengeOf(response), undefined)
  }
})

t.test('RFC 6750 §3.1: refused claims are a 403 with insufficient_scope, in the profile rfc6750', async (t) => {
  const app = await site(t, { errorProfile: 'rfc6750', tokenVerificationLoader: () => false })
  const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
  t.equal(response.statusCode, 403)
  t.match(challengeOf(response), /^Bearer error="insufficient_scope"/)
})

t.test('RFC 6750 §3.1: in the profile flask refused claims are a 400 without a challenge', async (t) => {
  const app = await site(t, { tokenVerificationLoader: () => false })
  const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
  t.equal(response.statusCode, 400)
  t.equal(challengeOf(response), undefined)
})

t.test('RFC 6750 §3.1: a missing scope or role is a 403 with insufficient_scope, in both profiles', async (t) => {
  for (const errorProfile of PROFILES) {
    const app = await site(t, { errorProfile })
    app.get('/scopes', { preHandler: app.jwtRequired({ scopes: 'reports:read' }) }, async () => 'in')
    app.get('/roles', { preHandler: app.jwtRequired({ roles: 'admin' }) }, async () => 'in')
    for (const url of ['/scopes', '/roles']) {
      const response = await app.inject({ url, headers: bearer(forge({ sub: 'ada', scope: 'profile', roles: ['editor'] })) })
      t.equal(response.statusCode, 403)
      t.match(challengeOf(response), /^Bearer error="insufficient_scope"/)
      t.equal((await app.inject({ url, headers: bearer(forge({ sub: 'ada', scope: 'reports:read', roles: ['admin'] })) })).statusCode, 200)
    }
  }
})

t.test('RFC 6750 §3.1: a refused CSRF value is a 403 with invalid_token, though the token is not at fault', async (t) => {
  const app = await site(t, { errorProfile: 'rfc6750', tokenLocation: 'cookies' })
  const response = await app.inject({ method: 'POST', url: '/', cookies: { access_token_cookie: await app.createAccessToken('ada') } })
  t.equal(response.statusCode, 403)
  t.match(challengeOf(response), /^Bearer error="invalid_token"/)
})

t.test('RFC 6750 §5.2: a token that was changed is refused, and with decodeAudience so is one for somebody else', async (t) => {
  const app = await site(t, { decodeAudience: 'api' })
  const good = forge({ sub: 'ada', aud: 'api' })
  const [header, payload, signature] = segmentsOf(good)
  t.equal((await app.inject({ url: '/', headers: bearer(good) })).statusCode, 200)
  for (const token of [
    `${header}.${segment({ sub: 'root', aud: 'api' })}.${signature}`, `${segment({ alg: 'HS256', kid: 'x' })}.${payload}.${signature}`, forge({ sub: 'ada', aud: 'other' }), forge({ sub: 'ada' })
  ]) {
    t.equal((await app.inject({ url: '/', headers: bearer(token) })).statusCode, 422)
  }
})

t.test('RFC 6750 §5.3: a token cookie is not sent in the clear, unless cookieSecure is turned off', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  app.get('/', (_request, reply) => { reply.setAccessCookies(token).setRefreshCookies(token).send('in') })
  const lines = [(await app.inject('/')).headers['set-cookie'] ?? []].flat()
  t.equal(lines.length, 4)
  for (const line of lines) t.match(line, /; Secure(;|$)/)
})

t.test('RFC 6750 §5.3: an access token lives for a quarter of an hour unless told otherwise', async (t) => {
  const app = await buildApp(t)
  const { exp, iat } = await app.decodeToken(await app.createAccessToken('ada'))
  t.equal(exp! - iat!, 15 * 60)
})

t.test('RFC 6750 §5.3: an address carries no token unless tokenLocation says so', async (t) => {
  const app = await site(t)
  t.equal((await app.inject(`/?jwt=${await app.createAccessToken('ada')}`)).statusCode, 401)
})

t.test('RFC 9470 §3: a token that is not fresh is a 401 with insufficient_user_authentication, in both profiles', async (t) => {
  for (const errorProfile of PROFILES) {
    const app = await site(t, { errorProfile })
    const response = await app.inject({ url: '/fresh', headers: bearer(await app.createAccessToken('ada')) })
    t.equal(response.statusCode, 401)
    t.match(challengeOf(response), /^Bearer error="insufficient_user_authentication", error_description="[^"]+"$/)
    t.equal((await app.inject({ url: '/fresh', headers: bearer(await app.createAccessToken('ada', { fresh: true })) })).statusCode, 200)
  }
})

t.test('RFC 9470 §3: the challenge names neither acr_values nor max_age', async (t) => {
  const app = await site(t, { errorProfile: 'rfc6750' })
  const response = await app.inject({ url: '/fresh', headers: bearer(await app.createAccessToken('ada')) })
  t.equal(response.statusCode, 401)
  t.notMatch(challengeOf(response), /acr_values|max_age/)
})

t.test('RFC 9470 §6.1: freshness is told by the claim fresh, not by auth_time and acr', async (t) => {
  const app = await site(t)
  const now = Math.floor(Date.now() / 1000)
  t.equal((await app.inject({ url: '/fresh', headers: bearer(forge({ sub: 'ada', auth_time: now, acr: 'mfa' })) })).statusCode, 401)
  t.equal((await app.inject({ url: '/fresh', headers: bearer(forge({ sub: 'ada', fresh: true })) })).statusCode, 200)
  const payload = await app.decodeToken(await app.createAccessToken('ada', { fresh: true }))
  t.equal(payload['auth_time'], undefined)
})

t.test('RFC 9470 §6.1: a token of another issuer is never fresh, whatever it claims', async (t) => {
  const { privateKey, publicKey } = ecPair()
  const server = await listen(t, (_request, response) => { response.end(JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] })) })
  const issuer = 'https://login.example.com'
  const app = await site(t, { issuers: [{ issuer, audience: 'api', jwksUri: server.origin }] })
  const now = Math.floor(Date.now() / 1000)
  for (const fresh of [true, now + 600, undefined]) {
    const headers = bearer(signToken('ES256', privateKey, { sub: 'ada', iss: issuer, aud: 'api', fresh, auth_time: now, acr: 'mfa' }))
    t.equal((await app.inject({ url: '/', headers })).statusCode, 200)
    t.match(challengeOf(await app.inject({ url: '/fresh', headers })), /^Bearer error="insufficient_user_authentication"/)
  }
  t.equal((await app.inject({ url: '/fresh', headers: bearer(await app.createAccessToken('ada', { fresh: true })) })).statusCode, 200)
})
