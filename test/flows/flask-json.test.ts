import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions } from '../../index.js'
import { buildApp, SECRET } from '../support/app.js'

interface Answer { status: number, body: unknown }

const REACHED: Answer = { status: 200, body: { who: 'ada' } }
const FORM = 'application/x-www-form-urlencoded'

async function buildGuarded (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'json', ...options })
  app.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
  for (const [url, refresh] of [['/access', false], ['/refresh', true]] as const) {
    app.post(url, { preValidation: app.jwtRequired({ refresh }) }, async (request) => ({ who: request.jwtIdentity }))
  }
  return app
}

async function post (app: FastifyInstance, url: string, payload: InjectOptions['payload'], type = 'application/json'): Promise<Answer> {
  const response = await app.inject({ method: 'POST', url, headers: { 'content-type': type }, ...(payload !== undefined && { payload }) })
  return { status: response.statusCode, body: response.json() }
}

function missing (msg: string): Answer {
  return { status: 401, body: { msg } }
}

t.test('takes no token out of a body that is not JSON', async (t) => {
  const app = await buildGuarded(t)
  const access = await app.createAccessToken('ada')
  const refresh = await app.createRefreshToken('ada')
  const notJson = missing('Invalid content-type. Must be application/json.')
  t.strictSame(await post(app, '/access', `access_token=${access}`, FORM), notJson)
  t.strictSame(await post(app, '/refresh', `refresh_token=${refresh}`, FORM), notJson)
  t.strictSame(await post(app, '/access', JSON.stringify({ access_token: access }), 'text/plain'), notJson)
  t.equal((await post(app, '/access', '<access_token/>', 'application/xml')).status, 415, 'what Fastify cannot parse, it refuses itself')
})

t.test('takes the token of the members that jsonKey and refreshJsonKey name, and no others', async (t) => {
  const app = await buildGuarded(t, { jsonKey: 'ticket', refreshJsonKey: 'renewal' })
  const access = await app.createAccessToken('ada')
  const refresh = await app.createRefreshToken('ada')
  t.strictSame(await post(app, '/access', { access_token: access }), missing('Missing "ticket" key in json data.'))
  t.strictSame(await post(app, '/refresh', { refresh_token: refresh }), missing('Missing "renewal" key in json data.'))
  t.strictSame(await post(app, '/access', { ticket: access }), REACHED)
  t.strictSame(await post(app, '/refresh', { renewal: refresh }), REACHED)
})

t.test('says which member is missing, in the words of unauthorizedLoader where there is one', async (t) => {
  const app = await buildGuarded(t)
  for (const body of ['{}', '[]', 'null', '"text"', '{"access_token":null}', '{"access_token":""}']) {
    t.strictSame(await post(app, '/access', body), missing('Missing "access_token" key in json data.'), body)
  }
  t.strictSame(await post(app, '/refresh', {}), missing('Missing "refresh_token" key in json data.'))

  const worded = await buildGuarded(t, {
    unauthorizedLoader: (error, _request, reply) => {
      reply.code(201)
      return { why: error.message }
    },
  })
  t.strictSame(await post(worded, '/access', {}), { status: 201, body: { why: 'Missing "access_token" key in json data.' } })
})

t.test('leaves a body that announces JSON and is none to Fastify', async (t) => {
  const app = await buildGuarded(t)
  for (const body of ['', '{"access_token":']) {
    const answer = await post(app, '/access', body)
    t.equal(answer.status, 400, JSON.stringify(body))
  }
})

t.test('takes the token of access_token, or of refresh_token on a refresh route', async (t) => {
  const app = await buildGuarded(t)
  t.strictSame(await post(app, '/access', { access_token: await app.createAccessToken('ada') }), REACHED)
  t.strictSame(await post(app, '/refresh', { refresh_token: await app.createRefreshToken('ada') }), REACHED)
})

t.test('takes the token of JSON that names its charset', async (t) => {
  const app = await buildGuarded(t)
  const type = 'application/json;charset=UTF-8'
  t.strictSame(await post(app, '/access', { access_token: await app.createAccessToken('ada') }, type), REACHED)
  t.strictSame(await post(app, '/refresh', { refresh_token: await app.createRefreshToken('ada') }, type), REACHED)
})

t.test('refuses a token that is no string', async (t) => {
  const app = await buildGuarded(t)
  for (const token of [1, true, ['a.b.c'], { a: 1 }]) {
    t.strictSame(await post(app, '/access', { access_token: token }), { status: 422, body: { msg: 'The token must be a string' } })
  }
})

t.test('refuses a guard that would look into a body that is not there yet', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'json' })
  for (const hook of ['onRequest', 'preParsing']) {
    t.throws(() => app.post('/', { [hook]: app.jwtRequired() }, async () => 'reached'), { code: 'FST_JWT_EXT_USAGE', message: /preValidation/ })
  }
})

t.test('reads the body off a socket', async (t) => {
  const app = await buildGuarded(t)
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const response = await fetch(`${origin}/access`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ access_token: await app.createAccessToken('ada') }),
  })
  t.equal(response.status, 200)
  t.strictSame(await response.json(), { who: 'ada' })
})
