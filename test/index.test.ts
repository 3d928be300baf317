import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import * as entry from '../index.js'
import jwtExtended, { type JwtExtendedOptions } from '../index.js'
import { bearer, buildApp, registrationError, SECRET } from './support/app.js'

/** An empty Fastify, closed when the test ends. */
function bare (t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

async function works (app: FastifyInstance): Promise<boolean> {
  const response = await app.inject({ url: '/me', headers: bearer(await app.createAccessToken('ada')) })
  return response.body === 'ada' && (await app.inject('/me')).statusCode === 401
}

t.test('a guard lets a request with a token in and says who it is', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET })
  app.get('/me', { preHandler: app.jwtRequired() }, async (request) => ({ id: request.jwtIdentity }))
  const token = await app.createAccessToken('ada')
  const response = await app.inject({ url: '/me', headers: bearer(token) })
  t.equal(response.statusCode, 200)
  t.same(response.json(), { id: 'ada' })
  const refused = await app.inject({ url: '/me' })
  t.equal(refused.statusCode, 401)
  t.same(refused.json(), { msg: 'Missing Authorization Header' })
})

t.test('the plugin has the name and the range of Fastify that it promises', async (t) => {
  const described = jwtExtended as unknown as Record<symbol, unknown>
  t.match(described[Symbol.for('plugin-meta')], { name: 'fastify-jwt-extended', fastify: '5.x' })
  t.equal(described[Symbol.for('skip-override')], true)
  const app = await buildApp(t)
  t.ok(app.hasPlugin('fastify-jwt-extended'))
})

t.test('the plugin may be registered in each way that Fastify knows', async (t) => {
  const route = (scope: FastifyInstance): void => { scope.get('/me', { preHandler: (request, reply, done) => { scope.jwtRequired()(request, reply, done) } }, async (request) => request.jwtIdentity) }
  const options: JwtExtendedOptions = { secretKey: SECRET }

  const awaited = bare(t)
  await awaited.register(jwtExtended, options)
  route(awaited)
  t.ok(await works(awaited), 'awaited')

  const chained = bare(t)
  chained.register(jwtExtended, options).after(() => { route(chained) })
  await chained.ready()
  t.ok(await works(chained), 'not awaited')

  const late = bare(t)
  late.register(jwtExtended, options)
  late.register(async (scope) => { scope.get('/me', { preHandler: scope.jwtRequired() }, async (request) => request.jwtIdentity) })
  await late.ready()
  t.ok(await works(late), 'used by a later plugin')

  const early = bare(t)
  early.register(jwtExtended, options)
  route(early)
  await early.ready()
  t.ok(await works(early), 'declared before it is loaded')

  const callback = bare(t)
  callback.register(jwtExtended, options)
  callback.after(() => { route(callback) })
  await new Promise<void>((resolve, reject) => {
    callback.ready((error) => { if (error) reject(error); else resolve() })
  })
  t.ok(await works(callback), 'with a callback')

  const wrapped = bare(t)
  await wrapped.register({ default: jwtExtended } as unknown as typeof jwtExtended, options)
  route(wrapped)
  t.ok(await works(wrapped), 'as require() gives it')

  const module = bare(t)
  await module.register(entry as unknown as typeof jwtExtended, options)
  route(module)
  t.ok(await works(module), 'as import() gives it')

  const promised = bare(t)
  await promised.register(import('../index.js'), options)
  route(promised)
  t.ok(await works(promised), 'as a promise of the module')

  const computed = bare(t)
  computed.decorate('secret', SECRET)
  await computed.register(jwtExtended, (parent: FastifyInstance) => ({ secretKey: (parent as FastifyInstance & { secret: string }).secret }))
  route(computed)
  t.ok(await works(computed), 'with options that are computed')
})

t.test('a bad configuration fails ready() and listen(), also where the registration is not awaited', async (t) => {
  for (const start of [async (app: FastifyInstance) => { await app.ready() }, async (app: FastifyInstance) => { await app.listen({ port: 0 }) }]) {
    const app = bare(t)
    app.register(jwtExtended, { secretKey: '' })
    await t.rejects(start(app), { code: 'FST_JWT_EXT_USAGE', message: 'secretKey must not be empty' })
  }
  const app = bare(t)
  await t.rejects(async () => { await app.register(jwtExtended, { secretKey: SECRET, algoritm: 'HS512' } as JwtExtendedOptions) }, { message: "did you mean 'algorithm'?" })
  t.equal((await registrationError(t, {})).code, 'FST_JWT_EXT_USAGE')
})

t.test('a root route that is declared before the plugin is loaded is guarded all the same', async (t) => {
  const app = bare(t)
  app.register(jwtExtended, { secretKey: SECRET })
  app.register(async (scope) => { scope.addHook('onRequest', scope.jwtRequired()); scope.get('/in', async () => 'in') })
  app.get('/out', async () => 'out')
  await app.ready()
  t.equal((await app.inject('/in')).statusCode, 401)
  t.equal((await app.inject('/out')).body, 'out')
})

t.test('all that is promised is exported, and nothing that is not', async (t) => {
  t.strictSame(Object.keys(entry).sort(), [
    'CsrfError', 'ExpiredTokenError', 'FreshTokenRequiredError', 'InsufficientScopeError', 'InvalidHeaderError', 'InvalidQueryParamError', 'JwtDecodeError', 'JwtError',
    'JwtUsageError', 'KeySetUnavailableError', 'NoAuthorizationError', 'RevokedTokenError', 'StoreUnavailableError', 'UserClaimsVerificationError', 'UserLookupError', 'WrongTokenError',
    'default', 'memoryStore', 'openapiTransform', 'redisStore'
  ])
})

t.test('the instance, the request and the reply have the members that are promised', async (t) => {
  const app = await buildApp(t)
  for (const name of ['createAccessToken', 'createRefreshToken', 'createToken', 'jwtRequired', 'decodeToken', 'getUnverifiedJwtHeaders', 'getJti', 'getCsrfToken', 'rotateKeys', 'jwks', 'jwtManager']) {
    t.ok(app.hasDecorator(name), name)
  }
  for (const name of ['jwt', 'jwtHeader', 'jwtIdentity', 'jwtLocation', 'currentUser', 'verifyJwt']) t.ok(app.hasRequestDecorator(name), name)
  for (const name of ['setAccessCookies', 'setRefreshCookies', 'unsetJwtCookies', 'unsetAccessCookies', 'unsetRefreshCookies']) t.ok(app.hasReplyDecorator(name), name)
})

t.test('the reply sets and clears cookies by the configuration of its route\'s scope', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, accessCookieName: 'outer', refreshCookieName: 'outer_refresh' })
  const declare = (scope: FastifyInstance, url: string): void => {
    scope.get(url, async (_request, reply) => {
      reply.setAccessCookies(await scope.createAccessToken('ada')).setRefreshCookies(await scope.createRefreshToken('ada'))
      return 'set'
    })
    scope.get(`${url}/all`, async (_request, reply) => { reply.unsetJwtCookies(); return 'unset' })
    scope.get(`${url}/each`, async (_request, reply) => { reply.unsetAccessCookies().unsetRefreshCookies(); return 'unset' })
  }
  declare(app, '/outer')
  await app.register(async (child) => {
    await child.register(jwtExtended, { secretKey: SECRET, accessCookieName: 'inner', refreshCookieName: 'inner_refresh' })
    declare(child, '/inner')
  })
  for (const name of ['outer', 'inner']) {
    for (const url of [`/${name}`, `/${name}/all`, `/${name}/each`]) {
      const { cookies } = await app.inject(url)
      t.strictSame(cookies.map((cookie) => cookie.name), [name, 'csrf_access_token', `${name}_refresh`, 'csrf_refresh_token'], url)
      t.equal(cookies.every((cookie) => (cookie.value === '') === (url !== `/${name}`)), true)
    }
  }
})

t.test('the plugin lives beside others that decorate requests', async (t) => {
  const app = bare(t)
  app.decorateRequest('user' as never, null as never)
  await app.register(jwtExtended, { secretKey: SECRET })
  app.get('/me', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  t.ok(await works(app))
})

t.test('a name that somebody else has taken fails the registration', async (t) => {
  for (const occupy of [(app: FastifyInstance) => { app.decorate('jwtRequired' as never, 1 as never) }, (app: FastifyInstance) => { app.decorateRequest('jwt' as never, 1 as never) }]) {
    const app = bare(t)
    occupy(app)
    app.register(jwtExtended, { secretKey: SECRET })
    await t.rejects(async () => { await app.ready() }, { code: 'FST_ERR_DEC_ALREADY_PRESENT' })
  }
})
