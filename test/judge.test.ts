import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { memoryStore, type JwtExtendedOptions, type JwtRule } from '../index.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { moveClock, stopClock } from './support/clock.js'
import { forge } from './support/forge.js'

const NOW = 1_750_000_000

interface Answered {
  status: number
  body: { [key: string]: unknown }
}

/** Sends one token to one guarded route of a configuration. */
async function judge (t: Test, options: JwtExtendedOptions, rule: JwtRule | undefined, token: string): Promise<Answered> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  app.get('/', { preHandler: app.jwtRequired(rule) }, async () => ({ passed: true }))
  const response = await app.inject({ url: '/', headers: bearer(token) })
  return { status: response.statusCode, body: response.json() }
}

t.test('the checks come in the order of the contract: with two that fail the earlier one answers', async (t) => {
  stopClock(t, NOW)
  const asked: string[] = []
  const loaders = (isAsync: boolean): JwtExtendedOptions => {
    const answer = <T>(name: string, value: T): T | Promise<T> => { asked.push(name); return isAsync ? Promise.resolve(value) : value }
    return {
      tokenInBlocklistLoader: (_header, payload) => answer('blocklist', payload['revoked'] === true),
      tokenVerificationLoader: (_header, payload) => answer('verification', payload['refused'] !== true),
      userLookupLoader: (_header, payload) => answer('user', payload['unknown'] === true ? null : {}),
    }
  }
  const steps: [name: string, claims: Record<string, unknown>, message: string, asked: string[]][] = [
    ['claims', { jti: 5 }, 'JWT ID must be a string', []],
    ['csrf', { csrf: 'another' }, 'CSRF double submit tokens do not match', []],
    ['expiry', { exp: NOW }, 'Token has expired', []],
    ['type', { type: 'refresh' }, 'Only non-refresh tokens are allowed', []],
    ['freshness', { fresh: false }, 'Fresh token required', []],
    ['revocation', { revoked: true }, 'Token has been revoked', ['blocklist']],
    ['scopes', { scope: 'reader' }, 'Missing scope: read', ['blocklist']],
    ['roles', { roles: ['administrator'] }, 'Missing role: admin', ['blocklist']],
    ['verification', { refused: true }, 'User claims verification failed', ['blocklist', 'verification']],
    ['user', { unknown: true }, 'Error loading the user ada', ['blocklist', 'verification', 'user']],
  ]
  const good = { sub: 'ada', csrf: 'right', fresh: true, type: 'access', exp: NOW + 60, scope: 'read', roles: ['admin'] }
  for (const isAsync of [false, true]) {
    const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', ...loaders(isAsync) })
    app.post('/', { preHandler: app.jwtRequired({ fresh: true, scopes: 'read', roles: 'admin' }) }, async () => ({ msg: 'passed' }))
    const send = async (claims: unknown): Promise<string> => {
      asked.length = 0
      const response = await app.inject({ method: 'POST', url: '/', cookies: { access_token_cookie: forge(claims) }, headers: { 'x-csrf-token': 'right' } })
      return response.json().msg
    }
    t.equal(await send(good), 'passed')
    t.strictSame(asked, ['blocklist', 'verification', 'user'])
    for (const [first, [name, claims, message, called]] of steps.entries()) {
      t.equal(await send({ ...good, ...claims }), message, name)
      t.strictSame(asked, called, `${name} asks no more than it must`)
      for (const [laterName, later] of steps.slice(first + 1)) {
        t.equal(await send({ ...good, ...later, ...claims }), message, `${name} before ${laterName}`)
        t.strictSame(asked, called)
      }
    }
  }
})

t.test('each check is made only where the rule asks for it', async (t) => {
  const token = forge({ sub: 'ada', type: 'refresh', fresh: false })
  t.match(await judge(t, {}, undefined, token), { status: 422, body: { msg: 'Only non-refresh tokens are allowed' } })
  t.match(await judge(t, {}, { refresh: true }, token), { status: 200 })
  t.match(await judge(t, {}, { verifyType: false }, token), { status: 200 })
  t.match(await judge(t, {}, { verifyType: false, fresh: true }, token), { status: 401, body: { msg: 'Fresh token required' } })
  t.match(await judge(t, { tokenInBlocklistLoader: () => true }, { refresh: true }, token), { status: 401, body: { msg: 'Token has been revoked' } })
  t.match(await judge(t, { tokenInBlocklistLoader: () => true }, { refresh: true, skipRevocationCheck: true }, token), { status: 200 })
})

t.test('a plain guard takes access tokens, and nothing of any other type', async (t) => {
  const only = { status: 422, body: { msg: 'Only access tokens are allowed' } }
  t.match(await judge(t, {}, {}, forge({ sub: 'ada' })), { status: 200 }, 'a token without type counts as access')
  t.match(await judge(t, {}, {}, forge({ sub: 'ada', type: 'access' })), { status: 200 })
  t.match(await judge(t, {}, {}, forge({ sub: 'ada', type: 'refresh' })), { status: 422, body: { msg: 'Only non-refresh tokens are allowed' } })
  for (const type of ['other', 'Access', 'ACCESS', 'access ', '', null, 0, true, ['access'], ['refresh'], { access: 1 }]) {
    t.match(await judge(t, {}, {}, forge({ sub: 'ada', type })), only, JSON.stringify(type))
  }
})

t.test('a refresh guard takes refresh tokens, and nothing of any other type', async (t) => {
  t.match(await judge(t, {}, { refresh: true }, forge({ sub: 'ada', type: 'refresh' })), { status: 200 })
  for (const type of [undefined, 'access', 'other', 'Refresh', null, ['refresh'], true]) {
    t.match(await judge(t, {}, { refresh: true }, forge({ sub: 'ada', type })), { status: 422, body: { msg: 'Only refresh tokens are allowed' } }, JSON.stringify(type))
  }
})

t.test('fresh is the literal true, or a second that has not come yet', async (t) => {
  stopClock(t, NOW)
  for (const fresh of [true, NOW + 1, NOW + 0.001, 9e15]) t.match(await judge(t, {}, { fresh: true }, forge({ sub: 'ada', fresh })), { status: 200 }, JSON.stringify(fresh))
  for (const fresh of [undefined, false, null, NOW, NOW - 1, 0, 1, -1, '', 'true', String(NOW + 60), [], [true], { fresh: true }]) {
    t.match(await judge(t, {}, { fresh: true }, forge({ sub: 'ada', fresh })), { status: 401, body: { msg: 'Fresh token required' } }, JSON.stringify(fresh))
    t.match(await judge(t, {}, {}, forge({ sub: 'ada', fresh })), { status: 200 }, 'where nobody asks it does not matter')
  }
})

t.test('freshness is granted no leeway', async (t) => {
  stopClock(t, NOW)
  t.match(await judge(t, { decodeLeeway: 60 }, { fresh: true }, forge({ sub: 'ada', fresh: NOW })), { status: 401 })
})

t.test('a token that is fresh for a while grows stale', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired({ fresh: true }) }, async () => 'in')
  const headers = bearer(await app.createAccessToken('ada', { fresh: '5m' }))
  t.equal((await app.inject({ url: '/', headers })).statusCode, 200)
  moveClock(t, 299)
  t.equal((await app.inject({ url: '/', headers })).statusCode, 200)
  moveClock(t, 1)
  t.equal((await app.inject({ url: '/', headers })).statusCode, 401)
})

t.test('loaders get the header, the payload filled in and frozen, and the request', async (t) => {
  const seen: unknown[][] = []
  const look = <T>(answer: T) => (header: unknown, payload: unknown, request: FastifyRequest): T => {
    seen.push([header, payload, request.url, Object.isFrozen(header), Object.isFrozen(payload)])
    return answer
  }
  const options = { tokenInBlocklistLoader: look(false), tokenVerificationLoader: look(true), userLookupLoader: look({}) }
  t.match(await judge(t, options, {}, forge({ sub: 'ada' }, { alg: 'HS256', kid: 'k' })), { status: 200 })
  const row = [{ alg: 'HS256', kid: 'k' }, { sub: 'ada', type: 'access', fresh: false, jti: null }, '/', true, true]
  t.strictSame(seen, [row, row, row])
})

t.test('boolean loaders answer true or false, at once or later', async (t) => {
  const token = forge({ sub: 'ada' })
  for (const wrap of [(value: boolean) => value, async (value: boolean) => value, async (value: boolean) => { await new Promise(setImmediate); return value }]) {
    t.match(await judge(t, { tokenInBlocklistLoader: () => wrap(false) }, {}, token), { status: 200 })
    t.match(await judge(t, { tokenInBlocklistLoader: () => wrap(true) }, {}, token), { status: 401, body: { msg: 'Token has been revoked' } })
    t.match(await judge(t, { tokenVerificationLoader: () => wrap(true) }, {}, token), { status: 200 })
    t.match(await judge(t, { tokenVerificationLoader: () => wrap(false) }, {}, token), { status: 400, body: { msg: 'User claims verification failed' } })
  }
})

t.test('any other answer of a boolean loader is a 500 that names it, never a pass', async (t) => {
  const token = forge({ sub: 'ada' })
  const rows: [unknown, string][] = [
    [undefined, 'undefined'], [null, 'null'], [0, 'number'], [1, 'number'], ['', 'string'], ['true', 'string'], ['false', 'string'],
    [[], 'object'], [{}, 'object'], [new Boolean(true), 'object'], [new Boolean(false), 'object'], [() => true, 'function'], [1n, 'bigint'], [Symbol('x'), 'symbol'] // eslint-disable-line no-new-wrappers
  ]
  for (const name of ['tokenInBlocklistLoader', 'tokenVerificationLoader'] as const) {
    for (const [value, kind] of rows) {
      for (const wrap of [(value: unknown) => value, async (value: unknown) => value]) {
        const answer = await judge(t, { [name]: () => wrap(value) }, { optional: true }, token)
        t.match(answer, { status: 500, body: { code: 'FST_JWT_EXT_USAGE', message: `${name} must return true or false, not ${kind}` } })
      }
    }
  }
})

t.test('any other answer of a store than true or false is a 500 that names the method, never a pass, and ends no session', async (t) => {
  const rows: [unknown, string][] = [[undefined, 'undefined'], [null, 'null'], [0, 'number'], [1, 'number'], ['', 'string'], ['false', 'string'], [{}, 'object'], [[], 'object']]
  for (const [value, kind] of rows) {
    for (const wrap of [(value: unknown) => value, async (value: unknown) => value]) {
      const store = { ...memoryStore(), isRevoked: () => wrap(value) as boolean }
      const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', store })
      const rules: JwtRule[] = [{}, { storeFailure: 'open' }, { optional: true, storeFailure: 'open' }]
      for (const [path, rule] of rules.entries()) app.get(`/${path}`, { preHandler: app.jwtRequired(rule) }, async () => 'in')
      const { accessToken } = await app.createTokenPair('ada')
      for (const path of rules.keys()) {
        const response = await app.inject({ url: `/${path}`, cookies: { access_token_cookie: accessToken } })
        t.match(response.json(), { statusCode: 500, code: 'FST_JWT_EXT_USAGE', message: `The store's isRevoked must return true or false, not ${kind}` })
        t.strictSame(response.cookies, [])
      }
    }
  }
})

t.test('a loader whose answer can only be waited for by a callback is waited for, or refused: never a pass', async (t) => {
  const token = forge({ sub: 'ada' })
  // What has a `then` that gives nothing back, as a Fastify reply has.
  const later = (value: unknown): unknown => ({ then: (settle: (value: unknown) => void) => { setImmediate(settle, value) } })
  const unhandled: unknown[] = []
  const listen = (error: unknown): void => { unhandled.push(error) }
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', listen)
  t.teardown(() => {
    process.off('uncaughtException', listen)
    for (const one of before) process.on('uncaughtException', one)
  })
  const rows: JwtExtendedOptions[] = [
    { tokenInBlocklistLoader: () => later(true) as never },
    { tokenVerificationLoader: () => later(false) as never },
    { userLookupLoader: () => later(null) as never },
    { userLookupLoader: () => Object.assign(() => {}, later(undefined)) as never },
  ]
  for (const options of rows) {
    const { status } = await judge(t, options, {}, token)
    t.not(status, 200, Object.keys(options).join())
    await new Promise(setImmediate)
  }
  await new Promise(setImmediate)
  t.strictSame(unhandled, [])
})

t.test('a loader that throws or rejects is a 500 or the status of its error: never a pass, and never anonymous', async (t) => {
  const token = forge({ sub: 'ada' })
  const failures: [thrown: unknown, status: number, message: string][] = [
    [new Error('the database is down'), 500, 'the database is down'],
    [Object.assign(new Error('try later'), { statusCode: 503 }), 503, 'try later'],
    [Object.assign(new Error('gone'), { statusCode: 418 }), 418, 'gone'],
    [Object.assign(new Error('a success that is none'), { statusCode: 200 }), 500, 'a success that is none'],
    [new TypeError('a mistake'), 500, 'a mistake'],
    [undefined, 500, 'A loader threw something that is no Error'],
    [null, 500, 'A loader threw something that is no Error'],
    ['text', 500, 'A loader threw something that is no Error'],
    [false, 500, 'A loader threw something that is no Error'],
    [{ statusCode: 200, message: 'x' }, 500, 'A loader threw something that is no Error'],
  ]
  for (const name of ['tokenInBlocklistLoader', 'tokenVerificationLoader', 'userLookupLoader', 'decodeKeyLoader'] as const) {
    for (const [thrown, status, message] of failures) {
      for (const fail of [() => { throw thrown }, async () => { throw thrown }, async () => { await new Promise(setImmediate); throw thrown }]) {
        const answer = await judge(t, { [name]: fail }, { optional: true }, token)
        t.equal(answer.status, status, `${name}: ${String(thrown)}`)
        t.equal(answer.body['message'], message)
      }
    }
  }
})

t.test('a user that is not found is a 401 that names the identity', async (t) => {
  for (const user of [null, undefined]) {
    for (const wrap of [(value: typeof user) => value, async (value: typeof user) => value]) {
      t.match(await judge(t, { userLookupLoader: () => wrap(user) }, {}, forge({ sub: 'ada' })), { status: 401, body: { msg: 'Error loading the user ada' } })
    }
  }
  const options = { identityClaim: 'user', userLookupLoader: () => null }
  for (const [user, spelled] of [[5, '5'], [null, 'null'], [{ id: 1 }, '{"id":1}'], [['a'], '["a"]'], ['', '']] as const) {
    t.equal((await judge(t, options, {}, forge({ user }))).body['msg'], `Error loading the user ${spelled}`)
  }
})

t.test('an identity of any depth can be named in a refusal', async (t) => {
  const answer = await judge(t, { identityClaim: 'user', userLookupLoader: () => null }, {}, forge(`{"user":${'['.repeat(5000)}${']'.repeat(5000)}}`))
  t.equal(answer.status, 401)
})

t.test('a token is judged by one reading of the clock for all its loaders', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenInBlocklistLoader: async () => { moveClock(t, 120); return false } })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const headers = bearer(await app.createAccessToken('ada', { expiresDelta: 60 }))
  t.equal((await app.inject({ url: '/', headers })).statusCode, 200)
  t.equal((await app.inject({ url: '/', headers })).statusCode, 401)
})

t.test('a token that expires while its key is fetched has expired', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeKeyLoader: async () => { moveClock(t, 120); return SECRET } })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada', { expiresDelta: 60 })) })
  t.equal(response.statusCode, 401)
  t.strictSame(response.json(), { msg: 'Token has expired' })
})

t.test('a token that becomes valid while its key is fetched is valid', async (t) => {
  stopClock(t, NOW)
  const { status } = await judge(t, { decodeKeyLoader: async () => { moveClock(t, 120); return SECRET } }, undefined, forge({ sub: 'ada', nbf: NOW + 60 }))
  t.equal(status, 200)
})

t.test('optional forgives only that no location holds a token', async (t) => {
  const bad: [token: string, status: number][] = [
    ['x', 422], [forge({ sub: 'ada' }, { alg: 'none' }), 422], [forge({ sub: 'ada' }, { alg: 'HS256' }, 'another'), 422],
    [forge({}), 422], [forge({ sub: 'ada', exp: 1 }), 401], [forge({ sub: 'ada', type: 'refresh' }), 422], [forge({ sub: 'ada', nbf: 9e9 }), 422],
    [forge({ sub: 'revoked' }), 401], [forge({ sub: 'refused' }), 400], [forge({ sub: 'unknown' }), 401]
  ]
  const options: JwtExtendedOptions = {
    tokenInBlocklistLoader: (_header, { sub }) => sub === 'revoked',
    tokenVerificationLoader: (_header, { sub }) => sub !== 'refused',
    userLookupLoader: (_header, { sub }) => sub === 'unknown' ? null : {},
  }
  for (const [token, status] of bad) t.equal((await judge(t, options, { optional: true }, token)).status, status, token)
  t.equal((await judge(t, options, { optional: true, fresh: true }, forge({ sub: 'ada' }))).status, 401)
})

t.test('no loader is asked on an optional route without a token', async (t) => {
  let asked = 0
  const ask = (): never => { asked++; throw new Error('asked') }
  const app = await buildApp(t, { secretKey: SECRET, tokenInBlocklistLoader: ask, tokenVerificationLoader: ask, userLookupLoader: ask, decodeKeyLoader: ask })
  app.get('/', { preHandler: app.jwtRequired({ optional: true }) }, async () => 'in')
  t.equal((await app.inject('/')).body, 'in')
  t.equal(asked, 0)
})

t.test('OPTIONS is never guarded, and leaves the request unguarded', async (t) => {
  let asked = 0
  const app = await buildApp(t, { secretKey: SECRET, tokenInBlocklistLoader: () => { asked++; return false } })
  app.addHook('onRequest', app.jwtRequired())
  app.options('/', async (request) => {
    let read = 'readable'
    try { read = String(request.jwtIdentity) } catch (error) { read = (error as Error).message }
    return { read, verdict: await request.verifyJwt() }
  })
  app.get('/', async () => 'in')
  for (const headers of [{}, bearer('x'), bearer(await app.createAccessToken('ada'))]) {
    const response = await app.inject({ method: 'OPTIONS', url: '/', headers })
    t.equal(response.statusCode, 200)
    t.match(response.json(), { read: /no guard has passed this request/, verdict: null })
  }
  t.equal(asked, 0)
  t.equal((await app.inject('/')).statusCode, 401)
})

t.test('every other method is guarded, HEAD included', async (t) => {
  const app = await buildApp(t)
  app.all('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const headers = bearer(await app.createAccessToken('ada'))
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const) {
    t.equal((await app.inject({ method, url: '/' })).statusCode, 401, method)
    t.equal((await app.inject({ method, url: '/', headers })).statusCode, 200, method)
  }
})

t.test('verifyJwt judges as a guard does: it gives the token, null for nobody, or throws the typed error', async (t) => {
  const app = await buildApp(t)
  app.get('/', async (request) => {
    const verdict = await request.verifyJwt({ optional: true })
    return { keys: verdict && Object.keys(verdict).sort(), sub: verdict?.jwtPayload.sub, alg: verdict?.jwtHeader.alg, state: request.jwtIdentity }
  })
  app.get('/strict', async (request) => { await request.verifyJwt(); return 'in' })
  t.strictSame((await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })).json(), { keys: ['jwtHeader', 'jwtPayload'], sub: 'ada', alg: 'HS256', state: 'ada' })
  t.strictSame((await app.inject('/')).json(), { keys: null, state: null })
  const refused = await app.inject('/strict')
  t.equal(refused.statusCode, 401)
  t.match(refused.json(), { code: 'FST_JWT_EXT_NO_AUTHORIZATION', message: 'Missing Authorization Header' })
  t.equal(refused.headers['www-authenticate'], 'Bearer')
})
