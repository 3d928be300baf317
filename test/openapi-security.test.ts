import Fastify from 'fastify'
import swagger from '@fastify/swagger'
import t, { type Test } from 'tap'
import jwtExtended, { openapiTransform, type JwtExtendedOptions, type JwtRule } from '../index.js'
import { describeSecurity, type OpenapiDocument } from '../lib/openapi-security.js'
import { describeGuard } from '../lib/route-guards.js'
import { readRule } from '../lib/rule.js'
import { readSettings } from '../lib/settings.js'
import { SECRET } from './support/app.js'
import { buildDocumented, documentOf, faultsOf, swaggerOptions } from './support/openapi.js'

async function described (t: Test, options: JwtExtendedOptions, rules: JwtRule[], method: 'GET' | 'POST' = 'GET'): Promise<{ security: unknown, schemes: unknown }> {
  const app = await buildDocumented(t, options)
  app.route({ method, url: '/', preHandler: rules.map((rule) => app.jwtRequired(rule)), handler: async () => 'in' })
  const document = await documentOf(app)
  t.strictSame(faultsOf(document), [])
  return { security: document.paths['/']![method.toLowerCase()]!.security, schemes: document.components.securitySchemes }
}

const BEARER = { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' }

t.test('each location is a way in of its own, but for a JSON body, which OpenAPI has no word for', async (t) => {
  const { security, schemes } = await described(t, { tokenLocation: ['cookies', 'json', 'query_string', 'headers'] }, [{}])
  t.strictSame(security, [{ cookieAuth: [] }, { queryAuth: [] }, { bearerAuth: [] }])
  t.strictSame(schemes, {
    cookieAuth: { type: 'apiKey', in: 'cookie', name: 'access_token_cookie' },
    queryAuth: { type: 'apiKey', in: 'query', name: 'jwt' },
    bearerAuth: BEARER,
  })
  t.strictSame(await described(t, {}, [{ locations: 'json' }]), { security: undefined, schemes: undefined })
  t.strictSame((await described(t, {}, [{ locations: 'json' }, {}])).security, [{ bearerAuth: [] }])
})

t.test('a refresh token has a cookie of its own', async (t) => {
  t.strictSame(await described(t, { tokenLocation: 'cookies', refreshCookieName: 'renew' }, [{ refresh: true }]), {
    security: [{ refreshCookieAuth: [] }], schemes: { refreshCookieAuth: { type: 'apiKey', in: 'cookie', name: 'renew' } },
  })
})

t.test('a cookie needs its CSRF value, with the methods that ask for it', async (t) => {
  const options: JwtExtendedOptions = { tokenLocation: ['headers', 'cookies'], refreshCsrfHeaderName: 'X-Refresh' }
  t.strictSame(await described(t, options, [{}], 'POST'), {
    security: [{ bearerAuth: [] }, { cookieAuth: [], csrfToken: [] }],
    schemes: { bearerAuth: BEARER, cookieAuth: { type: 'apiKey', in: 'cookie', name: 'access_token_cookie' }, csrfToken: { type: 'apiKey', in: 'header', name: 'X-CSRF-TOKEN' } },
  })
  t.match(await described(t, options, [{ refresh: true, locations: 'cookies' }], 'POST'), {
    security: [{ refreshCookieAuth: [], refreshCsrfToken: [] }], schemes: { refreshCsrfToken: { type: 'apiKey', in: 'header', name: 'X-Refresh' } },
  })
  t.strictSame((await described(t, { ...options, cookieCsrfProtect: false }, [{}], 'POST')).security, [{ bearerAuth: [] }, { cookieAuth: [] }])
})

t.test('a route of several methods needs a CSRF value where one of them does', async (t) => {
  const app = await buildDocumented(t, { tokenLocation: 'cookies' })
  app.route({ method: ['GET', 'POST'], url: '/', preHandler: app.jwtRequired(), handler: async () => 'in' })
  const { paths } = await documentOf(app)
  for (const method of ['get', 'post']) t.strictSame(paths['/']![method]!.security, [{ cookieAuth: [], csrfToken: [] }], method)
})

t.test('an optional guard lets everybody in', async (t) => {
  t.strictSame((await described(t, {}, [{ optional: true }])).security, [{ bearerAuth: [] }, {}])
  t.strictSame((await described(t, {}, [{ optional: true, locations: 'json' }])).security, [{}])
})

t.test('several guards have to be satisfied together', async (t) => {
  const options: JwtExtendedOptions = { tokenLocation: ['headers', 'query_string'] }
  t.strictSame((await described(t, options, [{}, { locations: 'cookies' }])).security, [{ bearerAuth: [], cookieAuth: [] }, { queryAuth: [], cookieAuth: [] }])
  t.strictSame((await described(t, {}, [{ optional: true }, { fresh: true }])).security, [{ bearerAuth: [] }], 'each way once')
})

t.test('of ways that contain each other only the shorter one is listed', async (t) => {
  const options: JwtExtendedOptions = { tokenLocation: ['headers', 'cookies'] }
  t.strictSame((await described(t, options, [{}, { fresh: true }])).security, [{ bearerAuth: [] }, { cookieAuth: [] }])
  t.strictSame((await described(t, options, [{ optional: true }, { optional: true }])).security, [{ bearerAuth: [] }, { cookieAuth: [] }, {}])
  t.strictSame((await described(t, options, [{ locations: 'headers' }, { optional: true }])).security, [{ bearerAuth: [] }])
  t.strictSame((await described(t, options, [{ optional: true }, { optional: true, locations: ['cookies', 'headers'] }])).security, [{ bearerAuth: [] }, { cookieAuth: [] }, {}], "in the first guard's order")
  t.strictSame((await described(t, options, [{}, { refresh: true }], 'POST')).security, [
    { bearerAuth: [] }, { cookieAuth: [], csrfToken: [], refreshCookieAuth: [], refreshCsrfToken: [] },
  ])
  const everywhere: JwtExtendedOptions = { tokenLocation: ['headers', 'cookies', 'query_string'] }
  t.strictSame((await described(t, everywhere, Array(12).fill({}))).security, [{ bearerAuth: [] }, { cookieAuth: [] }, { queryAuth: [] }], 'of half a million, too')
})

t.test('a header is described as it is read', async (t) => {
  const rows: [JwtExtendedOptions, object][] = [
    [{ headerName: 'authorization', headerType: 'bearer' }, { bearerAuth: BEARER }],
    [{ headerType: 'JWT' }, { headerAuth: { type: 'http', scheme: 'JWT' } }],
    [{ headerType: '' }, { headerAuth: { type: 'apiKey', in: 'header', name: 'Authorization' } }],
    [{ headerName: 'X-Token' }, { headerAuth: { type: 'apiKey', in: 'header', name: 'X-Token', description: 'Bearer <JWT>' } }],
    [{ headerName: 'X-Token', headerType: '' }, { headerAuth: { type: 'apiKey', in: 'header', name: 'X-Token' } }],
    [{ tokenLocation: 'query_string', queryStringValuePrefix: 'jwt:' }, { queryAuth: { type: 'apiKey', in: 'query', name: 'jwt', description: 'jwt:<JWT>' } }],
  ]
  for (const [options, schemes] of rows) t.strictSame((await described(t, options, [{}])).schemes, schemes)
})

t.test('the schemes of a namespace bear its name', async (t) => {
  const app = await buildDocumented(t)
  await app.register(jwtExtended, { secretKey: SECRET, namespace: 'the partner', openapi: true })
  app.get('/', { onRequest: [app.jwtRequired(), app.jwtManager('the partner').jwtRequired({ locations: ['headers', 'cookies'] })] }, async () => 'in')
  const document = await documentOf(app)
  t.strictSame(faultsOf(document), [])
  t.strictSame(document.paths['/']!['get']!.security, [{ bearerAuth: [], bearerAuth_the_partner: [] }, { bearerAuth: [], cookieAuth_the_partner: [] }])
})

t.test("a scheme of the application's is used where it is the same, and left alone where it is not", async (t) => {
  const securitySchemes = {
    bearerAuth: { type: 'http', scheme: 'Bearer', description: 'Ask at /login' },
    cookieAuth: { type: 'apiKey', in: 'cookie', name: 'sid' },
  } as const
  const before = structuredClone(securitySchemes)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(swagger, swaggerOptions('3.0.3', { openapi: { components: { securitySchemes } } }))
  for (const cookie of ['one', 'two']) {
    await app.register(async (scope) => {
      await scope.register(jwtExtended, { secretKey: SECRET, openapi: true, tokenLocation: ['headers', 'cookies'], accessCookieName: cookie })
      for (const url of [`/${cookie}`, `/${cookie}/again`]) scope.get(url, { onRequest: scope.jwtRequired() }, async () => 'in')
    })
  }
  const document = await documentOf(app)
  t.strictSame(faultsOf(document), [])
  t.strictSame(document.components.securitySchemes, {
    ...before, cookieAuth2: { type: 'apiKey', in: 'cookie', name: 'one' }, cookieAuth3: { type: 'apiKey', in: 'cookie', name: 'two' },
  })
  for (const url of ['/one', '/one/again']) t.strictSame(document.paths[url]!['get']!.security, [{ bearerAuth: [] }, { cookieAuth2: [] }])
  for (const url of ['/two', '/two/again']) t.strictSame(document.paths[url]!['get']!.security, [{ bearerAuth: [] }, { cookieAuth3: [] }])
  t.strictSame(securitySchemes, before, 'what was given is not written to')
})

t.test('scopes are listed where the version of the document has a place for them', async (t) => {
  const settings = readSettings({ secretKey: SECRET })
  const rule = { ...readRule({}, settings), scopes: ['orders:read', 'orders:write'] }
  const guards = [{ settings, rule }, { settings, rule: { ...rule, scopes: ['orders:read', 'admin'] } }]
  for (const [openapi, scopes] of [['3.0.3', []], ['3.1.0', ['orders:read', 'orders:write', 'admin']]] as const) {
    const document: OpenapiDocument = { openapi, components: {} }
    t.strictSame(describeSecurity(guards, ['GET'], document), [{ bearerAuth: scopes }])
  }
  const guard = describeGuard(() => {}, guards[0]!)
  const route = { method: 'GET', url: '/', onRequest: guard, handler: () => {} } as const
  const { schema } = openapiTransform({ url: '/', route, openapiObject: { openapi: '3.0.3', components: {} } })
  t.match(schema, { security: [{ bearerAuth: [] }], response: { 403: { description: 'Forbidden: a token without orders:read, orders:write' } } })
})

t.test('a token that may have fewer scopes beside another one is a way of its own', async (t) => {
  const settings = readSettings({ secretKey: SECRET, tokenLocation: ['headers', 'cookies'] })
  const rule = readRule({}, settings)
  const guards = [{ settings, rule: { ...rule, scopes: ['orders'] } }, { settings, rule: { ...rule, scopes: ['admin'], locations: ['headers'] as const } }]
  t.strictSame(describeSecurity(guards, ['GET'], { openapi: '3.1.0', components: {} }), [
    { bearerAuth: ['orders', 'admin'] }, { cookieAuth: ['orders'], bearerAuth: ['admin'] },
  ])
})
