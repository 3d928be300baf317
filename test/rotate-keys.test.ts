import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createLocalJWKSet, importJWK, jwtVerify, type JWK } from 'jose'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import jwtExtended, { memoryStore, type JwtAlgorithm, type JwtExtendedOptions, type RotatedKeys } from '../index.js'
import { readKeyring, rotateKeyring } from '../lib/keyring.js'
import { readSettings } from '../lib/settings.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { moveClock, stopClock } from './support/clock.js'
import { forge } from './support/forge.js'
import { ecPair, edPair, pairFor, pem, rsaPair } from './support/keys.js'
import { ownProcess } from './support/own-process.js'
import { collectWarnings } from './support/warnings.js'

const FAMILIES = ['HS256', 'RS256', 'ES256', 'EdDSA'] as const
const DAY = 24 * 60 * 60
const SECOND = 1_700_000_000
const FAILED = { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Signature verification failed' }

/** The keys of an algorithm, one set of them for each label. */
function keysOf (algorithm: JwtAlgorithm, label: string): { secretKey: string } | ReturnType<typeof pairFor> {
  return algorithm.startsWith('HS') ? { secretKey: `${SECRET}-${label}` } : pairFor(algorithm, label)
}

/** A list: the pair or secret of the first label signs, all verify. */
function listOf (algorithm: JwtAlgorithm, ...labels: string[]): Extract<RotatedKeys, { secretKey: unknown } | { privateKey: unknown }> {
  if (algorithm.startsWith('HS')) return { secretKey: labels.map((label) => `${SECRET}-${label}`) }
  return { privateKey: pairFor(algorithm, labels[0]).privateKey, publicKey: labels.map((label) => pairFor(algorithm, label).publicKey) }
}

/** An app with one guarded route that tells who came. */
async function guardedApp (t: Test, options: JwtExtendedOptions): Promise<FastifyInstance> {
  const app = await buildApp(t, options)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  return app
}

async function status (app: FastifyInstance, token: string): Promise<number> {
  return (await app.inject({ url: '/', headers: bearer(token) })).statusCode
}

function kidOf (app: FastifyInstance, token: string): string | undefined {
  return app.getUnverifiedJwtHeaders(token).kid
}

for (const algorithm of FAMILIES) {
  t.test(`${algorithm}: the token of a previous key says which, and is verified by that key alone`, async (t) => {
    const app = await guardedApp(t, { algorithm, ...listOf(algorithm, 'new', 'old'), verifyCache: false })
    const old = await guardedApp(t, { algorithm, ...listOf(algorithm, 'old', 'new') })
    const [fresh, previous] = [await app.createAccessToken('ada'), await old.createAccessToken('ada')]
    t.type(kidOf(app, fresh), 'string')
    t.type(kidOf(app, previous), 'string')
    t.not(kidOf(app, fresh), kidOf(app, previous))
    t.equal(await status(app, fresh), 200)
    t.equal(await status(app, previous), 200)
    // Signed by one key and named after the other: that the first would verify it does not count.
    const misnamed = await old.createAccessToken('ada', { additionalHeaders: { kid: kidOf(app, fresh)! } })
    t.equal(await status(app, misnamed), 422)
    t.equal(await status(old, misnamed), 422)
    const named = await old.createAccessToken('ada', { additionalHeaders: { kid: kidOf(app, previous)!, more: 1 } })
    t.equal(await status(app, named), 200)
  })

  t.test(`${algorithm}: a token without kid, or with an unknown one, is tried against each key`, async (t) => {
    const app = await guardedApp(t, { algorithm, ...listOf(algorithm, 'new', 'old', 'oldest') })
    for (const label of ['new', 'old', 'oldest']) {
      const key = keysOf(algorithm, label)
      const issuer = await buildApp(t, { algorithm, encodeKeyLoader: () => 'secretKey' in key ? key.secretKey : key.privateKey })
      const plain = await issuer.createAccessToken('ada')
      t.equal(kidOf(app, plain), undefined)
      t.equal(await status(app, plain), 200, label)
      t.equal(await status(app, await issuer.createAccessToken('ada', { additionalHeaders: { kid: 'of-somebody' } })), 200, label)
    }
    const stranger = await buildApp(t, { algorithm, ...keysOf(algorithm, 'stranger') })
    t.equal(await status(app, await stranger.createAccessToken('ada')), 422)
  })

  t.test(`${algorithm}: one new key signs, and the old one goes on verifying`, async (t) => {
    const app = await guardedApp(t, { algorithm, ...keysOf(algorithm, 'old') })
    const [cached, unseen] = [await app.createAccessToken('ada'), await app.createAccessToken('bob')]
    const payload = await app.decodeToken(cached)
    app.rotateKeys(keysOf(algorithm, 'new'))
    t.equal(await app.decodeToken(cached), payload, 'what was verified need not be verified again')
    t.equal(await status(app, unseen), 200)
    const fresh = await app.createAccessToken('ada')
    t.equal(await status(app, fresh), 200)
    t.type(kidOf(app, fresh), 'string')
    t.not(kidOf(app, fresh), kidOf(app, cached))
    const [onlyNew, onlyOld] = [await guardedApp(t, { algorithm, ...keysOf(algorithm, 'new') }), await guardedApp(t, { algorithm, ...keysOf(algorithm, 'old') })]
    t.equal(await status(onlyNew, fresh), 200)
    t.equal(await status(onlyOld, fresh), 422)
  })

  t.test(`${algorithm}: with a list, the key that is not in it is out at once, cached tokens included`, async (t) => {
    const app = await guardedApp(t, { algorithm, ...listOf(algorithm, 'old', 'older') })
    const older = await buildApp(t, { algorithm, ...keysOf(algorithm, 'older') })
    const tokens = { old: await app.createAccessToken('ada'), older: await older.createAccessToken('ada') }
    const payload = await app.decodeToken(tokens.older)
    t.equal(await status(app, tokens.old), 200)
    app.rotateKeys(listOf(algorithm, 'new', 'older'))
    t.equal(await status(app, tokens.old), 422)
    t.equal(await app.decodeToken(tokens.older), payload)
    t.equal(await status(app, await app.createAccessToken('ada')), 200)
    app.rotateKeys(listOf(algorithm, 'new'))
    t.equal(await status(app, tokens.older), 422)
    // A key that comes back brings its tokens back.
    app.rotateKeys(listOf(algorithm, 'new', 'old'))
    t.equal(await status(app, tokens.old), 200)
  })

  t.test(`${algorithm}: the old key ends when the last of its tokens has expired`, async (t) => {
    stopClock(t, SECOND)
    const app = await guardedApp(t, { algorithm, ...keysOf(algorithm, 'old'), accessTokenExpires: 60, refreshTokenExpires: 600 })
    const encodeKey = keysOf(algorithm, 'old')
    const elsewhere = await buildApp(t, { algorithm, encodeKeyLoader: () => 'secretKey' in encodeKey ? encodeKey.secretKey : encodeKey.privateKey })
    const late = await elsewhere.createAccessToken('ada', { expiresDelta: DAY })
    app.rotateKeys(keysOf(algorithm, 'new'))
    t.equal(await status(app, late), 200)
    moveClock(t, 599)
    t.equal(await status(app, late), 200)
    moveClock(t, 1)
    t.equal(await status(app, late), 422, 'also where it was verified before')
    t.equal(await status(app, await elsewhere.createAccessToken('ada')), 422)
    t.equal(await status(app, await app.createAccessToken('ada')), 200)
  })
}

t.test('tokens of one secret that stands alone have no kid; those of a list and after a rotation have', async (t) => {
  const app = await buildApp(t)
  t.strictSame(app.getUnverifiedJwtHeaders(await app.createAccessToken('ada')), { alg: 'HS256', typ: 'JWT' })
  app.rotateKeys({ secretKey: `${SECRET}-new` })
  t.match(kidOf(app, await app.createAccessToken('ada')), /^[\w-]{11}$/)
  const single = await buildApp(t, { secretKey: [SECRET] })
  t.equal(kidOf(single, await single.createAccessToken('ada')), undefined)
  const list = await buildApp(t, { secretKey: [`${SECRET}-new`, SECRET] })
  t.equal(kidOf(list, await list.createAccessToken('ada')), kidOf(app, await app.createAccessToken('bob')), 'the same secret has the same name everywhere')
  const beside = await buildApp(t, { algorithm: 'ES256', ...ecPair(), secretKey: SECRET, decodeAlgorithms: ['HS256'] })
  t.equal(kidOf(beside, await beside.createAccessToken('ada')), beside.jwks().keys[0]!.kid, 'a secret beside a key pair takes no name away')
})

t.test('a kid that is given for a token wins over ours, for each kind of key', async (t) => {
  for (const algorithm of FAMILIES) {
    const app = await guardedApp(t, { algorithm, ...listOf(algorithm, 'new', 'old'), additionalHeadersLoader: (identity) => identity === 'bob' ? { kid: 'of-bob' } : {} })
    const token = await app.createAccessToken('ada', { additionalHeaders: { kid: 'mine' } })
    t.equal(kidOf(app, token), 'mine')
    t.equal(await status(app, token), 200)
    t.equal(kidOf(app, await app.createAccessToken('bob')), 'of-bob')
    t.not(kidOf(app, await app.createAccessToken('eve')), undefined, 'other headers leave it alone')
  }
})

t.test('a kid that is no string is refused, however many keys there are', async (t) => {
  const app = await buildApp(t, { secretKey: [SECRET, `${SECRET}-old`] })
  await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid: 5 })), { message: 'Key ID must be a string' })
})

t.test('an application that only verifies takes new public keys', async (t) => {
  for (const algorithm of ['RS256', 'ES256', 'EdDSA'] as const) {
    const [old, fresh] = [pairFor(algorithm, 'old'), pairFor(algorithm, 'new')]
    const app = await guardedApp(t, { algorithm, publicKey: old.publicKey })
    const tokens = await Promise.all([old, fresh].map(async ({ privateKey }) => {
      return await (await buildApp(t, { algorithm, privateKey })).createAccessToken('ada')
    }))
    t.strictSame(await Promise.all(tokens.map((token) => status(app, token))), [200, 422])
    app.rotateKeys({ publicKey: pem(fresh.publicKey) })
    t.strictSame(await Promise.all(tokens.map((token) => status(app, token))), [200, 200])
    app.rotateKeys({ publicKey: [fresh.publicKey] })
    t.strictSame(await Promise.all(tokens.map((token) => status(app, token))), [422, 200])
    await t.rejects(app.createAccessToken('ada'), { message: /^There is no key to sign tokens with/ })
  }
})

t.test('a key that only verifies is no key that retires', async (t) => {
  const app = await guardedApp(t, { algorithm: 'ES256', publicKey: ecPair('P-256', 'old').publicKey, accessTokenExpires: 60, refreshTokenExpires: 60 })
  const issuer = await buildApp(t, { algorithm: 'ES256', privateKey: ecPair('P-256', 'old').privateKey })
  app.rotateKeys({ publicKey: ecPair('P-256', 'new').publicKey })
  moveClock(t, 1000 * DAY)
  t.equal(await status(app, await issuer.createAccessToken('ada')), 200)
})

t.test('a key of the list that never signed goes on after a rotation, and so do keys of other algorithms', async (t) => {
  const [rsa, listed, ec] = [rsaPair('old'), rsaPair('listed'), ecPair()]
  const app = await guardedApp(t, {
    algorithm: 'RS256', decodeAlgorithms: ['ES256', 'HS256'], privateKey: rsa.privateKey, publicKey: [rsa.publicKey, listed.publicKey, ec.publicKey], secretKey: SECRET,
    accessTokenExpires: 60, refreshTokenExpires: 60,
  })
  const others = await Promise.all([
    buildApp(t, { algorithm: 'RS256', privateKey: listed.privateKey }), buildApp(t, { algorithm: 'ES256', privateKey: ec.privateKey }), buildApp(t, { secretKey: SECRET })
  ])
  app.rotateKeys({ privateKey: rsaPair('new').privateKey })
  moveClock(t, DAY)
  for (const other of others) t.equal(await status(app, await other.createAccessToken('ada')), 200)
  t.equal(await status(app, await app.createAccessToken('ada')), 200)
  app.rotateKeys({ privateKey: rsaPair('newer').privateKey, publicKey: [rsaPair('newer').publicKey, ec.publicKey] })
  t.strictSame(await Promise.all(others.map(async (other) => await status(app, await other.createAccessToken('ada')))), [422, 200, 200])
})

t.test('an application that signs by a secret and verifies by public keys, too, rotates the secret alone', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const app = await guardedApp(t, { secretKey: SECRET, publicKey, decodeAlgorithms: ['RS256'] })
  const issuer = await buildApp(t, { algorithm: 'RS256', privateKey })
  app.rotateKeys({ secretKey: [`${SECRET}-new`] })
  t.equal(await status(app, await issuer.createAccessToken('ada')), 200)
  t.equal(await status(app, forge({ sub: 'ada' })), 422)
  t.equal(await status(app, await app.createAccessToken('ada')), 200)
  app.rotateKeys({ secretKey: `${SECRET}-newer` })
  t.equal(await status(app, await issuer.createAccessToken('ada')), 200)
  t.equal(app.jwks().keys.length, 1, 'the public key is there once')
})

t.test('the old key may come back and sign again', async (t) => {
  for (const algorithm of FAMILIES) {
    await t.test(algorithm, async (t) => {
      const app = await guardedApp(t, { algorithm, ...keysOf(algorithm, 'old'), accessTokenExpires: 60, refreshTokenExpires: 60 })
      app.rotateKeys(keysOf(algorithm, 'new'))
      app.rotateKeys(keysOf(algorithm, 'old'))
      if (algorithm !== 'HS256') t.equal(app.jwks().keys.length, 2, 'no key is published twice')
      moveClock(t, DAY)
      t.equal(await status(app, await app.createAccessToken('ada')), 200)
      app.rotateKeys(keysOf(algorithm, 'old'))
      moveClock(t, DAY)
      t.equal(await status(app, await app.createAccessToken('ada')), 200, 'also where it never went')
    })
  }
})

t.test('the key that signs retires, wherever its public half stands in the list', async (t) => {
  const [old, listed, fresh] = [ecPair('P-256', 'old'), ecPair('P-256', 'listed'), ecPair('P-256', 'new')]
  const app = await guardedApp(t, {
    algorithm: 'ES256', privateKey: old.privateKey, publicKey: [listed.publicKey, old.publicKey], accessTokenExpires: 60, refreshTokenExpires: 60,
  })
  const others = await Promise.all([old, listed].map(({ privateKey }) => buildApp(t, { algorithm: 'ES256', privateKey })))
  app.rotateKeys({ privateKey: fresh.privateKey })
  moveClock(t, DAY)
  t.strictSame(await Promise.all(others.map(async (other) => await status(app, await other.createAccessToken('ada')))), [422, 200])
  app.rotateKeys({ privateKey: old.privateKey, publicKey: [listed.publicKey, old.publicKey] })
  const token = await app.createAccessToken('ada')
  t.equal(kidOf(app, token), app.jwks().keys[0]!.kid)
  t.equal(await status(app, token), 200)
})

t.test('a key that comes back for more algorithms than before serves them', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const jwk = publicKey.export({ format: 'jwk' })
  const ps256 = await buildApp(t, { algorithm: 'PS256', privateKey })
  const app = await guardedApp(t, { algorithm: 'RS256', decodeAlgorithms: ['PS256'], privateKey, publicKey: [{ ...jwk, alg: 'RS256' } as never, rsaPair('other').publicKey] })
  const token = await ps256.createAccessToken('ada')
  t.equal(await status(app, token), 422)
  app.rotateKeys({ privateKey, publicKey: [publicKey] })
  t.equal(await status(app, token), 200)
})

t.test('one key may be listed twice, once for each of two algorithms', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const jwk = publicKey.export({ format: 'jwk' })
  const app = await guardedApp(t, { algorithm: 'RS256', decodeAlgorithms: ['PS256'], publicKey: [{ ...jwk, alg: 'RS256' }, { ...jwk, alg: 'PS256' }] })
  for (const algorithm of ['RS256', 'PS256'] as const) {
    const issuer = await buildApp(t, { algorithm, privateKey })
    t.equal(await status(app, await issuer.createAccessToken('ada')), 200, algorithm)
  }
})

t.test('the key that signed retires as a whole, also where it is listed twice', async (t) => {
  const { privateKey, publicKey } = rsaPair('old')
  const jwk = publicKey.export({ format: 'jwk' })
  const pairs = await guardedApp(t, {
    algorithm: 'RS256', decodeAlgorithms: ['PS256'], privateKey, publicKey: [{ ...jwk, alg: 'RS256' }, { ...jwk, alg: 'PS256' }], accessTokenExpires: 60, refreshTokenExpires: 60,
  })
  const secrets = await guardedApp(t, { secretKey: [SECRET, SECRET], accessTokenExpires: 60, refreshTokenExpires: 60 })
  const issuers = await Promise.all([buildApp(t, { algorithm: 'RS256', privateKey }), buildApp(t, { algorithm: 'PS256', privateKey }), buildApp(t)])
  pairs.rotateKeys({ privateKey: rsaPair('new').privateKey })
  secrets.rotateKeys({ secretKey: `${SECRET}-new` })
  async function statuses (): Promise<number[]> {
    return await Promise.all(issuers.map(async (issuer, index) => await status(index < 2 ? pairs : secrets, await issuer.createAccessToken('ada'))))
  }
  t.strictSame(await statuses(), [200, 200, 200])
  moveClock(t, DAY)
  t.strictSame(await statuses(), [422, 422, 422])
})

t.test('a token that lives longer than others of its key keeps that key alive until then', async (t) => {
  stopClock(t, SECOND)
  const app = await guardedApp(t, { algorithm: 'ES256', ...ecPair('P-256', 'old'), accessTokenExpires: 60, refreshTokenExpires: 600, decodeLeeway: 30 })
  const long = await app.createAccessToken('ada', { expiresDelta: 7 * DAY })
  const claimed = await app.createAccessToken('bob', { additionalClaims: { exp: SECOND + 8 * DAY } })
  await app.createAccessToken('eve')
  app.rotateKeys(ecPair('P-256', 'new'))
  app.rotateKeys(ecPair('P-256', 'newer'))
  moveClock(t, 7 * DAY + 29)
  t.equal(await status(app, long), 200)
  t.equal(app.jwks().keys.length, 2, 'the key in between had no such token')
  moveClock(t, 1)
  const expired = await app.inject({ url: '/', headers: bearer(long) })
  t.strictSame([expired.statusCode, expired.json()], [401, { msg: 'Token has expired' }])
  moveClock(t, DAY - 1)
  t.equal(await status(app, claimed), 200)
  t.equal(app.jwks().keys.length, 2)
  moveClock(t, 1)
  t.equal(app.jwks().keys.length, 1)
  t.equal(await status(app, claimed), 422)
})

t.test('it does so, too, where the key signs on after a rotation, or signs again later', async (t) => {
  const [a, b, c] = ['a', 'b', 'c'].map((label) => `${SECRET}-${label}`) as [string, string, string]
  const ways: [name: string, rotations: RotatedKeys[]][] = [
    ['rotated to itself', [{ secretKey: a }, { secretKey: b }]],
    ['listed with the next', [{ secretKey: [a, b] }, { secretKey: b }]],
    ['back again', [{ secretKey: b }, { secretKey: a }, { secretKey: c }]],
  ]
  for (const [name, rotations] of ways) {
    await t.test(name, async (t) => {
      stopClock(t, SECOND)
      const app = await guardedApp(t, { secretKey: a, accessTokenExpires: 60, refreshTokenExpires: 60 })
      const token = await app.createAccessToken('ada', { expiresDelta: 90 * DAY })
      for (const keys of rotations) app.rotateKeys(keys)
      moveClock(t, 90 * DAY - 1)
      t.equal(await status(app, token), 200)
    })
  }
  await t.test('but not once it was out', async (t) => {
    stopClock(t, SECOND)
    const app = await guardedApp(t, { secretKey: a, accessTokenExpires: 60, refreshTokenExpires: 60 })
    const token = await app.createAccessToken('ada', { expiresDelta: 90 * DAY })
    for (const keys of [[b], [a]]) app.rotateKeys({ secretKey: keys })
    app.rotateKeys({ secretKey: b })
    t.equal(await status(app, token), 200)
    moveClock(t, 60)
    t.equal(await status(app, token), 422)
  })
})

t.test('the old key verifies for as long as a token of one of the types may live', async (t) => {
  stopClock(t, SECOND)
  const options: JwtExtendedOptions = { secretKey: SECRET, accessTokenExpires: 60, refreshTokenExpires: 600 }
  const invites = await guardedApp(t, { ...options, tokenTypes: { invite: { expires: '7d' }, reset: { expires: 60 } } })
  const badges = await guardedApp(t, { ...options, tokenTypes: { invite: { expires: '7d' }, badge: { expires: false } } })
  // Made elsewhere: this process has signed none.
  const token = forge({ sub: 'ada' })
  for (const app of [invites, badges]) app.rotateKeys({ secretKey: `${SECRET}-new` })
  moveClock(t, 7 * DAY - 1)
  t.strictSame([await status(invites, token), await status(badges, token)], [200, 200])
  moveClock(t, 1)
  t.strictSame([await status(invites, token), await status(badges, token)], [422, 200])
  moveClock(t, 10_000 * DAY)
  t.equal(await status(badges, token), 200)
})

t.test('the leeway counts for the old key, too', async (t) => {
  stopClock(t, SECOND)
  const app = await guardedApp(t, { secretKey: SECRET, accessTokenExpires: 60, refreshTokenExpires: 60, decodeLeeway: 100 })
  app.rotateKeys({ secretKey: `${SECRET}-new` })
  const token = forge({ sub: 'ada' })
  moveClock(t, 159)
  t.equal(await status(app, token), 200)
  moveClock(t, 1)
  t.equal(await status(app, token), 422)
})

t.test('a key that signed a token without expiry verifies for ever, and one whose tokens never expire', async (t) => {
  const once = await guardedApp(t, { secretKey: SECRET, accessTokenExpires: 60, refreshTokenExpires: 60 })
  const token = await once.createAccessToken('ada', { expiresDelta: false })
  const never = await guardedApp(t, { secretKey: SECRET, accessTokenExpires: 60, refreshTokenExpires: false })
  for (const app of [once, never]) app.rotateKeys({ secretKey: `${SECRET}-new` })
  moveClock(t, 10_000 * DAY)
  for (const app of [once, never]) t.equal(await status(app, token), 200)
  once.rotateKeys({ secretKey: [`${SECRET}-new`] })
  t.equal(await status(once, token), 422, 'but not where a list leaves it out')
})

t.test('a token is signed by the key that is current when it is made, however long its loaders take', async (t) => {
  let release: () => void = () => {}
  const app = await guardedApp(t, {
    secretKey: SECRET, accessTokenExpires: 60, refreshTokenExpires: 60,
    additionalClaimsLoader: () => new Promise((resolve) => { release = () => { resolve({}) } }),
  })
  const pending = app.createAccessToken('ada', { expiresDelta: DAY })
  await new Promise(setImmediate)
  app.rotateKeys({ secretKey: [`${SECRET}-new`] })
  release()
  const token = await pending
  t.equal(await status(app, token), 200)
  t.equal((await (await buildApp(t, { secretKey: `${SECRET}-new` })).decodeToken(token)).sub, 'ada')
})

t.test('hundreds of rotations leave as many keys as have living tokens', async (t) => {
  const app = await guardedApp(t, { algorithm: 'EdDSA', ...edPair(), accessTokenExpires: 60, refreshTokenExpires: 60 })
  let newest = ''
  for (let round = 0; round < 300; round++) {
    stopClock(t, SECOND + round * 10)
    newest = await app.createAccessToken('ada')
    await app.decodeToken(newest)
    app.rotateKeys({ privateKey: generateKeyPairSync('ed25519').privateKey })
  }
  t.ok(app.jwks().keys.length <= 7, `${app.jwks().keys.length} keys are published`)
  t.equal(await status(app, newest), 200)
})

t.test('keys that were generated a moment ago never make the process stand still', async (t) => {
  // The less room there is for young objects, the more often is garbage collected.
  const program = fileURLToPath(new URL('./support/rotate-fresh-keys.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--max-semi-space-size=1', program], {
    env: ownProcess(), timeout: 60_000, killSignal: 'SIGKILL',
  })
  t.equal(stdout, '500 rotations\n')
})

t.test('no more keys are kept than may verify', async (t) => {
  const settings = readSettings({ secretKey: SECRET, accessTokenExpires: 60, refreshTokenExpires: 60 })
  let keyring = readKeyring(settings)
  for (let round = 0; round < 1000; round++) {
    stopClock(t, SECOND + round * 10)
    keyring = rotateKeyring(keyring, { secretKey: `${SECRET}-${round}` }, settings, SECOND + round * 10 + 60)
  }
  t.equal(keyring.verifying.length, 7)
})

t.test('a rotation that cannot be leaves everything as it was', async (t) => {
  const rsa = rsaPair('old')
  const rows: [options: JwtExtendedOptions, given: unknown, message: string][] = [
    [{ secretKey: SECRET }, undefined, 'The options of rotateKeys must be an object with any of: secretKey, privateKey, publicKey'],
    [{ secretKey: SECRET }, `${SECRET}-new`, 'The options of rotateKeys must be an object'],
    [{ secretKey: SECRET }, [SECRET], 'The options of rotateKeys must be an object'],
    [{ secretKey: SECRET }, {}, 'rotateKeys needs secretKey for the algorithm HS256'],
    [{ secretKey: SECRET }, { secret: `${SECRET}-new` }, "Unknown option 'secret' of rotateKeys; did you mean 'secretKey'?"],
    [{ secretKey: SECRET }, { secretKey: `${SECRET}-new`, secretkeys: 5 }, "Unknown option 'secretkeys' of rotateKeys; did you mean 'secretKey'?"],
    [{ secretKey: SECRET }, { secretKey: '' }, 'secretKey must not be empty'],
    [{ secretKey: SECRET }, { secretKey: null }, 'secretKey must be a string or a Buffer, not null'],
    [{ secretKey: SECRET }, { secretKey: [] }, 'The option secretKey must not be an empty list'],
    [{ secretKey: SECRET }, { secretKey: [`${SECRET}-new`, ''] }, 'secretKey[1] must not be empty'],
    [{ secretKey: SECRET }, { secretKey: pem(rsa.publicKey) }, 'is or contains a public or private key'],
    [{ secretKey: SECRET }, { privateKey: rsa.privateKey }, 'rotateKeys needs secretKey for the algorithm HS256'],
    [{ secretKey: SECRET }, { secretKey: `${SECRET}-new`, publicKey: rsa.publicKey }, 'rotateKeys takes no publicKey here, but secretKey'],
    [{ secretKey: SECRET }, { secretKey: `${SECRET}-new`, privateKey: rsa.privateKey }, 'rotateKeys takes no privateKey here, but secretKey'],
    [{ algorithm: 'RS256', ...rsa }, { secretKey: SECRET }, 'rotateKeys needs privateKey for the algorithm RS256'],
    [{ algorithm: 'RS256', ...rsa }, { publicKey: rsaPair('new').publicKey }, 'rotateKeys needs privateKey for the algorithm RS256'],
    [{ algorithm: 'RS256', ...rsa }, { privateKey: rsaPair('new').privateKey, secretKey: SECRET }, 'rotateKeys takes no secretKey here, but privateKey'],
    [{ algorithm: 'RS256', ...rsa }, { privateKey: rsaPair('new').publicKey }, 'privateKey must be a private key, not a public one'],
    [{ algorithm: 'RS256', ...rsa }, { privateKey: ecPair().privateKey }, 'is a key of the kind ec on the curve prime256v1: fit for ES256, but not for RS256'],
    [{ algorithm: 'RS256', ...rsa }, { privateKey: rsaPair('', 1024).privateKey }, 'is an RSA key of 1024 bits'],
    [{ algorithm: 'RS256', ...rsa }, { privateKey: rsaPair('new').privateKey, publicKey: rsa.publicKey }, 'privateKey and publicKey do not belong together'],
    [{ algorithm: 'RS256', ...rsa }, { privateKey: rsaPair('new').privateKey, publicKey: [rsa.publicKey] }, 'privateKey and publicKey do not belong together'],
    [{ algorithm: 'RS256', ...rsa, decodeAlgorithms: ['RS512'] }, { privateKey: rsaPair('new').privateKey, publicKey: [{ ...rsaPair('new').publicKey.export({ format: 'jwk' }), alg: 'RS512' }] }, 'No key verifies the algorithm RS256: give a publicKey that is fit for it'],
    [{ secretKey: SECRET }, { secretKey: rsa.publicKey.export({ format: 'der', type: 'spki' }).toString('base64') }, 'is or contains a public or private key'],
    [{ algorithm: 'RS256', publicKey: rsa.publicKey }, { publicKey: rsaPair('new').publicKey.export({ format: 'der', type: 'spki' }).toString('base64') }, "publicKey is a key in base64; give its bytes: Buffer.from(text, 'base64')"],
    [{ algorithm: 'RS256', publicKey: rsa.publicKey }, { privateKey: rsaPair('new').privateKey }, 'rotateKeys needs publicKey for the algorithm RS256'],
    [{ algorithm: 'RS256', publicKey: rsa.publicKey }, rsaPair('new'), 'rotateKeys takes no privateKey here, but publicKey'],
    [{ algorithm: 'RS256', publicKey: rsa.publicKey }, { publicKey: rsaPair('new').privateKey }, 'publicKey must be a public key, not a private one'],
    [{ secretKey: SECRET, encodeKeyLoader: () => SECRET }, { secretKey: `${SECRET}-new` }, 'rotateKeys changes the keys of the configuration, but here a loader or an issuer gives them'],
    [{ secretKey: SECRET, decodeKeyLoader: () => SECRET }, { secretKey: `${SECRET}-new` }, 'rotateKeys changes the keys of the configuration'],
    [{ issuers: [{ issuer: 'https://login.example.com', audience: 'api' }] }, { secretKey: SECRET }, 'rotateKeys changes the keys of the configuration'],
  ]
  for (const [options, given, message] of rows) {
    const app = await guardedApp(t, options)
    const maker = options.publicKey !== undefined && options.privateKey === undefined ? await buildApp(t, { algorithm: 'RS256', ...rsa }) : app
    const token = options.issuers === undefined ? await maker.createAccessToken('ada') : undefined
    const [before, payload] = [app.jwks(), token && await app.decodeToken(token)]
    t.throws(() => { app.rotateKeys(given as RotatedKeys) }, { code: 'FST_JWT_EXT_USAGE', message }, message)
    t.strictSame(app.jwks(), before)
    if (token === undefined) continue
    t.equal(await app.decodeToken(token), payload)
    const next = await maker.createAccessToken('ada')
    t.equal(kidOf(app, next), kidOf(app, token))
    t.equal(await status(app, next), 200)
  }
})

t.test('each rotation that leaves an accepted algorithm without a key makes one process warning', async (t) => {
  const warnings = collectWarnings(t, 'FST_JWT_EXT_IDLE_ALGORITHM')
  const [rsa, ec] = [rsaPair('old'), ecPair()]
  const app = await guardedApp(t, { algorithm: 'RS256', decodeAlgorithms: ['ES256'], privateKey: rsa.privateKey, publicKey: [rsa.publicKey, ec.publicKey] })
  const token = await (await buildApp(t, { algorithm: 'ES256', ...ec })).createAccessToken('ada')
  t.equal(await status(app, token), 200)
  app.rotateKeys({ privateKey: rsaPair('new').privateKey })
  t.equal(await status(app, token), 200)
  t.strictSame(await warnings(), [])
  for (const label of ['newer', 'newest']) app.rotateKeys({ privateKey: rsaPair(label).privateKey, publicKey: [rsaPair(label).publicKey] })
  const message = "No key serves ES256 of decodeAlgorithms, and such tokens are refused: give a fitting publicKey, or write decodeAlgorithms: ['RS256']"
  t.strictSame(await warnings(), [message, message])
  const response = await app.inject({ url: '/', headers: bearer(token) })
  t.strictSame([response.statusCode, response.json()], [422, { msg: 'The specified alg value is not allowed' }])
  t.equal(await status(app, await app.createAccessToken('ada')), 200)
})

t.test('in production a weak secret is refused here, too', async (t) => {
  const app = await guardedApp(t, { secretKey: SECRET })
  const before = process.env['NODE_ENV']
  process.env['NODE_ENV'] = 'production'
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = before
  })
  t.throws(() => { app.rotateKeys({ secretKey: 'weak' }) }, { code: 'FST_JWT_EXT_USAGE', message: /^secretKey has 4 bytes/ })
  t.equal(await status(app, forge({ sub: 'ada' })), 200)
})

t.test('managers of one scope rotate apart', async (t) => {
  const app = await guardedApp(t, { secretKey: SECRET })
  await app.register(jwtExtended, { namespace: 'partner', secretKey: SECRET })
  const partner = app.jwtManager('partner')
  const token = await app.createAccessToken('ada')
  partner.rotateKeys({ secretKey: [`${SECRET}-new`] })
  t.equal(await status(app, token), 200)
  await t.rejects(partner.decodeToken(token), FAILED)
  await t.rejects(app.decodeToken(await partner.createAccessToken('ada')), FAILED)
  app.rotateKeys({ secretKey: [`${SECRET}-newer`] })
  t.equal((await partner.decodeToken(await partner.createAccessToken('ada'))).sub, 'ada')
})

t.test('sessions outlive a rotation', async (t) => {
  const app = await guardedApp(t, { algorithm: 'ES256', ...ecPair('P-256', 'old'), store: memoryStore(), refreshGrace: 0 })
  const first = await app.createTokenPair('ada')
  app.rotateKeys(ecPair('P-256', 'new'))
  const second = await app.refreshTokens(first.refreshToken)
  t.not(kidOf(app, second.refreshToken), kidOf(app, first.refreshToken))
  t.equal(await status(app, first.accessToken), 200)
  t.equal(await status(app, second.accessToken), 200)
  moveClock(t, 29 * DAY)
  const third = await app.refreshTokens(second.refreshToken)
  t.equal(third.sessionId, first.sessionId)
  await t.rejects(app.refreshTokens(first.refreshToken), { code: 'FST_JWT_EXT_REVOKED' })
})

t.test('while the keys of a listening server are rotated, no request fails', async (t) => {
  for (const algorithm of ['HS256', 'ES256'] as const) {
    const app = await guardedApp(t, { algorithm, ...keysOf(algorithm, '0') })
    app.get('/login', async () => await app.createAccessToken('ada'))
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as { port: number }
    const get = (path: string, token?: string): Promise<[status: number | undefined, body: string]> => new Promise((resolve, reject) => {
      request({ host: '127.0.0.1', port, path, headers: token === undefined ? {} : bearer(token) }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (part: string) => { body += part }).on('end', () => { resolve([response.statusCode, body]) })
      }).on('error', reject).end()
    })
    const statuses = new Map<number | undefined, number>()
    const kids = new Set<string | undefined>()
    const over = new AbortController()
    const clients = Array.from({ length: 8 }, async () => {
      const tokens: string[] = []
      while (!over.signal.aborted) {
        const [, token] = await get('/login')
        tokens.push(token)
        kids.add(kidOf(app, token))
        for (const one of [token, tokens[Math.floor(tokens.length / 2)]!, tokens[0]!]) {
          const [code] = await get('/', one)
          statuses.set(code, (statuses.get(code) ?? 0) + 1)
        }
      }
    })
    for (let round = 1; round <= 10; round++) {
      await get('/', await app.createAccessToken('ada'))
      await get('/login')
      app.rotateKeys(keysOf(algorithm, String(round)))
    }
    over.abort()
    await Promise.all(clients)
    t.strictSame([...statuses.keys()], [200], `${algorithm}: ${statuses.get(200)} requests`)
    t.ok(kids.size > 5, `by ${kids.size} keys`)
  }
})

t.test('the key set verifies our tokens in jose, for each asymmetric algorithm', async (t) => {
  for (const algorithm of ['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const) {
    const app = await buildApp(t, { algorithm, ...pairFor(algorithm, 'old'), accessTokenExpires: 60, refreshTokenExpires: 60 })
    const old = await app.createAccessToken('ada')
    app.rotateKeys(pairFor(algorithm, 'new'))
    const fresh = await app.createAccessToken('ada')
    const set = app.jwks()
    t.strictSame(set.keys.map(({ kid, alg, use }) => ({ kid, alg, use })), [fresh, old].map((token) => ({ kid: kidOf(app, token), alg: algorithm, use: 'sig' })))
    for (const token of [old, fresh]) {
      const { payload } = await jwtVerify(token, createLocalJWKSet(set as { keys: JWK[] }), { algorithms: [algorithm] })
      t.equal(payload.sub, 'ada', algorithm)
    }
    for (const key of set.keys) t.ok(await importJWK(key as JWK, algorithm))
    await t.test(async (t) => {
      moveClock(t, 61)
      t.strictSame(app.jwks().keys.map(({ kid }) => kid), [kidOf(app, fresh)], 'a retired key is gone when it verifies no more')
    })
  }
})

// RFC 7518 §6.2.2, §6.3.2, §6.4; RFC 8037 §2; and what drafts and libraries call theirs.
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'r', 't', 'priv', 'seed', 'key', 'pem', 'secret', 'privateKey', 'x5c', 'passphrase']

t.test('the key set holds no private member, whatever form the keys came in', async (t) => {
  for (const algorithm of ['RS256', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const) {
    const { privateKey, publicKey } = pairFor(algorithm)
    const forms: JwtExtendedOptions[] = [
      { privateKey }, { privateKey: pem(privateKey) }, { privateKey: privateKey.export({ format: 'jwk' }) },
      { privateKey, publicKey: { ...publicKey.export({ format: 'jwk' }), kid: 'theirs', x5c: ['MIIB'] } }, { publicKey },
    ]
    for (const form of forms) {
      const app = await buildApp(t, { algorithm, ...form })
      const { keys } = app.jwks()
      t.equal(keys.length, 1)
      const members = Object.keys(keys[0]!)
      t.strictSame(members.filter((name) => PRIVATE_MEMBERS.includes(name)), [], algorithm)
      const expected = { RSA: ['kty', 'n', 'e'], EC: ['kty', 'crv', 'x', 'y'], OKP: ['kty', 'crv', 'x'] }[keys[0]!.kty as string]!
      t.strictSame(members.sort(), [...expected, 'kid', 'alg', 'use'].sort())
    }
  }
})

t.test('there is nothing to publish of HMAC secrets, nor of issuers', async (t) => {
  const app = await buildApp(t, { secretKey: [SECRET, `${SECRET}-old`] })
  t.strictSame(app.jwks(), { keys: [] })
  app.rotateKeys({ secretKey: `${SECRET}-new` })
  t.strictSame(app.jwks(), { keys: [] })
  const both = await buildApp(t, { secretKey: SECRET, publicKey: rsaPair().publicKey, decodeAlgorithms: ['RS512', 'RS256'] })
  t.strictSame(both.jwks().keys.map(({ kty, alg }) => [kty, alg]), [['RSA', 'RS512']])
  const issuers = await buildApp(t, { issuers: [{ issuer: 'https://login.example.com', audience: 'api' }] })
  t.strictSame(issuers.jwks(), { keys: [] })
})

t.test('the key set is a copy each time: what is done to it has no effect', async (t) => {
  const app = await guardedApp(t, { algorithm: 'ES256', ...ecPair() })
  const set = app.jwks()
  const before = structuredClone(set)
  set.keys[0]!.kid = 'another'
  set.keys[0]!.x = randomBytes(32).toString('base64url')
  set.keys.push({ kty: 'oct', k: SECRET } as never)
  t.strictSame(app.jwks(), before)
  t.equal(await status(app, await app.createAccessToken('ada')), 200)
})
