import t, { type Test } from 'tap'
import type { JwtExtendedOptions, JwtFailure, JwtRule } from '../index.js'
import { bearer, buildApp, registrationError, SECRET } from './support/app.js'
import { forge } from './support/forge.js'

interface Answered {
  status: number
  msg: unknown
  challenge: unknown
}

/** Sends tokens with these claims to a route with this rule, each in turn. */
async function answersOf (t: Test, rule: JwtRule, claims: Record<string, unknown>[], options: JwtExtendedOptions = {}): Promise<Answered[]> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  app.get('/', { preHandler: app.jwtRequired(rule) }, async () => ({ msg: 'passed' }))
  const answers: Answered[] = []
  for (const own of claims) {
    const response = await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada', ...own })) })
    answers.push({ status: response.statusCode, msg: response.json().msg, challenge: response.headers['www-authenticate'] })
  }
  return answers
}

/** The claims that pass a rule. */
async function passing (t: Test, rule: JwtRule, claims: Record<string, unknown>[], options?: JwtExtendedOptions): Promise<unknown[]> {
  const answers = await answersOf(t, rule, claims, options)
  t.same(answers.filter(({ status }) => status !== 200 && status !== 403), [], 'whatever a token claims, it is let in or it is not')
  return claims.filter((_claim, index) => answers[index]!.status === 200)
}

t.test('scopes are needed all of them, whether the claim is a text or a list', async (t) => {
  const good = [
    { scope: 'read write' }, { scope: 'write read' }, { scope: 'admin write read reports' }, { scope: ' read  write ' },
    { scope: ['write', 'read'] }, { scope: ['read', 'write', 'read', 5, null] },
  ]
  const bad = [
    {}, { scope: '' }, { scope: 'read' }, { scope: 'write' }, { scope: 'reader writer' }, { scope: 'xread xwrite' }, { scope: 'readwrite' },
    { scope: 'read:all write' }, { scope: 'READ WRITE' }, { scope: 'read,write' }, { scope: 'read\twrite' }, { scope: 'read\nwrite' },
    { scope: 'reads read1 write' }, { scope: [] }, { scope: ['read'] }, { scope: ['read write'] }, { scope: [['read', 'write']] },
    { scope: null }, { scope: 5 }, { scope: true }, { scope: { read: true, write: true } }, { scope: { length: 2, 0: 'read', 1: 'write' } },
    { scopes: 'read write' }, { scp: ['read', 'write'] }, { roles: ['read', 'write'] },
  ]
  t.same(await passing(t, { scopes: ['read', 'write'] }, [...good, ...bad]), good)
})

t.test('one scope may be given as it is, and is found as a whole word only, wherever it stands', async (t) => {
  const good = [{ scope: 'read' }, { scope: 'reader read' }, { scope: 'read reader' }, { scope: 'a:read read b' }, { scope: 'readread read' }]
  const bad = [
    { scope: 'reader' }, { scope: 'a:read' }, { scope: 'readread' }, { scope: 'a.read.b read:x' },
    // Only a space stands between scopes (RFC 6749 §3.3).
    ...['\t', '\n', '\r\n', '\v', '\f', '\0', ',', ';', '+', '\u00a0', '\u2003', '\u3000', '\ufeff'].flatMap((sign) => [{ scope: `read${sign}` }, { scope: `${sign}read` }, { scope: `write${sign}read` }, { scope: `read${sign}write` }, { scope: `a ${sign}read b` }, { scope: `a read${sign} b` }]),
  ]
  for (const scopes of ['read', ['read'], ['read', 'read']]) t.same(await passing(t, { scopes }, [...good, ...bad]), good)
})

t.test('of roles one suffices', async (t) => {
  const good = [
    { roles: ['admin'] }, { roles: ['editor'] }, { roles: ['reader', 'editor'] }, { roles: 'admin' }, { roles: 'editor' },
    { roles: [null, 5, 'admin'] },
  ]
  const bad = [
    {}, { roles: [] }, { roles: ['reader'] }, { roles: 'reader' }, { roles: 'admin editor' }, { roles: ['admin editor'] }, { roles: ['Admin'] },
    { roles: [['admin']] }, { roles: null }, { roles: 5 }, { roles: { admin: true } }, { roles: '' }, { role: 'admin' }, { scope: 'admin' },
  ]
  t.same(await passing(t, { roles: ['admin', 'editor'] }, [...good, ...bad]), good)
  t.same(await passing(t, { roles: 'chief editor' }, [{ roles: 'chief editor' }, { roles: ['chief', 'editor'] }]), [{ roles: 'chief editor' }])
})

t.test('scopes and roles are needed both, where a rule asks for both', async (t) => {
  const good = { scope: 'read', roles: ['admin'] }
  t.same(await passing(t, { scopes: 'read', roles: 'admin' }, [good, { scope: 'read' }, { roles: ['admin'] }, {}]), [good])
})

t.test('a rule without scopes and roles asks for none', async (t) => {
  for (const rule of [{}, { scopes: undefined, roles: undefined }]) t.same(await passing(t, rule, [{}, { scope: 5, roles: 5 }]), [{}, { scope: 5, roles: 5 }])
})

t.test('claims are read by their name or by a path of own members', async (t) => {
  const url = 'https://example.com/roles'
  const rows: [path: string, good: Record<string, unknown>[], bad: Record<string, unknown>[]][] = [
    ['groups', [{ groups: ['admin'] }], [{ roles: ['admin'] }]],
    [
      'realm_access.roles',
      [
        { realm_access: { roles: ['admin'] } }, { 'realm_access.roles': ['admin'] },
        { 'realm_access.roles': 'admin', realm_access: { roles: [] } },
      ],
      [
        { realm_access: null }, { realm_access: 'admin' }, { realm_access: ['admin'] }, { realm_access: {} }, { roles: ['admin'] },
        { realm_access: { roles: { admin: true } } }, { 'realm_access.roles': null, realm_access: { roles: ['admin'] } },
      ],
    ],
    ['a.b.c', [{ a: { b: { c: 'admin' } } }], [{ a: { b: 'admin' } }, { a: { 'b.c': 'admin' } }, { c: 'admin' }, { a: 5 }]],
    [url, [{ [url]: ['admin'] }], [{ 'https://example': { 'com/role': ['admin'] } }]],
    ['__proto__.roles', [], [{ roles: ['admin'] }, { __proto__: { roles: ['admin'] } }]],
    ['constructor.name', [], [{}]],
    ['a.constructor.name', [], [{ a: {} }, { a: 'x' }]],
    ['toString', [], [{}]],
  ]
  for (const [rolesClaim, good, bad] of rows) {
    t.same(await passing(t, { roles: ['admin', 'Object', 'String'] }, [...good, ...bad], { rolesClaim }), good, rolesClaim)
  }
  const nested = { permissions: { scope: 'read write' } }
  t.same(await passing(t, { scopes: 'read' }, [nested, { scope: 'read' }], { scopeClaim: 'permissions.scope' }), [nested])
  t.same(await passing(t, { scopes: 'read' }, [{ scp: ['read'] }], { scopeClaim: 'scp' }), [{ scp: ['read'] }])
})

t.test('a token that claims a prototype gives nobody a role', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, rolesClaim: 'access.roles' })
  app.get('/', { preHandler: app.jwtRequired({ roles: 'admin' }) }, async () => 'in')
  for (const claims of ['{"sub":"ada","access":{"__proto__":{"roles":["admin"]}}}', '{"sub":"ada","__proto__":{"access":{"roles":["admin"]}}}']) {
    t.equal((await app.inject({ url: '/', headers: bearer(forge(claims)) })).statusCode, 403)
  }
})

t.test('a prototype that something else has polluted gives nobody a role', async (t) => {
  t.teardown(() => Reflect.deleteProperty(Object.prototype, 'roles'))
  for (const rolesClaim of ['roles', 'access.roles']) {
    const app = await buildApp(t, { secretKey: SECRET, rolesClaim })
    app.get('/', { preHandler: app.jwtRequired({ roles: 'admin' }) }, async () => 'in')
    await app.ready()
    Reflect.defineProperty(Object.prototype, 'roles', { value: ['admin'], configurable: true })
    const { statusCode } = await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada', access: {} })) })
    Reflect.deleteProperty(Object.prototype, 'roles')
    t.equal(statusCode, 403, rolesClaim)
  }
})

t.test('who lacks something is told what, with a challenge in either profile, and nothing of the token', async (t) => {
  const scopes = (scope: string, description: string): string => `Bearer error="insufficient_scope", scope="${scope}", error_description="${description}"`
  for (const errorProfile of ['flask', 'rfc6750'] as const) {
    t.same(await answersOf(t, { scopes: ['reports:read', 'reports:write', 'x'] }, [{ scope: 'secret reports:read' }, {}], { errorProfile }), [
      { status: 403, msg: 'Missing scope: reports:write x', challenge: scopes('reports:read reports:write x', 'Missing scope: reports:write x') },
      { status: 403, msg: 'Missing scope: reports:read reports:write x', challenge: scopes('reports:read reports:write x', 'Missing scope: reports:read reports:write x') },
    ])
    t.same(await answersOf(t, { roles: ['admin', 'editor'] }, [{ roles: ['secret'] }], { errorProfile }), [
      { status: 403, msg: 'Missing role: one of admin, editor', challenge: 'Bearer error="insufficient_scope", error_description="Missing role: one of admin, editor"' },
    ])
    t.same(await answersOf(t, { roles: 'the "boss"\n', scopes: 'x' }, [{ scope: 'x' }], { errorProfile }), [
      { status: 403, msg: 'Missing role: the "boss"\n', challenge: 'Bearer error="insufficient_scope", error_description="Missing role: the \'boss\'?"' },
    ])
    t.match(await answersOf(t, { scopes: 'x', roles: 'y' }, [{}], { errorProfile }), [{ msg: 'Missing scope: x' }])
  }
})

t.test('the loader words the answer, and sees the token', async (t) => {
  const app = await buildApp(t, {
    secretKey: SECRET,
    insufficientScopeLoader: (error, request) => ({ because: error.message, code: error.code, of: error.jwtPayload?.sub, at: request.url }),
  })
  app.get('/', { preHandler: app.jwtRequired({ scopes: 'x' }) }, async () => 'in')
  const response = await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })
  t.equal(response.statusCode, 403)
  t.same(response.json(), { because: 'Missing scope: x', code: 'FST_JWT_EXT_INSUFFICIENT_SCOPE', of: 'ada', at: '/' })
})

t.test('verifyJwt throws the error, dressed for the answer', async (t) => {
  const app = await buildApp(t)
  app.get('/', async (request) => {
    return await request.verifyJwt({ scopes: 'x' }).then(() => 'in', ({ name, statusCode, challenge }: JwtFailure) => ({ name, statusCode, challenge }))
  })
  t.same((await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })).json(), {
    name: 'InsufficientScopeError', statusCode: 403, challenge: 'Bearer error="insufficient_scope", scope="x", error_description="Missing scope: x"',
  })
  t.equal((await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada', scope: 'x' })) })).statusCode, 200)
})

t.test('an anonymous request passes an optional guard, and a token without the scope does not', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired({ optional: true, scopes: 'x', roles: 'y' }) }, async (request) => ({ who: request.jwtIdentity }))
  t.same((await app.inject('/')).json(), { who: null })
  t.equal((await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })).statusCode, 403)
  t.same((await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada', scope: 'x', roles: 'y' })) })).json(), { who: 'ada' })
})

t.test('they go with tokens of any type', async (t) => {
  const refresh = { type: 'refresh', scope: 'x' }
  t.same(await passing(t, { refresh: true, scopes: 'x' }, [refresh, { type: 'refresh' }]), [refresh])
  t.same(await passing(t, { verifyType: false, scopes: 'x' }, [refresh, { type: 'other' }]), [refresh])
})

t.test('scopes that no challenge could name throw where the guard is made, and so does all else that is none', async (t) => {
  const app = await buildApp(t)
  const takes = "A guard's scopes must be one scope: printable ASCII without spaces, double quotes and backslashes, or a list of such, not empty"
  for (const scopes of ['', 'a b', 'a"b', 'a\\b', 'ä', 'a\n', 'a\u007f', ' ', [], [''], ['a', 'b c'], ['a', 5], [['a']], [null], null, 5, true, {}]) {
    t.throws(() => app.jwtRequired({ scopes } as never), { code: 'FST_JWT_EXT_USAGE', message: takes }, JSON.stringify(scopes))
  }
  for (const scopes of ['!', "#[]^'~", 'https://example.com/a.b?c=d&e', ['a', 'b']]) t.doesNotThrow(() => app.jwtRequired({ scopes }))
  for (const roles of ['', [], [''], ['a', 5], [['a']], null, 5, true, {}]) {
    t.throws(() => app.jwtRequired({ roles } as never), { code: 'FST_JWT_EXT_USAGE', message: "A guard's roles must be a string that is not empty, or a list of such, not empty" }, JSON.stringify(roles))
  }
  for (const [name, meant] of [['scope', 'scopes'], ['role', 'roles']]) {
    t.throws(() => app.jwtRequired({ [name!]: 'x' } as never), { message: `Unknown option '${name}' of a guard; did you mean '${meant}'?` })
  }
  for (const name of ['scopeClaim', 'rolesClaim']) {
    t.match(await registrationError(t, { secretKey: SECRET, [name]: '' }), { message: `The option ${name} must be a string that is not empty` })
  }
})

t.test("what becomes of the caller's lists afterwards has no effect", async (t) => {
  const app = await buildApp(t)
  const scopes = ['read']
  app.get('/', { preHandler: app.jwtRequired({ scopes }) }, async () => 'in')
  scopes[0] = 'nothing'
  t.equal((await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada', scope: 'read' })) })).statusCode, 200)
})
