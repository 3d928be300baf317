import { sign as signBytes } from 'node:crypto'
import { TOKEN_ERROR_CODES } from 'fast-jwt'
import t from 'tap'
import jwtExtended, { JwtDecodeError, JwtUsageError, type JwtExtendedOptions } from '../index.js'
import { explain, REASONS } from '../lib/signatures.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { moveClock } from './support/clock.js'
import { forge } from './support/forge.js'
import { ASYMMETRIC, ecPair, pairFor, rsaPair } from './support/keys.js'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** The other spellings of a token: those whose signature differs only in the bits that base64url leaves unused. */
function respell (token: string): string[] {
  const index = ALPHABET.indexOf(token.at(-1)!)
  const bytes = Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url')
  const spare = bytes.length % 3 === 1 ? 4 : bytes.length % 3 === 2 ? 2 : 0
  return Array.from({ length: 2 ** spare }, (_, bits) => token.slice(0, -1) + ALPHABET[(index >> spare << spare) | bits]).filter((one) => one !== token)
}

/** The same ES256 signature as (r, n − s). */
function mirror (token: string): string {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const cut = token.lastIndexOf('.')
  const bytes = Buffer.from(token.slice(cut + 1), 'base64url')
  const s = order - BigInt(`0x${bytes.subarray(32).toString('hex')}`)
  return `${token.slice(0, cut)}.${Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]).toString('base64url')}`
}

function tamper (token: string, claims: Record<string, unknown>): string {
  const [header, payload, signature] = token.split('.')
  const parsed = JSON.parse(Buffer.from(payload!, 'base64url').toString()) as object
  return `${header}.${Buffer.from(JSON.stringify({ ...parsed, ...claims })).toString('base64url')}.${signature}`
}

async function code (promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => 'good', (error: Error & { code?: string }) => error.code ?? error.message)
}

t.test('each of fast-jwt’s errors becomes one of ours, and says nothing of its own text', async (t) => {
  for (const [code, reason] of Object.entries(REASONS)) {
    const error = explain(Object.assign(new Error('the text of the library'), { code }), 'a.b.c')
    t.type(error, reason === undefined ? JwtUsageError : JwtDecodeError, code)
    t.notMatch(error.message, 'the text of the library')
    if (reason !== undefined) t.equal(error.message, reason)
  }
  t.type(explain(new RangeError('out of memory'), 'a.b.c'), JwtUsageError, 'what is no error of a token is the application’s')
})

t.test('every error code of the signing library has an answer that was chosen', async (t) => {
  t.strictSame(Object.keys(REASONS).sort(), Object.values(TOKEN_ERROR_CODES).sort())
  const atFault = Object.entries(REASONS).filter(([, reason]) => reason === undefined).map(([name]) => name)
  t.strictSame(atFault.sort(), [
    'FAST_JWT_INVALID_KEY', 'FAST_JWT_INVALID_OPTION', 'FAST_JWT_KEY_FETCHING_ERROR', 'FAST_JWT_MISSING_KEY', 'FAST_JWT_SIGN_ERROR'
  ], 'only what no token can cause is the application\'s fault')
})

t.test('each error code that a token can cause becomes a refusal, in the guard and in decodeToken', async (t) => {
  const ec = ecPair()
  const es256 = await buildApp(t, { algorithm: 'ES256', ...ec })
  const hs256 = await buildApp(t)
  const token = await hs256.createAccessToken('ada')
  const ecToken = await es256.createAccessToken('ada')
  const unsigned = token.slice(0, token.lastIndexOf('.'))
  const rows: [app: typeof hs256, token: string, cause: string | undefined, message: string][] = [
    [hs256, 'x', 'FAST_JWT_MALFORMED', 'Not enough segments'],
    [hs256, 'x.y', 'FAST_JWT_MALFORMED', 'Not enough segments'],
    [hs256, '..', 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, 'x.y.z', 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, 'x.y.z.w', 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, `${token}.`, 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, `.${token}`, 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, `=${token}`, 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, forge({ sub: 'ada' }, 'null'), 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, forge({ sub: 'ada' }, '[]'), 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, forge({ sub: 'ada' }, '{"alg":'), 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, forge('{"sub":"ada"'), 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, forge(''), 'FAST_JWT_MALFORMED', 'Malformed token'],
    [hs256, forge('null'), 'FAST_JWT_INVALID_PAYLOAD', 'The payload must be a JSON object'],
    [hs256, forge('["sub"]'), 'FAST_JWT_INVALID_PAYLOAD', 'The payload must be a JSON object'],
    [hs256, forge('"ada"'), 'FAST_JWT_INVALID_PAYLOAD', 'The payload must be a JSON object'],
    [hs256, forge('5'), 'FAST_JWT_INVALID_PAYLOAD', 'The payload must be a JSON object'],
    [hs256, forge({ sub: 'ada' }, { alg: 'none' }), 'FAST_JWT_INVALID_ALGORITHM', 'The specified alg value is not allowed'],
    [hs256, forge({ sub: 'ada' }, { alg: 'hs256' }), 'FAST_JWT_INVALID_ALGORITHM', 'The specified alg value is not allowed'],
    [hs256, forge({ sub: 'ada' }, { alg: 'HS512' }), 'FAST_JWT_INVALID_ALGORITHM', 'The specified alg value is not allowed'],
    [hs256, forge({ sub: 'ada' }, {}), 'FAST_JWT_INVALID_ALGORITHM', 'The specified alg value is not allowed'],
    [hs256, ecToken, 'FAST_JWT_INVALID_ALGORITHM', 'The specified alg value is not allowed'],
    [es256, token, 'FAST_JWT_INVALID_ALGORITHM', 'The specified alg value is not allowed'],
    [hs256, forge({ sub: 'ada' }, { alg: 'HS256' }, 'another'), 'FAST_JWT_INVALID_SIGNATURE', 'Signature verification failed'],
    [hs256, tamper(token, { sub: 'eve' }), 'FAST_JWT_INVALID_SIGNATURE', 'Signature verification failed'],
    [hs256, token.slice(0, -5), 'FAST_JWT_INVALID_SIGNATURE', 'Signature verification failed'],
    [hs256, `${token}A`, 'FAST_JWT_INVALID_SIGNATURE', 'Signature verification failed'],
    [hs256, `${token}=`, 'FAST_JWT_INVALID_SIGNATURE', 'Signature verification failed'],
    [hs256, `${token}!`, 'FAST_JWT_INVALID_SIGNATURE', 'Signature verification failed'],
    [hs256, `${unsigned}.`, 'FAST_JWT_MISSING_SIGNATURE', 'Signature verification failed'],
    [es256, tamper(ecToken, { sub: 'eve' }), 'FAST_JWT_INVALID_SIGNATURE', 'Signature verification failed'],
    [es256, ecToken.slice(0, -5), 'FAST_JWT_VERIFY_ERROR', 'Signature verification failed'],
    [es256, `${ecToken}AAAA`, 'FAST_JWT_VERIFY_ERROR', 'Signature verification failed'],
    [hs256, forge({ sub: 'ada' }, { alg: 'HS256', crit: [] }), 'FAST_JWT_INVALID_CRIT_HEADER', 'Critical header extensions are not supported'],
    [hs256, forge({ sub: 'ada' }, { alg: 'HS256', crit: ['exp'], exp: 1 }), 'FAST_JWT_INVALID_CRIT_HEADER', 'Critical header extensions are not supported'],
  ]
  for (const app of [hs256, es256]) {
    app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
    app.get('/optional', { preHandler: app.jwtRequired({ optional: true }) }, async () => 'in')
  }
  for (const [app, bad, cause, message] of rows) {
    const error = await app.decodeToken(bad).then(() => undefined, (error: unknown) => error)
    t.ok(error instanceof JwtDecodeError, message)
    t.match(error, { code: 'FST_JWT_EXT_INVALID_TOKEN', message, cause: { code: cause } }, `${cause} ${bad.slice(0, 30)}`)
    for (const url of ['/', '/optional']) {
      const response = await app.inject({ url, headers: bearer(bad) })
      t.equal(response.statusCode, 422)
      t.strictSame(response.json(), { msg: message })
    }
  }
  t.throws(() => hs256.getUnverifiedJwtHeaders(5 as never), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'The token must be a string' })
})

t.test('what the signing library says stays out of the answer and out of the log', async (t) => {
  const lines: string[] = []
  const app = await buildApp(t, { secretKey: SECRET }, { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const token = forge({ sub: 'ada', secret: 'of-the-token' }, { alg: 'none' })
  const response = await app.inject({ url: '/', headers: bearer(token) })
  const all = lines.join('') + response.body
  t.match(lines.join(''), 'FST_JWT_EXT_INVALID_TOKEN')
  t.notMatch(all, 'FAST_JWT')
  t.notMatch(all, 'of-the-token')
  t.notMatch(all, token)
})

t.test('a key that does not verify says so, whichever order several keys are tried in', async (t) => {
  const rsa = rsaPair()
  const app = await buildApp(t, { secretKey: [SECRET, `${SECRET}-previous`], publicKey: [rsa.publicKey, rsaPair('second').publicKey], decodeAlgorithms: ['RS256'] })
  const issuer = await buildApp(t, { algorithm: 'RS256', privateKey: rsaPair('third').privateKey })
  const failed = { message: 'Signature verification failed' }
  await t.rejects(app.decodeToken(await issuer.createAccessToken('ada')), failed)
  await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256' }, 'another')), failed)
  await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS512' })), { message: 'The specified alg value is not allowed' })
  await t.rejects(app.decodeToken('x.y.z'), { message: 'Malformed token' })
  for (const privateKey of [rsa.privateKey, rsaPair('second').privateKey]) {
    const good = await buildApp(t, { algorithm: 'RS256', privateKey })
    t.equal((await app.decodeToken(await good.createAccessToken('ada'))).sub, 'ada')
  }
})

t.test('a token by any key is refused where one bit of its signing input differs', async (t) => {
  for (const algorithm of ['HS256', 'ES256', 'EdDSA', 'RS256', 'PS256'] as const) {
    const app = await buildApp(t, algorithm === 'HS256' ? { secretKey: SECRET } : { algorithm, ...pairFor(algorithm) })
    const token = await app.createAccessToken('ada')
    await app.decodeToken(token)
    const input = token.lastIndexOf('.')
    for (let at = 0; at < input; at += 7) {
      if (token[at] === '.') continue
      const other = token.slice(0, at) + ALPHABET[ALPHABET.indexOf(token[at]!) ^ 1] + token.slice(at + 1)
      t.equal(await code(app.decodeToken(other)), 'FST_JWT_EXT_INVALID_TOKEN', `${algorithm} at ${at}`)
    }
  }
})

// --- The verified-token cache. A hit is seen by the payload: it is the very same object. ---

t.test('a token that verified is not verified again: its payload is the same object', async (t) => {
  for (const options of [{ secretKey: SECRET }, { secretKey: SECRET, decodeKeyLoader: () => SECRET }, { secretKey: SECRET, decodeKeyLoader: async () => SECRET }]) {
    const app = await buildApp(t, options)
    const token = await app.createAccessToken('ada')
    const payload = await app.decodeToken(token)
    t.equal(await app.decodeToken(token), payload)
    t.not(await app.decodeToken(await app.createAccessToken('ada')), payload)
  }
})

t.test('with verifyCache: false each token is verified each time', async (t) => {
  for (const options of [{ secretKey: SECRET }, { secretKey: SECRET, decodeKeyLoader: () => SECRET }]) {
    const app = await buildApp(t, { ...options, verifyCache: false })
    const token = await app.createAccessToken('ada')
    const payload = await app.decodeToken(token)
    const again = await app.decodeToken(token)
    t.not(again, payload)
    t.strictSame(again, payload)
    t.ok(Object.isFrozen(again))
  }
})

t.test('a cached token expires on time, with and without a loader of keys', async (t) => {
  for (const options of [{ secretKey: SECRET }, { secretKey: SECRET, decodeKeyLoader: () => SECRET }]) {
    await t.test(async (t) => {
      const app = await buildApp(t, options)
      app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
      const token = await app.createAccessToken('ada', { expiresDelta: 60 })
      t.equal((await app.inject({ url: '/', headers: bearer(token) })).statusCode, 200)
      t.equal((await app.inject({ url: '/', headers: bearer(token) })).statusCode, 200)
      moveClock(t, 60)
      for (let round = 0; round < 3; round++) {
        const response = await app.inject({ url: '/', headers: bearer(token) })
        t.equal(response.statusCode, 401)
        t.strictSame(response.json(), { msg: 'Token has expired' })
      }
    })
  }
})

t.test('an expired token is not kept, also where its expiry is not looked at', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada', { expiresDelta: -60 })
  const payload = await app.decodeToken(token, { allowExpired: true })
  t.not(await app.decodeToken(token, { allowExpired: true }), payload)
  const living = await app.createAccessToken('ada', { expiresDelta: 60 })
  const before = await app.decodeToken(living)
  moveClock(t, 61)
  t.equal(await app.decodeToken(living, { allowExpired: true }), before)
  t.not(await app.decodeToken(living, { allowExpired: true }), before, 'it was dropped')
})

t.test('a cached token is not valid before its nbf, where the clock goes back', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeLeeway: 5 })
  const token = await app.createAccessToken('ada', { additionalClaims: { iat: 1 } })
  await app.decodeToken(token)
  await t.test(async (t) => {
    moveClock(t, -60)
    await t.rejects(app.decodeToken(token), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'The token is not yet valid (nbf)' })
  })
  t.equal((await app.decodeToken(token)).sub, 'ada')
})

t.test('nor is it before its iat: it is refused as one that is not cached', async (t) => {
  for (const options of [{}, { decodeKeyLoader: () => SECRET }]) {
    const app = await buildApp(t, { secretKey: SECRET, encodeNbf: false, decodeLeeway: 5, ...options })
    const [cached, unseen] = [await app.createAccessToken('ada'), await app.createAccessToken('ada')]
    await app.decodeToken(cached)
    await t.test(async (t) => {
      moveClock(t, -60)
      for (const token of [cached, unseen]) {
        await t.rejects(app.decodeToken(token), {
          code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'The token is not yet valid (iat)', jwtHeader: { alg: 'HS256' }, jwtPayload: { sub: 'ada' },
        })
      }
    })
    t.equal((await app.decodeToken(cached)).sub, 'ada')
  }
})

t.test('what one request gets of a cached token no other can change', async (t) => {
  const app = await buildApp(t)
  const thrown: unknown[] = []
  app.get('/vandal', { preHandler: app.jwtRequired() }, async (request) => {
    const jwt = request.jwt as { sub: string, roles: string[], deep: { list: { name: string }[] } }
    const header = request.jwtHeader as { alg: string, nested: { list: string[] } }
    const attempts = [
      () => { jwt.sub = 'root' }, () => { jwt.roles.push('admin') }, () => { jwt.deep.list[0]!.name = 'x' }, () => { delete (jwt as { sub?: string }).sub },
      () => { header.alg = 'none' }, () => { header.nested.list.push('x') }, () => { (jwt as { more?: number }).more = 1 }
    ]
    for (const attempt of attempts) {
      try { attempt(); thrown.push('nothing') } catch (error) { thrown.push((error as Error).name) }
    }
    return 'tried'
  })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => ({ jwt: request.jwt, header: request.jwtHeader }))
  const token = await app.createAccessToken('ada', {
    additionalClaims: { roles: ['member'], deep: { list: [{ name: 'n' }] } }, additionalHeaders: { nested: { list: ['a'] } },
  })
  const before = (await app.inject({ url: '/', headers: bearer(token) })).json()
  await app.inject({ url: '/vandal', headers: bearer(token) })
  t.strictSame(thrown, Array.from({ length: 7 }, () => 'TypeError'))
  t.strictSame((await app.inject({ url: '/', headers: bearer(token) })).json(), before)
})

t.test('tokens that begin alike share their header, judged once, and no others do', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenVerificationLoader: (header) => { seen.push(header); return true } })
  const seen: unknown[] = []
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const get = async (token: string): Promise<number> => (await app.inject({ url: '/', headers: bearer(token) })).statusCode
  const plain = { alg: 'HS256', typ: 'JWT' }
  t.equal(await get(forge({ sub: 'a' }, plain)), 200)
  t.equal(await get(forge({ sub: 'b' }, plain)), 200)
  t.equal(await get(forge({ sub: 'c' }, { ...plain, kid: 'one' })), 200)
  t.equal(await get(forge({ sub: 'd' }, { ...plain, kid: 5 })), 422)
  t.equal(await get(forge({ sub: 'd' }, { ...plain, crit: [] })), 422)
  t.equal(await get(forge({ sub: 'e' }, plain)), 200)
  t.equal(seen[0], seen[1])
  t.strictSame(seen, [plain, plain, { ...plain, kid: 'one' }, plain])
  t.ok(seen.every((header) => Object.isFrozen(header)))
})

t.test('a payload that is nested very deeply is frozen to its bottom', async (t) => {
  const app = await buildApp(t)
  const depth = 50_000
  const payload = await app.decodeToken(forge(`{"sub":"ada","deep":${'['.repeat(depth)}${']'.repeat(depth)}}`))
  let bottom = payload['deep'] as unknown[]
  while (bottom.length > 0) bottom = bottom[0] as unknown[]
  t.ok(Object.isFrozen(bottom))
})

t.test('failures are not kept and drive nothing out', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, verifyCache: 1 })
  const token = await app.createAccessToken('ada')
  const payload = await app.decodeToken(token)
  const floods = [
    forge({ sub: 'eve' }, { alg: 'HS256' }, 'another'), forge({ sub: 'eve', exp: 1, nbf: 9e9 }), forge({ iss: 5 }), forge({}), forge({ sub: 'eve', exp: 1 }),
    forge({ sub: 'eve' }, { alg: 'HS256', kid: 5 }), 'x.y.z', tamper(token, { sub: 'eve' })
  ]
  for (const bad of [...floods, ...floods]) t.not(await code(app.decodeToken(bad)), 'good')
  t.equal(await app.decodeToken(token), payload)
})

t.test('a token that was refused once is judged anew', async (t) => {
  const app = await buildApp(t)
  const early = await app.createAccessToken('ada', { additionalClaims: { nbf: Math.floor(Date.now() / 1000) + 60 } })
  t.equal(await code(app.decodeToken(early)), 'FST_JWT_EXT_INVALID_TOKEN')
  moveClock(t, 61)
  t.equal(await code(app.decodeToken(early)), 'good')
})

t.test('the cache is bounded: least recently used out first', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, verifyCache: 2 })
  const [a, b, c] = [await app.createAccessToken('a'), await app.createAccessToken('b'), await app.createAccessToken('c')]
  const first = await app.decodeToken(a)
  const second = await app.decodeToken(b)
  t.equal(await app.decodeToken(a), first)
  await app.decodeToken(c)
  t.equal(await app.decodeToken(a), first, 'what comes once drives nothing out')
  const third = await app.decodeToken(c)
  t.equal(await app.decodeToken(c), third)
  t.equal(await app.decodeToken(a), first, 'used lately, so it stayed')
  t.not(await app.decodeToken(b), second, 'driven out')
})

t.test('what one manager verified another has to verify for itself', async (t) => {
  const strict: JwtExtendedOptions[] = [
    { secretKey: `${SECRET}-other` },
    { secretKey: SECRET, decodeAudience: 'api' },
    { secretKey: SECRET, decodeIssuer: 'us' },
    { secretKey: SECRET, algorithm: 'HS512' },
    { secretKey: SECRET, identityClaim: 'user' },
  ]
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  await app.decodeToken(token)
  for (const options of strict) {
    const child = await buildApp(t, options)
    t.equal(await code(child.decodeToken(token)), 'FST_JWT_EXT_INVALID_TOKEN')
    await app.register(jwtExtended, { ...options, namespace: JSON.stringify(options) })
    t.equal(await code(app.jwtManager(JSON.stringify(options)).decodeToken(token)), 'FST_JWT_EXT_INVALID_TOKEN')
  }
  t.equal(await code(app.decodeToken(token)), 'good')
})

t.test('type, freshness, revocation and claims are judged on every hit', async (t) => {
  let revoked = false
  let refused = false
  let found = true
  const app = await buildApp(t, {
    secretKey: SECRET,
    tokenInBlocklistLoader: () => revoked,
    tokenVerificationLoader: () => !refused,
    userLookupLoader: () => found ? {} : null,
  })
  app.get('/any', { preHandler: app.jwtRequired({ verifyType: false }) }, async () => 'in')
  app.get('/access', { preHandler: app.jwtRequired() }, async () => 'in')
  app.get('/refresh', { preHandler: app.jwtRequired({ refresh: true }) }, async () => 'in')
  app.get('/fresh', { preHandler: app.jwtRequired({ fresh: true, verifyType: false }) }, async () => 'in')
  const token = await app.createRefreshToken('ada')
  const status = async (url: string): Promise<number> => (await app.inject({ url, headers: bearer(token) })).statusCode
  t.equal(await status('/any'), 200)
  t.equal(await status('/access'), 422)
  t.equal(await status('/refresh'), 200)
  t.equal(await status('/fresh'), 401)
  revoked = true
  t.equal(await status('/any'), 401)
  revoked = false
  refused = true
  t.equal(await status('/any'), 400)
  refused = false
  found = false
  t.equal(await status('/any'), 401)
  found = true
  t.equal(await status('/any'), 200)
})

t.test('a decodeKeyLoader that no longer vouches for a key stops its tokens, cached or not', async (t) => {
  for (const wrap of [(key: string) => key, async (key: string) => key]) {
    let key = SECRET
    let refuse = false
    const app = await buildApp(t, {
      secretKey: SECRET,
      decodeKeyLoader: () => {
        if (refuse) throw new JwtDecodeError('The key was withdrawn')
        return wrap(key)
      },
    })
    app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
    const token = await app.createAccessToken('ada')
    const status = async (): Promise<number> => (await app.inject({ url: '/', headers: bearer(token) })).statusCode
    t.equal(await status(), 200)
    t.equal(await status(), 200)
    key = `${SECRET}-rotated`
    t.equal(await status(), 422)
    t.equal(await status(), 422)
    key = SECRET
    t.equal(await status(), 200)
    refuse = true
    t.equal(await status(), 422)
    await t.rejects(app.decodeToken(token), { message: 'The key was withdrawn' })
  }
})

t.test('decodeKeyLoader is asked on every request, cached or not', async (t) => {
  const asked: unknown[][] = []
  const app = await buildApp(t, { secretKey: SECRET, decodeKeyLoader: (header, payload) => { asked.push([header.alg, payload.sub]); return SECRET } })
  const token = await app.createAccessToken('ada')
  for (let round = 0; round < 3; round++) await app.decodeToken(token)
  t.strictSame(asked, [['HS256', 'ada'], ['HS256', 'ada'], ['HS256', 'ada']])
})

t.test('decodeKeyLoader sees the token as it was sent, on every request', async (t) => {
  const seen: unknown[] = []
  const app = await buildApp(t, { secretKey: SECRET, decodeKeyLoader: (_header, payload) => { seen.push(structuredClone(payload)); return SECRET } })
  const token = forge({ sub: 'ada' })
  await app.decodeToken(token)
  await app.decodeToken(token)
  t.strictSame(seen[1], seen[0])
})

t.test('another spelling of a cached token is verified for itself, and is the same token', async (t) => {
  for (const algorithm of ['HS256', ...ASYMMETRIC] as const) {
    const app = await buildApp(t, algorithm === 'HS256' ? { secretKey: SECRET } : { algorithm, ...pairFor(algorithm) })
    const token = await app.createAccessToken('ada')
    const payload = await app.decodeToken(token)
    const others = [...respell(token), ...(algorithm === 'ES256' ? [mirror(token)] : [])]
    t.ok(others.length > 0 || Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url').length % 3 === 0, `${algorithm} has spellings`)
    for (const other of others) {
      const result = await app.decodeToken(other)
      t.not(result, payload)
      t.equal(result.jti, payload.jti)
    }
  }
})

t.test('another spelling of a revoked token is revoked', async (t) => {
  const revoked = new Set<unknown>()
  const app = await buildApp(t, { algorithm: 'ES256', ...ecPair(), tokenInBlocklistLoader: (_header, payload) => revoked.has(payload.jti) })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const token = await app.createAccessToken('ada')
  revoked.add(await app.getJti(token))
  for (const spelling of [token, mirror(token), ...respell(token)]) {
    t.equal((await app.inject({ url: '/', headers: bearer(spelling) })).statusCode, 401)
  }
})

// --- Signing. ---

t.test('headers are signed as they are given, and the algorithm stays the configured one', async (t) => {
  const app = await buildApp(t)
  const bare = await app.createAccessToken('ada')
  t.strictSame(app.getUnverifiedJwtHeaders(bare), { alg: 'HS256', typ: 'JWT' })
  t.throws(() => app.getUnverifiedJwtHeaders(Buffer.from(bare) as never), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'The token must be a string' })
  const token = await app.createAccessToken('ada', { additionalHeaders: { kid: 'one', typ: 'at+jwt', nested: { list: [1] } } })
  t.strictSame(app.getUnverifiedJwtHeaders(token), { alg: 'HS256', typ: 'at+jwt', kid: 'one', nested: { list: [1] } })
  t.equal((await app.decodeToken(token)).sub, 'ada')
})

t.test('however many different headers there are, each token carries its own', async (t) => {
  const app = await buildApp(t)
  for (let round = 0; round < 2; round++) {
    for (let kid = 0; kid < 150; kid++) {
      const token = await app.createAccessToken('ada', { additionalHeaders: { kid: String(kid) } })
      t.equal(app.getUnverifiedJwtHeaders(token).kid, String(kid))
      t.equal((await app.decodeToken(token)).sub, 'ada')
    }
  }
})

t.test('a header object that changes later changes no other token', async (t) => {
  const app = await buildApp(t)
  const headers = { kid: 'one' }
  await app.createAccessToken('ada', { additionalHeaders: headers })
  headers.kid = 'two'
  const token = await app.createAccessToken('ada', { additionalHeaders: headers })
  t.equal(app.getUnverifiedJwtHeaders(token).kid, 'two')
  t.strictSame(headers, { kid: 'two' })
})

t.test('tokens are plain JWS: node:crypto alone verifies them', async (t) => {
  const app = await buildApp(t, { algorithm: 'EdDSA', ...pairFor('EdDSA') })
  const token = await app.createAccessToken('ada')
  const cut = token.lastIndexOf('.')
  t.equal(token.slice(cut + 1), signBytes(null, Buffer.from(token.slice(0, cut)), pairFor('EdDSA').privateKey).toString('base64url'))
})
