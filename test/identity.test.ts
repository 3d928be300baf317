import { createHmac } from 'node:crypto'
import t from 'tap'
import { memoryStore } from '../index.js'
import { createResolveIdentity, nameIdentity } from '../lib/identity.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { forge } from './support/forge.js'

t.test('an identity and what a token says of it have one name', async (t) => {
  class ObjectId {
    constructor (readonly hex: string) {}
    toJSON (): string { return this.hex }
  }
  const rows: [identity: unknown, name: string][] = [
    ['ada', 'ada'], ['', ''], ['"5"', '"5"'], [5, '5'], [true, 'true'], [null, 'null'], [undefined, ''],
    [{ b: 1, a: { d: [2, { z: 1, y: 2 }], c: 3 } }, '{"a":{"c":3,"d":[2,{"y":2,"z":1}]},"b":1}'],
    [[2, 1], '[2,1]'], [new ObjectId('507f'), '507f'], [new Date(0), '1970-01-01T00:00:00.000Z'], [{ id: new ObjectId('507f') }, '{"id":"507f"}'],
  ]
  for (const [identity, name] of rows) {
    t.equal(nameIdentity(identity), name)
    if (identity !== undefined) t.equal(nameIdentity(JSON.parse(JSON.stringify(identity))), name, 'as a token has it')
  }
})

t.test('an identity that is nested too deep for a name is refused', async (t) => {
  // As deep as the longest token can be.
  const depth = 5500
  const token = forge({ uid: 0 }).split('.')
  const payload = Buffer.from(`{"uid":${'['.repeat(depth)}${']'.repeat(depth)}}`).toString('base64url')
  const input = `${token[0]!}.${payload}`
  const app = await buildApp(t, { secretKey: SECRET, store: memoryStore(), identityClaim: 'uid', tokenLocation: 'json' })
  app.post('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const response = await app.inject({ method: 'POST', url: '/', payload: { access_token: `${input}.${createHmac('sha256', SECRET).update(input).digest('base64url')}` } })
  t.strictSame([response.statusCode, response.json()], [422, { msg: 'Invalid identity' }])
  t.throws(() => nameIdentity(5n), TypeError, 'what has no JSON is a mistake of the application')
})

t.test('a log-out reaches identities of every kind', async (t) => {
  const store = memoryStore()
  const app = await buildApp(t, { secretKey: SECRET, store, identityClaim: 'uid' })
  app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
  const given = { toJSON: () => '507f1f77' }
  const again = [{ tenant: 'x', id: 5 }, { id: 5, tenant: 'x' }]
  for (const [login, logout] of [[given, given], [given, '507f1f77'], again, [7, 7]] as const) {
    const pair = await app.createTokenPair(login)
    const token = await app.createAccessToken(login)
    t.equal((await app.listSessions(logout)).length, 1)
    await app.revokeAllTokens(logout)
    for (const old of [pair.accessToken, token]) t.equal((await app.inject({ url: '/', headers: bearer(old) })).statusCode, 401)
    const { sessionId } = await app.createTokenPair(login)
    t.equal(await app.revokeSession(logout, sessionId), true)
  }
})

t.test('without a loader the identity is the claim', async (t) => {
  const identity = { id: 5 }
  t.equal(await createResolveIdentity(undefined)(identity), identity)
  t.equal(await createResolveIdentity(undefined)('undefined'), 'undefined')
})

t.test('a loader that was made for users makes no claim of a mere id', async (t) => {
  const resolve = createResolveIdentity((user) => String((user as { id: unknown }).id))
  t.equal(await resolve({ id: 7 }), '7')
  t.equal(await resolve({ id: 'undefined' }), 'undefined', 'of a user it may be the name')
  for (const user of [{ id: undefined }, {}, { name: 'ada' }]) await t.rejects(resolve(user), { code: 'FST_JWT_EXT_USAGE' })
  await t.rejects(createResolveIdentity((user) => String((user as { id: unknown } | null)?.id))(null as never), { code: 'FST_JWT_EXT_USAGE', message: / of null: / })
  await t.rejects(createResolveIdentity(String)({ id: 7 } as never), { code: 'FST_JWT_EXT_USAGE' }, 'all users would have this name')
  await t.rejects(resolve('7'), {
    code: 'FST_JWT_EXT_USAGE',
    message: "userIdentityLoader made the text 'undefined' of a value of the type string: give what it was made for, such as the user (request.currentUser) and not the identity claim, and let it return what tells one user from another",
  })
  await t.rejects(resolve(7), { code: 'FST_JWT_EXT_USAGE' })
  for (const nothing of ['null', 'NaN', '[object Object]']) await t.rejects(createResolveIdentity(async () => nothing)('7'), { code: 'FST_JWT_EXT_USAGE' })
  t.equal(await createResolveIdentity((name) => name)('null'), 'null', 'whoever has that name')
  const tidy = createResolveIdentity((name) => (name as string).trim().toLowerCase())
  for (const name of ['Null', ' UNDEFINED ', 'nan']) t.equal(await tidy(name), name.trim().toLowerCase(), 'in whatever spelling')
  await t.rejects(createResolveIdentity(String)(undefined as never), { code: 'FST_JWT_EXT_USAGE' })
  await t.rejects(createResolveIdentity(String)(NaN), { code: 'FST_JWT_EXT_USAGE' })
})

t.test('no call takes the claim for the user', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, store: memoryStore(), userIdentityLoader: (user) => `${(user as { id: unknown }).id as string}` })
  const { sessionId } = await app.createTokenPair({ id: '7' })
  const calls: (() => Promise<unknown>)[] = [
    () => app.createAccessToken('7'), () => app.createTokenPair('7'), () => app.revokeAllTokens('7'), () => app.revokeSession('7', sessionId), () => app.listSessions('7'),
  ]
  for (const call of calls) await t.rejects(call(), { code: 'FST_JWT_EXT_USAGE', message: /^userIdentityLoader made the text 'undefined'/ })
  t.equal((await app.listSessions({ id: '7' })).length, 1)
})
