import type { FastifyInstance } from 'fastify'
import { request as httpRequest } from 'node:http'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'

const REACHED = { reached: true }

async function buildGuarded (t: Test, options: JwtExtendedOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  app.get('/guarded', { onRequest: app.jwtRequired() }, async () => REACHED)
  return app
}

async function get (app: FastifyInstance, headers: Record<string, string> = {}): Promise<{ status: number, body: unknown }> {
  const response = await app.inject({ url: '/guarded', headers })
  return { status: response.statusCode, body: response.json() }
}

// fetch trims what it sends; this puts the value on the wire as it is.
function getOverTheWire (port: number, authorization: string): Promise<{ status: number, body: unknown }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, path: '/guarded', headers: { authorization } }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => { text += chunk })
      response.on('end', () => { resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }) })
    })
    request.on('error', reject)
    request.end()
  })
}

t.test('takes the token of the Bearer field, wherever it stands in the Authorization header', async (t) => {
  const app = await buildGuarded(t)
  const token = await app.createAccessToken('ada')

  t.strictSame(await get(app, { authorization: 'Basic YWRhOnNlY3JldA==' }), {
    status: 401,
    body: { msg: "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'" },
  }, 'another scheme is no token')

  t.strictSame(await get(app, bearer(token)), { status: 200, body: REACHED }, 'alone')
  t.strictSame(await get(app, { authorization: `Bearer ${token}, Basic creds` }), { status: 200, body: REACHED }, 'first')
  t.strictSame(await get(app, { authorization: `Basic creds, Bearer ${token}` }), { status: 200, body: REACHED }, 'last')
})

t.test('matches the scheme without regard to case', async (t) => {
  const app = await buildGuarded(t)
  const token = await app.createAccessToken('ada')
  for (const scheme of ['bearer', 'BEARER', 'bEaReR']) {
    t.strictSame(await get(app, { authorization: `${scheme} ${token}` }), { status: 200, body: REACHED }, scheme)
    t.strictSame(await get(app, { authorization: `Basic creds, ${scheme} ${token}` }), { status: 200, body: REACHED }, `${scheme} last`)
  }
})

t.test('takes no token where two fields carry the scheme', async (t) => {
  const app = await buildGuarded(t)
  const token = await app.createAccessToken('ada')
  t.strictSame(await get(app, { authorization: `Bearer ${token}, Bearer ${token}` }), {
    status: 401,
    body: { msg: "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'" },
  })
})

t.test('overlooks commas and spaces behind the token', async (t) => {
  const app = await buildGuarded(t)
  const token = await app.createAccessToken('ada')
  for (const tail of [',   ', ',', ' ', ',,,', ' , , ']) {
    t.strictSame(await get(app, { authorization: `Bearer ${token}${tail}` }), { status: 200, body: REACHED }, JSON.stringify(tail))
  }
})

t.test('reads the header that headerName names, and no other', async (t) => {
  const app = await buildGuarded(t, { headerName: 'X-Ticket' })
  const token = await app.createAccessToken('ada')

  t.strictSame(await get(app, bearer(token)), { status: 401, body: { msg: 'Missing X-Ticket Header' } }, 'not Authorization any more')
  t.strictSame(await get(app, { 'X-Ticket': `Bearer ${token}` }), { status: 200, body: REACHED }, 'alone')
  t.strictSame(await get(app, { 'x-ticket': `Bearer ${token}, Basic creds` }), { status: 200, body: REACHED }, 'first')
  t.strictSame(await get(app, { 'x-ticket': `Basic creds, Bearer ${token}` }), { status: 200, body: REACHED }, 'last')
})

t.test('reads the scheme that headerType names, and no other', async (t) => {
  const app = await buildGuarded(t, { headerType: 'JWT' })
  const token = await app.createAccessToken('ada')

  t.strictSame(await get(app, bearer(token)), {
    status: 401,
    body: { msg: "Missing 'JWT' type in 'Authorization' header. Expected 'Authorization: JWT <JWT>'" },
  }, 'not Bearer any more')
  t.strictSame(await get(app, { authorization: `JWT ${token}` }), { status: 200, body: REACHED }, 'alone')
  t.strictSame(await get(app, { authorization: `JWT ${token}, Basic creds` }), { status: 200, body: REACHED }, 'first')
  t.strictSame(await get(app, { authorization: `Basic creds, JWT ${token}` }), { status: 200, body: REACHED }, 'last')
})

t.test('reads the bare token where headerType is empty', async (t) => {
  const app = await buildGuarded(t, { headerType: '' })
  const token = await app.createAccessToken('ada')

  t.strictSame(await get(app, { authorization: token }), { status: 200, body: REACHED })
  t.strictSame(await get(app, bearer(token)), {
    status: 422,
    body: { msg: "Bad Authorization header. Expected 'Authorization: <JWT>'" },
  }, 'a scheme in front is one word too many')
})

t.test('says which header is missing, in the words of unauthorizedLoader where there is one', async (t) => {
  t.strictSame(await get(await buildGuarded(t)), { status: 401, body: { msg: 'Missing Authorization Header' } })

  const worded = await buildGuarded(t, {
    unauthorizedLoader: (error, request, reply) => {
      reply.code(201)
      return { why: error.message, where: request.url }
    },
  })
  t.strictSame(await get(worded), { status: 201, body: { why: 'Missing Authorization Header', where: '/guarded' } })
})

t.test('refuses a Bearer field without a token behind it', async (t) => {
  const app = await buildGuarded(t)
  const bad = { status: 422, body: { msg: "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'" } }
  for (const authorization of ['Bearer ', 'Bearer', 'bearer', 'Bearer,', 'Bearer one two']) {
    t.strictSame(await get(app, { authorization }), bad, JSON.stringify(authorization))
  }
})

t.test('puts the message under the key that errorMessageKey names', async (t) => {
  const app = await buildGuarded(t, { errorMessageKey: 'message' })
  t.strictSame(await get(app), { status: 401, body: { message: 'Missing Authorization Header' } })
})

t.test('reads the same headers off a socket', async (t) => {
  const app = await buildGuarded(t)
  const token = await app.createAccessToken('ada')
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })

  const good = await fetch(`${origin}/guarded`, { headers: { authorization: `Basic creds, Bearer ${token}, ` } })
  t.equal(good.status, 200)
  t.strictSame(await good.json(), REACHED)

  const none = await fetch(`${origin}/guarded`)
  t.equal(none.status, 401)
  t.equal(none.headers.get('www-authenticate'), 'Bearer')
  t.strictSame(await none.json(), { msg: 'Missing Authorization Header' })

  const port = Number(new URL(origin).port)
  t.strictSame(await getOverTheWire(port, `Bearer ${token},   `), { status: 200, body: REACHED })
  t.strictSame(await getOverTheWire(port, 'Bearer '), {
    status: 422, body: { msg: "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'" },
  })
})
