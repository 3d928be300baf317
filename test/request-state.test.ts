import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { bearer, buildApp, SECRET } from './support/app.js'
import { forge } from './support/forge.js'

const MEMBERS = ['jwt', 'jwtHeader', 'jwtIdentity', 'jwtLocation', 'currentUser'] as const

/** What reading each member comes to: its value, or the message of the error. */
function read (request: FastifyRequest): Record<string, unknown> {
  return Object.fromEntries(MEMBERS.map((name) => {
    try {
      return [name, request[name]]
    } catch (error) {
      return [name, (error as Error).message]
    }
  }))
}

function unguarded (): Record<string, string> {
  return Object.fromEntries(MEMBERS.map((name) => [
    name, `request.${name} was asked for, but no guard has passed this request; add jwtRequired() to the route, or jwtRequired({ optional: true })`
  ]))
}

const NO_LOOKUP = 'request.currentUser was read, but there is no userLookupLoader; give the plugin one'

t.test('reading a member where no guard ran throws an error that says what to do', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, userLookupLoader: () => ({}) })
  app.get('/', async (request) => read(request))
  app.get('/:member', async (request) => ({ value: request[(request.params as { member: 'jwt' }).member] }))
  const headers = bearer(await app.createAccessToken('ada'))
  t.strictSame((await app.inject({ url: '/', headers })).json(), unguarded())
  for (const name of MEMBERS) {
    const response = await app.inject({ url: `/${name}`, headers })
    t.equal(response.statusCode, 500)
    t.match(response.json(), { code: 'FST_JWT_EXT_USAGE', message: `request.${name} was asked for, but no guard has passed this request; add jwtRequired()` })
  }
})

t.test('a guard that passed a request leaves who it is', async (t) => {
  const user = { id: 7 }
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'query_string'], userLookupLoader: () => user })
  let same = false
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => { same = request.currentUser === user; return read(request) })
  const token = forge({ sub: 'ada', role: 'admin' }, { alg: 'HS256', kid: 'k' })
  const expected = {
    jwt: { sub: 'ada', role: 'admin', type: 'access', fresh: false, jti: null }, jwtHeader: { alg: 'HS256', kid: 'k' }, jwtIdentity: 'ada', jwtLocation: 'headers', currentUser: { id: 7 },
  }
  t.strictSame((await app.inject({ url: '/', headers: bearer(token) })).json(), expected)
  t.ok(same)
  t.strictSame((await app.inject({ url: '/', query: { jwt: token } })).json(), { ...expected, jwtLocation: 'query_string' })
})

t.test('an optional guard without a token leaves nobody', async (t) => {
  let asked = 0
  const app = await buildApp(t, { secretKey: SECRET, userLookupLoader: () => { asked++; return {} } })
  app.get('/', { preHandler: app.jwtRequired({ optional: true }) }, async (request) => ({ ...read(request), frozen: [Object.isFrozen(request.jwt), Object.isFrozen(request.jwtHeader)] }))
  t.strictSame((await app.inject('/')).json(), { jwt: {}, jwtHeader: {}, jwtIdentity: null, jwtLocation: null, currentUser: null, frozen: [true, true] })
  t.equal(asked, 0, 'nobody to look up')
})

t.test('the identity is that of the identity claim, of whatever kind it is', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, identityClaim: 'user' })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => ({ identity: request.jwtIdentity }))
  for (const user of ['ada', 5, 0, '', false, null, { id: 1 }, [1, 2]]) {
    t.strictSame((await app.inject({ url: '/', headers: bearer(forge({ user, sub: 'x' })) })).json(), { identity: user })
  }
})

t.test('reading currentUser without a userLookupLoader throws, for an anonymous request too', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired({ optional: true }) }, async (request) => ({ user: request.currentUser }))
  for (const headers of [{}, bearer(await app.createAccessToken('ada'))]) {
    const response = await app.inject({ url: '/', headers })
    t.equal(response.statusCode, 500)
    t.match(response.json(), { code: 'FST_JWT_EXT_USAGE', message: NO_LOOKUP })
  }
})

t.test('a user of any kind but null and undefined is a user', async (t) => {
  for (const user of [0, '', false, NaN, [], 'ada', Symbol.for('ada'), () => {}]) {
    for (const loader of [() => user, async () => user]) {
      const app = await buildApp(t, { secretKey: SECRET, userLookupLoader: loader })
      let seen: unknown
      app.get('/', { preHandler: app.jwtRequired() }, async (request) => { seen = request.currentUser; return 'in' })
      t.equal((await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })).statusCode, 200)
      t.ok(Object.is(seen, user), String(user))
    }
  }
})

t.test('nothing is set before every check has passed', async (t) => {
  const seen: Record<string, unknown>[] = []
  const look = <T>(answer: T) => (_header: unknown, _payload: unknown, request: FastifyRequest): T => { seen.push(read(request)); return answer }
  const app = await buildApp(t, {
    secretKey: SECRET, tokenInBlocklistLoader: look(false), tokenVerificationLoader: look(Promise.resolve(true)), userLookupLoader: look(null),
    userLookupErrorLoader: (_error, request) => { seen.push(read(request)); return { refused: true } },
  })
  let after: Record<string, unknown> | undefined
  app.addHook('onResponse', async (request) => { after = read(request) })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
  t.strictSame(response.json(), { refused: true })
  t.strictSame(seen, Array.from({ length: 4 }, unguarded))
  t.strictSame(after, unguarded())
})

t.test('a guard that refuses leaves what an earlier one had set', async (t) => {
  const app = await buildApp(t)
  let error: Record<string, unknown> | undefined
  app.get('/', {
    onRequest: app.jwtRequired(),
    preHandler: async (request) => {
      await request.verifyJwt({ refresh: true }).catch(() => {})
      error = read(request)
    },
  }, async (request) => request.jwtIdentity)
  const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
  t.equal(response.body, 'ada')
  t.equal(error?.['jwtIdentity'], 'ada')
})

t.test('where several guards ran the last that passed rules', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'query_string'] })
  const [ada, bob] = [await app.createAccessToken('ada'), await app.createAccessToken('bob')]
  app.get('/', { onRequest: app.jwtRequired(), preHandler: app.jwtRequired({ locations: 'query_string', optional: true }) }, async (request) => [request.jwtIdentity, request.jwtLocation])
  t.strictSame((await app.inject({ url: '/', headers: bearer(ada), query: { jwt: bob } })).json(), ['bob', 'query_string'])
  t.strictSame((await app.inject({ url: '/', headers: bearer(ada) })).json(), [null, null], 'an optional guard that found nobody rules too')
})

t.test('one request knows nothing of another', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, userLookupLoader: async (_header, payload) => { await new Promise(setImmediate); return payload.sub } })
  app.get('/', { preHandler: app.jwtRequired({ optional: true }) }, async (request) => {
    const before = [request.jwtIdentity, request.currentUser]
    await new Promise(setImmediate)
    return [...before, request.jwtIdentity, request.currentUser]
  })
  const names = Array.from({ length: 50 }, (_, index) => index % 5 === 0 ? null : `user${index}`)
  const answers = await Promise.all(names.map(async (name) => {
    const headers = name === null ? {} : bearer(await app.createAccessToken(name))
    return (await app.inject({ url: '/', headers })).json() as unknown
  }))
  t.strictSame(answers, names.map((name) => [name, name, name, name]))
})

t.test('the members cannot be written by accident', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => {
    const writable = request as { jwtIdentity: string | null }
    try { writable.jwtIdentity = 'root' } catch { return request.jwtIdentity }
    return request.jwtIdentity
  })
  t.equal((await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })).body, 'ada')
})
