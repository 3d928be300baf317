import t from 'tap'
import { memoryStore, type JwtRule, type TokenLocation } from '../index.js'
import { identifyRule, readRule } from '../lib/rule.js'
import { readSettings } from '../lib/settings.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { forge } from './support/forge.js'

const FLAGS = ['optional', 'fresh', 'refresh', 'verifyType', 'skipRevocationCheck'] as const

t.test('a rule that says nothing is the default: a token, of type access, from the configured locations', async (t) => {
  const settings = readSettings({ secretKey: SECRET, tokenLocation: ['cookies', 'headers'] })
  const defaults = { optional: false, fresh: false, refresh: false, verifyType: true, skipRevocationCheck: false, locations: ['cookies', 'headers'], storeFailure: 'closed', type: undefined, scopes: [], roles: [], allowedOrigins: undefined }
  for (const rule of [undefined, {}, Object.fromEntries([...FLAGS, 'locations'].map((name) => [name, undefined])), Object.create(null)]) {
    t.strictSame(readRule(rule, settings), defaults)
  }
})

t.test('each field of a rule is read', async (t) => {
  const settings = readSettings({ secretKey: SECRET })
  for (const name of FLAGS) {
    for (const value of [true, false]) t.equal(readRule({ [name]: value }, settings)[name], value)
  }
  t.strictSame(readRule({ locations: 'json' }, settings).locations, ['json'])
  t.strictSame(readRule({ locations: ['json', 'headers', 'json'] }, settings).locations, ['json', 'headers'])
})

t.test('what a rule does while the store fails is its own, the configuration\'s, or closed where it asks for more', async (t) => {
  const settings = readSettings({ secretKey: SECRET, store: memoryStore(), storeFailure: 'open' })
  t.equal(readRule({}, settings).storeFailure, 'open')
  t.equal(readRule({ storeFailure: 'closed' }, settings).storeFailure, 'closed')
  for (const more of [{ fresh: true }, { refresh: true }]) t.equal(readRule({ storeFailure: 'open', ...more }, settings).storeFailure, 'closed')
  for (const storeFailure of ['', 'half-open', true, null, []]) {
    t.throws(() => readRule({ storeFailure }, settings), { code: 'FST_JWT_EXT_USAGE', message: "A guard's storeFailure must be one of 'closed', 'open'" })
  }
})

t.test('a rule with a value of another kind throws where the guard is made', async (t) => {
  const app = await buildApp(t)
  for (const name of FLAGS) {
    for (const value of [0, 1, 'true', '', null, [], {}, () => true]) {
      t.throws(() => app.jwtRequired({ [name]: value } as never), { code: 'FST_JWT_EXT_USAGE', message: `A guard's ${name} must be true or false` }, `${name} ${String(value)}`)
    }
  }
  for (const locations of ['', 'header', 'Headers', 'queryString', [], [''], ['headers', 'body'], [null], [['headers']], null, true, 0, {}]) {
    t.throws(() => app.jwtRequired({ locations } as never), {
      code: 'FST_JWT_EXT_USAGE', message: "A guard's locations must be one of 'headers', 'cookies', 'query_string', 'json', or a list of such, not empty",
    }, JSON.stringify(locations))
  }
})

t.test('what is no rule throws where the guard is made', async (t) => {
  const app = await buildApp(t)
  for (const rule of [null, true, false, 'refresh', '', 0, 5, [], ['refresh'], () => {}]) {
    t.throws(() => app.jwtRequired(rule as never), { code: 'FST_JWT_EXT_USAGE', message: /^The options of a guard must be an object/ }, String(rule))
    t.throws(() => app.jwtManager().jwtRequired(rule as never), { code: 'FST_JWT_EXT_USAGE' })
  }
  for (const name of ['Optional', 'freshness', 'verifyjwt', 'x', '']) {
    t.throws(() => app.jwtRequired({ [name]: true } as never), { code: 'FST_JWT_EXT_USAGE', message: `Unknown option '${name}' of a guard` })
  }
})

t.test('verifyJwt rejects for what is no rule, as a guard throws', async (t) => {
  const app = await buildApp(t)
  const codes: unknown[] = []
  app.get('/', async (request) => {
    for (const rule of [null, 'refresh', { optinal: true }, { fresh: 1 }, { locations: [] }]) {
      codes.push(await request.verifyJwt(rule as never).then(() => 'passed', (error: { code: string }) => error.code))
    }
    return 'done'
  })
  t.equal((await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })).body, 'done')
  t.strictSame(codes, Array.from({ length: 5 }, () => 'FST_JWT_EXT_USAGE'))
})

t.test("the caller's rule is never changed, may be frozen, and has no effect once the guard is made", async (t) => {
  const app = await buildApp(t, { secretKey: SECRET })
  const locations: TokenLocation[] = ['headers']
  const rule: JwtRule = { locations, optional: false }
  const before = structuredClone(rule)
  app.get('/', { preHandler: app.jwtRequired(rule) }, async () => 'in')
  app.get('/frozen', { preHandler: app.jwtRequired(Object.freeze({ optional: true, locations: Object.freeze(['headers']) as TokenLocation[] })) }, async () => 'in')
  t.strictSame(rule, before)
  rule.optional = true
  locations[0] = 'cookies'
  t.equal((await app.inject('/')).statusCode, 401)
  t.equal((await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })).statusCode, 200)
  t.equal((await app.inject('/frozen')).statusCode, 200)
})

t.test('every combination of flags is a rule of its own', async (t) => {
  const settings = readSettings({ secretKey: SECRET })
  const ids = new Set<string>()
  for (let bits = 0; bits < 32; bits++) {
    const flags = Object.fromEntries(FLAGS.map((name, index) => [name, (bits >> index & 1) === 1]))
    for (const locations of ['headers', ['headers', 'json'], ['json', 'headers']]) ids.add(identifyRule(readRule({ ...flags, locations }, settings)))
  }
  t.equal(ids.size, 96)
})

t.test('scopes, roles and a type make a rule of its own, in whatever order they are listed', async (t) => {
  const settings = readSettings({ secretKey: SECRET, tokenTypes: { invite: { expires: '7d' }, report: { expires: 60 } } })
  const rules: JwtRule[] = [
    {}, { scopes: 'a' }, { scopes: 'b' }, { scopes: ['a', 'b'] }, { scopes: 'a,b' }, { roles: 'a' }, { roles: ['a', 'b'] }, { roles: 'a,b' },
    { roles: 'a b' }, { roles: '"],["' }, { scopes: 'a', roles: 'b' }, { scopes: 'a', roles: 'a' }, { type: 'invite' }, { type: 'report' },
    { type: 'invite', scopes: 'a' },
  ]
  const idOf = (rule: JwtRule): string => identifyRule(readRule(rule, settings))
  t.equal(new Set(rules.map(idOf)).size, rules.length)
  t.equal(idOf({ scopes: ['b', 'a'] }), idOf({ scopes: ['a', 'b', 'a'] }))
  t.equal(idOf({ roles: ['b', 'a'] }), idOf({ roles: ['a', 'b'] }))
  t.equal(idOf({ scopes: 'a' }), idOf({ scopes: ['a'] }))
})

t.test('each combination of type, freshness and rule lets in what it should', async (t) => {
  const app = await buildApp(t)
  const tokens = {
    access: forge({ sub: 'ada', type: 'access', fresh: false }),
    'fresh access': forge({ sub: 'ada', type: 'access', fresh: true }),
    refresh: forge({ sub: 'ada', type: 'refresh', fresh: false }),
    'fresh refresh': forge({ sub: 'ada', type: 'refresh', fresh: true }),
    other: forge({ sub: 'ada', type: 'other', fresh: true }),
  }
  const rows: [JwtRule, string[]][] = [
    [{}, ['access', 'fresh access']],
    [{ optional: true }, ['access', 'fresh access', 'none']],
    [{ fresh: true }, ['fresh access']],
    [{ fresh: true, optional: true }, ['fresh access', 'none']],
    [{ refresh: true }, ['refresh', 'fresh refresh']],
    [{ refresh: true, optional: true }, ['refresh', 'fresh refresh', 'none']],
    [{ refresh: true, fresh: true }, ['fresh refresh']],
    [{ verifyType: false }, ['access', 'fresh access', 'refresh', 'fresh refresh', 'other']],
    [{ verifyType: false, refresh: true }, ['access', 'fresh access', 'refresh', 'fresh refresh', 'other']],
    [{ verifyType: false, fresh: true }, ['fresh access', 'fresh refresh', 'other']],
    [{ verifyType: false, fresh: true, optional: true }, ['fresh access', 'fresh refresh', 'other', 'none']],
  ]
  for (const [index, [rule]] of rows.entries()) app.get(`/${index}`, { preHandler: app.jwtRequired(rule) }, async () => 'in')
  for (const [index, [rule, expected]] of rows.entries()) {
    const passed: string[] = []
    for (const [name, token] of [...Object.entries(tokens), ['none', undefined] as const]) {
      const response = await app.inject({ url: `/${index}`, headers: token === undefined ? {} : bearer(token) })
      if (response.statusCode === 200) passed.push(name)
    }
    t.strictSame(passed, expected, JSON.stringify(rule))
  }
})

t.test('skipRevocationCheck asks nothing', async (t) => {
  let asked = 0
  const app = await buildApp(t, { secretKey: SECRET, tokenInBlocklistLoader: () => { asked++; return true } })
  app.get('/', { preHandler: app.jwtRequired({ skipRevocationCheck: true }) }, async () => 'in')
  app.get('/asks', { preHandler: app.jwtRequired({ skipRevocationCheck: false }) }, async () => 'in')
  const headers = bearer(await app.createAccessToken('ada'))
  t.equal((await app.inject({ url: '/', headers })).statusCode, 200)
  t.equal(asked, 0)
  t.equal((await app.inject({ url: '/asks', headers })).statusCode, 401)
  t.equal(asked, 1)
})
