import { sign as signBytes, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { memoryStore, type JwtExtendedOptions, type JwtPayload, type TokenQuery, type TrustedIssuer } from '../../index.js'
import { bearer, buildApp, registrationError, SECRET } from '../support/app.js'
import { moveClock, stopClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { ASYMMETRIC, ecPair, edPair, pairFor, pem, rsaPair, type Pair } from '../support/keys.js'
import { listen, type Listener } from '../support/listener.js'

const NO_KEY = { msg: 'The issuer has no such key' }
const UNAVAILABLE = { msg: 'Key set of the issuer unavailable' }
const ISSUER = 'https://login.example.com/'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** A server of key sets that tells what it was asked for. */
interface KeyServer extends Listener {
  readonly asked: string[]
  readonly jwksUri: string
  /** What it answers. */
  set: unknown
  /** Answers in its place. */
  handle: Handler | undefined
  /** Waits until there were so many requests, if not for long, for the answer to be read, and for those that should not come. */
  settle (requests: number): Promise<void>
}

function sendJson (response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json').end(typeof value === 'string' ? value : JSON.stringify(value))
}

async function serveKeys (t: Test, keys: unknown[] = []): Promise<KeyServer> {
  const asked: string[] = []
  const listener = await listen(t, (request, response) => {
    asked.push(request.url!)
    if (server.handle === undefined) sendJson(response, server.set)
    else server.handle(request, response)
  })
  const server: KeyServer = {
    ...listener, asked, jwksUri: `${listener.origin}/jwks`, set: { keys }, handle: undefined,
    async settle (requests) {
      for (let round = 0; asked.length < requests && round < 1000; round++) await sleep(1)
      await sleep(20)
    },
  }
  return server
}

function publicJwk (pair: Pair, more: Record<string, unknown> = {}): JsonWebKey {
  return { ...pair.publicKey.export({ format: 'jwk' }), ...more }
}

/** A token of an issuer, good for an hour. */
async function issue (key: Pair | KeyObject, claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const payload = { iss: ISSUER, aud: 'api', sub: 'ada', iat: now, exp: now + 3600, jti: `${Math.random()}`, ...claims }
  return await new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: '1', ...header }).sign('privateKey' in key ? key.privateKey : key)
}

/** A token by any RSA key, also where jose would not sign with it. */
function issueByHand (privateKey: KeyObject, header: Record<string, unknown> = {}): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const input = `${encode({ alg: 'RS256', ...header })}.${encode({ iss: ISSUER, aud: 'api', sub: 'ada' })}`
  return `${input}.${signBytes('sha256', Buffer.from(input), privateKey).toString('base64url')}`
}

function trust (server: KeyServer, more: Partial<TrustedIssuer> = {}): TrustedIssuer {
  return { issuer: ISSUER, audience: 'api', jwksUri: server.jwksUri, ...more }
}

/** The warnings about key sets from now on. */
function collectWarnings (t: Test): string[] {
  const messages: string[] = []
  const listener = (warning: Error & { code?: string }): void => { if (warning.code === 'FST_JWT_EXT_KEY_SET') messages.push(warning.message) }
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))
  return messages
}

async function guardedApp (t: Test, options: JwtExtendedOptions, server: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, options, server)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  return app
}

async function get (app: FastifyInstance, token: string, url = '/'): Promise<{ status: number, body: unknown, headers: Record<string, unknown> }> {
  const response = await app.inject({ url, headers: bearer(token) })
  return { status: response.statusCode, body: response.statusCode === 200 ? response.body : response.json(), headers: response.headers }
}

async function status (app: FastifyInstance, token: string, url = '/'): Promise<number> {
  return (await get(app, token, url)).status
}

t.test('whose token it is', async (t) => {
  t.test('own tokens and foreign ones pass the same guard, each identity by its claim', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, {
      secretKey: SECRET, identityClaim: 'user', encodeIssuer: 'ourselves', decodeIssuer: 'ourselves', encodeAudience: 'web', decodeAudience: 'web',
      issuers: [trust(server, { identityClaim: 'oid' }), trust(server, { issuer: 'https://other.example.com' })],
    })
    t.equal((await get(app, await app.createAccessToken('bob'))).body, 'bob')
    t.equal((await get(app, await issue(ecPair(), { oid: 'ada-of-theirs' }))).body, 'ada-of-theirs')
    t.strictSame((await get(app, await issue(ecPair(), { user: 'ada' }))).body, { msg: 'Missing claim: oid' })
    t.equal((await get(app, await issue(ecPair(), { iss: 'https://other.example.com', user: 'ada' }))).body, 'ada')
    t.strictSame((await get(app, await issue(ecPair(), { iss: 'https://other.example.com', oid: 'ada' }))).body, { msg: 'Missing claim: user' })
  })

  t.test('an issuer that is not known is refused, and nobody is asked', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const stranger = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const alone = await guardedApp(t, { issuers: [trust(server)] })
    const beside = await guardedApp(t, { algorithm: 'ES256', publicKey: ecPair('P-256', 'ours').publicKey, issuers: [trust(server)] })
    const unknown = [stranger.origin, ISSUER.slice(0, -1), `${ISSUER}/`, ISSUER.toUpperCase(), '', 'toString', '__proto__', 5, null, [ISSUER], { [ISSUER]: ISSUER }]
    for (const iss of unknown) {
      const token = await issue(ecPair(), { iss } as never)
      t.match(await get(alone, token), { status: 422, body: { msg: 'Invalid issuer' } }, String(iss))
      t.match(await get(beside, token), { status: 422, body: { msg: 'Signature verification failed' } }, String(iss))
    }
    const none = await issue(ecPair(), { iss: undefined })
    t.match(await get(alone, none), { status: 422, body: { msg: 'Token is missing the "iss" claim' } })
    t.match(await get(beside, none), { status: 422, body: { msg: 'Signature verification failed' } })
    t.strictSame([server.asked, stranger.asked], [[], []])
    t.equal(await status(alone, await issue(ecPair())), 200)
  })

  t.test('a token of ours that names a foreign issuer is theirs to sign', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { algorithm: 'ES256', ...ecPair('P-256', 'ours'), issuers: [trust(server)] })
    const token = await app.createAccessToken('ada', { additionalClaims: { iss: ISSUER, aud: 'api' } })
    t.match(await get(app, token), { status: 422, body: NO_KEY })
  })

  t.test('a key of one issuer never verifies the token of another, though both call it the same', async (t) => {
    const [one, two] = [ecPair('P-256', 'one'), ecPair('P-256', 'two')]
    const [first, second] = [await serveKeys(t, [publicJwk(one, { kid: '1' })]), await serveKeys(t, [publicJwk(two, { kid: '1' })])]
    const app = await guardedApp(t, { secretKey: SECRET, issuers: [trust(first, { issuer: 'https://one' }), trust(second, { issuer: 'https://two' })] })
    for (let round = 0; round < 2; round++) {
      for (const header of [{}, { kid: undefined }]) {
        t.equal(await status(app, await issue(one, { iss: 'https://one' }, header)), 200)
        t.equal(await status(app, await issue(two, { iss: 'https://two' }, header)), 200)
        t.match(await get(app, await issue(one, { iss: 'https://two' }, header)), { status: 422, body: { msg: 'Signature verification failed' } })
        t.match(await get(app, await issue(two, { iss: 'https://one' }, header)), { status: 422, body: { msg: 'Signature verification failed' } })
      }
    }
    t.equal(await status(app, await issue(one, { iss: undefined })), 422)
  })

  t.test('without keys of our own nothing can be issued', async (t) => {
    const server = await serveKeys(t)
    const app = await buildApp(t, { issuers: [trust(server)] })
    await t.rejects(app.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: 'There is no key to sign tokens with: give secretKey, privateKey or encodeKeyLoader' })
  })

  t.test('decodeKeyLoader is asked for our own tokens only', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const asked: unknown[] = []
    const app = await guardedApp(t, { issuers: [trust(server)], decodeKeyLoader: (_header, payload) => { asked.push(payload.sub); return SECRET } })
    t.equal((await get(app, await issue(ecPair()))).body, 'ada')
    t.equal((await get(app, forge({ sub: 'bob' }))).body, 'bob')
    t.strictSame(asked, ['bob'])
  })

  t.test('the loaders get what the issuer said', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await buildApp(t, {
      issuers: [trust(server)],
      tokenVerificationLoader: (header, payload) => header.kid === '1' && payload['scope'] === 'read',
      userLookupLoader: (_header, payload) => ({ name: payload['name'] }) as never,
    })
    app.get('/', { preHandler: app.jwtRequired() }, async (request) => ({ user: request.currentUser, claims: request.jwt }))
    t.match(JSON.parse((await get(app, await issue(ecPair(), { name: 'Ada', scope: 'read', realm_access: { roles: ['x'] } }))).body as string), {
      user: { name: 'Ada' }, claims: { iss: ISSUER, realm_access: { roles: ['x'] }, type: 'access', fresh: false },
    })
    t.equal(await status(app, await issue(ecPair(), { name: 'Ada', scope: 'write' })), 400)
  })
})

t.test('the claims', async (t) => {
  const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
  const now = Math.floor(Date.now() / 1000)

  t.test('the audience must be one of the configured ones', async (t) => {
    const one = await guardedApp(t, { issuers: [trust(server)] })
    const two = await guardedApp(t, { issuers: [trust(server, { audience: ['api', 'web'] })] })
    const rows: [aud: unknown, one: number, two: number][] = [
      ['api', 200, 200], ['web', 422, 200], [['x', 'api'], 200, 200], [['x', 'web'], 422, 200], ['x', 422, 422], [[], 422, 422], ['ap', 422, 422], [5, 422, 422]
    ]
    for (const [aud, first, second] of rows) {
      const token = await issue(ecPair(), { aud } as never)
      t.strictSame([await status(one, token), await status(two, token)], [first, second], JSON.stringify(aud))
    }
    t.strictSame((await get(one, await issue(ecPair(), { aud: undefined }))).body, { msg: 'Token is missing the "aud" claim' })
    t.strictSame((await get(one, await issue(ecPair(), { aud: 'x' }))).body, { msg: "Audience doesn't match" })
  })

  t.test('times are judged as those of our own tokens are, cached or not', async (t) => {
    const app = await guardedApp(t, { issuers: [trust(server)], decodeLeeway: 30 })
    const rows: [claims: Partial<JwtPayload>, status: number][] = [
      [{ exp: now - 60 }, 401], [{ exp: now - 5 }, 200], [{ nbf: now + 60 }, 422], [{ nbf: now + 5 }, 200], [{ iat: now + 60 }, 422], [{ exp: 'soon' as never }, 422],
    ]
    for (const [claims, expected] of rows) t.equal(await status(app, await issue(ecPair(), claims)), expected, JSON.stringify(claims))
    const token = await issue(ecPair(), { exp: now + 60 })
    t.equal(await status(app, token), 200)
    moveClock(t, 91)
    t.strictSame(await get(app, token).then(({ status, body }) => [status, body]), [401, { msg: 'Token has expired' }])
  })

  t.test('a subject must be a string, unless that is not asked for', async (t) => {
    const strict = await guardedApp(t, { issuers: [trust(server)] })
    const lax = await guardedApp(t, { issuers: [trust(server)], verifySub: false })
    const token = await issue(ecPair(), { sub: 5 } as never)
    t.strictSame([await status(strict, token), await status(lax, token)], [422, 200])
  })

  t.test('crit, and a kid that is no string, are refused before a key is looked for', async (t) => {
    const fresh = await serveKeys(t, [publicJwk(rsaPair())])
    const app = await guardedApp(t, { issuers: [trust(fresh)] })
    t.strictSame((await get(app, issueByHand(rsaPair().privateKey, { crit: ['x'], x: 1 }))).body, { msg: 'Critical header extensions are not supported' })
    t.strictSame((await get(app, issueByHand(rsaPair().privateKey, { kid: 5 }))).body, { msg: 'Key ID must be a string' })
    t.strictSame(fresh.asked, [])
    t.equal(await status(app, issueByHand(rsaPair().privateKey)), 200)
  })

  t.test('by cookie they have no CSRF value', async (t) => {
    const app = await buildApp(t, { issuers: [trust(server)], tokenLocation: 'cookies' })
    app.route({ method: ['GET', 'POST'], url: '/', preHandler: app.jwtRequired(), handler: async () => 'in' })
    const headers = { cookie: `access_token_cookie=${await issue(ecPair())}`, 'x-csrf-token': 'guess' }
    t.equal((await app.inject({ url: '/', headers })).statusCode, 200)
    t.strictSame((await app.inject({ method: 'POST', url: '/', headers })).json(), { msg: 'Missing claim: csrf' })
  })
})

t.test('which keys may verify what', async (t) => {
  t.test('each asymmetric algorithm verifies by a key that is fit for it', async (t) => {
    for (const algorithm of ASYMMETRIC) {
      const server = await serveKeys(t, [publicJwk(pairFor(algorithm), { kid: '1', use: 'sig' })])
      const app = await guardedApp(t, { issuers: [trust(server)] })
      t.equal(await status(app, await issue(pairFor(algorithm), {}, { alg: algorithm })), 200, algorithm)
      t.equal(await status(app, await issue(pairFor(algorithm, 'another'), {}, { alg: algorithm })), 422, algorithm)
    }
  })

  t.test('never HS*, whatever is taken for the secret, nor none', async (t) => {
    const { publicKey } = rsaPair()
    const jwk = publicJwk(rsaPair(), { kid: '1' })
    const server = await serveKeys(t, [jwk, { kty: 'oct', kid: '2', k: Buffer.from(SECRET).toString('base64url') }])
    const app = await guardedApp(t, { secretKey: SECRET, issuers: [trust(server)] })
    const claims = { iss: ISSUER, aud: 'api', sub: 'mallory' }
    const secrets = [
      pem(publicKey), pem(publicKey).trim(), JSON.stringify(jwk), JSON.stringify(publicJwk(rsaPair())), publicKey.export({ format: 'der', type: 'spki' }),
      publicKey.export({ format: 'der', type: 'pkcs1' }), jwk.n!, Buffer.from(jwk.n!, 'base64url'), SECRET, Buffer.alloc(32)
    ]
    for (const alg of ['HS256', 'HS384', 'HS512']) {
      for (const secret of secrets) {
        for (const kid of ['1', '2', undefined]) {
          t.match(await get(app, forge(claims, { alg, kid }, secret)), { status: 422, body: { msg: 'The specified alg value is not allowed' } })
        }
      }
    }
    for (const alg of ['none', 'None', '', 'hs256', undefined, null, 5]) t.equal(await status(app, forge(claims, { alg, kid: '1' })), 422, String(alg))
    t.strictSame(server.asked, [], 'no key could save them')
    t.equal(await status(app, await issue(rsaPair(), {}, { alg: 'RS256' })), 200)
  })

  t.test('what a header says of keys is neither followed nor used', async (t) => {
    const thief = rsaPair('thief')
    const server = await serveKeys(t, [publicJwk(rsaPair(), { kid: '1' })])
    const evil = await serveKeys(t, [publicJwk(thief, { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const headers = [
      { jku: evil.jwksUri }, { x5u: `${evil.origin}/cert.pem` }, { jwk: publicJwk(thief, { kid: '1' }) }, { x5c: [thief.publicKey.export({ format: 'der', type: 'spki' }).toString('base64')] },
      { jku: evil.jwksUri, x5u: evil.origin, jwk: publicJwk(thief), x5c: ['MIIB'], x5t: 'x', 'x5t#S256': 'x' },
    ]
    for (const header of headers) {
      for (const kid of ['1', 'unknown', undefined, evil.jwksUri]) t.equal(await status(app, issueByHand(thief.privateKey, { ...header, kid })), 422, Object.keys(header).join())
      t.equal(await status(app, issueByHand(rsaPair().privateKey, { ...header, kid: '1' })), 200, 'where the signature is the issuer’s, they are only ballast')
    }
    t.strictSame(evil.asked, [])
    t.strictSame([...new Set(server.asked)], ['/jwks'])
  })

  t.test('keys that are not fit are passed over, and the rest of the set works', async (t) => {
    const [good, encrypting, meant, operating, small] = ['good', 'enc', 'oaep', 'ops', 'small'].map((label) => rsaPair(label, label === 'small' ? 1024 : 2048))
    const leaked = rsaPair('leaked')
    const pairs: [kid: unknown, pair: Pair, jwk: unknown][] = [
      ['use', encrypting!, publicJwk(encrypting!, { kid: 'use', use: 'enc' })],
      ['alg', meant!, publicJwk(meant!, { kid: 'alg', alg: 'RSA-OAEP' })],
      ['ops', operating!, publicJwk(operating!, { kid: 'ops', key_ops: ['encrypt', 'wrapKey'] })],
      ['small', small!, publicJwk(small!, { kid: 'small', use: 'sig', alg: 'RS256' })],
      ['private', leaked, { ...leaked.privateKey.export({ format: 'jwk' }), kid: 'private' }],
      [7, rsaPair('number'), publicJwk(rsaPair('number'), { kid: 7 })],
    ]
    const junk = [
      null, 5, 'key', [], {}, { kty: 'XYZ', kid: 'x' }, { kty: 'AKP', alg: 'ML-DSA-44', kid: 'pq', pub: 'AAAA' }, { kty: 'oct', kid: 'oct', k: 'AAAA' }, { kty: 'RSA', kid: 'half', n: 'AQAB' }, { kty: 5 },
      { kty: 'EC', crv: 'secp256k1', ...publicJwk(ecPair('secp256k1')), kid: 'k1' }, { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA', kid: 'off' }, { kty: 'OKP', crv: 'X25519', x: 'AAAA', kid: 'x25519' }
    ]
    const server = await serveKeys(t, [...junk, ...pairs.map(([, , jwk]) => jwk), publicJwk(good!, { kid: 'good', key_ops: ['verify'] })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    t.equal(await status(app, issueByHand(good!.privateKey, { kid: 'good' })), 200)
    t.equal(await status(app, issueByHand(good!.privateKey)), 200)
    for (const [kid, { privateKey }] of pairs) {
      t.equal(await status(app, issueByHand(privateKey, { kid })), 422, String(kid))
      t.match(await get(app, issueByHand(privateKey)), { status: 422, body: { msg: 'Signature verification failed' } }, `${kid}, not named`)
    }
  })

  t.test('the first hundred keys of a set count', async (t) => {
    const junk = (length: number): unknown[] => Array.from({ length }, (_, index) => index % 2 === 0 ? { kty: 'XYZ', kid: `${index}` } : null)
    for (const [before, expected] of [[99, 200], [100, 422]] as const) {
      const server = await serveKeys(t, [...junk(before), publicJwk(ecPair(), { kid: '1' })])
      t.equal(await status(await guardedApp(t, { issuers: [trust(server)] }), await issue(ecPair())), expected)
    }
  })

  t.test('the option algorithms restricts, and so does the alg of a key', async (t) => {
    const server = await serveKeys(t, [publicJwk(rsaPair(), { kid: '1' }), publicJwk(rsaPair('ps'), { kid: '2', alg: 'PS256' }), publicJwk(ecPair(), { kid: '3' })])
    const app = await guardedApp(t, { issuers: [trust(server, { algorithms: ['RS256', 'PS256'] })] })
    const rows: [alg: string, kid: string, pair: Pair, expected: number][] = [
      ['RS256', '1', rsaPair(), 200], ['PS256', '1', rsaPair(), 200], ['RS512', '1', rsaPair(), 422], ['ES256', '3', ecPair(), 422],
      ['PS256', '2', rsaPair('ps'), 200], ['RS256', '2', rsaPair('ps'), 422],
    ]
    for (const [alg, kid, pair, expected] of rows) t.equal(await status(app, await issue(pair, {}, { alg, kid })), expected, `${alg} ${kid}`)
  })

  t.test('a token without kid is tried against each key that is fit, and so is a key without kid', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair('P-256', 'a'), { kid: 'a' }), publicJwk(ecPair('P-256', 'b')), publicJwk(edPair(), { kid: 'c' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    t.equal(await status(app, await issue(ecPair('P-256', 'a'), {}, { kid: undefined })), 200)
    t.equal(await status(app, await issue(ecPair('P-256', 'b'), {}, { kid: undefined })), 200)
    t.equal(await status(app, await issue(ecPair('P-256', 'b'), {}, { kid: 'whatever' })), 200)
    t.equal(await status(app, await issue(ecPair('P-256', 'a'), {}, { kid: 'c' })), 422, 'a key that has another name is not tried')
    t.equal(await status(app, await issue(edPair(), {}, { alg: 'EdDSA', kid: undefined })), 200)
    t.equal(await status(app, await issue(ecPair('P-256', 'stranger'), {}, { kid: undefined })), 422)
  })
})

t.test('when keys are fetched', async (t) => {
  t.test('a thousand requests at once, from cold, make one fetch', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const tokens = await Promise.all(Array.from({ length: 1000 }, (_, index) => issue(ecPair(), { sub: `user-${index}` })))
    const answers = await Promise.all(tokens.map((token) => get(app, token)))
    t.ok(answers.every(({ status, body }, index) => status === 200 && body === `user-${index}`))
    t.strictSame(server.asked, ['/jwks'])
  })

  t.test('a thousand requests with an unknown kid make one fetch, from cold and later, and none within the cool-down', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const thief = ecPair('P-256', 'thief')
    const tokens = await Promise.all(Array.from({ length: 1000 }, (_, index) => issue(thief, {}, { kid: `unknown-${index}` })))
    const all = async (): Promise<void> => {
      const answers = await Promise.all(tokens.map((token) => get(app, token)))
      t.strictSame([...new Set(answers.map(({ status, body }) => `${status} ${JSON.stringify(body)}`))], [`422 ${JSON.stringify(NO_KEY)}`])
    }
    await all()
    t.equal(server.asked.length, 1, 'from cold')
    await all()
    t.equal(server.asked.length, 1, 'within the cool-down')
    moveClock(t, 9)
    await all()
    t.equal(server.asked.length, 1, 'towards its end')
    moveClock(t, 1)
    await all()
    t.equal(server.asked.length, 2, 'after it')
    t.equal(await status(app, await issue(ecPair())), 200)
    t.equal(server.asked.length, 2)
  })

  t.test('a new key is found by its kid, also where another one was unknown before', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    t.equal(await status(app, await issue(ecPair())), 200)
    for (const kid of ['2', '3', '4']) {
      server.set = { keys: [publicJwk(ecPair(), { kid: '1' }), publicJwk(ecPair('P-256', kid), { kid })] }
      t.equal(await status(app, await issue(ecPair('P-256', kid), {}, { kid })), 200)
    }
    t.equal(server.asked.length, 4, 'no cool-down after a fetch that helped')
    t.equal(await status(app, await issue(ecPair('P-256', '5'), {}, { kid: '5' })), 422)
    server.set = { keys: [publicJwk(ecPair('P-256', '5'), { kid: '5' })] }
    const token = await issue(ecPair('P-256', '5'), {}, { kid: '5' })
    t.equal(await status(app, token), 422)
    moveClock(t, 10)
    t.equal(await status(app, token), 200)
  })

  t.test('a set is fetched anew after ten minutes, in the background; what it has no more verifies no more', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const [stays, goes] = [ecPair('P-256', 'stays'), ecPair('P-256', 'goes')]
    const server = await serveKeys(t, [publicJwk(stays, { kid: 'stays' }), publicJwk(goes, { kid: 'goes' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const [kept, lost, unseen] = [await issue(stays, {}, { kid: 'stays' }), await issue(goes, {}, { kid: 'goes' }), await issue(goes, {}, { kid: 'goes' })]
    const payload = await app.decodeToken(kept)
    t.equal(await status(app, lost), 200)
    server.set = { keys: [publicJwk(stays, { kid: 'stays' })] }
    moveClock(t, 599)
    t.equal(await status(app, lost), 200)
    t.equal(server.asked.length, 1)
    moveClock(t, 1)
    t.equal(await status(app, kept), 200)
    await server.settle(2)
    t.equal(server.asked.length, 2)
    t.match(await get(app, lost), { status: 422, body: NO_KEY })
    t.match(await get(app, unseen), { status: 422, body: NO_KEY })
    t.equal(await app.decodeToken(kept), payload, 'a key that stays need not verify again')
    t.equal(server.asked.length, 3, 'and the unknown key was asked for once')
  })

  t.test('a key that was replaced under its old kid verifies no more', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const server = await serveKeys(t, [publicJwk(ecPair('P-256', 'old'), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const [old, fresh] = [await issue(ecPair('P-256', 'old')), await issue(ecPair('P-256', 'new'))]
    t.strictSame([await status(app, old), await status(app, fresh)], [200, 422])
    server.set = { keys: [publicJwk(ecPair('P-256', 'new'), { kid: '1' })] }
    moveClock(t, 600)
    t.equal(await status(app, old), 200)
    await server.settle(2)
    t.strictSame([await status(app, old), await status(app, fresh)], [422, 200])
  })

  t.test('a set that cannot be fetched anew is asked for once per cool-down, and the last one serves', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const token = await issue(ecPair())
    t.equal(await status(app, token), 200)
    server.handle = (_request, response) => { response.writeHead(500).end() }
    moveClock(t, 600)
    for (let round = 0; round < 5; round++) {
      t.equal(await status(app, token), 200)
      await server.settle(2)
    }
    t.equal(server.asked.length, 2)
    t.match(await get(app, await issue(ecPair(), {}, { kid: '2' })), { status: 422, body: NO_KEY })
    t.equal(server.asked.length, 2)
    moveClock(t, 10)
    t.match(await get(app, await issue(ecPair(), {}, { kid: '2' })), { status: 422, body: NO_KEY }, 'the last set has no such key')
    t.equal(server.asked.length, 3)
    server.handle = undefined
    moveClock(t, 10)
    t.equal(await status(app, token), 200)
    await server.settle(4)
    moveClock(t, 60)
    t.equal(await status(app, token), 200)
    t.equal(server.asked.length, 4)
  })

  t.test('that a set cannot be fetched anew is told once, and once more where it happens again', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const warnings = collectWarnings(t)
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const [token, unknown] = [await issue(ecPair()), await issue(ecPair(), {}, { kid: '2' })]
    t.equal(await status(app, token), 200)
    for (const told of [1, 2]) {
      server.handle = (_request, response) => { response.writeHead(500).end() }
      server.asked.length = 0
      moveClock(t, 600)
      t.strictSame([await status(app, unknown), await status(app, token)], [422, 200])
      moveClock(t, 10)
      t.strictSame([await status(app, unknown), await status(app, token)], [422, 200])
      moveClock(t, 10)
      t.equal(await status(app, token), 200)
      await server.settle(3)
      t.equal(server.asked.length, 3)
      t.strictSame(warnings, Array(told).fill(`The key set of ${ISSUER} cannot be fetched; the last one goes on serving (${server.jwksUri} answered 500)`))
      server.handle = undefined
      moveClock(t, 10)
      t.equal(await status(app, token), 200)
      await server.settle(4)
    }
  })

  t.test('a clock that is put back keeps no set and no cool-down alive', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)], decodeLeeway: 100_000 })
    const tokens = await Promise.all(Array.from({ length: 5 }, () => issue(ecPair())))
    const unknown = await issue(ecPair('P-256', '2'), {}, { kid: '2' })
    t.equal(await status(app, tokens[0]!), 200)
    t.equal(await status(app, unknown), 422)
    t.equal(server.asked.length, 2, 'a cool-down has begun')
    moveClock(t, -3600)
    t.equal(await status(app, unknown), 422)
    t.equal(server.asked.length, 3, 'it is over')
    t.equal(await status(app, unknown), 422)
    t.equal(server.asked.length, 3, 'and another one has begun')

    moveClock(t, -3600)
    t.equal(await status(app, tokens[1]!), 200)
    await server.settle(4)
    t.equal(server.asked.length, 4, 'the set was old')
    t.equal(await status(app, tokens[2]!), 200)
    await server.settle(4)
    t.equal(server.asked.length, 4, 'and is new')

    server.handle = (_request, response) => { response.writeHead(500).end() }
    moveClock(t, 600)
    t.equal(await status(app, tokens[3]!), 200)
    await server.settle(5)
    server.handle = undefined
    server.set = { keys: [publicJwk(ecPair('P-256', '2'), { kid: '2' })] }
    moveClock(t, -3600)
    t.strictSame([await status(app, tokens[4]!), await status(app, tokens[0]!)], [422, 422], 'what it withdrew meanwhile is gone')
    t.equal(server.asked.length, 6, 'nor does it matter that the last fetch failed')
    t.equal(await status(app, unknown), 200)
  })

  t.test('a key that is withdrawn is not believed for as long as a clock was ahead', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const token = await issue(ecPair(), { exp: undefined })
    moveClock(t, 86_400)
    const payload = await app.decodeToken(token)
    moveClock(t, -86_400)
    t.equal(await app.decodeToken(token), payload, 'the key is asked for again, and is still there')
    t.equal(server.asked.length, 2)
    t.equal(await app.decodeToken(token), payload)
    t.equal(server.asked.length, 2)
    moveClock(t, 86_400)
    t.equal(await app.decodeToken(token), payload)
    t.equal(server.asked.length, 3)
    server.set = { keys: [publicJwk(ecPair('P-256', '2'), { kid: '2' })] }
    moveClock(t, -86_400)
    t.match(await get(app, token), { status: 422, body: NO_KEY })
  })

  t.test('a key that joins a set while it is fetched is found by one fetch more, however many wait', async (t) => {
    const server = await serveKeys(t)
    const [first, second] = [publicJwk(ecPair(), { kid: '1' }), publicJwk(ecPair('P-256', '2'), { kid: '2' })]
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const held: ServerResponse[] = []
    server.handle = (_request, response) => { held.push(response) }
    const early = get(app, await issue(ecPair()))
    await server.settle(1)
    const tokens = await Promise.all(Array.from({ length: 100 }, () => issue(ecPair('P-256', '2'), {}, { kid: '2' })))
    const late = tokens.map((token) => get(app, token))
    await server.settle(1)
    server.set = { keys: [first, second] }
    server.handle = undefined
    sendJson(held[0]!, { keys: [first] })
    t.equal((await early).status, 200)
    t.strictSame([...new Set((await Promise.all(late)).map(({ status }) => status))], [200])
    t.equal(server.asked.length, 2)
    server.set = { keys: [first, second, publicJwk(ecPair('P-256', '3'), { kid: '3' })] }
    t.equal(await status(app, await issue(ecPair('P-256', '3'), {}, { kid: '3' })), 200, 'no cool-down has begun')
  })

  t.test('a thousand requests with an unknown kid, while keys are fetched, make one fetch more and a cool-down', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const tokens = await Promise.all(Array.from({ length: 1000 }, (_, index) => issue(ecPair('P-256', 'thief'), {}, { kid: `unknown-${index}` })))
    const [good, ...storm] = await Promise.all([await issue(ecPair()), ...tokens].map((token) => status(app, token)))
    t.equal(good, 200)
    t.strictSame([...new Set(storm)], [422])
    t.equal(server.asked.length, 2)
    t.equal(await status(app, tokens[0]!), 422)
    t.equal(server.asked.length, 2)
  })

  t.test('a token that waits in vain for the fetch of another that was in vain asks no more', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    server.handle = (_request, response) => { response.writeHead(500).end() }
    t.strictSame(await Promise.all(Array.from({ length: 10 }, async () => await status(app, await issue(ecPair())))), Array(10).fill(503))
    t.equal(server.asked.length, 1)
  })

  t.test('a set of twenty minutes is fetched anew before it is used: what was withdrawn while nobody came is not believed', async (t) => {
    const [stays, goes] = [ecPair('P-256', 'stays'), ecPair('P-256', 'goes')]
    for (const [age, expected] of [[1199, 200], [1200, 422], [86_400, 422]] as const) {
      await t.test(`${age} seconds`, async (t) => {
        stopClock(t, Math.floor(Date.now() / 1000))
        const server = await serveKeys(t, [publicJwk(stays, { kid: 'stays' }), publicJwk(goes, { kid: 'goes' })])
        const app = await guardedApp(t, { issuers: [trust(server)] })
        const issueFor = (key: Pair, kid: string): Promise<string> => issue(key, { exp: undefined }, { kid })
        const [kept, lost, unseen] = [await issueFor(stays, 'stays'), await issueFor(goes, 'goes'), await issueFor(goes, 'goes')]
        const payload = await app.decodeToken(kept)
        t.equal(await status(app, lost), 200)
        server.set = { keys: [publicJwk(stays, { kid: 'stays' })] }
        moveClock(t, age)
        const burst = await Promise.all([kept, lost, unseen, kept, lost].map((token) => status(app, token)))
        t.strictSame(burst, [200, expected, expected, 200, expected])
        t.equal(await app.decodeToken(kept), payload, 'a key that stays need not verify again')
        await server.settle(2)
        t.equal(server.asked.length, expected === 200 ? 2 : 3, 'and a key that is gone was asked for once')
      })
    }
  })

  t.test('a set of twenty minutes that cannot be fetched anew serves, and only the first waits for that', async (t) => {
    stopClock(t, Math.floor(Date.now() / 1000))
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' }), publicJwk(ecPair('P-256', '2'), { kid: '2' })])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    const [token, other] = [await issue(ecPair(), { exp: undefined }), await issue(ecPair('P-256', '2'), { exp: undefined }, { kid: '2' })]
    t.equal(await status(app, token), 200)
    server.handle = (_request, response) => { response.writeHead(500).end() }
    moveClock(t, 1200)
    t.equal(await status(app, token), 200)
    t.equal(server.asked.length, 2, 'it was asked before')
    const held: ServerResponse[] = []
    server.handle = (_request, response) => { held.push(response) }
    moveClock(t, 10)
    t.strictSame([await status(app, token), await status(app, other)], [200, 200], 'while the issuer does not answer, nobody waits')
    await server.settle(3)
    t.notOk(held[0]!.destroyed, 'not even until the fetch is given up')
    held[0]!.writeHead(500).end()
    await server.settle(3)
    server.handle = undefined
    server.set = { keys: [publicJwk(ecPair(), { kid: '1' })] }
    moveClock(t, 600)
    t.strictSame([await status(app, other), await status(app, token)], [422, 200], 'after a pause it is asked again before')
    t.equal(server.asked.length, 4)
  })

  t.test('where a token or a key has no name, a signature that no key fits is asked for like an unknown name', async (t) => {
    const [old, next, stranger] = [ecPair('P-256', 'old'), ecPair('P-256', 'next'), ecPair('P-256', 'stranger')]
    const ways: [way: string, key: object, header: object][] = [
      ['neither', {}, { kid: undefined }], ['the key', { kid: 'x' }, { kid: undefined }], ['the token', {}, { kid: 'x' }]
    ]
    for (const [named, members, header] of ways) {
      await t.test(`with a name: ${named}`, async (t) => {
        stopClock(t, Math.floor(Date.now() / 1000))
        const server = await serveKeys(t, [publicJwk(old, { ...members })])
        const app = await guardedApp(t, { issuers: [trust(server)] })
        const issueBy = (key: Pair): Promise<string> => issue(key, {}, { ...header })
        t.equal(await status(app, await issueBy(old)), 200)
        server.set = { keys: [publicJwk(next, { ...members })] }
        const tokens = await Promise.all(Array.from({ length: 100 }, () => issueBy(next)))
        t.strictSame([...new Set(await Promise.all(tokens.map((token) => status(app, token))))], [200], 'a key that came meanwhile is found')
        t.equal(server.asked.length, 2)
        const refused = { status: 422, body: { msg: 'Signature verification failed' } }
        const forged = await Promise.all(Array.from({ length: 100 }, () => issueBy(stranger)))
        for (const answer of await Promise.all(forged.map((token) => get(app, token)))) t.match(answer, refused)
        t.equal(server.asked.length, 3)
        t.match(await get(app, forged[0]!), refused)
        t.equal(server.asked.length, 3, 'and not within the cool-down')
        moveClock(t, 10)
        server.handle = (_request, response) => { response.writeHead(500).end() }
        t.match(await get(app, forged[0]!), refused)
        t.equal(server.asked.length, 4)
        t.equal(await status(app, tokens[0]!), 200)
      })
    }
  })

  t.test('a token that names its key is judged by that one, and nobody is asked', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' }), publicJwk(ecPair('P-256', 'unnamed'))])
    const app = await guardedApp(t, { issuers: [trust(server)] })
    t.equal(await status(app, await issue(ecPair())), 200)
    t.match(await get(app, await issue(ecPair('P-256', 'stranger'))), { status: 422, body: { msg: 'Signature verification failed' } })
    t.equal(server.asked.length, 1)
  })

  t.test('keys that are withdrawn all at once verify no more, whatever stands in their place', async (t) => {
    const good = publicJwk(ecPair(), { kid: '1' })
    const nothing = `The key set of ${ISSUER} has no key that is fit for the algorithms; its tokens are refused`
    for (const keys of [[], [{ ...good, use: 'enc' }], [publicJwk(rsaPair(), { kid: '1' })], [null, 5]]) {
      await t.test(JSON.stringify(keys).slice(0, 40), async (t) => {
        stopClock(t, Math.floor(Date.now() / 1000))
        const warnings = collectWarnings(t)
        const server = await serveKeys(t, [good])
        const app = await guardedApp(t, { issuers: [trust(server, { algorithms: ['ES256'] })] })
        const [cached, unseen] = [await issue(ecPair()), await issue(ecPair())]
        t.equal(await status(app, cached), 200)
        server.set = { keys }
        moveClock(t, 600)
        t.equal(await status(app, cached), 200, 'nobody waits for the new set')
        await server.settle(2)
        for (const token of [cached, unseen]) t.match(await get(app, token), { status: 422, body: NO_KEY })
        t.equal(server.asked.length, 3, 'their key was asked for once')

        server.handle = (_request, response) => { response.writeHead(500).end() }
        moveClock(t, 10)
        t.match(await get(app, cached), { status: 422, body: NO_KEY }, 'a fetch that fails brings them not back')
        server.handle = undefined
        moveClock(t, 10)
        t.equal(await status(app, cached), 422)
        t.equal(server.asked.length, 5)
        await server.settle(5)
        t.strictSame(warnings.filter((message) => message === nothing), [nothing], 'it is told once')

        server.set = { keys: [good] }
        moveClock(t, 10)
        t.strictSame([await status(app, cached), await status(app, unseen)], [200, 200])
        server.set = { keys }
        moveClock(t, 600)
        t.equal(await status(app, cached), 200)
        await server.settle(7)
        t.equal(await status(app, cached), 422)
        await server.settle(8)
        t.equal(warnings.filter((message) => message === nothing).length, 2, 'and once more where it happens again')
      })
    }
  })

  t.test('a first set without a key that is fit refuses tokens: it was answered', async (t) => {
    const good = publicJwk(ecPair(), { kid: '1' })
    for (const keys of [[], [{ ...good, use: 'enc' }], ['key']]) {
      await t.test(JSON.stringify(keys).slice(0, 40), async (t) => {
        stopClock(t, Math.floor(Date.now() / 1000))
        const warnings = collectWarnings(t)
        const server = await serveKeys(t, keys)
        const flask = await guardedApp(t, { issuers: [trust(server)] })
        const rfc6750 = await guardedApp(t, { issuers: [trust(server)], errorProfile: 'rfc6750' })
        const token = await issue(ecPair())
        for (let round = 0; round < 3; round++) {
          t.match(await get(flask, token), { status: 422, body: NO_KEY })
          t.match(await get(rfc6750, token), { status: 401, body: NO_KEY, headers: { 'www-authenticate': /error="invalid_token"/ } })
        }
        t.equal(server.asked.length, 2, 'each has asked once')
        await server.settle(2)
        t.equal(warnings.length, 2, 'and told once')
        server.set = { keys: [good] }
        moveClock(t, 10)
        t.strictSame([await status(flask, token), await status(rfc6750, token)], [200, 200])
      })
    }
  })

  t.test('a token that was verified costs no fetch and no reading', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { secretKey: SECRET, issuers: [trust(server)] })
    const [token, other] = [await issue(ecPair()), await issue(ecPair())]
    const payload = await app.decodeToken(token)
    const { parse } = JSON
    let parsed = 0
    JSON.parse = (...args) => { parsed++; return parse(...args) }
    t.teardown(() => { JSON.parse = parse })
    for (let round = 0; round < 3; round++) t.equal(await app.decodeToken(token), payload)
    t.equal(parsed, 0)
    await app.decodeToken(other)
    t.ok(parsed > 0)
    t.equal(server.asked.length, 1)
  })

  t.test('without a cache each token is verified each time, without a fetch', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await buildApp(t, { issuers: [trust(server)], verifyCache: false })
    const token = await issue(ecPair())
    const payload = await app.decodeToken(token)
    const again = await app.decodeToken(token)
    t.not(again, payload)
    t.strictSame(again, payload)
    await server.settle(1)
    t.equal(server.asked.length, 1)
  })
})

t.test('what a key server may answer', async (t) => {
  const good = publicJwk(ecPair(), { kid: '1' })
  const redirect = (code: number, location: string): Handler => (_request, response) => { response.writeHead(code, { location }).end() }

  t.test('what is no set of keys makes 503 with Retry-After, and the hint is for the log only', async (t) => {
    const target = await serveKeys(t, [good])
    const rows: [what: string, handle: Handler | undefined, set: unknown, hint: string][] = [
      ['no JSON', undefined, '<html>', 'JSON'],
      ['nothing', undefined, '', 'JSON'],
      ['a list', undefined, [good], 'answered no JSON object'],
      ['null', undefined, 'null', 'answered no JSON object'],
      ['no keys', undefined, {}, 'The key set has no list of keys'],
      ['keys that are no list', undefined, { keys: { 1: good } }, 'The key set has no list of keys'],
      ['204', (_request, response) => { response.writeHead(204).end() }, undefined, 'answered 204'],
      ['404', (_request, response) => { response.statusCode = 404; sendJson(response, { keys: [good] }) }, undefined, 'answered 404'],
      ['500', (_request, response) => { response.statusCode = 500; sendJson(response, { keys: [good] }) }, undefined, 'answered 500'],
      ['a connection that breaks', (_request, response) => { response.destroy() }, undefined, 'fetch failed: '],
      ['half an answer', (_request, response) => { response.writeHead(200, { 'content-length': 5000 }).write('{'); setImmediate(() => { response.destroy() }) }, undefined, 'terminated: '],
      ...[301, 302, 303, 307, 308].map((code) => [`${code}`, redirect(code, target.jwksUri), undefined, `answered ${code}`] as [string, Handler, undefined, string]),
    ]
    for (const [what, handle, set, hint] of rows) {
      await t.test(what, async (t) => {
        stopClock(t, Math.floor(Date.now() / 1000))
        const server = await serveKeys(t)
        Object.assign(server, { handle, set })
        const lines: string[] = []
        const app = await guardedApp(t, { issuers: [trust(server)] }, { logger: { level: 'info', stream: { write: (line: string) => { lines.push(line) } } } })
        const token = await issue(ecPair())
        t.match(await get(app, token), { status: 503, body: UNAVAILABLE, headers: { 'retry-after': '10', 'www-authenticate': undefined } })
        const hints = lines.map((line) => JSON.parse(line) as { code?: string, hint?: string }).filter(({ code }) => code === 'FST_JWT_EXT_KEY_SET_UNAVAILABLE')
        t.equal(hints.length, 1)
        t.match(hints[0]!.hint, hint)
        await t.rejects(app.decodeToken(token), { code: 'FST_JWT_EXT_KEY_SET_UNAVAILABLE', statusCode: 503 })
        t.equal(server.asked.length, 1, 'and nothing is asked again at once')
        Object.assign(server, { handle: undefined, set: { keys: [good] } })
        moveClock(t, 10)
        t.equal(await status(app, token), 200)
      })
    }
    t.strictSame(target.asked, [], 'no redirect to another origin is followed')
  })

  t.test('a redirect on the same origin is followed', async (t) => {
    for (const code of [301, 302, 303, 307, 308]) {
      const server = await serveKeys(t, [good])
      for (const location of ['/keys?v=2', 'keys?v=2', `${server.origin}/keys?v=2`, `//${new URL(server.origin).host}/keys?v=2`]) {
        server.asked.length = 0
        server.handle = (request, response) => {
          if (request.url === '/jwks') response.writeHead(code, { location }).end('moved')
          else sendJson(response, server.set)
        }
        t.equal(await status(await guardedApp(t, { issuers: [trust(server)] }), await issue(ecPair())), 200, `${code} ${location}`)
        t.strictSame(server.asked, ['/jwks', '/keys?v=2'])
      }
    }
  })

  t.test('three redirects are followed, and not a fourth', async (t) => {
    const server = await serveKeys(t, [good])
    const hopTo = (last: number): Handler => (request, response) => {
      const hop = Number(request.url!.slice(1)) || 0
      if (hop === last) sendJson(response, server.set)
      else response.writeHead(302, { location: `/${hop + 1}` }).end()
    }
    for (const [hops, expected] of [[3, 200], [4, 503], [Infinity, 503]] as const) {
      server.asked.length = 0
      server.handle = hopTo(hops)
      t.equal(await status(await guardedApp(t, { issuers: [trust(server)] }), await issue(ecPair())), expected, `${hops} hops`)
      t.strictSame(server.asked, ['/jwks', '/1', '/2', '/3'])
    }
  })

  t.test('what only resembles a redirect on the same origin is not followed', async (t) => {
    const server = await serveKeys(t, [good])
    const target = await serveKeys(t, [good])
    const { host, port } = new URL(server.origin)
    const rows: [code: number, headers: Record<string, string>][] = [
      ...[
        target.jwksUri, `//${new URL(target.origin).host}/keys`, `https://${host}/keys`, `http://localhost:${port}/keys`, `http://127.0.0.2:${port}/keys`, 'http://127.0.0.1/keys',
        `blob:${server.origin}/keys`, `data:application/json,${JSON.stringify({ keys: [good] })}`, 'file:///etc/keys.json', 'http://[', `http://${host}@${new URL(target.origin).host}/keys`
      ].map((location) => [302, { location }] as [number, Record<string, string>]),
      [302, {}],
      ...[201, 300, 304, 305, 306, 404, 500].map((code) => [code, { location: '/keys' }] as [number, Record<string, string>]),
    ]
    for (const [code, headers] of rows) {
      server.asked.length = 0
      server.handle = (request, response) => {
        if (request.url === '/jwks') response.writeHead(code, headers).end()
        else sendJson(response, server.set)
      }
      const app = await buildApp(t, { issuers: [trust(server)] })
      const outcome = await app.decodeToken(await issue(ecPair())).catch((error: unknown) => error)
      t.match(outcome, { statusCode: 503, hint: `${server.jwksUri} answered ${code}` }, `${code} ${headers['location']}`)
      t.strictSame([server.asked, target.asked], [['/jwks'], []])
    }
  })

  t.test('an answer that is too large is cut off', async (t) => {
    const server = await serveKeys(t)
    const closed = new Promise((resolve) => {
      server.handle = (_request, response) => {
        response.on('close', resolve).write('{"keys":[')
        const pour = (): void => { while (!response.destroyed && response.write(' '.repeat(10_000))); }
        response.on('drain', pour)
        pour()
      }
    })
    const app = await guardedApp(t, { issuers: [trust(server)] })
    t.match(await get(app, await issue(ecPair())), { status: 503, body: UNAVAILABLE })
    await closed
    for (const [bytes, expected] of [[500_000, 200], [500_001, 503]] as const) {
      const padded = await serveKeys(t)
      padded.set = JSON.stringify({ keys: [good] }).padStart(bytes)
      t.equal(await status(await guardedApp(t, { issuers: [trust(padded)] }), await issue(ecPair())), expected)
    }
  })

  t.test('a key server that is slow, or never done, is waited for five seconds, discovery and redirects included', { timeout: 30_000 }, async (t) => {
    const silent: Handler = () => {}
    const dribbling: Handler = (_request, response) => {
      response.write('{"keys":[')
      const timer = setInterval(() => { response.write(' ') }, 100)
      response.on('close', () => { clearInterval(timer) })
    }
    const halting = (server: KeyServer): Handler => (request, response) => {
      if (request.url === '/jwks') return
      setTimeout(() => { sendJson(response, { issuer: server.origin, jwks_uri: server.jwksUri }) }, 4000)
    }
    const hopping: Handler = (request, response) => {
      if (request.url !== '/jwks') return
      setTimeout(() => { response.writeHead(302, { location: '/keys' }).end() }, 4000)
    }
    const started = performance.now()
    await Promise.all(['silent', 'dribbling', 'halting', 'hopping'].map(async (what) => {
      const server = await serveKeys(t)
      server.handle = what === 'halting' ? halting(server) : { silent, dribbling, hopping }[what as 'silent' | 'dribbling' | 'hopping']
      const issuer = what === 'halting' ? { issuer: server.origin, audience: 'api' } : trust(server)
      const app = await guardedApp(t, { secretKey: SECRET, issuers: [issuer] })
      const token = await issue(ecPair(), { iss: issuer.issuer })
      const pending = Promise.all([get(app, token), get(app, token)])
      await sleep(100)
      t.equal(await status(app, await app.createAccessToken('bob')), 200, 'nobody else waits')
      for (const answer of await pending) t.match(answer, { status: 503, body: UNAVAILABLE }, what)
      t.equal(server.asked.length, what === 'halting' || what === 'hopping' ? 2 : 1)
    }))
    const took = performance.now() - started
    t.ok(took > 4000 && took < 8000, `${Math.round(took)} ms`)
  })
})

t.test('discovery', async (t) => {
  const good = publicJwk(ecPair(), { kid: '1' })

  /** Serves the documents of these paths; anything else is not found. */
  async function serveDocuments (t: Test, documents: (origin: string) => Record<string, unknown>): Promise<KeyServer> {
    const server = await serveKeys(t)
    server.handle = (request, response) => {
      const document = documents(server.origin)[request.url!]
      if (document === undefined) response.writeHead(404).end()
      else sendJson(response, document)
    }
    return server
  }

  t.test('OpenID Connect’s document comes first, RFC 8414’s second, each where its standard has it', async (t) => {
    const openId = '/.well-known/openid-configuration'
    const oauth = '/.well-known/oauth-authorization-server'
    const rows: [path: string, at: string, asked: string[]][] = [
      ['', openId, [openId]],
      ['/', openId, [openId]],
      ['/realms/main', `/realms/main${openId}`, [`/realms/main${openId}`]],
      ['/realms/main/', `/realms/main${openId}`, [`/realms/main${openId}`]],
      ['', oauth, [openId, oauth]],
      ['/realms/main', `${oauth}/realms/main`, [`/realms/main${openId}`, `${oauth}/realms/main`]],
      ['/realms/main/', `${oauth}/realms/main`, [`/realms/main${openId}`, `${oauth}/realms/main`]],
    ]
    for (const [path, at, asked] of rows) {
      const server = await serveDocuments(t, (origin) => ({ [at]: { issuer: `${origin}${path}`, jwks_uri: `${origin}/keys` }, '/keys': { keys: [good] } }))
      const issuer = `${server.origin}${path}`
      const app = await guardedApp(t, { issuers: [{ issuer, audience: 'api' }] })
      t.equal(await status(app, await issue(ecPair(), { iss: issuer })), 200, `${path} ${at}`)
      t.strictSame(server.asked, [...asked, '/keys'])
    }
  })

  t.test('a document that is somebody else’s, or leads elsewhere, is not believed', async (t) => {
    const lines: string[] = []
    const rows: [document: (origin: string) => unknown, hint: string][] = [
      [(origin) => ({ issuer: `${origin}/`, jwks_uri: `${origin}/keys` }), "The configuration is another issuer's"],
      [(origin) => ({ issuer: 'https://login.example.com', jwks_uri: `${origin}/keys` }), "The configuration is another issuer's"],
      [(origin) => ({ jwks_uri: `${origin}/keys` }), "The configuration is another issuer's"],
      [(origin) => ({ issuer: origin }), 'The configuration has no jwks_uri that begins with https://'],
      [(origin) => ({ issuer: origin, jwks_uri: 5 }), 'The configuration has no jwks_uri'],
      [(origin) => ({ issuer: origin, jwks_uri: '/keys' }), 'The configuration has no jwks_uri'],
      [(origin) => ({ issuer: origin, jwks_uri: 'http://keys.example.com/keys' }), 'The configuration has no jwks_uri'],
      [(origin) => ({ issuer: origin, jwks_uri: 'http://127.0.0.1.example.com/keys' }), 'The configuration has no jwks_uri'],
      [(origin) => ({ issuer: origin, jwks_uri: 'file:///etc/keys.json' }), 'The configuration has no jwks_uri'],
      [(origin) => ({ issuer: origin, jwks_uri: `data:application/json,${JSON.stringify({ keys: [good] })}` }), 'The configuration has no jwks_uri'],
      [() => ['issuer'], 'answered no JSON object'],
    ]
    for (const [document, hint] of rows) {
      const server = await serveDocuments(t, (origin) => ({ '/.well-known/openid-configuration': document(origin), '/keys': { keys: [good] } }))
      const app = await guardedApp(t, { issuers: [{ issuer: server.origin, audience: 'api' }] }, { logger: { level: 'info', stream: { write: (line: string) => { lines.push(line) } } } })
      lines.length = 0
      t.equal(await status(app, await issue(ecPair(), { iss: server.origin })), 503, hint)
      t.match(lines.join(''), hint)
      t.strictSame(server.asked, ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'])
    }
  })

  t.test('an issuer on https cannot send us to plain http, not even on this host', async (t) => {
    const issuer = 'https://login.example.com'
    const server = await serveKeys(t)
    const { fetch } = globalThis
    // No test can serve its documents there, so they are asked for here.
    globalThis.fetch = async (input, init) => await fetch(String(input).replace(issuer, server.origin), init)
    t.teardown(() => { globalThis.fetch = fetch })
    const documents = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server']
    for (const [origin, expected, asked] of [[issuer, 200, [documents[0], '/jwks']], [server.origin, 503, documents]] as const) {
      server.asked.length = 0
      server.handle = (request, response) => { sendJson(response, request.url === '/jwks' ? { keys: [good] } : { issuer, jwks_uri: `${origin}/jwks` }) }
      const app = await guardedApp(t, { issuers: [{ issuer, audience: 'api' }] })
      t.equal(await status(app, await issue(ecPair(), { iss: issuer })), expected, origin)
      t.strictSame(server.asked, asked)
    }
  })

  t.test('a redirect of the document is followed on the same origin, and to no other', async (t) => {
    const document = '/.well-known/openid-configuration'
    const elsewhere = await serveKeys(t, [good])
    const server = await serveKeys(t)
    for (const [location, expected, asked] of [
      ['/real', 200, [document, '/real', '/jwks']],
      [`${elsewhere.origin}/real`, 503, [document, '/.well-known/oauth-authorization-server']],
    ] as const) {
      server.asked.length = 0
      server.handle = (request, response) => {
        if (request.url === '/real') sendJson(response, { issuer: server.origin, jwks_uri: server.jwksUri })
        else if (request.url === '/jwks') sendJson(response, { keys: [good] })
        else response.writeHead(302, { location }).end()
      }
      const app = await guardedApp(t, { issuers: [{ issuer: server.origin, audience: 'api' }] })
      t.equal(await status(app, await issue(ecPair(), { iss: server.origin })), expected, location)
      t.strictSame(server.asked, asked)
    }
    t.strictSame(elsewhere.asked, [])
  })
})

t.test('sessions are ours alone', async (t) => {
  async function setUp (t: Test, more: Partial<TrustedIssuer> = {}): Promise<{ app: FastifyInstance, server: KeyServer }> {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await guardedApp(t, { secretKey: SECRET, store: memoryStore(), issuers: [trust(server, more)], tokenLocation: ['headers', 'cookies'] })
    app.get('/refresh', { preHandler: app.jwtRequired({ refresh: true }) }, async (request) => await request.refreshTokens())
    app.get('/any', { preHandler: app.jwtRequired({ verifyType: false }) }, async (request) => await request.refreshTokens())
    app.get('/out', { preHandler: app.jwtRequired({ verifyType: false }) }, async (request) => { await request.revokeJwt(); return 'out' })
    return { app, server }
  }

  t.test('a foreign token refreshes nothing, though it says that it could', async (t) => {
    const { app } = await setUp(t)
    const own = await app.createTokenPair('ada')
    const token = await issue(ecPair(), { type: 'refresh', sid: own.sessionId, gen: 1 })
    const refused = { status: 422, body: { msg: 'Only refresh tokens are allowed' } }
    t.match(await get(app, token, '/refresh'), refused)
    t.match(await get(app, token, '/any'), { status: 422, body: { code: 'FST_JWT_EXT_WRONG_TYPE', message: 'Only refresh tokens are allowed' } })
    await t.rejects(app.refreshTokens(token), { code: 'FST_JWT_EXT_WRONG_TYPE', message: 'Only refresh tokens are allowed' })
    t.match(await get(app, token), { status: 422, body: { msg: 'Only non-refresh tokens are allowed' } })
    t.type((await app.refreshTokens(own.refreshToken)).accessToken, 'string', 'and the session knows nothing of it')
  })

  t.test('it is of no type of ours, whatever type it claims', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const app = await buildApp(t, { secretKey: SECRET, issuers: [trust(server)], tokenTypes: { invite: { expires: 60 } } })
    app.get('/', { preHandler: app.jwtRequired({ type: 'invite' }) }, async (request) => request.jwtIdentity)
    t.equal((await get(app, await app.createToken('invite', 'bob'))).body, 'bob')
    t.match(await get(app, await issue(ecPair(), { type: 'invite' })), { status: 422, body: { msg: 'Only invite tokens are allowed' } })
  })

  t.test('it is never fresh, whatever it claims', async (t) => {
    const { app } = await setUp(t)
    app.get('/fresh', { preHandler: app.jwtRequired({ fresh: true }) }, async (request) => request.jwtIdentity)
    t.equal((await get(app, await app.createAccessToken('bob', { fresh: true }), '/fresh')).body, 'bob')
    for (const fresh of [true, Math.floor(Date.now() / 1000) + 60]) {
      t.match(await get(app, await issue(ecPair(), { fresh }), '/fresh'), { status: 401, body: { msg: 'Fresh token required' } }, String(fresh))
    }
  })

  t.test('its sid is not one of our sessions', async (t) => {
    const { app } = await setUp(t)
    const own = await app.createTokenPair('ada')
    const keycloak = { sid: own.sessionId, gen: 1, epoch: 0, typ: 'Bearer', azp: 'web', session_state: own.sessionId, realm_access: { roles: ['user'] } }
    const [one, two] = [await issue(ecPair(), keycloak), await issue(ecPair(), keycloak)]
    t.strictSame([await status(app, one), await status(app, two)], [200, 200])
    await app.revokeToken(one)
    t.match(await get(app, one), { status: 401, body: { msg: 'Token has been revoked' } })
    t.equal(await status(app, two), 200, 'only the token itself')
    t.equal(await status(app, own.accessToken), 200, 'and no session of ours')
    t.equal((await get(app, two, '/out')).body, 'out')
    t.equal(await status(app, two), 401)
    t.equal(await status(app, own.accessToken), 200)
    const third = await issue(ecPair(), keycloak)
    await app.revokeSession('ada', own.sessionId)
    t.strictSame([await status(app, own.accessToken), await status(app, third)], [401, 200])
  })

  t.test('without a jti one token cannot be revoked', async (t) => {
    const { app } = await setUp(t)
    await t.rejects(app.revokeToken(await issue(ecPair(), { jti: undefined, sid: 'x' })), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Missing claim: jti' })
  })

  t.test('all tokens of an identity are revoked by their time, whatever epoch they claim', async (t) => {
    const { app } = await setUp(t, { identityClaim: 'oid' })
    const before = await Promise.all([{}, { epoch: 9e15 }, { sid: 'x', epoch: 9e15 }].map((more) => issue(ecPair(), { oid: 'ada', ...more })))
    const other = await issue(ecPair(), { oid: 'bob', sub: 'ada' })
    for (const token of [...before, other]) t.equal(await status(app, token), 200)
    await app.revokeAllTokens('ada')
    for (const token of before) t.equal(await status(app, token), 401)
    t.equal(await status(app, other), 200)
    moveClock(t, 2)
    t.equal(await status(app, await issue(ecPair(), { oid: 'ada' })), 200)
    await app.revokeToken(other)
    t.equal(await status(app, other), 401, 'by the claim that holds its identity')
  })

  t.test('how long they live is announced, whatever session and epoch they claim', async (t) => {
    const server = await serveKeys(t, [publicJwk(ecPair(), { kid: '1' })])
    const announced: unknown[] = []
    const store = { ...memoryStore(), isRevoked ({ sessionId, epoch, keepEpoch }: TokenQuery) { announced.push([sessionId, epoch, keepEpoch !== undefined]); return false } }
    const app = await guardedApp(t, { secretKey: SECRET, store, issuers: [trust(server)] })
    for (const more of [{}, { sid: 'x' }, { epoch: 5 }, { sid: 'x', epoch: 5 }]) t.equal(await status(app, await issue(ecPair(), { exp: undefined, ...more })), 200)
    t.strictSame(announced, Array(4).fill([undefined, undefined, true]))
  })

  t.test('a foreign cookie that is revoked leaves the cookies of our session', async (t) => {
    const { app } = await setUp(t)
    const visit = async (token: string): Promise<[number, number]> => {
      const response = await app.inject({ url: '/', headers: { cookie: `access_token_cookie=${token}` } })
      return [response.statusCode, response.cookies.length]
    }
    const token = await issue(ecPair(), { sid: 'x' })
    t.strictSame(await visit(token), [200, 0])
    await app.revokeToken(token)
    t.strictSame(await visit(token), [401, 0])
    const own = await app.createTokenPair('ada')
    await app.revokeSession('ada', own.sessionId)
    t.strictSame(await visit(own.accessToken), [401, 4])
  })
})

t.test('what cannot work fails the registration', async (t) => {
  const good = { issuer: ISSUER, audience: 'api' }
  const https = 'a URL that begins with https://, or with http:// on this host'
  const discovered = 'needs jwksUri: keys are discovered only under an issuer that is a URL and begins with https://'
  const rows: [issuers: unknown, message: string][] = [
    [[good, null], 'The options of issuers[1] must be an object with any of: issuer, audience, jwksUri, algorithms, identityClaim'],
    [[ISSUER], 'The options of issuers[0] must be an object'],
    [[{ ...good, audiences: 'api' }], "Unknown option 'audiences' of issuers[0]; did you mean 'audience'?"],
    [[{ ...good, jwks_uri: 'https://x' }], "Unknown option 'jwks_uri' of issuers[0]; did you mean 'jwksUri'?"],
    [[{ issuer: ISSUER }], 'issuers[0] needs audience: a string that is not empty, or a list of such, not empty'],
    [[{ audience: 'api' }], 'issuers[0] needs issuer: a string that is not empty'],
    [[good, {}], 'issuers[1] needs issuer'],
    [[{ ...good, audience: '' }], 'issuers[0].audience must be a string that is not empty, or a list of such, not empty'],
    [[{ ...good, audience: [] }], 'issuers[0].audience must be a string'],
    [[{ ...good, audience: ['api', 5] }], 'issuers[0].audience must be a string'],
    [[{ ...good, audience: null }], 'issuers[0].audience must be a string'],
    [[{ ...good, issuer: '' }], 'issuers[0].issuer must be a string that is not empty'],
    [[{ ...good, issuer: 5 }], 'issuers[0].issuer must be a string that is not empty'],
    [[{ ...good, identityClaim: '' }], 'issuers[0].identityClaim must be a string that is not empty'],
    [[{ ...good, algorithms: 'RS256' }], 'issuers[0].algorithms must be a list, not empty, of one of'],
    [[{ ...good, algorithms: [] }], 'issuers[0].algorithms must be a list, not empty, of one of'],
    [[{ ...good, algorithms: ['RS256', 'HS256'] }], 'issuers[0].algorithms must be a list, not empty, of one of'],
    [[{ ...good, algorithms: ['none'] }], 'issuers[0].algorithms must be a list, not empty, of one of'],
    ...['', 'keys', '/keys', 'http://login.example.com/keys', 'http://127.0.0.1.example.com/', 'http://localhost.example.com/', 'ftp://login.example.com/', 'file:///keys', 'https://user:word@login.example.com/', 'https://user@login.example.com', 5, null]
      .map((jwksUri) => [[{ ...good, jwksUri }], `issuers[0].jwksUri must be ${https}`] as [unknown, string]),
    ...['them', 'http://login.example.com', 'urn:login', 'accounts.google.com'].map((issuer) => [[{ ...good, issuer }], `issuers[0] ${discovered}`] as [unknown, string]),
    [[good, { ...good, audience: 'web' }], `The option issuers names '${ISSUER}' twice; give one of them all audiences`],
  ]
  for (const [issuers, message] of rows) {
    const error = await registrationError(t, { secretKey: SECRET, issuers })
    t.equal(error.code, 'FST_JWT_EXT_USAGE')
    t.match(error.message, message, JSON.stringify(issuers))
  }
  for (const own of [{ encodeIssuer: ISSUER }, { decodeIssuer: ISSUER }, { decodeIssuer: ['ourselves', ISSUER] }]) {
    t.equal((await registrationError(t, { secretKey: SECRET, issuers: [good], ...own })).message, `The option issuers has '${ISSUER}', which encodeIssuer or decodeIssuer names as our own`)
  }
  const fine: TrustedIssuer[] = [
    { ...good, jwksUri: undefined }, { issuer: 'accounts.google.com', audience: 'x', jwksUri: 'https://www.googleapis.com/oauth2/v3/certs' },
    { issuer: 'http://localhost:3000', audience: 'x' }, { issuer: 'http://127.0.0.2:3000/realms/x', audience: 'x' }, { issuer: 'http://[::1]:3000', audience: 'x' }
  ]
  const app = await buildApp(t, { issuers: fine })
  t.ok(app)
})
