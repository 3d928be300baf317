import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import jwtExtended, { JwtError, type JwtFailure, type JwtRule } from '../index.js'
import { createManager } from '../lib/manager.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { moveClock } from './support/clock.js'
import { forge } from './support/forge.js'
import { ecPair } from './support/keys.js'

const METHODS = ['createAccessToken', 'createRefreshToken', 'createToken', 'jwtRequired', 'decodeToken', 'getUnverifiedJwtHeaders', 'getJti', 'getCsrfToken'] as const

t.test('the instance shows the methods of the unnamed manager as its own', async (t) => {
  const app = await buildApp(t)
  const manager = app.jwtManager()
  for (const name of METHODS) {
    t.type(app[name], 'function')
    t.equal(app[name], manager[name], name)
  }
  t.type(manager.verifyJwt, 'function')
})

t.test('a manager cannot be changed, and its methods work without it', async (t) => {
  const app = await buildApp(t)
  t.ok(Object.isFrozen(app.jwtManager()))
  const { createAccessToken, createRefreshToken, decodeToken, getJti, getCsrfToken, getUnverifiedJwtHeaders, jwtRequired } = app
  const token = await createAccessToken('ada')
  const payload = await decodeToken(token)
  t.equal(await getJti(token), payload.jti)
  t.equal(await getCsrfToken(token), payload.csrf)
  t.equal(getUnverifiedJwtHeaders(token).alg, 'HS256')
  t.ok(await createRefreshToken('ada'))
  t.type(jwtRequired(), 'function')
})

t.test('decodeToken verifies signature and claims, and looks neither at type, freshness nor revocation', async (t) => {
  const asked = (): never => { throw new Error('asked') }
  const app = await buildApp(t, { secretKey: SECRET, tokenInBlocklistLoader: asked, tokenVerificationLoader: asked, userLookupLoader: asked })
  t.match(await app.decodeToken(await app.createAccessToken('ada')), { sub: 'ada', type: 'access' })
  t.match(await app.decodeToken(await app.createRefreshToken('ada')), { sub: 'ada', type: 'refresh' })
  t.match(await app.decodeToken(forge({ sub: 'ada', type: 'other' })), { type: 'other' })
  t.ok(Object.isFrozen(await app.decodeToken(forge({ sub: 'ada' }))))
})

t.test('decodeToken rejects with the typed errors, dressed as the configuration has it', async (t) => {
  for (const [errorProfile, status, challenge] of [['flask', 422, undefined], ['rfc6750', 401, 'Bearer error="invalid_token", error_description="Malformed token"']] as const) {
    const app = await buildApp(t, { secretKey: SECRET, errorProfile })
    const error = await app.decodeToken('x.y.z').then(() => undefined, (error: unknown) => error)
    t.ok(error instanceof JwtError)
    t.match(error, { code: 'FST_JWT_EXT_INVALID_TOKEN', statusCode: status, message: 'Malformed token' })
    t.equal((error as JwtFailure).challenge, challenge)
    const header = (() => { try { return app.getUnverifiedJwtHeaders('x.y.z') } catch (error) { return error } })()
    t.match(header, { code: 'FST_JWT_EXT_INVALID_TOKEN', statusCode: status })
    await t.rejects(app.getCsrfToken(forge({ sub: 'ada' })), { code: 'FST_JWT_EXT_INVALID_TOKEN', statusCode: status, message: 'Missing claim: csrf' })
    await t.rejects(app.getJti('x.y.z'), { code: 'FST_JWT_EXT_INVALID_TOKEN', statusCode: status })
  }
})

t.test('decodeToken refuses what is no text as a token', async (t) => {
  const app = await buildApp(t)
  for (const token of [undefined, null, 5, {}, [], Buffer.from(await app.createAccessToken('ada')), true]) {
    await t.rejects(app.decodeToken(token as never), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'The token must be a string' })
    await t.rejects(app.getJti(token as never), { code: 'FST_JWT_EXT_INVALID_TOKEN' })
  }
  for (const token of ['', 'x', 'x.y']) await t.rejects(app.decodeToken(token), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Not enough segments' })
})

t.test('an expired token comes with its payload, and allowExpired does not look at the expiry', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada', { expiresDelta: 60 })
  moveClock(t, 60)
  await t.rejects(app.decodeToken(token), { code: 'FST_JWT_EXT_EXPIRED', jwtPayload: { sub: 'ada', type: 'access' }, jwtHeader: { alg: 'HS256' } })
  await t.rejects(app.decodeToken(token, { allowExpired: false }), { code: 'FST_JWT_EXT_EXPIRED' })
  await t.rejects(app.decodeToken(token, { allowExpired: undefined }), { code: 'FST_JWT_EXT_EXPIRED' })
  t.match(await app.decodeToken(token, { allowExpired: true }), { sub: 'ada' })
  await t.rejects(app.getJti(token), { code: 'FST_JWT_EXT_EXPIRED' })
  await t.rejects(app.getCsrfToken(token), { code: 'FST_JWT_EXT_EXPIRED' })
})

t.test('allowExpired forgives nothing else', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeAudience: 'api' })
  const rows: [token: string, message: string][] = [
    [forge({ sub: 'ada', aud: 'api', exp: 1 }, { alg: 'HS256' }, 'another'), 'Signature verification failed'],
    [forge({ sub: 'ada', aud: 'api', exp: 1, nbf: 9e9 }), 'The token is not yet valid (nbf)'],
    [forge({ sub: 'ada', aud: 'api', exp: 1, iat: 9e9 }), 'The token is not yet valid (iat)'],
    [forge({ sub: 'ada', exp: 1 }), 'Token is missing the "aud" claim'],
    [forge({ sub: 'ada', aud: 'api', exp: '1' }), 'Expiration Time claim (exp) must be a number'],
    [forge({ aud: 'api', exp: 1 }), 'Missing claim: sub'],
  ]
  for (const [token, message] of rows) await t.rejects(app.decodeToken(token, { allowExpired: true }), { code: 'FST_JWT_EXT_INVALID_TOKEN', message })
  await t.rejects(app.decodeToken(forge({ sub: 'ada', aud: 'api', exp: 1, csrf: 'x' }), { allowExpired: true, csrfValue: 'y' }), { code: 'FST_JWT_EXT_CSRF' })
})

t.test('the options of decodeToken are checked', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  for (const csrfValue of [null, 5, true, {}, []]) await t.rejects(app.decodeToken(token, { csrfValue } as never), { code: 'FST_JWT_EXT_USAGE', message: 'csrfValue must be a string' })
  for (const allowExpired of [null, 0, 1, 'true', '', {}]) await t.rejects(app.decodeToken(token, { allowExpired } as never), { code: 'FST_JWT_EXT_USAGE', message: 'allowExpired must be true or false' })
})

t.test('decodeToken asks the loader of keys, at once or later, and its error comes through', async (t) => {
  const key = ecPair()
  for (const wrap of [<T>(one: T) => one, async <T>(one: T) => one]) {
    const app = await buildApp(t, { algorithm: 'ES256', privateKey: key.privateKey, decodeKeyLoader: () => wrap(key.publicKey) })
    t.match(await app.decodeToken(await app.createAccessToken('ada')), { sub: 'ada' })
  }
  const thrown = new Error('the key server is down')
  const down = await buildApp(t, { secretKey: SECRET, decodeKeyLoader: async () => { throw thrown } })
  t.equal(await down.decodeToken(await down.createAccessToken('ada')).then(() => 'passed', (error: unknown) => error), thrown)
})

t.test('getUnverifiedJwtHeaders gives the header of any token, verified or not', async (t) => {
  const app = await buildApp(t)
  t.strictSame(app.getUnverifiedJwtHeaders(forge({ sub: 'ada', exp: 1 }, { alg: 'HS256', kid: 'k', x: [1] }, 'another')), { alg: 'HS256', kid: 'k', x: [1] })
  t.strictSame(app.getUnverifiedJwtHeaders(forge({}, { alg: 'none' })), { alg: 'none' })
  for (const token of ['', 'x', 'x.y', 'x.y.z', forge({}, 'null'), forge({}, '[1]'), forge({}, '5')]) {
    t.throws(() => app.getUnverifiedJwtHeaders(token), { code: 'FST_JWT_EXT_INVALID_TOKEN' }, token)
  }
  for (const token of [undefined, null, 5, {}, []]) t.throws(() => app.getUnverifiedJwtHeaders(token as never), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'The token must be a string' })
})

t.test('getJti gives the id of a token that verifies, or null', async (t) => {
  const app = await buildApp(t)
  t.equal(await app.getJti(forge({ sub: 'ada', jti: 'x' })), 'x')
  t.equal(await app.getJti(forge({ sub: 'ada', jti: null })), null)
  t.equal(await app.getJti(forge({ sub: 'ada' })), null)
  await t.rejects(app.getJti(forge({ sub: 'ada', jti: 'x' }, { alg: 'HS256' }, 'another')), { code: 'FST_JWT_EXT_INVALID_TOKEN' })
})

t.test('getCsrfToken gives the CSRF value of a token that verifies, and rejects for one that has none', async (t) => {
  const app = await buildApp(t)
  t.equal(await app.getCsrfToken(forge({ sub: 'ada', csrf: 'x' })), 'x')
  for (const csrf of [undefined, null, 5, ['x']]) await t.rejects(app.getCsrfToken(forge({ sub: 'ada', csrf })), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Missing claim: csrf' })
  await t.rejects(app.getCsrfToken(forge({ sub: 'ada', csrf: 'x' }, { alg: 'HS256' }, 'another')), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Signature verification failed' })
})

t.test('a manager verifies a request by its own configuration', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(jwtExtended, { secretKey: SECRET })
  await app.register(jwtExtended, { secretKey: `${SECRET}-partner`, namespace: 'partner', headerName: 'X-Partner', errorProfile: 'rfc6750' })
  const partner = app.jwtManager('partner')
  app.get('/', async (request) => {
    const own = await request.verifyJwt({ optional: true })
    const theirs = await partner.verifyJwt(request, { optional: true })
    return [own?.jwtPayload.sub ?? null, theirs?.jwtPayload.sub ?? null]
  })
  app.get('/strict', async (request) => { await partner.verifyJwt(request); return 'in' })
  const [ada, bob] = [await app.createAccessToken('ada'), await partner.createAccessToken('bob')]
  t.strictSame((await app.inject({ url: '/', headers: { ...bearer(ada), 'x-partner': `Bearer ${bob}` } })).json(), ['ada', 'bob'])
  t.strictSame((await app.inject({ url: '/', headers: bearer(ada) })).json(), ['ada', null])
  const crossed = await app.inject({ url: '/strict', headers: { 'x-partner': `Bearer ${ada}` } })
  t.equal(crossed.statusCode, 401, 'its own profile')
  t.equal(crossed.json().message, 'Signature verification failed')
})

t.test('verifyJwt waits for asynchronous parts and lets the errors of loaders through as they are', async (t) => {
  const thrown = Object.assign(new Error('busy'), { statusCode: 503 })
  let failing = false
  const app = await buildApp(t, { secretKey: SECRET, tokenInBlocklistLoader: async () => { if (failing) throw thrown; return false } })
  let seen: unknown
  app.get('/', async (request: FastifyRequest) => {
    const verdict = await request.verifyJwt().catch((error: unknown) => { seen = error; throw error })
    return verdict?.jwtPayload.sub
  })
  const headers = bearer(await app.createAccessToken('ada'))
  t.equal((await app.inject({ url: '/', headers })).body, 'ada')
  failing = true
  t.equal((await app.inject({ url: '/', headers })).statusCode, 503)
  t.equal(seen, thrown)
})

t.test('a manager is made of options alone, and refuses those that cannot work', async (t) => {
  const { manager, namespace } = createManager({ secretKey: SECRET, namespace: 'n' })
  t.equal(namespace, 'n')
  t.match(await manager.decodeToken(await manager.createAccessToken('ada')), { sub: 'ada' })
  t.throws(() => createManager({ secretKey: '' }), { code: 'FST_JWT_EXT_USAGE' })
  t.throws(() => createManager(undefined), { code: 'FST_JWT_EXT_USAGE' })
})

/** Tells by how many MiB the heap has grown since the start, when all that may go has gone. */
function watchHeap (): { start (): Promise<void>, growth (most: number): Promise<number> } {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heap = async (): Promise<number> => {
    await sleep(50)
    collect()
    return process.memoryUsage().heapUsed / 2 ** 20
  }
  let before = 0
  return {
    async start () { before = await heap() },
    // What a busy machine has not let go of yet goes a moment later; what is kept does not.
    async growth (most) {
      let growth = await heap() - before
      for (let tries = 0; growth > most && tries < 40; tries++) growth = await heap() - before
      return growth
    },
  }
}

t.test('rules that clients make are not kept for ever', async (t) => {
  const { start, growth } = watchHeap()
  const app = await buildApp(t)
  app.get<{ Params: { id: string } }>('/:id', async (request) => { await request.verifyJwt({ scopes: `project:${request.params.id}` }) })
  const visit = async (from: number, count: number): Promise<void> => {
    let refused = 0
    for (let i = from; i < from + count; i++) if ((await app.inject(`/${i}`)).statusCode === 401) refused++
    t.equal(refused, count)
  }
  await visit(0, 1500)
  await start()
  await visit(1500, 6000)
  const grown = await growth(12)
  t.ok(grown <= 12, `${grown.toFixed(1)} MiB`)
})

t.test('rules of any length that clients make are judged by, and not kept', async (t) => {
  const { start, growth } = watchHeap()
  const app = await buildApp(t, { secretKey: SECRET }, { bodyLimit: 2 ** 20 })
  app.post<{ Body: JwtRule }>('/', async (request) => await request.verifyJwt(request.body))
  const long = 'x'.repeat(200_000)
  const rules = (i: number): JwtRule[] => [
    { scopes: `${i}${long}` }, { scopes: Array.from({ length: 20_000 }, (_, n) => `${i}.${n}.scope`) }, { roles: `${i}${long}` }, { roles: ['admin', `${i}${long}`] },
  ]
  const headers = bearer(await app.createAccessToken('ada', { additionalClaims: { roles: 'admin' } }))
  const visit = async (from: number, count: number): Promise<void> => {
    const statuses = new Set<string>()
    for (let i = from; i < from + count; i++) {
      const answers = await Promise.all(rules(i).map((payload) => app.inject({ method: 'POST', url: '/', headers, payload })))
      statuses.add(answers.map((answer) => answer.statusCode).join())
    }
    t.strictSame([...statuses], ['403,403,403,200'])
  }
  await visit(0, 2)
  await start()
  await visit(2, 50)
  const grown = await growth(12)
  t.ok(grown <= 12, `${grown.toFixed(1)} MiB`)
})
