import Fastify, { type FastifyInstance, type FastifyTypeProvider, type RouteShorthandOptions } from 'fastify'
import jwtExtended, { type JwtGuard } from 'fastify-jwt-extended'
import { describe, expect, test } from 'tstyche'

declare const app: FastifyInstance

describe('a guard', () => {
  test('is what jwtRequired gives', () => {
    expect(app.jwtRequired()).type.toBe<JwtGuard>()
    expect(app.jwtManager('partner').jwtRequired({ fresh: true })).type.toBe<JwtGuard>()
  })

  test('stands in the four hooks of a route, alone or in a list', () => {
    const guard = app.jwtRequired()
    expect(app.get).type.toBeCallableWith('/', { onRequest: guard }, async () => 'ok')
    expect(app.get).type.toBeCallableWith('/', { preParsing: guard }, async () => 'ok')
    expect(app.get).type.toBeCallableWith('/', { preValidation: guard }, async () => 'ok')
    expect(app.get).type.toBeCallableWith('/', { preHandler: guard }, async () => 'ok')
    expect<RouteShorthandOptions['onRequest']>().type.toBeAssignableFrom([guard, guard])
    expect<RouteShorthandOptions['preParsing']>().type.toBeAssignableFrom([guard, guard])
    expect<RouteShorthandOptions['preValidation']>().type.toBeAssignableFrom([guard, guard])
    expect<RouteShorthandOptions['preHandler']>().type.toBeAssignableFrom([guard, guard])
    app.get('/list', { onRequest: [guard], preParsing: [guard], preValidation: [guard], preHandler: [guard] }, async () => 'ok')
    app.route({
      method: 'GET', url: '/route', onRequest: guard, preParsing: guard, preValidation: guard, preHandler: guard,
      handler: async () => 'ok',
    })
  })

  test('stands beside hooks of the application', () => {
    app.post('/', { preHandler: [app.jwtRequired(), async (request) => { request.log.info('in') }] }, async () => 'ok')
  })

  test('does not stand in hooks that come too late', () => {
    expect<RouteShorthandOptions['preSerialization']>().type.not.toBeAssignableFrom(app.jwtRequired())
    expect<RouteShorthandOptions['onError']>().type.not.toBeAssignableFrom(app.jwtRequired())
  })

  test('guards a scope as its hook', () => {
    const guard = app.jwtRequired({ optional: true })
    expect(app.addHook('onRequest', guard)).type.toBeAssignableTo<FastifyInstance>()
    expect(app.addHook('preParsing', guard)).type.toBeAssignableTo<FastifyInstance>()
    expect(app.addHook('preValidation', guard)).type.toBeAssignableTo<FastifyInstance>()
    expect(app.addHook('preHandler', guard)).type.toBeAssignableTo<FastifyInstance>()
  })

  test('keeps the types of a route with generics', () => {
    interface Route { Body: { title: string }, Params: { id: string }, Querystring: { page?: number }, Reply: { 200: { id: string } } }
    const guard = app.jwtRequired()
    app.put<Route>('/:id', {
      onRequest: guard, preParsing: [guard], preValidation: guard, preHandler: [guard, guard],
    }, async (request, reply) => {
      expect(request.body.title).type.toBe<string>()
      expect(request.params.id).type.toBe<string>()
      expect(request.jwtIdentity).type.toBe<string | null>()
      await request.verifyJwt()
      await app.jwtManager().verifyJwt(request)
      app.jwtManager().unsetJwtCookies(reply)
      return await reply.setAccessCookies('token').code(200).send({ id: request.params.id })
    })
  })

  test('keeps what a configuration puts on the route', () => {
    interface Config { audit: boolean }
    app.get<object, Config>('/config', { config: { audit: true }, onRequest: app.jwtRequired() }, async (request) => {
      expect(request.routeOptions.config.audit).type.toBe<boolean>()
    })
  })
})

describe('on other servers', () => {
  test('a guard stands on http2', async () => {
    const server = Fastify({ http2: true, https: { key: '', cert: '' } })
    await server.register(jwtExtended, { secretKey: 'secret' })
    const guard = server.jwtRequired()
    server.get('/', { onRequest: guard, preParsing: [guard], preValidation: guard, preHandler: [guard] }, async (request, reply) => {
      expect(request.jwtIdentity).type.toBe<string | null>()
      await request.verifyJwt()
      server.jwtManager().setAccessCookies(reply, 'token')
      return await reply.unsetJwtCookies().send('ok')
    })
    server.addHook('onRequest', guard)
    server.addHook('preParsing', guard)
    server.addHook('preValidation', guard)
    server.addHook('preHandler', guard)
  })

  test('a manager judges a request of http2', () => {
    const server = Fastify({ http2: true })
    server.get('/', async (request) => {
      expect(server.jwtManager().verifyJwt).type.toBeCallableWith(request)
    })
  })

  test('a guard stands on https', async () => {
    const server = Fastify({ https: { key: '', cert: '' } })
    await server.register(jwtExtended, { secretKey: 'secret' })
    server.get('/', { onRequest: server.jwtRequired() }, async (request) => await server.jwtManager().verifyJwt(request))
    server.addHook('preHandler', server.jwtRequired())
  })

  interface Provider extends FastifyTypeProvider {
    validator: this['schema'] extends { kind: 'text' } ? string : this['schema'] extends { kind: 'number' } ? number : unknown
    serializer: unknown
  }

  test('a guard stands with a type provider', async () => {
    const server = Fastify().withTypeProvider<Provider>()
    await server.register(jwtExtended, { secretKey: 'secret' })
    const guard = server.jwtRequired()
    server.post('/', {
      schema: { body: { kind: 'number' } },
      onRequest: guard, preParsing: [guard], preValidation: guard, preHandler: [guard],
    }, async (request, reply) => {
      expect(request.jwtIdentity).type.toBe<string | null>()
      await server.jwtManager().verifyJwt(request)
      return await reply.setRefreshCookies('token').send('ok')
    })
    server.addHook('onRequest', guard)
    server.addHook('preHandler', guard)
  })

  test('a guard leaves a type provider its types', () => {
    const server = Fastify().withTypeProvider<Provider>()
    const guard = server.jwtRequired()
    server.post('/', { schema: { body: { kind: 'number' } }, onRequest: guard }, async (request) => {
      expect(request.body).type.toBe<number>()
    })
    server.post('/', { schema: { body: { kind: 'text' } }, preParsing: [guard], preValidation: guard }, async (request) => {
      expect(request.body).type.toBe<string>()
    })
    server.route({
      method: 'POST', url: '/', schema: { body: { kind: 'number' } }, preHandler: [guard],
      handler: async (request) => { expect(request.body).type.toBe<number>() },
    })
  })
})

describe('a rule', () => {
  test('takes its members, each of its kind', () => {
    expect(app.jwtRequired).type.toBeCallableWith({
      optional: true, fresh: true, refresh: false, verifyType: false, skipRevocationCheck: true, locations: ['cookies', 'json'],
    })
    expect(app.jwtRequired).type.toBeCallableWith({ locations: 'query_string' })
    expect(app.jwtRequired).type.toBeCallableWith(undefined)
  })

  test('takes scopes, roles and a type', () => {
    expect(app.jwtRequired).type.toBeCallableWith({ scopes: 'reports:read', roles: 'admin', type: 'invite' })
    expect(app.jwtRequired).type.toBeCallableWith({ scopes: ['reports:read', 'reports:write'], roles: ['admin', 'editor'] })
    expect(app.jwtRequired).type.toBeCallableWith({ scopes: ['reports:read'] as const, roles: Object.freeze(['admin']) })
    expect(app.jwtRequired).type.toBeCallableWith({ scopes: undefined, roles: undefined, type: undefined })
    expect(app.jwtRequired).type.not.toBeCallableWith({ scopes: 7 })
    expect(app.jwtRequired).type.not.toBeCallableWith({ scopes: [7] })
    expect(app.jwtRequired).type.not.toBeCallableWith({ roles: { admin: true } })
    expect(app.jwtRequired).type.not.toBeCallableWith({ type: ['invite'] })
    expect(app.jwtRequired).type.not.toBeCallableWith({ scope: 'reports:read' })
  })

  test('takes nothing else', () => {
    expect(app.jwtRequired).type.not.toBeCallableWith(null)
    expect(app.jwtRequired).type.not.toBeCallableWith('headers')
    expect(app.jwtRequired).type.not.toBeCallableWith({ optinal: true })
    expect(app.jwtRequired).type.not.toBeCallableWith({ fresh: 'yes' })
    expect(app.jwtRequired).type.not.toBeCallableWith({ locations: 'body' })
    expect(app.jwtRequired).type.not.toBeCallableWith({ locations: ['headers', 'body'] })
  })
})
