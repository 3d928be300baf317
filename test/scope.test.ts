import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import jwtExtended, { type JwtExtendedOptions } from '../index.js'
import { bearer, buildApp, SECRET } from './support/app.js'

function secretOf (name: string): JwtExtendedOptions {
  return { secretKey: `${SECRET}-${name}` }
}

/** An empty Fastify, closed when the test ends. */
function bare (t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

function guarded (scope: FastifyInstance, url: string): void {
  scope.get(url, { preHandler: scope.jwtRequired() }, async (request) => request.jwtIdentity)
  scope.get(`${url}/verify`, async (request) => (await request.verifyJwt())?.jwtPayload.sub)
}

async function passes (app: FastifyInstance, url: string, token: string): Promise<boolean[]> {
  const headers = bearer(token)
  return [(await app.inject({ url, headers })).statusCode === 200, (await app.inject({ url: `${url}/verify`, headers })).statusCode === 200]
}

const BOTH = [true, true]
const NEITHER = [false, false]

t.test('sibling scopes have configurations of their own', async (t) => {
  const app = bare(t)
  const scopes: Record<string, FastifyInstance> = {}
  for (const name of ['a', 'b', 'c']) {
    app.register(async (scope) => {
      await scope.register(jwtExtended, secretOf(name))
      guarded(scope, `/${name}`)
      scopes[name] = scope
    })
  }
  app.get('/plain', async () => 'plain')
  await app.ready()
  for (const issuer of ['a', 'b', 'c']) {
    const token = await scopes[issuer]!.createAccessToken('ada')
    for (const name of ['a', 'b', 'c']) t.strictSame(await passes(app, `/${name}`, token), name === issuer ? BOTH : NEITHER, `${issuer} at ${name}`)
  }
  t.notOk(app.hasDecorator('jwtRequired'), 'the parent knows nothing of them')
  t.equal((await app.inject('/plain')).body, 'plain')
})

t.test('a child without a configuration of its own is ruled by its parent\'s', async (t) => {
  const app = await buildApp(t, secretOf('parent'))
  await app.register(async (child) => {
    guarded(child, '/child')
    t.equal(child.jwtManager(), app.jwtManager())
    await child.register(async (grandchild) => { guarded(grandchild, '/grandchild') })
  })
  const token = await app.createAccessToken('ada')
  t.strictSame(await passes(app, '/child', token), BOTH)
  t.strictSame(await passes(app, '/grandchild', token), BOTH)
})

t.test('a child\'s own configuration rules inside the child, and the parent\'s outside', async (t) => {
  const app = await buildApp(t, secretOf('parent'))
  let inner: FastifyInstance | undefined
  await app.register(async (child) => {
    await child.register(jwtExtended, secretOf('child'))
    guarded(child, '/child')
    inner = child
    await child.register(async (grandchild) => {
      guarded(grandchild, '/grandchild')
      t.equal(grandchild.jwtManager(), child.jwtManager())
    })
  })
  await app.register(async (sibling) => { guarded(sibling, '/sibling') })
  guarded(app, '/parent')
  const [parent, child] = [await app.createAccessToken('ada'), await inner!.createAccessToken('ada')]
  for (const url of ['/child', '/grandchild']) {
    t.strictSame(await passes(app, url, child), BOTH, url)
    t.strictSame(await passes(app, url, parent), NEITHER, url)
  }
  for (const url of ['/parent', '/sibling']) {
    t.strictSame(await passes(app, url, parent), BOTH, url)
    t.strictSame(await passes(app, url, child), NEITHER, url)
  }
  t.not(inner!.jwtManager(), app.jwtManager())
  t.not(inner!.createAccessToken, app.createAccessToken)
})

t.test('three configurations inside each other each rule their own scope', async (t) => {
  const app = await buildApp(t, secretOf('0'))
  const scopes: FastifyInstance[] = [app]
  await app.register(async (one) => {
    await one.register(jwtExtended, secretOf('1'))
    guarded(one, '/1')
    scopes.push(one)
    await one.register(async (two) => {
      await two.register(jwtExtended, secretOf('2'))
      guarded(two, '/2')
      scopes.push(two)
    })
  })
  guarded(app, '/0')
  for (const [issuer, scope] of scopes.entries()) {
    const token = await scope.createAccessToken('ada')
    for (const [index] of scopes.entries()) t.strictSame(await passes(app, `/${index}`, token), index === issuer ? BOTH : NEITHER)
  }
})

t.test('a guard judges by the manager that made it, wherever it stands', async (t) => {
  const app = await buildApp(t, secretOf('parent'))
  let inner: FastifyInstance | undefined
  await app.register(async (child) => {
    await child.register(jwtExtended, secretOf('child'))
    child.get('/mixed', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
    child.addHook('onRequest', async () => {})
    inner = child
  })
  t.equal((await app.inject({ url: '/mixed', headers: bearer(await app.createAccessToken('ada')) })).body, 'ada')
  t.equal((await app.inject({ url: '/mixed', headers: bearer(await inner!.createAccessToken('ada')) })).statusCode, 422)
})

t.test('a parent\'s guard as a scope\'s hook rules in the child, too, beside the child\'s own', async (t) => {
  const app = await buildApp(t, { ...secretOf('parent'), headerName: 'X-Outer' })
  app.addHook('onRequest', app.jwtRequired())
  let inner: FastifyInstance | undefined
  await app.register(async (child) => {
    await child.register(jwtExtended, secretOf('child'))
    guarded(child, '/child')
    inner = child
  })
  const [outer, own] = [await app.createAccessToken('outer'), await inner!.createAccessToken('inner')]
  t.equal((await app.inject({ url: '/child', headers: { 'x-outer': `Bearer ${outer}`, ...bearer(own) } })).body, 'inner')
  t.equal((await app.inject({ url: '/child', headers: bearer(own) })).statusCode, 401)
  t.equal((await app.inject({ url: '/child', headers: { 'x-outer': `Bearer ${outer}` } })).statusCode, 401)
})

t.test('a namespace puts a second manager in the same scope', async (t) => {
  const app = await buildApp(t, secretOf('main'))
  await app.register(jwtExtended, { ...secretOf('partner'), namespace: 'partner', identityClaim: 'user' })
  const partner = app.jwtManager('partner')
  t.not(partner, app.jwtManager())
  t.equal(app.createAccessToken, app.jwtManager().createAccessToken, 'the instance keeps the unnamed one')
  guarded(app, '/main')
  app.get('/partner', { preHandler: partner.jwtRequired() }, async (request) => ({ identity: request.jwtIdentity }))
  const [main, theirs] = [await app.createAccessToken('ada'), await partner.createAccessToken(7 as never)]
  t.strictSame((await app.inject({ url: '/partner', headers: bearer(theirs) })).json(), { identity: 7 })
  t.equal((await app.inject({ url: '/partner', headers: bearer(main) })).statusCode, 422)
  t.strictSame(await passes(app, '/main', main), BOTH)
  t.strictSame(await passes(app, '/main', theirs), NEITHER)
})

t.test('a namespace may come first, or stand alone', async (t) => {
  const app = bare(t)
  await app.register(jwtExtended, { ...secretOf('partner'), namespace: 'partner' })
  t.notOk(app.hasDecorator('createAccessToken'))
  t.throws(() => app.jwtManager(), { code: 'FST_JWT_EXT_USAGE', message: 'There is no unnamed JWT manager here; name one: jwtManager(namespace)' })
  app.get('/partner', { preHandler: app.jwtManager('partner').jwtRequired() }, async (request) => request.jwtIdentity)
  app.get('/verify', async (request) => { await request.verifyJwt(); return 'in' })
  const token = await app.jwtManager('partner').createAccessToken('ada')
  t.equal((await app.inject({ url: '/partner', headers: bearer(token) })).body, 'ada')
  const unnamed = await app.inject({ url: '/verify', headers: bearer(token) })
  t.equal(unnamed.statusCode, 500)
  t.match(unnamed.json().message, 'There is no unnamed JWT manager here')

  const second = bare(t)
  await second.register(jwtExtended, { ...secretOf('partner'), namespace: 'partner' })
  await second.register(jwtExtended, secretOf('main'))
  guarded(second, '/main')
  t.strictSame(await passes(second, '/main', await second.createAccessToken('ada')), BOTH)
  t.strictSame(await passes(second, '/main', await second.jwtManager('partner').createAccessToken('ada')), NEITHER)
})

t.test('a manager that is not there is an error that names it', async (t) => {
  const app = await buildApp(t)
  t.throws(() => app.jwtManager('partner'), { code: 'FST_JWT_EXT_USAGE', message: "There is no JWT manager of the namespace 'partner' here" })
  for (const name of ['toString', '__proto__', 'constructor', '']) t.throws(() => app.jwtManager(name), { code: 'FST_JWT_EXT_USAGE' }, name)
})

t.test('a child sees the managers of its parent by name, and may have others', async (t) => {
  const app = await buildApp(t, secretOf('main'))
  await app.register(jwtExtended, { ...secretOf('partner'), namespace: 'partner' })
  await app.register(async (child) => {
    await child.register(jwtExtended, { ...secretOf('extra'), namespace: 'extra' })
    t.equal(child.jwtManager(), app.jwtManager())
    t.equal(child.jwtManager('partner'), app.jwtManager('partner'))
    t.type(child.jwtManager('extra').createAccessToken, 'function')
    t.throws(() => app.jwtManager('extra'), { message: "There is no JWT manager of the namespace 'extra' here" })
    await child.register(async (grandchild) => {
      await grandchild.register(jwtExtended, { ...secretOf('own'), namespace: 'partner' })
      t.not(grandchild.jwtManager('partner'), app.jwtManager('partner'))
    })
    t.equal(child.jwtManager('partner'), app.jwtManager('partner'))
  })
})

t.test('two of one name in one scope fail the registration', async (t) => {
  for (const namespace of [undefined, 'partner']) {
    const app = bare(t)
    app.register(jwtExtended, { ...secretOf('one'), namespace })
    app.register(jwtExtended, { ...secretOf('two'), namespace })
    const message = namespace === undefined
      ? 'fastify-jwt-extended is registered twice in this scope; give the second one a namespace'
      : "fastify-jwt-extended is registered twice in this scope with the namespace 'partner'"
    await t.rejects(async () => { await app.ready() }, { code: 'FST_JWT_EXT_USAGE', message })
  }
})

t.test('two of one name in one scope fail in a child that has a parent of that name, too', async (t) => {
  const app = await buildApp(t, secretOf('parent'))
  app.register(async (child) => {
    await child.register(jwtExtended, secretOf('one'))
    await child.register(jwtExtended, secretOf('two'))
  })
  await t.rejects(async () => { await app.ready() }, { code: 'FST_JWT_EXT_USAGE', message: 'registered twice in this scope' })
})

t.test('many namespaces live side by side', async (t) => {
  const app = bare(t)
  const names = Array.from({ length: 20 }, (_, index) => `tenant ${index}`)
  for (const namespace of names) await app.register(jwtExtended, { ...secretOf(namespace), namespace })
  for (const [index, name] of names.entries()) app.get(`/${index}`, { preHandler: app.jwtManager(name).jwtRequired() }, async () => 'in')
  for (const [issuer, name] of names.entries()) {
    const headers = bearer(await app.jwtManager(name).createAccessToken('ada'))
    t.equal((await app.inject({ url: `/${issuer}`, headers })).statusCode, 200)
    t.equal((await app.inject({ url: `/${(issuer + 1) % names.length}`, headers })).statusCode, 422)
  }
})

t.test('two applications in one process know nothing of each other', async (t) => {
  const [one, two] = [await buildApp(t, secretOf('one')), await buildApp(t, secretOf('two'))]
  guarded(one, '/')
  guarded(two, '/')
  const token = await one.createAccessToken('ada')
  t.equal((await one.inject({ url: '/', headers: bearer(token) })).statusCode, 200)
  t.equal((await two.inject({ url: '/', headers: bearer(token) })).statusCode, 422)
})
