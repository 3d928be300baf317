import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'

interface Answer { status: number, body: unknown }

const REACHED: Answer = { status: 200, body: { who: 'ada' } }

async function buildGuarded (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['query_string'], ...options })
  app.get('/', { onRequest: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity }))
  return app
}

async function get (app: FastifyInstance, url: string, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await app.inject({ url, headers })
  return { status: response.statusCode, body: response.json() }
}

t.test('takes the token of the query parameter jwt', async (t) => {
  const app = await buildGuarded(t)
  t.strictSame(await get(app, `/?jwt=${await app.createAccessToken('ada')}`), REACHED)
  t.strictSame(await get(app, `/?page=2&jwt=${await app.createAccessToken('ada')}&sort=up`), REACHED, 'among others')
})

t.test('takes the token behind queryStringValuePrefix, and none without it', async (t) => {
  const app = await buildGuarded(t, { queryStringValuePrefix: 'bearer ' })
  const token = await app.createAccessToken('ada')
  t.strictSame(await get(app, `/?jwt=bearer%20${token}`), REACHED)
  t.strictSame(await get(app, `/?jwt=bearer+${token}`), REACHED, 'the other spelling of a space')
  t.strictSame(await get(app, `/?jwt=${token}`), {
    status: 422,
    body: { msg: "Invalid value for query parameter 'jwt'. Expected the value to start with 'bearer '" },
  })
})

t.test('takes the token of the parameter that queryStringName names, and no other', async (t) => {
  const app = await buildGuarded(t, { queryStringName: 'pass' })
  const token = await app.createAccessToken('ada')
  t.strictSame(await get(app, `/?jwt=${token}`), { status: 401, body: { msg: "Missing 'pass' query parameter" } })
  t.strictSame(await get(app, `/?pass=${token}`), REACHED)
})

t.test('says which parameter is missing, in the words of unauthorizedLoader where there is one', async (t) => {
  const app = await buildGuarded(t)
  const missing = { status: 401, body: { msg: "Missing 'jwt' query parameter" } }
  t.strictSame(await get(app, '/'), missing)
  t.strictSame(await get(app, '/?jwt='), missing, 'empty')
  t.strictSame(await get(app, '/', bearer(await app.createAccessToken('ada'))), missing, 'a header is not looked at')

  const worded = await buildGuarded(t, {
    unauthorizedLoader: (error, _request, reply) => {
      reply.code(201)
      return { why: error.message }
    },
  })
  t.strictSame(await get(worded, '/'), { status: 201, body: { why: "Missing 'jwt' query parameter" } })
})

t.test('refuses a parameter that is given twice', async (t) => {
  const app = await buildGuarded(t)
  const token = await app.createAccessToken('ada')
  const { status, body } = await get(app, `/?jwt=${token}&jwt=${token}`)
  t.equal(status, 422)
  t.match(body, { msg: /^Invalid value for query parameter 'jwt'/ })
})

t.test('reads the parameter off a socket', async (t) => {
  const app = await buildGuarded(t)
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const good = await fetch(`${origin}/?jwt=${await app.createAccessToken('ada')}`)
  t.equal(good.status, 200)
  t.strictSame(await good.json(), { who: 'ada' })
  t.equal((await fetch(origin)).status, 401)
})
