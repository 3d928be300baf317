import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parse as parseNested } from 'node:querystring'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import jwtExtended, { type JwtExtendedOptions, type JwtRule } from '../../index.js'
import { bearer, buildApp, registrationError, SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'

// Longer than anything that is a token, shorter than what Node takes as headers or Fastify as a body.
const LONGEST = 16_384

interface Answer {
  status: number
  body: unknown
}

async function build (t: Test, options: JwtExtendedOptions, rule: JwtRule = {}, server: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, ...options }, server)
  app.route({
    method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    url: '/',
    preHandler: app.jwtRequired(rule),
    handler: async (request) => ({ who: request.jwtIdentity, where: request.jwtLocation }),
  })
  return app
}

async function send (app: FastifyInstance, options: InjectOptions): Promise<Answer> {
  const response = await app.inject({ url: '/', ...options })
  return { status: response.statusCode, body: response.json() }
}

async function query (app: FastifyInstance, text: string): Promise<Answer> {
  return await send(app, { url: `/?${text}` })
}

/** Posts a body as it is written, so that nothing on this side improves it. */
async function post (app: FastifyInstance, payload: string, type = 'application/json'): Promise<Answer> {
  return await send(app, { method: 'POST', payload, headers: { 'content-type': type } })
}

const QUERY = { method: 'QUERY' as NonNullable<InjectOptions['method']> }
const NO_QUERY = { status: 401, body: { msg: "Missing 'jwt' query parameter" } }
const NO_KEY = { status: 401, body: { msg: 'Missing "access_token" key in json data.' } }
const NO_JSON = { status: 401, body: { msg: 'Invalid content-type. Must be application/json.' } }

t.test('a query parameter carries the token', async (t) => {
  const app = await build(t, { tokenLocation: 'query_string' })
  const token = await app.createAccessToken('ada')
  const passed = { status: 200, body: { who: 'ada', where: 'query_string' } }
  t.same(await query(app, `jwt=${token}`), passed)
  t.same(await query(app, `page=1&jwt=${token}&jwt2=x`), passed)
  t.same(await query(app, `jwt=${token.replaceAll('.', '%2E')}`), passed, 'however it is encoded')
  t.same(await query(app, ''), NO_QUERY)
  t.same(await query(app, 'jwt='), NO_QUERY)
  t.same(await query(app, 'jwt'), NO_QUERY)
  t.same(await query(app, `JWT=${token}`), NO_QUERY, 'names have the size of letters that they have')
  t.same(await query(app, `jwt%00=${token}`), NO_QUERY)
  t.same(await query(app, `jwt=Bearer%20${token}`), { status: 422, body: { msg: 'Malformed token' } }, 'nothing stands in front of it by default')
  t.same(await send(app, { headers: bearer(token) }), NO_QUERY)
})

t.test('queryStringName names the parameter, one that every object has included', async (t) => {
  for (const queryStringName of ['token', 'access token', 'constructor', '__proto__', 'a[b]']) {
    const app = await build(t, { tokenLocation: 'query_string', queryStringName })
    const token = await app.createAccessToken('ada')
    t.same((await query(app, `${encodeURIComponent(queryStringName)}=${token}`)).status, 200, queryStringName)
    t.same(await query(app, `jwt=${token}`), { status: 401, body: { msg: `Missing '${queryStringName}' query parameter` } })
  }
})

t.test('queryStringValuePrefix stands in front of the token, to the letter', async (t) => {
  const app = await build(t, { tokenLocation: 'query_string', queryStringValuePrefix: 'Bearer ' })
  const token = await app.createAccessToken('ada')
  const refused = { status: 422, body: { msg: "Invalid value for query parameter 'jwt'. Expected the value to start with 'Bearer '" } }
  t.same((await query(app, `jwt=Bearer%20${token}`)).status, 200)
  t.same((await query(app, `jwt=Bearer+${token}`)).status, 200, 'a plus sign is a space in a query')
  t.same(await query(app, `jwt=${token}`), refused)
  t.same(await query(app, `jwt=bearer%20${token}`), refused)
  t.same(await query(app, `jwt=%20Bearer%20${token}`), refused)
  t.same(await query(app, 'jwt=Bearer'), refused)
  t.same(await query(app, 'jwt='), NO_QUERY)
  t.equal((await query(app, 'jwt=Bearer%20')).status, 422, 'a prefix with nothing behind it is no absence')
  t.equal((await query(app, `jwt=Bearer%20Bearer%20${token}`)).status, 422)
})

t.test('a parameter that stands there twice is refused, since nobody can say which one is meant', async (t) => {
  const app = await build(t, { tokenLocation: ['query_string', 'headers'] }, { optional: true })
  const token = await app.createAccessToken('ada')
  const refused = { status: 422, body: { msg: "Invalid value for query parameter 'jwt'. Expected it once" } }
  for (const text of [`jwt=${token}&jwt=${token}`, `jwt=${token}&page=1&jwt=`, 'jwt=&jwt=', `jwt&jwt=${token}`]) {
    t.same(await query(app, text), refused, text.replaceAll(token, 'token'))
    t.same(await send(app, { url: `/?${text}`, headers: bearer(token) }), refused, 'a good header behind it does not help')
  }
})

t.test('a query parser that makes objects and lists of parameters opens no door', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'query_string' }, {
    routerOptions: {
      querystringParser: (text) => {
        const flat = parseNested(text)
        return flat['jwt[token]'] === undefined ? flat : { jwt: { token: flat['jwt[token]'], toString: 'x' } }
      },
    },
  })
  app.get('/', { onRequest: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity }))
  const token = await app.createAccessToken('ada')
  t.equal((await query(app, `jwt=${token}`)).status, 200)
  t.same(await query(app, `jwt[token]=${token}`), { status: 422, body: { msg: "Invalid value for query parameter 'jwt'. Expected it once" } })
})

t.test('the profile of RFC 6750 has its own status and challenge for a bad parameter', async (t) => {
  const app = await build(t, { tokenLocation: 'query_string', errorProfile: 'rfc6750' })
  const response = await app.inject('/?jwt=a&jwt=b')
  t.equal(response.statusCode, 400)
  t.match(response.headers['www-authenticate'], /^Bearer error="invalid_request", error_description="Invalid value/)
})

t.test('the answer to a token in the URL is private where the request passed, and only there', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'query_string'] })
  const guard = app.jwtRequired({ optional: true })
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) app.get(`/${hook}`, { [hook]: guard }, async () => ({}))
  app.get('/own', { onRequest: guard }, async (request, reply) => {
    reply.header('Cache-Control', 'private, max-age=60')
    return {}
  })
  app.get('/before', {
    onRequest: [async (request, reply) => { reply.header('cache-control', 'no-store') }, guard],
  }, async () => ({}))
  app.get('/headers', { onRequest: app.jwtRequired({ locations: 'headers' }) }, async () => ({}))
  const token = await app.createAccessToken('ada')
  const cacheControl = async (options: InjectOptions): Promise<unknown> => (await app.inject(options)).headers['cache-control']

  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
    t.equal(await cacheControl({ url: `/${hook}`, query: { jwt: token } }), 'private', hook)
    t.equal(await cacheControl({ url: `/${hook}`, headers: bearer(token) }), undefined, 'a token in the header keeps caches away by itself')
    t.equal(await cacheControl({ url: `/${hook}`, query: { jwt: token }, headers: bearer(token) }), undefined, 'the header decided')
    t.equal(await cacheControl({ url: `/${hook}` }), undefined, 'anonymous')
    for (const jwt of [forge({ sub: 'ada', exp: 1 }), 'x', forge({ sub: 'ada', type: 'refresh' })]) {
      t.equal(await cacheControl({ url: `/${hook}`, query: { jwt } }), undefined, 'refused')
    }
  }
  t.equal(await cacheControl({ url: '/own', query: { jwt: token } }), 'private, max-age=60')
  t.equal(await cacheControl({ url: '/before', query: { jwt: token } }), 'no-store')
  t.equal(await cacheControl({ url: '/headers', query: { jwt: token }, headers: bearer(token) }), undefined)
})

t.test('a token of no sensible length is refused before it is looked into', async (t) => {
  const app = await build(t, { tokenLocation: ['query_string', 'json'] }, {}, { bodyLimit: 4 * 1024 * 1024 })
  const tooLong = { status: 422, body: { msg: 'The token is too long' } }
  t.same(await query(app, `jwt=${'a'.repeat(LONGEST + 1)}`), tooLong)
  t.same(await query(app, `jwt=${'a'.repeat(2_000_000)}`), tooLong)
  t.same(await post(app, JSON.stringify({ access_token: 'a'.repeat(LONGEST + 1) })), tooLong)
  t.same(await post(app, JSON.stringify({ access_token: 'a'.repeat(2_000_000) })), tooLong)
  t.same((await query(app, `jwt=${'a'.repeat(LONGEST)}`)).body, { msg: 'Not enough segments' }, 'a shorter one is')
  t.same((await post(app, JSON.stringify({ access_token: 'a'.repeat(LONGEST) }))).body, { msg: 'Not enough segments' })

  const big = await app.createAccessToken('ada', { additionalClaims: { notes: 'n'.repeat(9000) } })
  t.equal((await query(app, `jwt=${big}`)).status, 200)
  t.equal((await post(app, JSON.stringify({ access_token: big }))).status, 200)
})

t.test('the bound counts the token and not its prefix', async (t) => {
  const app = await build(t, { tokenLocation: 'query_string', queryStringValuePrefix: 'Bearer ' })
  t.same((await query(app, `jwt=Bearer%20${'a'.repeat(LONGEST)}`)).body, { msg: 'Not enough segments' })
  t.same((await query(app, `jwt=Bearer%20${'a'.repeat(LONGEST + 1)}`)).body, { msg: 'The token is too long' })
})

t.test('a JSON body carries the token', async (t) => {
  const app = await build(t, { tokenLocation: 'json' })
  const token = await app.createAccessToken('ada')
  const passed = { status: 200, body: { who: 'ada', where: 'json' } }
  const body = JSON.stringify({ note: 'x', access_token: token, refresh_token: 'y' })
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
    t.same(await send(app, { method, payload: body, headers: { 'content-type': 'application/json' } }), passed, method)
  }
  for (const type of ['application/json; charset=utf-8', 'application/json;charset=UTF-8', 'Application/JSON', ' application/json ; a=b']) {
    t.same(await post(app, body, type), passed, type)
  }
})

const BODIES: [title: string, body: string, answer: Answer][] = [
  ['an empty object', '{}', NO_KEY],
  ['another key', '{"token":"TOKEN"}', NO_KEY],
  ["the refresh token's key", '{"refresh_token":"TOKEN"}', NO_KEY],
  ['the key in large letters', '{"ACCESS_TOKEN":"TOKEN"}', NO_KEY],
  ['a null token', '{"access_token":null}', NO_KEY],
  ['an empty token', '{"access_token":""}', NO_KEY],
  ['a nested key', '{"auth":{"access_token":"TOKEN"}}', NO_KEY],
  ['a dotted key', '{"auth.access_token":"TOKEN"}', NO_KEY],
  ['an array', '["TOKEN"]', NO_KEY],
  ['an array of objects', '[{"access_token":"TOKEN"}]', NO_KEY],
  ['null', 'null', NO_KEY],
  ['a string', '"TOKEN"', NO_KEY],
  ['a number', '5', NO_KEY],
  ['a boolean', 'true', NO_KEY],
  ['a number as the token', '{"access_token":5}', { status: 422, body: { msg: 'The token must be a string' } }],
  ['zero as the token', '{"access_token":0}', { status: 422, body: { msg: 'The token must be a string' } }],
  ['false as the token', '{"access_token":false}', { status: 422, body: { msg: 'The token must be a string' } }],
  ['an array as the token', '{"access_token":["TOKEN"]}', { status: 422, body: { msg: 'The token must be a string' } }],
  ['an object as the token', '{"access_token":{"access_token":"TOKEN"}}', { status: 422, body: { msg: 'The token must be a string' } }],
  ['text that is no token', '{"access_token":"hello"}', { status: 422, body: { msg: 'Not enough segments' } }],
  ['a token with spaces about it', '{"access_token":" TOKEN "}', { status: 422, body: { msg: 'Malformed token' } }],
]

for (const [title, body, answer] of BODIES) {
  t.test(`a JSON body: ${title}`, async (t) => {
    const app = await build(t, { tokenLocation: 'json' })
    const token = await app.createAccessToken('ada')
    const payload = body.replace('TOKEN', token)
    t.same(await post(app, payload), answer)
    const optional = await build(t, { tokenLocation: 'json' }, { optional: true })
    t.same(await post(optional, payload), answer.status === 401 ? { status: 200, body: { who: null, where: null } } : answer, 'optional forgives absence and nothing else')
    const behind = await build(t, { tokenLocation: ['json', 'headers'] })
    const withHeader = await behind.inject({ method: 'POST', url: '/', payload, headers: { 'content-type': 'application/json', ...bearer(token) } })
    t.equal(withHeader.statusCode, answer.status === 401 ? 200 : answer.status, 'and only absence lets the next location be seen')
  })
}

t.test('a body of another type holds no token', async (t) => {
  const app = await build(t, { tokenLocation: 'json' })
  app.addContentTypeParser(['text/json', 'application/vnd.api+json', 'application/x-www-form-urlencoded'], { parseAs: 'string' }, (request, body, done) => {
    done(null, JSON.parse(body as string))
  })
  const body = JSON.stringify({ access_token: await app.createAccessToken('ada') })
  for (const type of ['text/plain', 'text/json', 'application/vnd.api+json', 'application/x-www-form-urlencoded']) {
    t.same(await post(app, body, type), NO_JSON, type)
  }
  t.same(await send(app, { method: 'POST' }), NO_JSON)
})

t.test('a body that cannot be parsed is refused by Fastify', async (t) => {
  const app = await build(t, { tokenLocation: 'json' }, { optional: true })
  for (const body of ['{"access_token":', '{', 'undefined', '{"access_token":"a"}}', '', '\u0000']) {
    t.equal((await post(app, body)).status, 400, JSON.stringify(body))
  }
  const tooLarge = await post(app, JSON.stringify({ access_token: 'a'.repeat(2_000_000) }))
  t.equal(tooLarge.status, 413)
  t.equal((await post(app, '{}', 'image/png')).status, 415)
})

t.test('names that every object has are no tokens and no way in', async (t) => {
  for (const jsonKey of ['constructor', 'toString', 'hasOwnProperty', 'access_token']) {
    const app = await build(t, { tokenLocation: 'json', jsonKey })
    t.same(await post(app, '{}'), { status: 401, body: { msg: `Missing "${jsonKey}" key in json data.` } }, `no ${jsonKey} of its own`)
    t.same(await post(app, '{"a":1}'), { status: 401, body: { msg: `Missing "${jsonKey}" key in json data.` } })
    t.equal((await post(app, `{"${jsonKey}":"${await app.createAccessToken('ada')}"}`)).status, 200, `${jsonKey} of its own`)
  }
  const app = await build(t, { tokenLocation: 'json' })
  const token = await app.createAccessToken('ada')
  // Fastify refuses both names unless it is told to let them be.
  t.equal((await post(app, `{"__proto__":{"access_token":"${token}"}}`)).status, 400)
  t.equal((await post(app, `{"constructor":{"prototype":{"access_token":"${token}"}}}`)).status, 400)
  const lax = await build(t, { tokenLocation: 'json' }, {}, { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'ignore' })
  t.same(await post(lax, `{"__proto__":{"access_token":"${token}"}}`), NO_KEY)
  t.same(await post(lax, `{"constructor":{"prototype":{"access_token":"${token}"}}}`), NO_KEY)
  t.equal(({} as Record<string, unknown>)['access_token'], undefined)
})

t.test('jsonKey and refreshJsonKey name the member of each kind of token', async (t) => {
  const options: JwtExtendedOptions = { tokenLocation: 'json', jsonKey: 'at', refreshJsonKey: 'rt' }
  const access = await build(t, options)
  const refresh = await build(t, options, { refresh: true })
  const [at, rt] = [await access.createAccessToken('ada'), await access.createRefreshToken('ada')]
  t.equal((await post(access, JSON.stringify({ at, rt }))).status, 200)
  t.equal((await post(refresh, JSON.stringify({ at, rt }))).status, 200)
  t.same(await post(access, JSON.stringify({ rt })), { status: 401, body: { msg: 'Missing "at" key in json data.' } })
  t.same(await post(refresh, JSON.stringify({ at })), { status: 401, body: { msg: 'Missing "rt" key in json data.' } })
  t.same(await post(refresh, JSON.stringify({ rt: at })), { status: 422, body: { msg: 'Only refresh tokens are allowed' } })
  t.same(await post(access, JSON.stringify({ at: rt })), { status: 422, body: { msg: 'Only non-refresh tokens are allowed' } })
})

t.test('by default a refresh guard wants refresh_token', async (t) => {
  const app = await build(t, { tokenLocation: 'json' }, { refresh: true })
  const token = await app.createRefreshToken('ada')
  t.equal((await post(app, JSON.stringify({ refresh_token: token }))).status, 200)
  t.same(await post(app, JSON.stringify({ access_token: token })), { status: 401, body: { msg: 'Missing "refresh_token" key in json data.' } })
})

t.test('the body of a GET is not read, and holds no token', async (t) => {
  const app = await build(t, { tokenLocation: 'json' })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const token = await app.createAccessToken('ada')
  t.same(await send(app, { method: 'GET', payload: { access_token: token } }), NO_KEY)
  t.equal((await app.inject({ method: 'HEAD', url: '/', payload: { access_token: token } })).statusCode, 401, 'nor is that of a HEAD')
  const status = await new Promise((resolve, reject) => {
    const sent = httpRequest({ host: '127.0.0.1', port, method: 'GET', headers: { 'content-type': 'application/json', connection: 'close' } })
    sent.on('response', (response) => {
      response.resume()
      resolve(response.statusCode)
    }).on('error', reject)
    sent.end(JSON.stringify({ access_token: token }))
  })
  t.equal(status, 401)
})

t.test('the body of a QUERY carries the token, which is a safe method with a body', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'json' })
  app.query('/', { preHandler: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity, where: request.jwtLocation }))
  const token = await app.createAccessToken('ada')
  const ask = async (access_token: unknown): Promise<Answer> => await send(app, { ...QUERY, payload: { access_token } })
  t.same(await ask(token), { status: 200, body: { who: 'ada', where: 'json' } })
  t.same(await ask('x.y.z'), { status: 422, body: { msg: 'Malformed token' } })
  t.same(await ask(undefined), NO_KEY)
})

t.test('a QUERY whose body is not parsed yet is no anonymous one', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'json'] })
  await app.register(async (scope) => {
    scope.addHook('onRequest', scope.jwtRequired({ optional: true }))
    scope.query('/', async (request) => ({ who: request.jwtIdentity, where: request.jwtLocation }))
  })
  const token = await app.createAccessToken('ada')
  const message = 'This guard reads the body, which is not parsed yet here: use it as a preValidation or preHandler hook'
  for (const access_token of ['x.y.z', token]) {
    const { status, body } = await send(app, { ...QUERY, payload: { access_token } })
    t.match({ status, ...body as object }, { status: 500, code: 'FST_JWT_EXT_USAGE', message })
    t.same(await send(app, { ...QUERY, payload: { access_token }, headers: bearer(token) }), { status: 200, body: { who: 'ada', where: 'headers' } })
  }
})

t.test('a method of the application that Fastify reads no body of is no fault of the server', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(jwtExtended, { secretKey: SECRET, tokenLocation: ['json', 'headers'] })
  app.addHttpMethod('PROPFIND')
  app.addHttpMethod('PROPPATCH', { hasBody: true })
  app.route({
    method: ['PROPFIND', 'PROPPATCH'], url: '/', preHandler: app.jwtRequired(), handler: async (request) => ({ where: request.jwtLocation }),
  })
  const token = await app.createAccessToken('ada')
  const payload = JSON.stringify({ access_token: token })
  const headers = { 'content-type': 'application/json' }
  const method = (name: string): Pick<InjectOptions, 'method'> => ({ method: name as NonNullable<InjectOptions['method']> })
  const read = await app.inject({ ...method('PROPPATCH'), url: '/', payload, headers })
  t.same([read.statusCode, read.json()], [200, { where: 'json' }])
  const unread = await app.inject({ ...method('PROPFIND'), url: '/', payload, headers })
  t.equal(unread.statusCode, 401, 'what a client sends is never a 5xx')
  const byHeader = await app.inject({ ...method('PROPFIND'), url: '/', payload, headers: { ...headers, ...bearer(token) } })
  t.same([byHeader.statusCode, byHeader.json()], [200, { where: 'headers' }])
})

t.test('names that are nothing are refused when the plugin is registered', async (t) => {
  for (const option of ['queryStringName', 'jsonKey', 'refreshJsonKey', 'accessCsrfFieldName', 'refreshCsrfFieldName']) {
    for (const value of ['', 5, null, ['jwt']]) {
      t.match((await registrationError(t, { secretKey: SECRET, [option]: value })).message, new RegExp(`The option ${option} must be a string that is not empty`))
    }
  }
  t.match((await registrationError(t, { secretKey: SECRET, queryStringValuePrefix: 5 })).message, /queryStringValuePrefix must be a string/)
})
