import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions, JwtHeader, JwtPayload, JwtRule, TokenPredicate } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'

interface Answer { status: number, body: unknown }

const REACHED: Answer = { status: 200, body: { reached: true } }
const REVOKED: Answer = { status: 401, body: { msg: 'Token has been revoked' } }

async function get (app: FastifyInstance, url: string, token: string): Promise<Answer> {
  const response = await app.inject({ url, headers: bearer(token) })
  return { status: response.statusCode, body: response.json() }
}

// Users

// The same reading of the user behind a route's own guard and behind a whole scope's.
const USER_URLS = ['/route', '/scope']

async function buildUserApp (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  app.get('/route', { preHandler: app.jwtRequired() }, async (request) => request.currentUser)
  await app.register(async (scope) => {
    scope.addHook('onRequest', app.jwtRequired())
    scope.get('/scope', async (request) => request.currentUser)
  })
  return app
}

t.test('currentUser without a userLookupLoader says that one is needed', async (t) => {
  const app = await buildUserApp(t)
  for (const url of USER_URLS) {
    const { status, body } = await get(app, url, await app.createAccessToken('ada'))
    t.equal(status, 500)
    t.match(body, { code: 'FST_JWT_EXT_USAGE', message: /userLookupLoader/ })
  }
})

t.test('currentUser is what userLookupLoader gives', async (t) => {
  for (const name of ['at once', 'later']) {
    const app = await buildUserApp(t, {
      userLookupLoader: (_header, payload) => {
        const user = { name: payload['sub'] }
        return name === 'later' ? Promise.resolve(user) : user
      },
    })
    for (const url of USER_URLS) {
      t.strictSame(await get(app, url, await app.createAccessToken('ada')), { status: 200, body: { name: 'ada' } }, `${url} ${name}`)
    }
  }
})

t.test('refuses a token whose user is not found', async (t) => {
  for (const nobody of [null, undefined]) {
    const app = await buildUserApp(t, { userLookupLoader: () => nobody })
    for (const url of USER_URLS) {
      t.strictSame(await get(app, url, await app.createAccessToken('ada')), {
        status: 401, body: { msg: 'Error loading the user ada' },
      })
    }
  }
})

t.test('answers a token whose user is not found in the words of userLookupErrorLoader', async (t) => {
  const app = await buildUserApp(t, {
    userLookupLoader: async () => null,
    userLookupErrorLoader: (error, _request, reply) => {
      reply.code(201)
      return { alg: error.jwtHeader?.alg, nobody: error.jwtPayload?.['sub'] }
    },
  })
  for (const url of USER_URLS) {
    t.strictSame(await get(app, url, await app.createAccessToken('ada')), { status: 201, body: { alg: 'HS256', nobody: 'ada' } })
  }
})

// Claims and headers of new tokens

async function buildEchoApp (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  for (const [prefix, rule] of [['/access', {}], ['/refresh', { refresh: true }]] as [string, JwtRule][]) {
    app.get(`${prefix}/claims`, { onRequest: app.jwtRequired(rule) }, async (request) => request.jwt)
    app.get(`${prefix}/header`, { onRequest: app.jwtRequired(rule) }, async (request) => request.jwtHeader)
  }
  return app
}

t.test('an access token carries the claims of additionalClaimsLoader', async (t) => {
  const app = await buildEchoApp(t, { additionalClaimsLoader: (identity) => ({ role: `of ${String(identity)}` }) })
  const { status, body } = await get(app, '/access/claims', await app.createAccessToken('ada'))
  t.equal(status, 200)
  t.match(body, { role: 'of ada', sub: 'ada' })
})

t.test('makes no token of claims that cannot be written as JSON', async (t) => {
  const loop: Record<string, unknown> = {}
  loop['loop'] = loop
  const impossible: unknown[] = [await buildApp(t), loop, { big: 1n }, { call: () => 1 }, { many: new Set([1]) }, { none: Number.NaN }]
  for (const claims of [...impossible, 'text', 7, ['a'], null]) {
    const app = await buildApp(t, { secretKey: SECRET, additionalClaimsLoader: () => claims as JwtPayload })
    await t.rejects(app.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: /additionalClaimsLoader/ })
    await t.rejects(app.createRefreshToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: /additionalClaimsLoader/ })
  }
})

t.test('the issuing loaders see the very object that a token is made for', async (t) => {
  class Person {
    constructor (readonly name: string, readonly role: string) {}
  }
  const app = await buildEchoApp(t, {
    userIdentityLoader: (person) => (person as Person).name,
    additionalClaimsLoader: (person) => ({ role: person instanceof Person && person.role }),
  })
  const token = await app.createAccessToken(new Person('ada', 'admin'))
  t.match(await app.decodeToken(token), { sub: 'ada', role: 'admin' })
  t.match(await get(app, '/access/claims', token), { status: 200, body: { sub: 'ada', role: 'admin' } })
})

t.test('a refresh token carries the claims of additionalClaimsLoader', async (t) => {
  const app = await buildEchoApp(t, { additionalClaimsLoader: async () => ({ role: 'admin' }) })
  t.match(await get(app, '/refresh/claims', await app.createRefreshToken('ada')), { status: 200, body: { role: 'admin' } })
})

t.test('a refresh token carries the claims given with the call', async (t) => {
  const app = await buildEchoApp(t)
  const token = await app.createRefreshToken('ada', { additionalClaims: { role: 'admin' } })
  t.match(await get(app, '/refresh/claims', token), { status: 200, body: { role: 'admin' } })
})

t.test('an access token carries the claims given with the call', async (t) => {
  const app = await buildEchoApp(t)
  const token = await app.createAccessToken('ada', { additionalClaims: { role: 'admin' } })
  t.match(await get(app, '/access/claims', token), { status: 200, body: { role: 'admin' } })
})

t.test('claims of the call and of the loader stand side by side', async (t) => {
  const app = await buildEchoApp(t, { additionalClaimsLoader: () => ({ tenant: 'north' }) })
  const token = await app.createAccessToken('ada', { additionalClaims: { role: 'admin' } })
  t.match(await get(app, '/access/claims', token), { status: 200, body: { role: 'admin', tenant: 'north' } })
})

t.test('a claim of the call wins over the same claim of the loader', async (t) => {
  const loaded = { tenant: 'north' }
  const app = await buildEchoApp(t, { additionalClaimsLoader: () => loaded })
  const token = await app.createAccessToken('ada', { additionalClaims: { tenant: 'south' } })
  t.match(await get(app, '/access/claims', token), { status: 200, body: { tenant: 'south' } })
  t.strictSame(loaded, { tenant: 'north' }, "the loader's object stays as it was")
})

t.test('an access token carries the headers of additionalHeadersLoader', async (t) => {
  const app = await buildEchoApp(t, { additionalHeadersLoader: () => ({ tenant: 'north' }) })
  t.match(await get(app, '/access/header', await app.createAccessToken('ada')), { status: 200, body: { alg: 'HS256', tenant: 'north' } })
})

t.test('makes no token of headers that cannot be written as JSON', async (t) => {
  for (const headers of [await buildApp(t), { big: 1n }, { call: () => 1 }, 'text', ['a'], null]) {
    const app = await buildApp(t, { secretKey: SECRET, additionalHeadersLoader: () => headers as JwtHeader })
    await t.rejects(app.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: /additionalHeadersLoader/ })
  }
})

t.test('a refresh token carries the headers of additionalHeadersLoader', async (t) => {
  const app = await buildEchoApp(t, { additionalHeadersLoader: async () => ({ tenant: 'north' }) })
  t.match(await get(app, '/refresh/header', await app.createRefreshToken('ada')), { status: 200, body: { tenant: 'north' } })
})

t.test('a refresh token carries the headers given with the call', async (t) => {
  const app = await buildEchoApp(t)
  const token = await app.createRefreshToken('ada', { additionalHeaders: { tenant: 'north' } })
  t.match(await get(app, '/refresh/header', token), { status: 200, body: { tenant: 'north' } })
})

t.test('an access token carries the headers given with the call', async (t) => {
  const app = await buildEchoApp(t)
  const token = await app.createAccessToken('ada', { additionalHeaders: { tenant: 'north' } })
  t.match(await get(app, '/access/header', token), { status: 200, body: { tenant: 'north' } })
})

t.test('headers of the call join those of the loader in an access token, and win', async (t) => {
  const app = await buildEchoApp(t, { additionalHeadersLoader: () => ({ stage: 'test', tenant: 'north' }) })
  const token = await app.createAccessToken('ada', { additionalHeaders: { tenant: 'south' } })
  t.match(await get(app, '/access/header', token), { status: 200, body: { stage: 'test', tenant: 'south' } })
})

t.test('headers of the call join those of the loader in a refresh token, and win', async (t) => {
  const app = await buildEchoApp(t, { additionalHeadersLoader: () => ({ stage: 'test', tenant: 'north' }) })
  const token = await app.createRefreshToken('ada', { additionalHeaders: { tenant: 'south' } })
  t.match(await get(app, '/refresh/header', token), { status: 200, body: { stage: 'test', tenant: 'south' } })
})

// The application's own verdict on a token's claims

const CLAIM_RULES: [url: string, rule: JwtRule][] = [['/plain', {}], ['/fresh', { fresh: true }], ['/optional', { optional: true }]]

async function buildClaimsApp (t: Test, options: JwtExtendedOptions): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  for (const [url, rule] of CLAIM_RULES) app.get(url, { onRequest: app.jwtRequired(rule) }, async () => ({ reached: true }))
  return app
}

t.test('lets a token in that tokenVerificationLoader finds good', async (t) => {
  const seen: unknown[] = []
  const app = await buildClaimsApp(t, {
    tokenVerificationLoader: (header, payload, request) => {
      seen.push([header.alg, payload['sub'], request.url])
      return true
    },
  })
  const token = await app.createAccessToken('ada', { fresh: true })
  for (const [url] of CLAIM_RULES) t.strictSame(await get(app, url, token), REACHED, url)
  t.strictSame(seen, CLAIM_RULES.map(([url]) => ['HS256', 'ada', url]))
})

t.test('refuses a token that tokenVerificationLoader finds bad', async (t) => {
  for (const tokenVerificationLoader of [() => false, async () => false]) {
    const app = await buildClaimsApp(t, { tokenVerificationLoader })
    const token = await app.createAccessToken('ada', { fresh: true })
    for (const [url] of CLAIM_RULES) {
      t.strictSame(await get(app, url, token), { status: 400, body: { msg: 'User claims verification failed' } }, url)
    }
  }
})

t.test('answers a token found bad in the words of tokenVerificationFailedLoader', async (t) => {
  const app = await buildClaimsApp(t, {
    tokenVerificationLoader: () => false,
    tokenVerificationFailedLoader: (error, _request, reply) => {
      reply.code(404)
      return { alg: error.jwtHeader?.alg, notFor: error.jwtPayload?.['sub'] }
    },
  })
  const token = await app.createAccessToken('ada', { fresh: true })
  for (const [url] of CLAIM_RULES) {
    t.strictSame(await get(app, url, token), { status: 404, body: { alg: 'HS256', notFor: 'ada' } }, url)
  }
})

t.test('lets nobody in on a verdict that is neither true nor false', async (t) => {
  for (const verdict of [1, 'true', {}, undefined, null]) {
    const loader = (() => verdict) as unknown as TokenPredicate
    const claims = await buildClaimsApp(t, { tokenVerificationLoader: loader })
    const revoked = await buildClaimsApp(t, { tokenInBlocklistLoader: loader })
    for (const [app, name] of [[claims, 'tokenVerificationLoader'], [revoked, 'tokenInBlocklistLoader']] as const) {
      const { status, body } = await get(app, '/plain', await app.createAccessToken('ada'))
      t.equal(status, 500, `${name}: ${String(verdict)}`)
      t.match(body, { message: new RegExp(name) })
    }
  }
})

// Revoked tokens

async function buildBlocklistApp (
  t: Test, tokenInBlocklistLoader: TokenPredicate, options: JwtExtendedOptions = {}
): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, tokenInBlocklistLoader, ...options })
  const rules: [url: string, rule: JwtRule][] = [
    ['/access', {}], ['/refresh', { refresh: true }],
    ['/any', { verifyType: false }], ['/any-unasked', { verifyType: false, skipRevocationCheck: true }],
  ]
  for (const [url, rule] of rules) app.get(url, { onRequest: app.jwtRequired(rule) }, async () => ({ reached: true }))
  return app
}

function blocklist (answer: boolean): TokenPredicate[] {
  return [() => answer, async () => answer]
}

t.test('does not ask about a token where the rule skips the revocation check', async (t) => {
  let asked = 0
  const app = await buildBlocklistApp(t, () => {
    asked++
    return true
  })
  t.strictSame(await get(app, '/any-unasked', await app.createAccessToken('ada')), REACHED)
  t.strictSame(await get(app, '/any-unasked', await app.createRefreshToken('ada')), REACHED)
  t.equal(asked, 0)
})

t.test('refuses a revoked token where any type may pass', async (t) => {
  for (const loader of blocklist(true)) {
    const seen: unknown[] = []
    const app = await buildBlocklistApp(t, (header, payload, request) => {
      seen.push([header.alg, payload['sub'], request.url])
      return loader(header, payload, request)
    })
    t.strictSame(await get(app, '/any', await app.createAccessToken('ada')), REVOKED, 'access')
    t.strictSame(await get(app, '/any', await app.createRefreshToken('ada')), REVOKED, 'refresh')
    t.strictSame(seen, [['HS256', 'ada', '/any'], ['HS256', 'ada', '/any']])
  }
})

t.test('lets an access token in that is not revoked', async (t) => {
  for (const loader of blocklist(false)) {
    const app = await buildBlocklistApp(t, loader)
    t.strictSame(await get(app, '/access', await app.createAccessToken('ada')), REACHED)
  }
})

t.test('refuses a revoked access token', async (t) => {
  for (const loader of blocklist(true)) {
    const app = await buildBlocklistApp(t, loader)
    t.strictSame(await get(app, '/access', await app.createAccessToken('ada')), REVOKED)
  }
})

t.test('lets a refresh token in that is not revoked', async (t) => {
  for (const loader of blocklist(false)) {
    const app = await buildBlocklistApp(t, loader)
    t.strictSame(await get(app, '/refresh', await app.createRefreshToken('ada')), REACHED)
  }
})

t.test('refuses a revoked refresh token', async (t) => {
  for (const loader of blocklist(true)) {
    const app = await buildBlocklistApp(t, loader)
    t.strictSame(await get(app, '/refresh', await app.createRefreshToken('ada')), REVOKED)
  }
})

t.test('answers a revoked token in the words of revokedTokenLoader', async (t) => {
  const app = await buildBlocklistApp(t, () => true, {
    revokedTokenLoader: (error, _request, reply) => {
      reply.code(404)
      return { alg: error.jwtHeader?.alg, gone: error.jwtPayload?.['sub'] }
    },
  })
  t.strictSame(await get(app, '/access', await app.createAccessToken('ada')), { status: 404, body: { alg: 'HS256', gone: 'ada' } })
})

t.test('revokes one token by its id and leaves the others alone', async (t) => {
  const revoked = new Set<unknown>()
  const app = await buildBlocklistApp(t, (_header, payload) => revoked.has(payload['jti']))
  const lost = await app.createAccessToken('ada')
  const kept = await app.createAccessToken('ada')
  t.strictSame(await get(app, '/access', lost), REACHED)
  revoked.add(await app.getJti(lost))
  t.strictSame(await get(app, '/access', lost), REVOKED)
  t.strictSame(await get(app, '/access', kept), REACHED)
})
