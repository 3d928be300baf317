import t from 'tap'
import { assertKnownNames, nearest, quote } from '../lib/names.js'
import { buildApp, registrationError, SECRET } from './support/app.js'

const FLASK = {
  JWT_SECRET_KEY: 'secretKey',
  JWT_PRIVATE_KEY: 'privateKey',
  JWT_PUBLIC_KEY: 'publicKey',
  JWT_ALGORITHM: 'algorithm',
  JWT_DECODE_ALGORITHMS: 'decodeAlgorithms',
  JWT_DECODE_AUDIENCE: 'decodeAudience',
  JWT_DECODE_ISSUER: 'decodeIssuer',
  JWT_DECODE_LEEWAY: 'decodeLeeway',
  JWT_ENCODE_AUDIENCE: 'encodeAudience',
  JWT_ENCODE_ISSUER: 'encodeIssuer',
  JWT_ENCODE_NBF: 'encodeNbf',
  JWT_VERIFY_SUB: 'verifySub',
  JWT_IDENTITY_CLAIM: 'identityClaim',
  JWT_ACCESS_TOKEN_EXPIRES: 'accessTokenExpires',
  JWT_REFRESH_TOKEN_EXPIRES: 'refreshTokenExpires',
  JWT_ERROR_MESSAGE_KEY: 'errorMessageKey',
  JWT_TOKEN_LOCATION: 'tokenLocation',
  JWT_HEADER_NAME: 'headerName',
  JWT_HEADER_TYPE: 'headerType',
  JWT_QUERY_STRING_NAME: 'queryStringName',
  JWT_QUERY_STRING_VALUE_PREFIX: 'queryStringValuePrefix',
  JWT_JSON_KEY: 'jsonKey',
  JWT_REFRESH_JSON_KEY: 'refreshJsonKey',
  JWT_ACCESS_COOKIE_NAME: 'accessCookieName',
  JWT_REFRESH_COOKIE_NAME: 'refreshCookieName',
  JWT_ACCESS_COOKIE_PATH: 'accessCookiePath',
  JWT_REFRESH_COOKIE_PATH: 'refreshCookiePath',
  JWT_COOKIE_DOMAIN: 'cookieDomain',
  JWT_COOKIE_SECURE: 'cookieSecure',
  JWT_COOKIE_SAMESITE: 'cookieSameSite',
  JWT_SESSION_COOKIE: 'sessionCookie',
  JWT_COOKIE_CSRF_PROTECT: 'cookieCsrfProtect',
  JWT_CSRF_METHODS: 'csrfMethods',
  JWT_CSRF_IN_COOKIES: 'csrfInCookies',
  JWT_CSRF_CHECK_FORM: 'csrfCheckForm',
  JWT_ACCESS_CSRF_COOKIE_NAME: 'accessCsrfCookieName',
  JWT_REFRESH_CSRF_COOKIE_NAME: 'refreshCsrfCookieName',
  JWT_ACCESS_CSRF_COOKIE_PATH: 'accessCsrfCookiePath',
  JWT_REFRESH_CSRF_COOKIE_PATH: 'refreshCsrfCookiePath',
  JWT_ACCESS_CSRF_HEADER_NAME: 'accessCsrfHeaderName',
  JWT_REFRESH_CSRF_HEADER_NAME: 'refreshCsrfHeaderName',
  JWT_ACCESS_CSRF_FIELD_NAME: 'accessCsrfFieldName',
  JWT_REFRESH_CSRF_FIELD_NAME: 'refreshCsrfFieldName',
  user_identity_loader: 'userIdentityLoader',
  additional_claims_loader: 'additionalClaimsLoader',
  additional_headers_loader: 'additionalHeadersLoader',
  encode_key_loader: 'encodeKeyLoader',
  decode_key_loader: 'decodeKeyLoader',
  user_lookup_loader: 'userLookupLoader',
  token_in_blocklist_loader: 'tokenInBlocklistLoader',
  token_verification_loader: 'tokenVerificationLoader',
  expired_token_loader: 'expiredTokenLoader',
  invalid_token_loader: 'invalidTokenLoader',
  needs_fresh_token_loader: 'needsFreshTokenLoader',
  revoked_token_loader: 'revokedTokenLoader',
  token_verification_failed_loader: 'tokenVerificationFailedLoader',
  unauthorized_loader: 'unauthorizedLoader',
  user_lookup_error_loader: 'userLookupErrorLoader',
}

t.test('each name of Flask-JWT-Extended is answered with the name that the option has here', async (t) => {
  for (const [name, meant] of Object.entries(FLASK)) {
    const error = await registrationError(t, { secretKey: SECRET, [name]: 'anything' })
    t.equal(error.code, 'FST_JWT_EXT_USAGE')
    t.equal(error.message, `Unknown option '${name}' of fastify-jwt-extended; did you mean '${meant}'?`)
  }
})

t.test('a near miss is answered with the name that was meant', async (t) => {
  const rows = {
    secret: 'secretKey',
    secretkey: 'secretKey',
    SecretKey: 'secretKey',
    secretKeys: 'secretKey',
    secertKey: 'secretKey',
    secret_key: 'secretKey',
    'secret-key': 'secretKey',
    algorithms: 'algorithm',
    alogrithm: 'algorithm',
    accessTokenExpire: 'accessTokenExpires',
    tokenLocations: 'tokenLocation',
    cookieSamesite: 'cookieSameSite',
    namespaces: 'namespace',
    expiredTokenloader: 'expiredTokenLoader',
    JWT_ALGORITHMS: 'algorithm',
    JWT_ACCESS_TOKEN_EXPIRE: 'accessTokenExpires',
    JWT_COOKIE_SAME_SITES: 'cookieSameSite',
    expiresIn: 'accessTokenExpires',
    formatUser: 'userLookupLoader',
    trusted: 'tokenInBlocklistLoader',
    JWT_BLACKLIST_ENABLED: 'tokenInBlocklistLoader',
    redis: 'store',
  }
  for (const [name, meant] of Object.entries(rows)) {
    const error = await registrationError(t, { secretKey: SECRET, [name]: 'anything' })
    t.match(error.message, `Unknown option '${name}'`)
    t.match(error.message, `did you mean '${meant}'?`)
  }
})

t.test('a name that is near to nothing is answered with all the names there are', async (t) => {
  for (const name of ['colour', 'x', '', 'constructor', 'toString', '42']) {
    const error = await registrationError(t, { secretKey: SECRET, [name]: 'anything' })
    t.match(error.message, `Unknown option '${name}' of fastify-jwt-extended; it takes: secretKey, allowWeakKeys, privateKey,`, name)
  }
  const own = JSON.parse('{"__proto__": {"algorithm": "HS512"}}') as object
  t.match((await registrationError(t, Object.assign(own, { secretKey: SECRET }))).message, "Unknown option '__proto__'")
})

t.test('an unknown option is refused whatever its value is, undefined included', async (t) => {
  for (const value of [undefined, null, false, '']) {
    t.match((await registrationError(t, { secretKey: SECRET, secretKye: value })).message, "did you mean 'secretKey'?")
  }
})

t.test('the names in rules, in the options of a call and in those of decodeToken are checked alike', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  t.throws(() => app.jwtRequired({ optinal: true } as never), { message: "Unknown option 'optinal' of a guard; did you mean 'optional'?" })
  t.throws(() => app.jwtRequired({ location: 'headers' } as never), { message: "Unknown option 'location' of a guard; did you mean 'locations'?" })
  t.throws(() => app.jwtRequired({ verify_type: false } as never), { message: "Unknown option 'verify_type' of a guard; did you mean 'verifyType'?" })
  await t.rejects(app.createAccessToken('ada', { expires_delta: 5 } as never), {
    code: 'FST_JWT_EXT_USAGE', message: "Unknown option 'expires_delta' of createAccessToken; did you mean 'expiresDelta'?",
  })
  await t.rejects(app.createRefreshToken('ada', { fresh: true } as never), {
    code: 'FST_JWT_EXT_USAGE', message: "Unknown option 'fresh' of createRefreshToken; it takes: expiresDelta, additionalClaims, additionalHeaders",
  })
  await t.rejects(app.decodeToken(token, { csrf_value: 'x' } as never), {
    code: 'FST_JWT_EXT_USAGE', message: "Unknown option 'csrf_value' of decodeToken; did you mean 'csrfValue'?",
  })
})

t.test('options that are no object are refused, with what they may hold', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  for (const value of [null, 0, 5, '', 'fresh', true, false, [], ['fresh'], () => {}]) {
    const message = /^The options of .+ must be an object with any of: /
    t.throws(() => app.jwtRequired(value as never), { code: 'FST_JWT_EXT_USAGE', message }, `a guard of ${String(value)}`)
    await t.rejects(app.createAccessToken('ada', value as never), { code: 'FST_JWT_EXT_USAGE', message })
    await t.rejects(app.createRefreshToken('ada', value as never), { code: 'FST_JWT_EXT_USAGE', message })
    await t.rejects(app.decodeToken(token, value as never), { code: 'FST_JWT_EXT_USAGE', message })
    t.throws(() => { assertKnownNames(value, ['a', 'b'], 'it') }, { message: 'The options of it must be an object with any of: a, b' })
  }
})

t.test('nearness is counted in letters, without case, separators and JWT_', async (t) => {
  const known = ['fresh', 'optional', 'headerName', 'headerType']
  t.equal(nearest('fresh', known), 'fresh')
  t.equal(nearest('frsh', known), 'fresh')
  t.equal(nearest('JWT_HEADER_NAME', known), 'headerName')
  t.equal(nearest('header', known), 'headerName', 'the first of several that begin so')
  t.equal(nearest('optionall', known), 'optional')
  t.equal(nearest('oops', known), undefined)
  t.equal(nearest('fr', known), undefined, 'two letters begin too much')
  t.equal(nearest('', known), undefined)
  t.equal(nearest('fresh', []), undefined)
})

t.test('a name that is longer than names are is near to nothing', async (t) => {
  const longest = 'a'.repeat(64)
  t.equal(nearest('fresh'.padEnd(64, '_'), ['fresh']), 'fresh')
  t.equal(nearest('fresh'.padEnd(65, '_'), ['fresh']), undefined)
  t.equal(nearest('fresh'.padEnd(1_000_000, '_'), ['fresh']), undefined)
  t.equal(nearest(`${longest.slice(1)}b`, [longest]), longest)
  t.equal(nearest(`${longest}b`, [longest]), undefined)
  t.equal(nearest(`JWT_${'_'.repeat(1_000_000)}redis`, ['store']), undefined)
})

t.test('of a name no more than its beginning is quoted', async (t) => {
  const app = await buildApp(t)
  t.equal(quote(''), "''")
  t.equal(quote('x'.repeat(64)), `'${'x'.repeat(64)}'`)
  t.equal(quote('x'.repeat(65)), `'${'x'.repeat(64)}…'`)
  for (const name of ['x'.repeat(1_000_000), 'secretKey'.padEnd(1_000_000, '_'), 'fresh'.padEnd(1_000_000, '_')]) {
    const quoted = `Unknown option '${name.slice(0, 64)}…' of `
    const { message } = await registrationError(t, { secretKey: SECRET, [name]: 'anything' })
    t.ok(message.startsWith(`${quoted}fastify-jwt-extended; it takes: secretKey, `))
    t.throws(() => app.jwtRequired({ [name]: true } as never), { message: `${quoted}a guard; it takes: optional, fresh, ` })
    await t.rejects(app.createAccessToken('ada', { [name]: true } as never), { message: `${quoted}createAccessToken; it takes: ` })
  }
})

t.test('what has that name elsewhere is meant only where it is known', async (t) => {
  t.equal(nearest('redis', ['store', 'redish']), 'store')
  t.equal(nearest('redis', ['redish']), 'redish')
  t.equal(nearest('constructor', ['store']), undefined)
})
