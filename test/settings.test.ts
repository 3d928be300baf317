import t, { type Test } from 'tap'
import Fastify from 'fastify'
import jwtExtended, { type JwtExtendedOptions } from '../index.js'
import { ALGORITHMS, readSettings } from '../lib/settings.js'
import { bearer, buildApp, registrationError, SECRET } from './support/app.js'
import { rsaPair } from './support/keys.js'

const noop = (): never => { throw new Error('not called') }

// The kinds of the options: what each must be, what it accepts, what it refuses.
const FLAG = { takes: 'true or false', good: [true, false], bad: [0, 1, 'true', '', null, [], {}, noop] }
const TEXT = { takes: 'a string that is not empty', good: ['x', 'some thing', 'ünï'], bad: ['', 0, 5, true, false, null, [], ['x'], {}, noop] }
const TEXTS = {
  takes: 'a string that is not empty, or a list of such, not empty',
  good: ['x', ['x'], ['x', 'y']], bad: ['', [], [''], ['x', ''], ['x', 5], [['x']], [null], [undefined], 5, true, null, {}, noop],
}
const NAME = { takes: 'a name of letters, digits and', good: ['x', 'X-My_Name.1', '!#$%&\'*+-.^_`|~'], bad: ['', 'a b', 'a:b', 'a;b', 'a=b', 'a,b', 'ä', 'a\r\nb', 'a\n', 'a"', 5, true, null, [], ['x'], {}] }
const COOKIE_NAME = { ...NAME, good: ['x', 'my.cookie-1', '__Secure-x'] }
const PATH = { takes: "a path that begins with '/'", good: ['/', '/a/b', '/a b'], bad: ['', 'a', 'a/', '/a;b', '/a\nb', '/\u00e4', 5, true, false, null, [], {}] }
const FUNCTION = { takes: 'a function', good: [noop, async () => {}], bad: ['', 'noop', 0, true, false, null, [], [noop], {}] }
const LIFETIME = { takes: 'a positive duration: a number of whole seconds', good: [1, '15m', false], bad: [0, -1, 1.5, NaN, Infinity, '', '15', 'x', true, null, [], {}] }

interface Row {
  takes: string
  good: readonly unknown[]
  bad: readonly unknown[]
}

const KINDS: Partial<Record<keyof JwtExtendedOptions, Row>> = {
  allowWeakKeys: FLAG,
  decodeAlgorithms: {
    takes: 'a list, not empty, of one of',
    good: [['HS256'], ['HS256', 'HS512'], ['HS512', 'HS512']],
    bad: ['HS256', '', [], ['none'], ['hs256'], ['HS256', ''], ['HS256', null], null, {}, true],
  },
  algorithm: {
    takes: "one of 'HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'",
    good: ['HS256', 'HS384', 'HS512'],
    bad: ['', 'none', 'None', 'hs256', 'HS1', 'RS1', 'ES256K', 'toString', '__proto__', null, true, 256, [], ['HS256'], {}],
  },
  decodeAudience: TEXTS,
  decodeIssuer: TEXTS,
  encodeAudience: TEXTS,
  encodeIssuer: TEXT,
  encodeNbf: FLAG,
  verifySub: FLAG,
  identityClaim: { ...TEXT, good: ['sub', 'user', 'https://example.com/id'] },
  accessTokenExpires: LIFETIME,
  refreshTokenExpires: LIFETIME,
  tokenTypes: { takes: 'an object of types by name', good: [{}, { invite: { expires: '7d' } }], bad: ['', 'invite', 5, true, null, [], ['invite'], noop] },
  scopeClaim: TEXT,
  rolesClaim: TEXT,
  errorMessageKey: TEXT,
  errorProfile: { takes: "one of 'flask', 'rfc6750'", good: ['flask', 'rfc6750'], bad: ['', 'Flask', 'rfc', 6750, null, true, [], ['flask'], {}] },
  throwErrors: FLAG,
  openapi: FLAG,
  tokenLocation: {
    takes: "one of 'headers', 'cookies', 'query_string', 'json', or a list of such, not empty",
    good: ['headers', 'cookies', 'query_string', 'json', ['json'], ['cookies', 'headers'], ['headers', 'headers']],
    bad: ['', 'header', 'queryString', 'Headers', [], [''], ['headers', 'body'], [null], null, true, 0, {}],
  },
  headerName: NAME,
  headerType: { takes: "or '' for the bare token", good: ['Bearer', 'JWT', ''], bad: [' ', 'Bearer ', 'a b', 'a,b', 5, true, null, [], {}] },
  queryStringName: TEXT,
  queryStringValuePrefix: { takes: 'a string', good: ['', 'Bearer ', 'x'], bad: [0, true, null, [], {}] },
  jsonKey: TEXT,
  refreshJsonKey: TEXT,
  accessCookieName: COOKIE_NAME,
  refreshCookieName: COOKIE_NAME,
  accessCookiePath: PATH,
  refreshCookiePath: PATH,
  cookieDomain: {
    takes: "a host name such as 'example.com'",
    good: ['example.com', '.example.com', 'localhost', 'a-b.example', '127.0.0.1'],
    bad: ['', '.', 'a..b', '-a.com', 'a-.com', 'a b', 'a;b', 'http://example.com', 'example.com/', 'example.com:80', 'a\nb', 5, true, null, [], {}],
  },
  cookieSecure: FLAG,
  cookieSameSite: { takes: "one of 'Strict', 'Lax', 'None', false", good: ['Strict', 'Lax', 'None', false], bad: ['', 'strict', 'none', true, null, 0, [], ['Lax'], {}] },
  cookiePartitioned: FLAG,
  sessionCookie: FLAG,
  cookieCsrfProtect: FLAG,
  csrfMethods: { takes: "a list, not empty, of a method such as 'POST'", good: [['POST'], ['post', 'Put'], ['PROPFIND']], bad: ['POST', '', [], [''], ['PO ST'], ['POST', 5], null, true, {}] },
  csrfInCookies: FLAG,
  csrfCheckForm: FLAG,
  accessCsrfCookieName: COOKIE_NAME,
  refreshCsrfCookieName: COOKIE_NAME,
  accessCsrfCookiePath: PATH,
  refreshCsrfCookiePath: PATH,
  accessCsrfHeaderName: NAME,
  refreshCsrfHeaderName: NAME,
  accessCsrfFieldName: TEXT,
  refreshCsrfFieldName: TEXT,
  issuers: {
    takes: "a list, not empty, of { issuer: 'https://…', audience: '…' }",
    good: [[{ issuer: 'https://login.example.com/', audience: 'api' }], [{ issuer: 'them', audience: ['api'], jwksUri: 'https://login.example.com/jwks' }]],
    bad: ['https://login.example.com/', '', [], null, true, 5, {}, { issuer: 'https://login.example.com/', audience: 'api' }],
  },
  verifyCache: { takes: 'a whole number of entries, 1 or more, or false', good: [1, 5000, false], bad: [0, -1, 1.5, NaN, Infinity, '5', '', true, null, [], {}] },
  namespace: TEXT,
  userIdentityLoader: FUNCTION,
  additionalClaimsLoader: FUNCTION,
  additionalHeadersLoader: FUNCTION,
  encodeKeyLoader: FUNCTION,
  decodeKeyLoader: FUNCTION,
  userLookupLoader: FUNCTION,
  tokenInBlocklistLoader: FUNCTION,
  tokenVerificationLoader: FUNCTION,
  expiredTokenLoader: FUNCTION,
  insufficientScopeLoader: FUNCTION,
  invalidTokenLoader: FUNCTION,
  needsFreshTokenLoader: FUNCTION,
  revokedTokenLoader: FUNCTION,
  tokenVerificationFailedLoader: FUNCTION,
  unauthorizedLoader: FUNCTION,
  userLookupErrorLoader: FUNCTION,
}

const DEFAULTS = {
  allowWeakKeys: false,
  algorithm: 'HS256',
  decodeAlgorithms: ['HS256'],
  decodeAudience: undefined,
  decodeIssuer: undefined,
  encodeAudience: undefined,
  encodeIssuer: undefined,
  decodeLeeway: 0,
  encodeNbf: true,
  verifySub: true,
  identityClaim: 'sub',
  accessTokenExpires: 15 * 60,
  refreshTokenExpires: 30 * 24 * 60 * 60,
  tokenTypes: new Map(),
  scopeClaim: 'scope',
  rolesClaim: 'roles',
  errorMessageKey: 'msg',
  errorProfile: 'flask',
  throwErrors: false,
  tokenLocation: ['headers'],
  headerName: 'Authorization',
  headerType: 'Bearer',
  queryStringName: 'jwt',
  queryStringValuePrefix: '',
  jsonKey: 'access_token',
  refreshJsonKey: 'refresh_token',
  accessCookieName: 'access_token_cookie',
  refreshCookieName: 'refresh_token_cookie',
  accessCookiePath: '/',
  refreshCookiePath: '/',
  cookieDomain: undefined,
  cookieSecure: true,
  cookieSameSite: 'Lax',
  cookiePartitioned: false,
  sessionCookie: true,
  cookieCsrfProtect: true,
  csrfMethods: ['POST', 'PUT', 'PATCH', 'DELETE'],
  csrfInCookies: true,
  csrfCheckForm: false,
  accessCsrfCookieName: 'csrf_access_token',
  refreshCsrfCookieName: 'csrf_refresh_token',
  accessCsrfCookiePath: '/',
  refreshCsrfCookiePath: '/',
  accessCsrfHeaderName: 'X-CSRF-TOKEN',
  refreshCsrfHeaderName: 'X-CSRF-TOKEN',
  accessCsrfFieldName: 'csrf_token',
  refreshCsrfFieldName: 'csrf_token',
  issuers: undefined,
  verifyCache: 5000,
  namespace: undefined,
}

async function registers (t: Test, options: unknown): Promise<boolean> {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(jwtExtended, options as JwtExtendedOptions)
  return await app.ready().then(() => true, () => false)
}

t.test('each default is the one that is documented', async (t) => {
  const settings: Record<string, unknown> = { ...readSettings({ secretKey: SECRET }) }
  for (const [name, value] of Object.entries(DEFAULTS)) t.strictSame(settings[name], value, name)
})

t.test('each option takes the values of its kind', async (t) => {
  for (const [name, row] of Object.entries(KINDS)) {
    for (const value of row.good) t.ok(await registers(t, { secretKey: SECRET, [name]: value }), `${name}: ${String(value)}`)
    t.ok(await registers(t, { secretKey: SECRET, [name]: undefined }), `${name}: undefined counts as absent`)
  }
})

t.test('each option refuses every other value, by its name and with what it takes', async (t) => {
  for (const [name, row] of Object.entries(KINDS)) {
    for (const value of row.bad) {
      const error = await registrationError(t, { secretKey: SECRET, [name]: value })
      t.equal(error.code, 'FST_JWT_EXT_USAGE')
      t.match(error.message, `The option ${name} must be `, `${name}: ${typeof value} ${String(value)}`)
      t.match(error.message, row.takes)
    }
  }
})

t.test('the tables of this test have every option', async (t) => {
  const rest = ['secretKey', 'privateKey', 'publicKey', 'decodeLeeway']
  // Those of sessions need a store beside them; test/sessions.test.ts has them.
  const ofSessions = ['store', 'sessionLifetime', 'refreshGrace', 'onReuse', 'storeFailure', 'storeTimeout', 'onSessionEvent']
  t.strictSame(Object.keys(readSettings({ secretKey: SECRET })).sort(), [...Object.keys(KINDS), ...rest, ...ofSessions].sort())
})

t.test('a key of null is refused as an option, one that is undefined is no key', async (t) => {
  t.match((await registrationError(t, { secretKey: null })).message, 'The option secretKey must be a string or a Buffer, or a list of such')
  for (const name of ['privateKey', 'publicKey']) {
    const error = await registrationError(t, { algorithm: 'RS256', [name]: null })
    t.match(error.message, `The option ${name} must be a PEM text, a Buffer, a KeyObject, a JWK, or { key, passphrase }`)
  }
  t.match((await registrationError(t, { secretKey: undefined })).message, 'There is no key')
})

t.test('the algorithm that signs is always one of those that verify', async (t) => {
  t.strictSame(readSettings({ algorithm: 'HS512' }).decodeAlgorithms, ['HS512'])
  t.strictSame(readSettings({ algorithm: 'HS512', decodeAlgorithms: ['HS256'] }).decodeAlgorithms, ['HS512', 'HS256'])
  t.strictSame(readSettings({ algorithm: 'HS512', decodeAlgorithms: ['HS256', 'HS512', 'HS256'] }).decodeAlgorithms, ['HS512', 'HS256'])
  const app = await buildApp(t, { secretKey: SECRET, algorithm: 'HS512', decodeAlgorithms: ['HS256'] })
  const other = await buildApp(t, { secretKey: SECRET })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
  t.equal((await app.decodeToken(await other.createAccessToken('ada'))).sub, 'ada')
  await t.rejects(other.decodeToken(await app.createAccessToken('ada')), { message: 'The specified alg value is not allowed' })
})

t.test('one location and a list of it are the same; a location counts once', async (t) => {
  t.strictSame(readSettings({ tokenLocation: 'cookies' }).tokenLocation, ['cookies'])
  t.strictSame(readSettings({ tokenLocation: ['json', 'cookies', 'json'] }).tokenLocation, ['json', 'cookies'])
})

t.test('methods are read without regard to case', async (t) => {
  t.strictSame(readSettings({ csrfMethods: ['post', 'Delete', 'DELETE'] }).csrfMethods, ['POST', 'DELETE'])
})

t.test('an audience of new tokens stays one string or a list, as it was given', async (t) => {
  const one = await buildApp(t, { secretKey: SECRET, encodeAudience: 'api' })
  t.equal((await one.decodeToken(await one.createAccessToken('ada'))).aud, 'api')
  const two = await buildApp(t, { secretKey: SECRET, encodeAudience: ['api', 'web'] })
  t.strictSame((await two.decodeToken(await two.createAccessToken('ada'))).aud, ['api', 'web'])
})

t.test('all of an object of options that is frozen to its bottom works', async (t) => {
  const options = Object.freeze({
    secretKey: Object.freeze([SECRET, `${SECRET}-old`]) as string[],
    tokenLocation: Object.freeze(['headers', 'cookies']) as ['headers', 'cookies'],
    decodeAlgorithms: Object.freeze(['HS512']) as ['HS512'],
    decodeAudience: Object.freeze(['api']) as string[],
    encodeAudience: Object.freeze(['api']) as string[],
    csrfMethods: Object.freeze(['POST']) as string[],
  })
  const app = await buildApp(t, options)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
  t.equal(response.body, 'ada')
})

t.test("the caller's object and lists are never changed", async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const jwk = privateKey.export({ format: 'jwk' })
  const options: JwtExtendedOptions = {
    algorithm: 'RS256',
    privateKey: jwk,
    publicKey: [publicKey.export({ format: 'jwk' })],
    decodeAlgorithms: ['PS256'],
    tokenLocation: ['cookies', 'headers', 'cookies'],
    csrfMethods: ['post'],
    decodeAudience: ['api'],
    encodeAudience: ['api', 'web', 'api'],
  }
  const before = structuredClone(options)
  const app = await buildApp(t, options)
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
  t.strictSame(options, before)
  t.notOk(Object.isFrozen(options))
  t.notOk(Object.isFrozen(options.tokenLocation))
})

t.test('what the caller does to the object and its lists afterwards has no effect', async (t) => {
  const tokenLocation: ('headers' | 'cookies')[] = ['headers']
  const decodeAudience = ['api']
  const options: JwtExtendedOptions = { secretKey: SECRET, tokenLocation, decodeAudience, encodeAudience: 'api', accessTokenExpires: 60 }
  const app = await buildApp(t, options)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  tokenLocation[0] = 'cookies'
  decodeAudience[0] = 'other'
  options.secretKey = 'another'
  options.accessTokenExpires = 1
  const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
  t.equal(response.body, 'ada')
})

t.test('the settings are frozen, lists and all', async (t) => {
  const settings = readSettings({ secretKey: SECRET, csrfMethods: ['POST'], tokenLocation: ['json'], decodeAudience: 'a', encodeAudience: ['a'] })
  t.ok(Object.isFrozen(settings))
  for (const list of [settings.decodeAlgorithms, settings.csrfMethods, settings.tokenLocation, settings.decodeAudience, settings.encodeAudience]) {
    t.ok(Object.isFrozen(list))
  }
  const defaults = readSettings({ secretKey: SECRET })
  t.ok(Object.isFrozen(defaults.csrfMethods))
  t.ok(Object.isFrozen(defaults.tokenLocation))
})

t.test("what register takes for itself is no option of the plugin's, and is let through", async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(jwtExtended, { secretKey: SECRET, prefix: '/api', logLevel: 'warn', logSerializers: {} })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
})

t.test('options that contradict each other fail the registration, and the message says which', async (t) => {
  const rows: [options: JwtExtendedOptions, message: string][] = [
    [{ cookieSameSite: 'None', cookieSecure: false }, "cookieSameSite: 'None' needs cookieSecure: true"],
    [{ cookiePartitioned: true, cookieSecure: false }, 'cookiePartitioned needs cookieSecure: true'],
  ]
  const names = [
    ['accessCookieName', 'accessCookiePath'], ['refreshCookieName', 'refreshCookiePath'],
    ['accessCsrfCookieName', 'accessCsrfCookiePath'], ['refreshCsrfCookieName', 'refreshCsrfCookiePath'],
  ] as const
  for (const [name, path] of names) {
    for (const prefix of ['__Host-', '__host-', '__HOST-']) {
      rows.push([{ [name]: `${prefix}x`, cookieDomain: 'example.com' }, `The __Host- name in ${name} allows no cookieDomain`])
      rows.push([{ [name]: `${prefix}x`, [path]: '/api' }, `The __Host- name in ${name} needs ${path}: '/'`])
      rows.push([{ [name]: `${prefix}x`, cookieSecure: false }, `The __Host- name in ${name} needs cookieSecure: true`])
    }
    for (const prefix of ['__Secure-', '__secure-']) {
      rows.push([{ [name]: `${prefix}x`, cookieSecure: false }, `The __Secure- name in ${name} needs cookieSecure: true`])
    }
  }
  for (const [options, message] of rows) {
    const error = await registrationError(t, { secretKey: SECRET, ...options })
    t.equal(error.code, 'FST_JWT_EXT_USAGE')
    t.match(error.message, message, JSON.stringify(options))
  }
})

t.test('what only looks like a contradiction registers', async (t) => {
  const rows: JwtExtendedOptions[] = [
    { cookieSameSite: 'None' },
    { cookiePartitioned: true },
    { cookieSameSite: 'None', cookiePartitioned: true, cookieSecure: true },
    { cookieSecure: false, cookieSameSite: 'Strict' },
    { accessCookieName: '__Host-a', refreshCookieName: '__Host-r', accessCsrfCookieName: '__Host-ca', refreshCsrfCookieName: '__Host-cr' },
    { accessCookieName: '__Host-a', refreshCookiePath: '/refresh' },
    { accessCookieName: '__Secure-a', cookieDomain: 'example.com', accessCookiePath: '/api' },
    { accessCookieName: 'x__Host-a', cookieDomain: 'example.com', cookieSecure: false },
  ]
  for (const options of rows) t.ok(await registers(t, { secretKey: SECRET, ...options }), JSON.stringify(options))
})

t.test('two cookies cannot have one name on one path', async (t) => {
  const error = await registrationError(t, { secretKey: SECRET, refreshCookieName: 'access_token_cookie' })
  t.match(error.message, 'The options accessCookieName and refreshCookieName name the same cookie')
  const csrf = await registrationError(t, { secretKey: SECRET, accessCsrfCookieName: 'same', refreshCookieName: 'same' })
  t.match(csrf.message, 'The options refreshCookieName and accessCsrfCookieName name the same cookie')
  t.ok(await registers(t, { secretKey: SECRET, refreshCookieName: 'access_token_cookie', refreshCookiePath: '/refresh' }))
})

t.test('the identity cannot go into a claim that has a meaning of its own', async (t) => {
  for (const identityClaim of ['iss', 'aud', 'exp', 'nbf', 'iat', 'jti', 'type', 'fresh', 'csrf']) {
    const error = await registrationError(t, { secretKey: SECRET, identityClaim })
    t.match(error.message, `The option identityClaim cannot be '${identityClaim}'`)
  }
})

t.test('none is no algorithm, wherever it is given', async (t) => {
  t.equal(ALGORITHMS.length, 13)
  t.notOk((ALGORITHMS as readonly string[]).includes('none'))
  t.match((await registrationError(t, { secretKey: SECRET, algorithm: 'none' })).message, 'The option algorithm must be one of')
  t.match((await registrationError(t, { secretKey: SECRET, decodeAlgorithms: ['HS256', 'none'] })).message, 'The option decodeAlgorithms must be a list')
})

t.test('options that are no object fail the registration', async (t) => {
  for (const options of ['secret', 5, true, ['secret']]) {
    t.throws(() => readSettings(options), { code: 'FST_JWT_EXT_USAGE', message: 'The options of fastify-jwt-extended must be an object' })
  }
  t.throws(() => readSettings(null), { code: 'FST_JWT_EXT_USAGE' })
  t.match((await registrationError(t, undefined)).message, 'There is no key')
})
