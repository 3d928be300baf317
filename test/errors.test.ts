import Fastify from 'fastify'
import t from 'tap'
import * as api from '../index.js'
import { applyProfile, JwtUsageError } from '../lib/errors.js'

type Profile = 'flask' | 'rfc6750'

interface Row {
  name: 'NoAuthorizationError' | 'InvalidHeaderError' | 'InvalidQueryParamError' | 'CsrfError' | 'JwtDecodeError' | 'WrongTokenError'
    | 'ExpiredTokenError' | 'FreshTokenRequiredError' | 'InsufficientScopeError' | 'RevokedTokenError' | 'UserLookupError' | 'UserClaimsVerificationError'
  code: string
  flask: number
  rfc6750: number
  error?: string
  loader: string
}

const ROWS: Row[] = [
  { name: 'NoAuthorizationError', code: 'NO_AUTHORIZATION', flask: 401, rfc6750: 401, loader: 'unauthorizedLoader' },
  { name: 'InvalidHeaderError', code: 'INVALID_HEADER', flask: 422, rfc6750: 400, error: 'invalid_request', loader: 'invalidTokenLoader' },
  { name: 'InvalidQueryParamError', code: 'INVALID_QUERY_PARAM', flask: 422, rfc6750: 400, error: 'invalid_request', loader: 'invalidTokenLoader' },
  { name: 'CsrfError', code: 'CSRF', flask: 401, rfc6750: 403, error: 'invalid_token', loader: 'unauthorizedLoader' },
  { name: 'JwtDecodeError', code: 'INVALID_TOKEN', flask: 422, rfc6750: 401, error: 'invalid_token', loader: 'invalidTokenLoader' },
  { name: 'WrongTokenError', code: 'WRONG_TYPE', flask: 422, rfc6750: 401, error: 'invalid_token', loader: 'invalidTokenLoader' },
  { name: 'ExpiredTokenError', code: 'EXPIRED', flask: 401, rfc6750: 401, error: 'invalid_token', loader: 'expiredTokenLoader' },
  { name: 'FreshTokenRequiredError', code: 'FRESH_REQUIRED', flask: 401, rfc6750: 401, error: 'insufficient_user_authentication', loader: 'needsFreshTokenLoader' },
  { name: 'InsufficientScopeError', code: 'INSUFFICIENT_SCOPE', flask: 403, rfc6750: 403, error: 'insufficient_scope', loader: 'insufficientScopeLoader' },
  { name: 'RevokedTokenError', code: 'REVOKED', flask: 401, rfc6750: 401, error: 'invalid_token', loader: 'revokedTokenLoader' },
  { name: 'UserLookupError', code: 'USER_LOOKUP', flask: 401, rfc6750: 401, error: 'invalid_token', loader: 'userLookupErrorLoader' },
  { name: 'UserClaimsVerificationError', code: 'CLAIMS_REFUSED', flask: 400, rfc6750: 403, error: 'insufficient_scope', loader: 'tokenVerificationFailedLoader' },
]

t.test('each error class has its code, its status in either profile, its challenge and its loader', async (t) => {
  for (const row of ROWS) {
    for (const profile of ['flask', 'rfc6750'] as const) {
      const error = new api[row.name]('Because')
      const description = applyProfile(error, profile)
      t.strictSame(description, { statusCode: error.statusCode, challenge: error.challenge, headers: error.headers })
      t.equal(error.name, row.name)
      t.equal(error.code, `FST_JWT_EXT_${row.code}`)
      t.equal(error.statusCode, row[profile], `${row.name} ${profile}`)
      t.equal(error.loader, row.loader)
      t.equal(error.message, 'Because')
      const challenge = expectedChallenge(row, profile)
      t.equal(error.challenge, challenge, `${row.name} ${profile}`)
      t.strictSame(error.headers, challenge === undefined ? {} : { 'www-authenticate': challenge })
    }
  }
})

function expectedChallenge (row: Row, profile: Profile): string | undefined {
  const challenged = profile === 'flask' ? row.flask === 401 || row.name === 'InsufficientScopeError' : true
  if (!challenged) return undefined
  return row.error === undefined ? 'Bearer' : `Bearer error="${row.error}", error_description="Because"`
}

t.test('a new error has the statuses of Flask until a configuration says otherwise', async (t) => {
  for (const row of ROWS) t.equal(new api[row.name]().statusCode, row.flask)
  const error = new api.JwtDecodeError('x')
  applyProfile(error, 'rfc6750')
  t.equal(error.statusCode, 401)
  applyProfile(error, 'flask')
  t.equal(error.statusCode, 422)
  t.equal(error.challenge, undefined)
})

t.test('each error is one of ours and of its own class only', async (t) => {
  for (const row of ROWS) {
    const error: unknown = new api[row.name]()
    t.ok(error instanceof Error)
    t.ok(error instanceof api.JwtError)
    t.notOk(error instanceof JwtUsageError)
    for (const other of ROWS) t.equal(error instanceof api[other.name], other === row, `${row.name} as ${other.name}`)
    t.match((error as Error).stack, 'errors.test.ts')
    t.equal(String(error), `${row.name} [FST_JWT_EXT_${row.code}]: ${(error as Error).message}`)
  }
  for (const value of [undefined, null, 5, 'x', {}, new Error('x')]) t.notOk(value instanceof api.JwtDecodeError)
})

t.test('each class has a message of its own where none is given', async (t) => {
  t.equal(new api.NoAuthorizationError().message, 'Missing Authorization Header')
  t.equal(new api.InvalidHeaderError().message, "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'")
  t.equal(new api.CsrfError().message, 'CSRF double submit tokens do not match')
  t.equal(new api.ExpiredTokenError().message, 'Token has expired')
  t.equal(new api.FreshTokenRequiredError().message, 'Fresh token required')
  t.equal(new api.RevokedTokenError().message, 'Token has been revoked')
  t.equal(new api.UserClaimsVerificationError().message, 'User claims verification failed')
  for (const row of ROWS) t.not(new api[row.name]().message, '')
})

t.test('a message is taken as it is, whatever signs stand in it', async (t) => {
  for (const message of ['100 %', '%s %d %j %o %%', '', '${x}', 'a\nb']) t.equal(new api.JwtDecodeError(message).message, message) // eslint-disable-line no-template-curly-in-string
  t.equal(new JwtUsageError('%s').message, '%s')
})

t.test('an error carries the token it refuses, a hint and a cause, and shows none of them', async (t) => {
  const cause = new Error('why')
  const error = new api.JwtDecodeError('x', { jwtHeader: { alg: 'HS256' }, jwtPayload: { sub: 'ada', csrf: 'secret' }, hint: 'look there', cause })
  t.strictSame(error.jwtHeader, { alg: 'HS256' })
  t.strictSame(error.jwtPayload, { sub: 'ada', csrf: 'secret' })
  t.equal(error.hint, 'look there')
  t.equal(error.cause, cause)
  t.strictSame(Object.keys(error).sort(), ['code', 'message', 'name', 'statusCode'])
  t.notMatch(JSON.stringify(error), 'secret')
  const bare = new api.JwtDecodeError('x')
  t.equal(bare.jwtHeader, undefined)
  t.equal(bare.jwtPayload, undefined)
  t.equal(bare.hint, undefined)
  t.notOk('cause' in bare)
})

t.test('a challenge holds only what a quoted string may hold', async (t) => {
  const rows: [message: string, description: string][] = [
    ['say "hello"', "say 'hello'"],
    ['back\\slash', 'back?slash'],
    ['a\r\nSet-Cookie: x=1', 'a??Set-Cookie: x=1'],
    ['tab\tnul\0del\x7f', 'tab?nul?del?'],
    ['é ü 日本 \u{1f600}', '? ? ?? ??'],
    ['\u2028\ufeff\u0085', '???'],
    ['", error="x', "', error='x"],
    ['\\", x="', "?', x='"],
    ['~!#[]^', '~!#[]^'],
    ['', ''],
  ]
  for (const [message, description] of rows) {
    t.equal(applyProfile(new api.JwtDecodeError(message), 'rfc6750').challenge, `Bearer error="invalid_token", error_description="${description}"`)
  }
  for (const long of ['x'.repeat(100_000), '"'.repeat(100_000), '\n'.repeat(100_000), '\u{1f600}'.repeat(100_000)]) {
    const challenge = applyProfile(new api.JwtDecodeError(long), 'rfc6750').challenge!
    t.ok(challenge.length < 300)
    t.match(challenge, /^Bearer error="invalid_token", error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]{200}"$/)
  }
})

t.test('the challenge of a missing scope names the scopes that are needed, as far as a quoted string can', async (t) => {
  const rows: [neededScope: string, scope: string][] = [
    ['reports:read', 'reports:read'], ['a b', 'a b'], ['https://example.com/a.b', 'https://example.com/a.b'],
    ['a", error="x', "a', error='x"], ['a\r\nSet-Cookie: x', 'a??Set-Cookie: x'], ['a\\', 'a?'],
  ]
  for (const profile of ['flask', 'rfc6750'] as const) {
    for (const [neededScope, scope] of rows) {
      const error = new api.InsufficientScopeError('Because', { neededScope })
      applyProfile(error, profile)
      t.equal(error.challenge, `Bearer error="insufficient_scope", scope="${scope}", error_description="Because"`)
      t.strictSame(error.headers, { 'www-authenticate': error.challenge })
      t.strictSame(Object.keys(error).sort(), ['code', 'message', 'name', 'statusCode'])
    }
  }
})

t.test("Fastify's own error handler answers with status, code and challenge", async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  for (const row of ROWS) app.get(`/${row.name}`, async () => { throw new api[row.name]('Because', { jwtPayload: { sub: 'ada' }, hint: 'a hint' }) })
  for (const row of ROWS) {
    const response = await app.inject(`/${row.name}`)
    t.equal(response.statusCode, row.flask)
    t.match(response.json(), { statusCode: row.flask, code: `FST_JWT_EXT_${row.code}`, message: 'Because' })
    t.equal(response.headers['www-authenticate'], expectedChallenge(row, 'flask'))
    t.notMatch(response.body, 'ada')
    t.notMatch(response.body, 'a hint')
  }
})

t.test('an application may throw the errors itself, and derive its own', async (t) => {
  class TenantError extends api.JwtDecodeError {}
  const error: unknown = new TenantError('Another tenant')
  t.ok(error instanceof api.JwtDecodeError)
  t.ok(error instanceof api.JwtError)
  t.match(error, { name: 'TenantError', code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Another tenant' })
})

t.test('a mistake in the use of the plugin is a 500 of its own class', async (t) => {
  const cause = new TypeError('why')
  const error = new JwtUsageError('Give a key', cause)
  t.ok(error instanceof Error)
  t.notOk((error as unknown) instanceof api.JwtError)
  t.match(error, { name: 'JwtUsageError', code: 'FST_JWT_EXT_USAGE', statusCode: 500, message: 'Give a key' })
  t.equal(error.cause, cause)
  t.notOk(Object.keys(error).includes('cause'))
  t.notOk('cause' in new JwtUsageError('x'))
  t.equal(api.JwtUsageError, JwtUsageError)
})
