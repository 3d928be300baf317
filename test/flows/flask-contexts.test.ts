import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtRule } from '../../index.js'
import { buildApp, SECRET } from '../support/app.js'

// OPTIONS

async function buildOptionsApp (t: Test, rule: JwtRule): Promise<FastifyInstance> {
  const app = await buildApp(t)
  app.route({ method: ['GET', 'OPTIONS'], url: '/', onRequest: app.jwtRequired(rule), handler: async () => 'ok' })
  return app
}

async function assertOpenToOptions (t: Test, app: FastifyInstance): Promise<void> {
  const options = await app.inject({ method: 'OPTIONS', url: '/' })
  t.equal(options.statusCode, 200)
  t.equal(options.body, 'ok')
  t.equal((await app.inject({ url: '/' })).statusCode, 401, 'GET is guarded')
}

t.test('lets OPTIONS into a guarded route', async (t) => {
  await assertOpenToOptions(t, await buildOptionsApp(t, {}))
})

t.test('lets OPTIONS into a refresh route', async (t) => {
  await assertOpenToOptions(t, await buildOptionsApp(t, { refresh: true }))
})

t.test('lets OPTIONS into a route that asks for a fresh token', async (t) => {
  await assertOpenToOptions(t, await buildOptionsApp(t, { fresh: true }))
})

t.test('lets OPTIONS in over a socket, and leaves the request unguarded', async (t) => {
  const app = await buildApp(t)
  app.route({ method: 'OPTIONS', url: '/', onRequest: app.jwtRequired(), handler: async (request) => request.jwtIdentity })
  const response = await fetch(await app.listen({ port: 0, host: '127.0.0.1' }), { method: 'OPTIONS' })
  t.equal(response.status, 500)
  t.match(await response.json(), { message: /jwtRequired\(\)/ })
})

// Without a guard

const MEMBERS = ['jwt', 'jwtHeader', 'jwtIdentity', 'jwtLocation', 'currentUser'] as const

async function assertUnreadable (t: Test, member: typeof MEMBERS[number]): Promise<void> {
  const app = await buildApp(t, { secretKey: SECRET, userLookupLoader: () => ({ name: 'ada' }) })
  app.get('/', async (request) => ({ member: request[member] }))
  const token = await app.createAccessToken('ada')
  for (const headers of [{}, { authorization: `Bearer ${token}` }]) {
    const response = await app.inject({ url: '/', headers })
    t.equal(response.statusCode, 500)
    t.match(response.json(), { code: 'FST_JWT_EXT_USAGE', message: new RegExp(`request\\.${member} .*jwtRequired\\(\\)`) })
  }
}

t.test('reading the payload without a guard says to add one', async (t) => {
  await assertUnreadable(t, 'jwt')
})

t.test('reading the header without a guard says to add one', async (t) => {
  await assertUnreadable(t, 'jwtHeader')
})

t.test('reading the identity without a guard says to add one', async (t) => {
  await assertUnreadable(t, 'jwtIdentity')
})

t.test('reading the location without a guard says to add one', async (t) => {
  await assertUnreadable(t, 'jwtLocation')
})

t.test('reading the user without a guard says to add one', async (t) => {
  await assertUnreadable(t, 'currentUser')
})

// Optional

t.test('an optional route without a token has nothing to read, and looks no user up', async (t) => {
  let lookups = 0
  const app = await buildApp(t, {
    secretKey: SECRET,
    userLookupLoader: () => {
      lookups++
      throw new Error('there is nobody to look up')
    },
  })
  app.get('/', { onRequest: app.jwtRequired({ optional: true }) }, async (request) => {
    return Object.fromEntries(MEMBERS.map((member) => [member, request[member]]))
  })
  const nothing = { jwt: {}, jwtHeader: {}, jwtIdentity: null, jwtLocation: null, currentUser: null }

  const injected = await app.inject({ url: '/' })
  t.equal(injected.statusCode, 200)
  t.strictSame(injected.json(), nothing)

  const fetched = await fetch(await app.listen({ port: 0, host: '127.0.0.1' }))
  t.equal(fetched.status, 200)
  t.strictSame(await fetched.json(), nothing)
  t.equal(lookups, 0)
})
