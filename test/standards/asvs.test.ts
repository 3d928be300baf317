// OWASP ASVS 5.0, V7 (session management), V9 (self-contained tokens) and of V10 (OAuth) what is here: docs/standards.md has the table.
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { memoryStore, type JwtExtendedOptions, type SessionEvent, type TrustedIssuer } from '../../index.js'
import { bearer, buildApp, registrationError, SECRET } from '../support/app.js'
import { moveClock, stopClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { ecPair, rsaPair } from '../support/keys.js'
import { listen } from '../support/listener.js'
import { claimsOf, signToken } from '../support/sign.js'

const DAY = 24 * 60 * 60
const REFUSED = { code: 'FST_JWT_EXT_INVALID_TOKEN' }

/** A site with sessions. */
async function site (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, store: memoryStore(), storeTimeout: 20, ...options })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  app.get('/fresh', { preHandler: app.jwtRequired({ fresh: true }) }, async () => 'in')
  app.post('/refresh', { preHandler: app.jwtRequired({ refresh: true }) }, async (request) => await request.refreshTokens())
  app.post('/logout', { preHandler: app.jwtRequired({ verifyType: false }) }, async (request) => {
    await request.revokeJwt()
    return 'out'
  })
  return app
}

const PROVIDER = 'https://login.example.com'

/** An identity provider, and who it says that its tokens are for. */
async function provider (t: Test, issuer = PROVIDER): Promise<{ trusted: TrustedIssuer, issue: (claims?: Record<string, unknown>) => string }> {
  const { privateKey, publicKey } = ecPair('P-256', issuer)
  const server = await listen(t, (_request, response) => { response.end(JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] })) })
  const now = Math.floor(Date.now() / 1000)
  return {
    trusted: { issuer, audience: 'api', jwksUri: server.origin },
    issue: (claims = {}) => signToken('ES256', privateKey, { iss: issuer, aud: 'api', sub: 'ada', iat: now, exp: now + 3600, jti: 'id', ...claims }),
  }
}

async function visit (app: FastifyInstance, token: string, url = '/'): Promise<number> {
  return (await app.inject({ url, headers: bearer(token) })).statusCode
}

async function post (app: FastifyInstance, url: string, token: string): Promise<number> {
  return (await app.inject({ method: 'POST', url, headers: bearer(token) })).statusCode
}

t.test('ASVS 7.2.1: a token is verified on the server on every request, and a changed one is refused', async (t) => {
  const app = await site(t)
  const { accessToken } = await app.createTokenPair('ada')
  t.equal(await visit(app, accessToken), 200)
  const [header, , signature] = accessToken.split('.')
  const changed = `${header}.${Buffer.from(JSON.stringify({ ...claimsOf(accessToken), sub: 'root' })).toString('base64url')}.${signature}`
  t.equal(await visit(app, changed), 422)
})

t.test('ASVS 7.2.2: each token is made anew', async (t) => {
  const app = await site(t)
  const pairs = await Promise.all(Array.from({ length: 20 }, () => app.createTokenPair('ada')))
  t.equal(new Set(pairs.flatMap(({ accessToken, refreshToken }) => [accessToken, refreshToken])).size, 40)
})

t.test('ASVS 7.2.3: session ids and token ids are random UUIDs, and neither is what opens a route', async (t) => {
  const app = await site(t)
  const { accessToken, sessionId } = await app.createTokenPair('ada')
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
  t.match(sessionId, uuid)
  t.match(claimsOf(accessToken)['jti'], uuid)
  t.equal(await visit(app, sessionId), 422)
})

t.test('ASVS 7.2.4: a new login starts a session of its own, and the one before goes on until the application ends it', async (t) => {
  const app = await site(t)
  const [first, second] = [await app.createTokenPair('ada'), await app.createTokenPair('ada')]
  t.not(first.sessionId, second.sessionId)
  t.equal(await visit(app, first.accessToken), 200)
  t.equal(await app.revokeSession('ada', first.sessionId), true)
  t.equal(await visit(app, first.accessToken), 401)
  t.equal(await visit(app, second.accessToken), 200)
})

t.test('ASVS 7.3.1: a session that is not refreshed for refreshTokenExpires is over', async (t) => {
  const app = await site(t, { refreshTokenExpires: '7d' })
  const { refreshToken } = await app.createTokenPair('ada')
  moveClock(t, 7 * DAY + 1)
  t.equal(await post(app, '/refresh', refreshToken), 401)
})

t.test('ASVS 7.3.2: however often it is refreshed, a session is over after sessionLifetime', async (t) => {
  const app = await site(t, { sessionLifetime: '10d', refreshTokenExpires: '7d' })
  let { refreshToken } = await app.createTokenPair('ada')
  for (let day = 0; day < 9; day += 3) {
    moveClock(t, 3 * DAY)
    refreshToken = (await app.refreshTokens(refreshToken)).refreshToken
  }
  moveClock(t, DAY + 1)
  t.equal(await post(app, '/refresh', refreshToken), 401)
})

t.test('ASVS 7.4.1: after a logout neither the access token nor the refresh token of the session works', async (t) => {
  const app = await site(t)
  const { accessToken, refreshToken } = await app.createTokenPair('ada')
  t.equal(await post(app, '/logout', accessToken), 200)
  t.equal(await visit(app, accessToken), 401)
  t.equal(await post(app, '/refresh', refreshToken), 401)
})

t.test('ASVS 7.4.1: without a store or a blocklist a logout ends nothing but the cookies of the browser', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'cookies'] })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  app.get('/logout', async (_request, reply) => {
    reply.unsetJwtCookies()
    return 'out'
  })
  const token = await app.createAccessToken('ada')
  t.equal((await app.inject('/logout')).statusCode, 200)
  t.equal(await visit(app, token), 200)
})

t.test('ASVS 7.4.2: revokeAllTokens ends every session of a user at once', async (t) => {
  const app = await site(t)
  const pairs = await Promise.all(Array.from({ length: 5 }, () => app.createTokenPair('ada')))
  const other = await app.createTokenPair('bob')
  await app.revokeAllTokens('ada')
  for (const { accessToken, refreshToken } of pairs) {
    t.equal(await visit(app, accessToken), 401)
    t.equal(await post(app, '/refresh', refreshToken), 401)
  }
  t.equal(await visit(app, other.accessToken), 200)
})

t.test('ASVS 7.4.3: all other sessions can be ended while the own one goes on', async (t) => {
  const app = await site(t)
  const [own, other] = [await app.createTokenPair('ada'), await app.createTokenPair('ada')]
  await app.revokeAllTokens('ada', { exceptSession: own.sessionId })
  t.equal(await visit(app, own.accessToken), 200)
  t.equal(await visit(app, other.accessToken), 401)
})

t.test('ASVS 7.4.5: the application can end one session of anybody, by its id', async (t) => {
  const app = await site(t)
  const [one, other] = [await app.createTokenPair('ada'), await app.createTokenPair('ada')]
  t.equal(await app.revokeSession('ada', one.sessionId), true)
  t.equal(await app.revokeSession('bob', other.sessionId), false, 'of nobody else')
  t.equal(await visit(app, one.accessToken), 401)
  t.equal(await visit(app, other.accessToken), 200)
})

t.test('ASVS 7.5.1: a route can ask for a password that was given recently, and a refresh does not count as one', async (t) => {
  const app = await site(t)
  const { accessToken, refreshToken } = await app.createTokenPair('ada', { fresh: '5m' })
  t.equal(await visit(app, accessToken, '/fresh'), 200)
  const renewed = await app.refreshTokens(refreshToken)
  t.equal(await visit(app, renewed.accessToken, '/fresh'), 401)
  moveClock(t, 301)
  t.equal(await visit(app, accessToken, '/fresh'), 401)
  t.equal(await visit(app, accessToken), 200)
})

t.test('ASVS 7.5.2: the sessions of a user can be listed and ended one by one', async (t) => {
  const app = await site(t)
  const phone = await app.createTokenPair('ada', { label: 'phone' })
  await app.createTokenPair('ada', { label: 'laptop' })
  t.strictSame((await app.listSessions('ada')).map(({ label }) => label).sort(), ['laptop', 'phone'])
  await app.revokeSession('ada', phone.sessionId)
  t.strictSame((await app.listSessions('ada')).map(({ label }) => label), ['laptop'])
})

t.test('ASVS 7.6.1: a token of a provider is good until it expires or is revoked here, and its sid is no session of ours', async (t) => {
  const { trusted, issue } = await provider(t)
  const app = await site(t, { issuers: [trusted] })
  const own = await app.createTokenPair('ada')
  const [one, other] = [issue({ sid: own.sessionId, jti: 'one' }), issue({ sid: own.sessionId, jti: 'other' })]
  await app.revokeSession('ada', own.sessionId)
  t.strictSame([await visit(app, own.accessToken), await visit(app, one), await visit(app, other)], [401, 200, 200])
  await app.revokeToken(one)
  t.strictSame([await visit(app, one), await visit(app, other)], [401, 200])
  moveClock(t, 3601)
  t.equal(await visit(app, other), 401)
})

t.test('ASVS 9.1.1: nothing of a token is believed before its signature is verified', async (t) => {
  const asked: string[] = []
  const note = (name: string, answer: boolean) => () => { asked.push(name); return answer }
  const app = await buildApp(t, {
    secretKey: SECRET, tokenInBlocklistLoader: note('blocklist', false), tokenVerificationLoader: note('verification', true), userLookupLoader: note('lookup', true),
  })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  t.equal(await visit(app, forge({ sub: 'ada' }, undefined, 'k'.repeat(64))), 422)
  t.equal(await visit(app, forge({ sub: 'ada', exp: 1 }, undefined, 'k'.repeat(64))), 422, 'not even that it has expired')
  t.strictSame(asked, [])
  t.equal(await visit(app, forge({ sub: 'ada' })), 200)
  t.strictSame(asked, ['blocklist', 'verification', 'lookup'])
})

t.test('ASVS 9.1.2: algorithms are on a list of the application, and none cannot be', async (t) => {
  const app = await buildApp(t)
  for (const alg of ['none', 'HS384', 'HS512', 'RS256']) await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg })), REFUSED, alg)
  t.match(await registrationError(t, { secretKey: SECRET, decodeAlgorithms: ['none'] }), { code: 'FST_JWT_EXT_USAGE' })
})

t.test('ASVS 9.1.3: keys come from the configuration or its loader, never from a token', async (t) => {
  const other = rsaPair('other')
  const app = await buildApp(t, { algorithm: 'RS256', ...rsaPair() })
  const jwk = other.publicKey.export({ format: 'jwk' })
  for (const header of [{ jwk }, { jku: 'https://attacker.example' }, { x5u: 'https://attacker.example' }, { kid: 'https://attacker.example' }]) {
    await t.rejects(app.decodeToken(signToken('RS256', other.privateKey, { sub: 'ada' }, { alg: 'RS256', ...header })), REFUSED)
  }
})

t.test('ASVS 9.1.3: the keys of an issuer come from the address that is configured or discovered under it, and of nobody else', async (t) => {
  const { privateKey, publicKey } = ecPair()
  const asked: string[] = []
  let isOfOther = false
  const server = await listen(t, ({ url }, response) => {
    asked.push(url!)
    response.end(JSON.stringify(url === '/keys' ? { keys: [publicKey.export({ format: 'jwk' })] } : { issuer: isOfOther ? PROVIDER : server.origin, jwks_uri: `${server.origin}/keys` }))
  })
  const decode = async (issuer: TrustedIssuer, iss = issuer.issuer) => {
    asked.length = 0
    const app = await buildApp(t, { issuers: [issuer] })
    return (await app.decodeToken(signToken('ES256', privateKey, { iss, aud: 'api', sub: 'ada' }, { alg: 'ES256', jku: `${server.origin}/jku`, x5u: `${server.origin}/x5u` }))).sub
  }
  t.equal(await decode({ issuer: PROVIDER, audience: 'api', jwksUri: `${server.origin}/keys` }), 'ada')
  t.strictSame(asked, ['/keys'])
  t.equal(await decode({ issuer: server.origin, audience: 'api' }), 'ada')
  t.strictSame(asked, ['/.well-known/openid-configuration', '/keys'])
  await t.rejects(decode({ issuer: PROVIDER, audience: 'api', jwksUri: `${server.origin}/keys` }, server.origin), REFUSED, 'an issuer that is not trusted')
  t.strictSame(asked, [])
  isOfOther = true
  await t.rejects(decode({ issuer: server.origin, audience: 'api' }), { code: 'FST_JWT_EXT_KEY_SET_UNAVAILABLE' }, 'a document of another issuer')
  t.notOk(asked.includes('/keys'))
})

t.test('ASVS 9.2.1: a token is taken only between its nbf and its exp', async (t) => {
  const app = await buildApp(t)
  const now = Math.floor(Date.now() / 1000)
  t.equal((await app.decodeToken(forge({ sub: 'ada', nbf: now - 1, exp: now + 60 }))).sub, 'ada')
  await t.rejects(app.decodeToken(forge({ sub: 'ada', nbf: now + 60 })), REFUSED)
  await t.rejects(app.decodeToken(forge({ sub: 'ada', exp: now - 1 })), { code: 'FST_JWT_EXT_EXPIRED' })
})

t.test('ASVS 9.2.1: a token that names no end never ends, unless tokenVerificationLoader says otherwise', async (t) => {
  const app = await buildApp(t)
  t.equal((await app.decodeToken(forge({ sub: 'ada' }))).sub, 'ada')
  const strict = await buildApp(t, { secretKey: SECRET, tokenVerificationLoader: (_header, { exp }) => exp !== undefined })
  strict.get('/', { preHandler: strict.jwtRequired() }, async () => 'in')
  t.equal(await visit(strict, forge({ sub: 'ada' })), 400)
})

t.test('ASVS 9.2.2: only access tokens open routes, and only refresh tokens refresh', async (t) => {
  const app = await site(t)
  const { accessToken, refreshToken } = await app.createTokenPair('ada')
  t.equal(await visit(app, refreshToken), 422)
  t.equal(await post(app, '/refresh', accessToken), 422)
  t.equal(await visit(app, forge({ sub: 'ada', type: 'id' })), 422)
})

t.test('ASVS 9.2.3: with decodeAudience only tokens for this service are taken', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeAudience: 'this service' })
  t.equal((await app.decodeToken(forge({ sub: 'ada', aud: 'this service' }))).sub, 'ada')
  for (const aud of ['another service', undefined]) await t.rejects(app.decodeToken(forge({ sub: 'ada', aud })), REFUSED)
})

t.test('ASVS 9.2.4: with encodeAudience every token names its audience', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, encodeAudience: ['one', 'two'] })
  for (const token of [await app.createAccessToken('ada'), await app.createRefreshToken('ada')]) t.same(claimsOf(token)['aud'], ['one', 'two'])
})

t.test('ASVS 10.3.1: a token of an issuer is taken for the configured audience only, and there has to be one', async (t) => {
  const { trusted, issue } = await provider(t)
  const app = await site(t, { issuers: [trusted] })
  t.equal(await visit(app, issue()), 200)
  for (const aud of ['another service', [], undefined]) t.equal(await visit(app, issue({ aud })), 422, JSON.stringify(aud))
  const { audience: _audience, ...rest } = trusted
  t.match(await registrationError(t, { issuers: [rest] }), { code: 'FST_JWT_EXT_USAGE' })
})

t.test('ASVS 10.3.2: the scopes and roles of the token decide where a rule asks for them', async (t) => {
  const { trusted, issue } = await provider(t)
  const app = await site(t, { issuers: [trusted], rolesClaim: 'groups' })
  app.get('/reports', { preHandler: app.jwtRequired({ scopes: 'reports:read', roles: ['admin', 'auditor'] }) }, async () => 'in')
  const claims = { scope: 'reports:read', groups: ['auditor'] }
  for (const token of [issue(claims), forge({ sub: 'ada', ...claims })]) t.equal(await visit(app, token, '/reports'), 200)
  for (const fewer of [{}, { scope: 'reports:read' }, { groups: ['auditor'] }, { ...claims, scope: 'profile' }]) t.equal(await visit(app, issue(fewer), '/reports'), 403)
})

t.test('ASVS 10.3.3: userLookupLoader tells the users of two issuers apart who share a subject', async (t) => {
  const [one, other] = [await provider(t, 'https://one.example'), await provider(t, 'https://other.example')]
  const app = await buildApp(t, { issuers: [one.trusted, other.trusted], userLookupLoader: (_header, { iss, sub }) => `${sub} of ${iss}` })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => [request.jwtIdentity, request.currentUser])
  const who = async (token: string) => (await app.inject({ url: '/', headers: bearer(token) })).json()
  t.strictSame(await who(one.issue()), ['ada', 'ada of https://one.example'])
  t.strictSame(await who(other.issue()), ['ada', 'ada of https://other.example'])
})

t.test('ASVS 10.3.4: a tokenVerificationLoader can ask for acr and auth_time, which fresh does not look at', async (t) => {
  const { trusted, issue } = await provider(t)
  const now = Math.floor(Date.now() / 1000)
  const app = await site(t, { issuers: [trusted], tokenVerificationLoader: (_header, claims) => claims['acr'] === 'mfa' && Number(claims['auth_time']) > now - 300 })
  t.equal(await visit(app, issue({ acr: 'mfa', auth_time: now - 60 })), 200)
  for (const claims of [{}, { acr: 'pwd', auth_time: now }, { acr: 'mfa', auth_time: now - 3600 }]) t.equal(await visit(app, issue(claims)), 400)
  t.equal(await visit(app, issue({ acr: 'mfa', auth_time: now }), '/fresh'), 401)
})

t.test('ASVS 10.3.5: a token that is bound to a key by cnf is taken from anybody', async (t) => {
  const app = await site(t)
  t.equal(await visit(app, (await app.createTokenPair('ada', { additionalClaims: { cnf: { jkt: 'thumbprint' } } })).accessToken), 200)
})

t.test('ASVS 10.4.5: for ten seconds, unless refreshGrace says otherwise, a used refresh token gives its successor again', async (t) => {
  const events: SessionEvent[] = []
  const app = await site(t, { onSessionEvent: (event) => { events.push(event) } })
  stopClock(t, Math.floor(Date.now() / 1000))
  const first = await app.createTokenPair('ada')
  const second = await app.refreshTokens(first.refreshToken)
  moveClock(t, 9)
  const again = [await app.refreshTokens(first.refreshToken), await app.refreshTokens(first.refreshToken)]
  const generations = [second, ...again].map(({ refreshToken }) => claimsOf(refreshToken)['gen'])
  t.equal(new Set(generations).size, 1)
  t.notOk(events.some(({ type }) => type === 'token_reuse'))
  moveClock(t, 2)
  t.equal(await post(app, '/refresh', first.refreshToken), 401)
  t.ok(events.some(({ type }) => type === 'token_reuse'))
  t.equal(await post(app, '/refresh', again[1]!.refreshToken), 401)
})

t.test('ASVS 10.4.5: a refresh token that was used comes back: the session ends, and an event tells', async (t) => {
  const events: SessionEvent[] = []
  const app = await site(t, { refreshGrace: 0, onSessionEvent: (event) => { events.push(event) } })
  const first = await app.createTokenPair('ada')
  const second = await app.refreshTokens(first.refreshToken)
  t.equal(await post(app, '/refresh', first.refreshToken), 401)
  t.equal(await post(app, '/refresh', second.refreshToken), 401)
  t.equal(await visit(app, second.accessToken), 401)
  t.ok(events.some(({ type }) => type === 'token_reuse'))
})

t.test('ASVS 10.4.8: a session has an absolute end of 90 days without being asked for', async (t) => {
  const app = await site(t, { refreshTokenExpires: '80d' })
  const { refreshToken } = await app.createTokenPair('ada')
  moveClock(t, 70 * DAY)
  const { exp } = claimsOf((await app.refreshTokens(refreshToken)).refreshToken) as { exp: number }
  t.ok(exp - Date.now() / 1000 <= 20 * DAY + 1, 'the last token ends with it')
})
