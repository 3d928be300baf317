import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import t, { type Test } from 'tap'
import jwtExtended, { openapiTransform, type JwtExtendedOptions } from '../index.js'
import { bearer, SECRET } from './support/app.js'
import { buildDocumented, documentOf, faultsOf, swaggerOptions, VERSIONS } from './support/openapi.js'

const MESSAGE = { type: 'object', properties: { msg: { type: 'string' } }, required: ['msg'] }

for (const version of VERSIONS) {
  t.test(`${version}: a guarded route says what it takes and how it refuses, another one says nothing`, async (t) => {
    const app = await buildDocumented(t, {}, swaggerOptions(version))
    app.get('/open', async () => 'in')
    app.get('/orders/:id', { onRequest: app.jwtRequired() }, async () => 'in')
    const document = await documentOf(app)
    t.strictSame(faultsOf(document), [])
    t.equal(document.openapi, version)
    t.strictSame(document.paths['/open']!['get'], { responses: { 200: { description: 'Default Response' } } })
    const { security, responses } = document.paths['/orders/{id}']!['get']!
    t.strictSame(security, [{ bearerAuth: [] }])
    t.strictSame(document.components.securitySchemes, { bearerAuth: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } })
    t.strictSame(Object.keys(responses), ['200', '401', '422'])
    t.strictSame(responses['200'], { description: 'Default Response' })
    t.strictSame(responses['401'], {
      description: 'Unauthorized: no token, an expired token',
      headers: { 'WWW-Authenticate': { schema: { type: 'string' }, description: 'The challenge (RFC 6750 §3)' } },
      content: { 'application/json': { schema: MESSAGE } },
    })
    t.strictSame(responses['422'], {
      description: 'Unprocessable Entity: a malformed header, an invalid token, a token of another type',
      content: { 'application/json': { schema: MESSAGE } },
    })
  })

  t.test(`${version}: a document of every location, rule and configuration is valid`, async (t) => {
    const app = await buildDocumented(t, { tokenLocation: ['headers', 'cookies', 'query_string', 'json'], errorProfile: 'rfc6750', userLookupLoader: () => 'x' }, swaggerOptions(version))
    await app.register(jwtExtended, { secretKey: SECRET, namespace: 'a b', openapi: true, headerType: 'JWT', throwErrors: true, tokenLocation: ['headers', 'cookies'] })
    for (const optional of [true, false]) {
      for (const refresh of [true, false]) {
        for (const [index, locations] of [undefined, 'headers', 'cookies', 'query_string', 'json'].entries()) {
          const rule = { optional, refresh, ...(locations !== undefined && { locations: locations as 'json' }) }
          app.post(`/${index}/${optional}/${refresh}/:id`, { preHandler: [app.jwtRequired(rule), app.jwtManager('a b').jwtRequired({ optional })] }, async () => 'in')
        }
      }
    }
    const document = await documentOf(app)
    t.strictSame(faultsOf(document), [])
    t.equal(Object.keys(document.paths).length, 20)
    t.match(app.swagger({ yaml: true }), /bearerAuth:\n/)
  })
}

t.test('a fault would be found', async (t) => {
  const app = await buildDocumented(t)
  app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
  const document = await documentOf(app)
  document.paths['/']!['get']!.security = [{ nowhere: ['admin'] }]
  document.components.securitySchemes!['bearerAuth'] = { type: 'apiKey' }
  t.equal(faultsOf(document).length, 3)
})

t.test('without the option nothing is said, and without @fastify/swagger nothing happens', async (t) => {
  const app = await buildDocumented(t, { openapi: false })
  app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
  t.strictSame((await documentOf(app)).paths['/']!['get'], { responses: { 200: { description: 'Default Response' } } })
  const alone = Fastify()
  t.teardown(() => alone.close())
  await alone.register(jwtExtended, { secretKey: SECRET, openapi: true })
  alone.get('/', { onRequest: alone.jwtRequired() }, async (request) => request.jwtIdentity)
  t.equal((await alone.inject({ url: '/', headers: bearer(await alone.createAccessToken('ada')) })).body, 'ada')
})

t.test('a document of Swagger 2.0 stays as it is', async (t) => {
  const app = await buildDocumented(t, {}, { swagger: { info: { title: 'shop', version: '1' } } })
  app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
  const { paths } = await documentOf(app)
  t.strictSame(paths['/']!['get'], { responses: { 200: { description: 'Default Response' } } })
})

t.test('the plugins may be registered in any order, and in scopes of their own', async (t) => {
  const options: JwtExtendedOptions = { secretKey: SECRET, openapi: true }
  const declare = (scope: FastifyInstance): void => { scope.get('/', { onRequest: scope.jwtRequired() }, async () => 'in') }
  const orders: ((app: FastifyInstance) => Promise<void>)[] = [
    async (app) => { await app.register(swagger, swaggerOptions()); await app.register(jwtExtended, options); declare(app) },
    async (app) => { await app.register(jwtExtended, options); await app.register(swagger, swaggerOptions()); declare(app) },
    async (app) => { app.register(jwtExtended, options); app.register(swagger, swaggerOptions()); app.after(() => { declare(app) }) },
    async (app) => {
      await app.register(swagger, swaggerOptions())
      await app.register(async (scope) => { await scope.register(jwtExtended, options); declare(scope) })
    },
  ]
  for (const [index, register] of orders.entries()) {
    const app = Fastify()
    t.teardown(() => app.close())
    await register(app)
    const document = await documentOf(app)
    t.strictSame(faultsOf(document), [], `order ${index}`)
    t.strictSame(document.paths['/']!['get']!.security, [{ bearerAuth: [] }], `order ${index}`)
  }
})

t.test('a guard is found in each kind of hook, alone and in a list, and where another plugin put it', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(jwtExtended, { secretKey: SECRET, openapi: true })
  await app.register(swagger, swaggerOptions())
  app.addHook('onRoute', (route) => { if (route.url === '/late') route.onRequest = [async () => {}, app.jwtRequired()] })
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
    app.get(`/${hook}`, { [hook]: app.jwtRequired() }, async () => 'in')
    app.get(`/${hook}/list`, { [hook]: [async () => {}, app.jwtRequired()] }, async () => 'in')
  }
  app.get('/late', async () => 'in')
  app.get('/hooked', { onRequest: async () => {} }, async () => 'in')
  const { paths } = await documentOf(app)
  for (const [path, { get }] of Object.entries(paths)) t.strictSame(get!.security, path === '/hooked' ? undefined : [{ bearerAuth: [] }], path)
  t.equal(Object.keys(paths).length, 10)
})

t.test("a scope's guard is seen on the routes of the scope and its children, whichever comes first", async (t) => {
  const app = await buildDocumented(t)
  app.get('/before', async () => 'in')
  app.register(async (members) => {
    members.get('/early', async () => 'in')
    members.register(async (child) => {
      child.get('/early/child', async () => 'in')
      await child.register(fastifyPlugin(async (shared) => { shared.addHook('preHandler', shared.jwtRequired({ scopes: 'admin' })) }))
      child.get('/child', { onRequest: child.jwtRequired({ fresh: true }) }, async () => 'in')
    })
    members.addHook('onRequest', members.jwtRequired())
    members.addHook('onSend', async () => {})
    members.get('/late', async () => 'in')
  })
  app.get('/after', async () => 'in')
  const document = await documentOf(app)
  t.strictSame(faultsOf(document), [])
  const { paths } = document
  for (const path of ['/before', '/after']) t.strictSame(paths[path]!['get'], { responses: { 200: { description: 'Default Response' } } }, path)
  for (const path of ['/early', '/late', '/early/child', '/child']) t.strictSame(paths[path]!['get']!.security, [{ bearerAuth: [] }], path)
  const reasons = (path: string, status: number): string | undefined => paths[path]!['get']!.responses[status]?.description
  t.equal(reasons('/late', 401), 'Unauthorized: no token, an expired token')
  t.equal(reasons('/late', 403), undefined)
  t.equal(reasons('/early/child', 403), 'Forbidden: a token without admin')
  t.equal(reasons('/child', 401), 'Unauthorized: no token, an expired token, a token that is not fresh')
  t.equal((await app.inject('/late')).statusCode, 401)
})

t.test('each guard of a scope and of those around it is described, the outermost first', async (t) => {
  const app = await buildDocumented(t, { tokenLocation: ['headers', 'query_string'] })
  app.register(async (scope) => {
    scope.addHook('onRequest', scope.jwtRequired({ roles: 'staff' }))
    scope.addHook('preHandler', scope.jwtRequired({ fresh: true }))
    scope.register(async (child) => {
      child.register(async (grandchild) => {
        grandchild.get('/plain', async () => 'in')
        grandchild.get('/own', { onRequest: grandchild.jwtRequired({ locations: ['cookies', 'headers'] }) }, async () => 'in')
      })
    })
  })
  const { paths } = await documentOf(app)
  t.strictSame(paths['/plain']!['get']!.security, [{ bearerAuth: [] }, { queryAuth: [] }])
  t.equal(paths['/plain']!['get']!.responses['401']!.description, 'Unauthorized: no token, an expired token, a token that is not fresh')
  t.equal(paths['/plain']!['get']!.responses['403']!.description, 'Forbidden: a token without one of the roles staff')
  t.strictSame(paths['/own']!['get']!.security, [{ bearerAuth: [] }, { queryAuth: [], cookieAuth: [] }])
})

t.test("a scope's guard is seen by a transform of one's own, too", async (t) => {
  const app = await buildDocumented(t, { openapi: false }, swaggerOptions('3.1.0', { transform: openapiTransform }))
  app.addHook('preParsing', app.jwtRequired({ scopes: 'orders' }))
  app.get('/', async () => 'in')
  t.strictSame((await documentOf(app)).paths['/']!['get']!.security, [{ bearerAuth: ['orders'] }])
})

t.test('only the guards of a configuration that asks for it are described', async (t) => {
  const app = await buildDocumented(t)
  await app.register(jwtExtended, { secretKey: SECRET, namespace: 'quiet' })
  app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
  app.get('/quiet', { onRequest: app.jwtManager('quiet').jwtRequired() }, async () => 'in')
  const { paths } = await documentOf(app)
  t.strictSame(paths['/']!['get']!.security, [{ bearerAuth: [] }])
  t.equal(paths['/quiet']!['get']!.security, undefined)
})

t.test('what a route says itself stays', async (t) => {
  const app = await buildDocumented(t, {}, swaggerOptions('3.0.3', { openapi: { components: { securitySchemes: { mine: { type: 'http', scheme: 'basic' } } } } }))
  const onRequest = app.jwtRequired()
  const teapot = { description: 'Mine', type: 'object', properties: { oops: { type: 'string' } } }
  app.get('/security', { onRequest, schema: { security: [{ mine: [] }] } }, async () => 'in')
  app.get('/none', { onRequest, schema: { security: [] } }, async () => 'in')
  app.get('/401', { onRequest, schema: { response: { 200: { description: 'Good', type: 'string' }, 401: teapot } } }, async () => 'in')
  app.get('/4xx', { onRequest, schema: { response: { '4xx': teapot } } }, async () => 'in')
  app.get('/default', { onRequest, schema: { response: { default: teapot } } }, async () => 'in')
  app.get('/empty', { onRequest, schema: { tags: ['some'], response: {} } }, async () => 'in')
  app.get('/hidden', { onRequest: app.jwtRequired({ locations: 'query_string' }), schema: { hide: true } }, async () => 'in')
  app.options('/options', { onRequest }, async () => 'in')
  const { paths, components } = await documentOf(app)
  t.strictSame(paths['/security']!['get']!.security, [{ mine: [] }])
  t.strictSame(paths['/none']!['get']!.security, [])
  t.strictSame(Object.keys(paths['/401']!['get']!.responses), ['200', '401', '422'])
  t.equal(paths['/401']!['get']!.responses['200']!.description, 'Good')
  t.equal(paths['/401']!['get']!.responses['401']!.description, 'Mine')
  t.strictSame(Object.keys(paths['/4xx']!['get']!.responses), ['4XX'])
  t.strictSame(Object.keys(paths['/default']!['get']!.responses), ['default'])
  t.strictSame(Object.keys(paths['/empty']!['get']!.responses), ['200', '401', '422'])
  t.strictSame(paths['/empty']!['get']!.tags, ['some'])
  t.notOk('/hidden' in paths)
  t.strictSame(paths['/options']!['options'], { responses: { 200: { description: 'Default Response' } } })
  t.strictSame(Object.keys(components.securitySchemes!), ['mine', 'bearerAuth'], 'what is hidden leaves no scheme either')
})

t.test("no answer is serialized differently: neither the application's nor the loaders' nor ours", async (t) => {
  const body = { msg: 'Say who you are', login: '/login', nested: { code: 7 } }
  async function answers (t: Test, openapi: boolean): Promise<unknown[]> {
    const app = await buildDocumented(t, { openapi, unauthorizedLoader: () => body })
    const onRequest = app.jwtRequired()
    const schema = { response: { 200: { type: 'object', properties: { shown: { type: 'string' } } } } }
    app.get('/filtered', { onRequest, schema }, async () => ({ shown: 1, hidden: true }))
    app.get('/plain', { onRequest }, async () => ({ shown: 1, hidden: true }))
    app.get('/refused', { onRequest }, async (_request, reply) => { reply.code(401); return { why: 'later' } })
    app.get('/thrown', { onRequest }, async () => { throw Object.assign(new Error('later'), { statusCode: 422 }) })
    app.get('/config', { onRequest, config: { mine: 1 } as object }, async (request) => ({ config: request.routeOptions.config, schema: request.routeOptions.schema ?? null }))
    await documentOf(app)
    const seen: unknown[] = []
    for (const url of ['/filtered', '/plain', '/refused', '/thrown', '/config']) {
      for (const headers of [{}, bearer('x'), bearer(await app.createAccessToken('ada'))]) {
        const response = await app.inject({ url, headers })
        seen.push([url, response.statusCode, response.headers['content-type'], response.body])
      }
    }
    return seen
  }
  const documented = await answers(t, true)
  t.strictSame(documented, await answers(t, false))
  t.strictSame(documented[0], ['/filtered', 401, 'application/json; charset=utf-8', JSON.stringify(body)])
  t.strictSame(documented[2], ['/filtered', 200, 'application/json; charset=utf-8', '{"shown":"1"}'])
})

t.test("a route's own transform comes first", async (t) => {
  const app = await buildDocumented(t)
  const onRequest = app.jwtRequired()
  const seen: object[] = []
  app.get('/renamed', { onRequest, config: { tier: 'paid', swaggerTransform: ({ schema, url, ...rest }) => { seen.push(rest); return { schema: { ...schema, tags: ['mine'] }, url: `/v1${url}` } } } }, async () => 'in')
  app.get('/half', { onRequest, schema: { tags: ['kept'] }, config: { swaggerTransform: (() => ({})) as never } }, async () => 'in')
  app.get('/off', { onRequest, schema: { tags: ['kept'] }, config: { swaggerTransform: false } }, async () => 'in')
  const { paths } = await documentOf(app)
  t.match(seen, [{ route: { method: 'GET', config: { tier: 'paid' } }, openapiObject: { openapi: '3.0.3' } }])
  t.strictSame(paths['/v1/renamed']!['get']!.tags, ['mine'])
  for (const path of ['/half', '/off']) t.strictSame(paths[path]!['get']!.tags, ['kept'])
  for (const { get } of Object.values(paths)) t.strictSame(get!.security, [{ bearerAuth: [] }])
})

t.test('an application with a transform of its own puts ours into it', async (t) => {
  const transform: FastifyDynamicSwaggerOptions['transform'] = (input) => openapiTransform({ ...input, schema: { ...input.schema, tags: ['mine'] } })
  for (const [own, tags] of [[transform, ['mine']], [openapiTransform, undefined]] as const) {
    const app = await buildDocumented(t, { openapi: false }, swaggerOptions('3.1.0', { transform: own }))
    app.get('/', async () => 'in')
    app.get('/guarded', { onRequest: app.jwtRequired() }, async () => 'in')
    const document = await documentOf(app)
    t.strictSame(faultsOf(document), [])
    t.strictSame(document.paths['/']!['get']!.security, undefined)
    t.strictSame(document.paths['/guarded']!['get']!.security, [{ bearerAuth: [] }])
    for (const { get } of Object.values(document.paths)) t.strictSame(get!.tags, tags)
  }
  const schema = { tags: ['open'] }
  t.equal(openapiTransform({ schema, url: '/', route: { method: 'GET', url: '/', handler: () => {} }, openapiObject: { openapi: '3.1.0', components: {} } }).schema, schema)
})

t.test('a HEAD route is described as its GET route', async (t) => {
  const app = await buildDocumented(t, {}, swaggerOptions('3.0.3', { exposeHeadRoutes: true }))
  app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
  const { paths } = await documentOf(app)
  t.strictSame(paths['/']!['head'], paths['/']!['get'])
})
