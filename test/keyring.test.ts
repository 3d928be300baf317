import t, { type Test } from 'tap'
import type { JwtAlgorithm, JwtExtendedOptions } from '../index.js'
import { bearer, buildApp, registrationError, SECRET } from './support/app.js'
import { forge } from './support/forge.js'
import { ecPair, edPair, pem, rsaPair } from './support/keys.js'
import { collectWarnings } from './support/warnings.js'

/** Sets NODE_ENV until the test ends. */
function setNodeEnv (t: Test, value: string): void {
  const before = process.env['NODE_ENV']
  process.env['NODE_ENV'] = value
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = before
  })
}

async function refusal (t: Test, options: unknown): Promise<string> {
  const error = await registrationError(t, options)
  t.equal(error.code, 'FST_JWT_EXT_USAGE')
  return error.message
}

t.test('a configuration without a key is refused, with what the algorithm needs', async (t) => {
  t.match(await refusal(t, {}), 'There is no key: give secretKey')
  t.match(await refusal(t, { algorithm: 'HS512' }), 'There is no key: give secretKey')
  t.match(await refusal(t, { algorithm: 'RS256' }), 'There is no key: give privateKey to issue and verify tokens, or publicKey to verify them only')
})

t.test('a key of the other family than the algorithm is refused', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  t.match(await refusal(t, { privateKey }), 'The algorithm HS256 needs secretKey')
  t.match(await refusal(t, { publicKey }), "The algorithm HS256 needs secretKey; with privateKey or publicKey, name their algorithm, such as algorithm: 'RS256'")
  t.match(await refusal(t, { algorithm: 'RS256', secretKey: SECRET }), 'The algorithm RS256 needs privateKey or publicKey; an HMAC secret cannot serve it')
})

t.test('with only a public key tokens are verified, and creating one is a clear error', async (t) => {
  const { privateKey, publicKey } = ecPair()
  const issuer = await buildApp(t, { algorithm: 'ES256', privateKey })
  const app = await buildApp(t, { algorithm: 'ES256', publicKey })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  const response = await app.inject({ url: '/', headers: bearer(await issuer.createAccessToken('ada')) })
  t.equal(response.body, 'ada')
  const message = 'There is no key to sign tokens with: give secretKey, privateKey or encodeKeyLoader'
  await t.rejects(app.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message })
  await t.rejects(app.createRefreshToken('ada'), { code: 'FST_JWT_EXT_USAGE', message })
})

t.test('with only a private key its public half verifies', async (t) => {
  for (const [algorithm, pair] of [['RS256', rsaPair()], ['ES384', ecPair('P-384')], ['EdDSA', edPair()]] as const) {
    const app = await buildApp(t, { algorithm, privateKey: pair.privateKey })
    t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada', algorithm)
  }
})

t.test('of a list of secrets the first signs and all verify', async (t) => {
  const [current, previous, oldest] = [SECRET, `${SECRET}-previous`, `${SECRET}-oldest`]
  const app = await buildApp(t, { secretKey: [current, Buffer.from(previous), oldest] })
  for (const secretKey of [current, previous, oldest]) {
    const single = await buildApp(t, { secretKey })
    t.equal((await app.decodeToken(await single.createAccessToken('ada'))).sub, 'ada')
  }
  const first = await buildApp(t, { secretKey: current })
  t.equal((await first.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
  const stranger = await buildApp(t, { secretKey: `${SECRET}-stranger` })
  await t.rejects(app.decodeToken(await stranger.createAccessToken('ada')), { message: 'Signature verification failed' })
})

t.test('of a list of public keys all verify, and the private key signs', async (t) => {
  const [current, previous] = [rsaPair(), rsaPair('previous')]
  const old = await buildApp(t, { algorithm: 'RS256', privateKey: previous.privateKey })
  for (const publicKey of [[current.publicKey, previous.publicKey], [previous.publicKey, current.publicKey]]) {
    const app = await buildApp(t, { algorithm: 'RS256', privateKey: current.privateKey, publicKey })
    const token = await app.createAccessToken('ada')
    t.equal((await app.decodeToken(token)).sub, 'ada')
    t.equal((await app.decodeToken(await old.createAccessToken('ada'))).sub, 'ada')
    await t.rejects(old.decodeToken(token), { message: 'Signature verification failed' })
  }
})

t.test('keys of several kinds verify side by side, each its own algorithms only', async (t) => {
  const app = await buildApp(t, {
    algorithm: 'EdDSA',
    decodeAlgorithms: ['RS256', 'ES256'],
    privateKey: edPair().privateKey,
    publicKey: [edPair().publicKey, rsaPair().publicKey, ecPair().publicKey],
  })
  for (const [algorithm, { privateKey }] of [['EdDSA', edPair()], ['RS256', rsaPair()], ['ES256', ecPair()]] as const) {
    const issuer = await buildApp(t, { algorithm, privateKey })
    t.equal((await app.decodeToken(await issuer.createAccessToken('ada'))).sub, 'ada', algorithm)
  }
  for (const [algorithm, { privateKey }] of [['RS512', rsaPair()], ['PS256', rsaPair()], ['ES384', ecPair('P-384')]] as const) {
    const issuer = await buildApp(t, { algorithm, privateKey })
    await t.rejects(app.decodeToken(await issuer.createAccessToken('ada')), { message: 'The specified alg value is not allowed' }, algorithm)
  }
})

t.test('the order of public keys of several kinds does not matter, also where the own one comes last', async (t) => {
  const app = await buildApp(t, {
    algorithm: 'EdDSA',
    decodeAlgorithms: ['RS256', 'ES256'],
    privateKey: edPair().privateKey,
    publicKey: [rsaPair().publicKey, ecPair().publicKey, edPair().publicKey],
  })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
})

t.test('a configuration that was refused leaves the next one alone', async (t) => {
  const { privateKey } = rsaPair()
  t.match(await refusal(t, { algorithm: 'RS256', privateKey, publicKey: ecPair().publicKey }), 'do not belong together')
  const app = await buildApp(t, { algorithm: 'RS256', privateKey })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
})

t.test('a secret and a public key side by side never serve each other\'s algorithms', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const app = await buildApp(t, { secretKey: SECRET, publicKey, decodeAlgorithms: ['RS256'] })
  const issuer = await buildApp(t, { algorithm: 'RS256', privateKey })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
  t.equal((await app.decodeToken(await issuer.createAccessToken('ada'))).sub, 'ada')
  for (const secret of [pem(publicKey), publicKey.export({ format: 'der', type: 'spki' }), JSON.stringify(publicKey.export({ format: 'jwk' }))]) {
    await t.rejects(app.decodeToken(forge({ sub: 'mallory' }, { alg: 'HS256' }, secret)), { message: 'Signature verification failed' })
    await t.rejects(issuer.decodeToken(forge({ sub: 'mallory' }, { alg: 'HS256' }, secret)), { message: 'The specified alg value is not allowed' })
  }
})

t.test('a private key that is unfit is named as what it was given as', async (t) => {
  t.equal(await refusal(t, { algorithm: 'RS256', privateKey: ecPair().privateKey }), 'privateKey is a key of the kind ec on the curve prime256v1: fit for ES256, but not for RS256')
  t.match(await refusal(t, { algorithm: 'EdDSA', privateKey: rsaPair().privateKey }), /^privateKey is a key of the kind rsa: fit for RS256/)
})

t.test('another algorithm may take over while the tokens of the one before live', async (t) => {
  const { privateKey, publicKey } = edPair()
  const before = await buildApp(t, { algorithm: 'RS256', privateKey: rsaPair().privateKey })
  const app = await buildApp(t, { algorithm: 'EdDSA', privateKey, decodeAlgorithms: ['RS256'], publicKey: [publicKey, rsaPair().publicKey] })
  for (const issuer of [before, app]) t.equal((await app.decodeToken(await issuer.createAccessToken('ada'))).sub, 'ada')
})

t.test('a pair that does not belong together is refused', async (t) => {
  const message = 'privateKey and publicKey do not belong together; leave publicKey out, and it is derived. To verify with older keys, too, ' +
    'list them behind it: publicKey: [createPublicKey(privateKey), older]'
  t.equal(await refusal(t, { algorithm: 'RS256', privateKey: rsaPair().privateKey, publicKey: rsaPair('another').publicKey }), message)
  t.equal(await refusal(t, { algorithm: 'ES256', privateKey: ecPair().privateKey, publicKey: pem(ecPair('P-256', 'another').publicKey) }), message)
  t.equal(await refusal(t, { algorithm: 'EdDSA', privateKey: edPair().privateKey, publicKey: [edPair('a').publicKey, edPair('b').publicKey] }), message)
  t.equal(await refusal(t, { algorithm: 'RS256', privateKey: rsaPair().privateKey, publicKey: ecPair().publicKey }), message)
})

t.test('an empty list of keys is refused, and so is a list with a hole', async (t) => {
  t.equal(await refusal(t, { secretKey: [] }), 'The option secretKey must not be an empty list')
  t.equal(await refusal(t, { algorithm: 'RS256', publicKey: [] }), 'The option publicKey must not be an empty list')
  t.equal(await refusal(t, { secretKey: [SECRET, ''] }), 'secretKey[1] must not be empty')
  t.equal(await refusal(t, { secretKey: [SECRET, undefined] }), 'secretKey[1] must be a string or a Buffer, not undefined')
  t.equal(await refusal(t, { secretKey: [[SECRET]] }), 'secretKey[0] must be a string or a Buffer, not a list')
  t.match(await refusal(t, { algorithm: 'RS256', publicKey: [rsaPair().publicKey, null] }), 'publicKey[1] must be a PEM text')
})

t.test('each key of a list must be fit for an algorithm that is accepted', async (t) => {
  t.equal(
    await refusal(t, { algorithm: 'RS256', publicKey: [rsaPair().publicKey, ecPair().publicKey] }),
    'publicKey[1] is a key of the kind ec on the curve prime256v1: fit for ES256, but not for RS256'
  )
})

t.test('the private key must be fit for the algorithm that signs, also where it is fit for another that is accepted', async (t) => {
  t.equal(
    await refusal(t, { algorithm: 'RS256', decodeAlgorithms: ['ES256'], privateKey: ecPair().privateKey, publicKey: [ecPair().publicKey, rsaPair().publicKey] }),
    'privateKey is a key of the kind ec on the curve prime256v1: fit for ES256, but not for RS256'
  )
})

t.test('an accepted algorithm without a key makes one process warning, which says what to write', async (t) => {
  const warnings = collectWarnings(t, 'FST_JWT_EXT_IDLE_ALGORITHM')
  const { publicKey } = rsaPair()
  const rows: [options: JwtExtendedOptions, idle: string, give: string, write: string][] = [
    [{ algorithm: 'RS256', publicKey, decodeAlgorithms: ['RS256', 'HS256'] }, 'HS256', 'secretKey', "'RS256'"],
    [{ secretKey: SECRET, decodeAlgorithms: ['RS256'] }, 'RS256', 'a fitting publicKey', "'HS256'"],
    [{ algorithm: 'ES256', ...ecPair(), decodeAlgorithms: ['ES384'] }, 'ES384', 'a fitting publicKey', "'ES256'"],
    [{ algorithm: 'RS256', ...rsaPair(), decodeAlgorithms: ['PS256', 'HS256', 'HS512', 'EdDSA'] }, 'HS256 and HS512 and EdDSA', 'secretKey and a fitting publicKey', "'RS256', 'PS256'"],
  ]
  for (const [options, idle, give, write] of rows) {
    await buildApp(t, options)
    t.strictSame(await warnings(), [
      `No key serves ${idle} of decodeAlgorithms, and such tokens are refused: give ${give}, or write decodeAlgorithms: [${write}]`
    ])
  }
  await buildApp(t, { secretKey: SECRET, publicKey, decodeAlgorithms: ['RS256', 'HS512'] })
  t.strictSame(await warnings(), [], 'each is served')
  const app = await buildApp(t, { secretKey: SECRET, decodeAlgorithms: ['RS256'], decodeKeyLoader: () => SECRET })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
  t.strictSame(await warnings(), [], 'a loader may have the key')
  await buildApp(t, { issuers: [{ issuer: 'https://login.example.com', audience: 'api' }], decodeAlgorithms: ['RS256'] })
  t.strictSame(await warnings(), [], 'the keys are those of an issuer')
})

t.test('a key that no algorithm uses makes a process warning', async (t) => {
  const warnings = collectWarnings(t, 'FST_JWT_EXT_IDLE_KEY')
  const { privateKey, publicKey } = rsaPair()
  const rows: [options: JwtExtendedOptions, what: string, algorithm: string, accepted: string][] = [
    [{ secretKey: SECRET, privateKey }, 'privateKey', 'HS256', "'HS256'"],
    [{ secretKey: SECRET, publicKey }, 'publicKey', 'HS256', "'HS256'"],
    [{ secretKey: SECRET, publicKey: [publicKey, ecPair().publicKey], decodeAlgorithms: ['RS256'] }, 'publicKey', 'HS256', "'HS256', 'RS256'"],
    [{ algorithm: 'RS256', privateKey, secretKey: SECRET }, 'secretKey', 'RS256', "'RS256'"],
  ]
  for (const [options, what, algorithm, accepted] of rows) {
    await buildApp(t, options)
    t.strictSame(await warnings(), [
      `${what} is not used with algorithm: '${algorithm}' and decodeAlgorithms: [${accepted}]: name the algorithm that it is for in one of them, or leave it out`
    ])
  }
  const used: JwtExtendedOptions[] = [
    { secretKey: [SECRET, `${SECRET}-old`] }, { algorithm: 'RS256', privateKey, publicKey: [publicKey, rsaPair('old').publicKey] },
    { secretKey: SECRET, privateKey, decodeAlgorithms: ['RS256'] }, { algorithm: 'RS256', privateKey, secretKey: SECRET, decodeAlgorithms: ['HS256'] },
  ]
  for (const options of used) await buildApp(t, options)
  t.strictSame(await warnings(), [])
})

t.test('that no key verifies the algorithm itself is refused', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const message = 'No key verifies the algorithm RS256: give a publicKey that is fit for it'
  t.equal(await refusal(t, { algorithm: 'RS256', decodeAlgorithms: ['ES256'], publicKey: ecPair().publicKey }), message)
  const narrow = { ...publicKey.export({ format: 'jwk' }), alg: 'PS256' }
  t.equal(await refusal(t, { algorithm: 'RS256', decodeAlgorithms: ['PS256'], privateKey, publicKey: narrow }), message)
})

t.test('a secret shorter than its hash makes a process warning', async (t) => {
  const warnings = collectWarnings(t, 'FST_JWT_EXT_WEAK_KEY')
  const rows: [algorithm: JwtAlgorithm, length: number, warned: boolean][] = [
    ['HS256', 1, true], ['HS256', 31, true], ['HS256', 32, false],
    ['HS384', 47, true], ['HS384', 48, false],
    ['HS512', 63, true], ['HS512', 64, false],
  ]
  for (const [algorithm, length, warned] of rows) {
    for (const secretKey of ['s'.repeat(length), Buffer.alloc(length, 7)]) {
      await buildApp(t, { algorithm, secretKey })
      const [message, ...more] = await warnings()
      const needed = Number(algorithm.slice(2)) / 8
      if (warned) t.match(message, `secretKey has ${length} bytes; RFC 7518 §3.2 asks for ${needed} or more.`, `${algorithm} ${length}`)
      else t.equal(message, undefined, `${algorithm} ${length}`)
      t.strictSame(more, [])
    }
  }
})

t.test('the longest hash that is accepted decides, and each weak secret of a list is named', async (t) => {
  const warnings = collectWarnings(t, 'FST_JWT_EXT_WEAK_KEY')
  await buildApp(t, { secretKey: 's'.repeat(40), decodeAlgorithms: ['HS512'] })
  t.match(await warnings(), [/40 bytes; RFC 7518 §3.2 asks for 64 or more/])
  await buildApp(t, { secretKey: [SECRET, 'short', 's'.repeat(31)] })
  t.match(await warnings(), [/has 5 bytes/, /has 31 bytes/])
  await buildApp(t, { secretKey: 'ü'.repeat(16) })
  t.strictSame(await warnings(), [], 'bytes are counted, not letters')
})

t.test('the warning does not give the secret away', async (t) => {
  const warnings = collectWarnings(t, 'FST_JWT_EXT_WEAK_KEY')
  await buildApp(t, { secretKey: 'hunter2' })
  const [message] = await warnings()
  t.ok(message)
  t.notMatch(message, 'hunter2')
})

t.test('in production a weak secret is an error', async (t) => {
  setNodeEnv(t, 'production')
  const warnings = collectWarnings(t, 'FST_JWT_EXT_WEAK_KEY')
  t.match(await refusal(t, { secretKey: 's'.repeat(31) }), /^secretKey has 31 bytes.*\(or set allowWeakKeys: true\)$/)
  t.match(await refusal(t, { secretKey: ['s'.repeat(32), 's'] }), 'secretKey has 1 bytes')
  t.strictSame(await warnings(), [])
  await buildApp(t, { secretKey: 's'.repeat(32) })
  t.strictSame(await warnings(), [])
})

t.test('in production allowWeakKeys turns the error into the warning', async (t) => {
  setNodeEnv(t, 'production')
  const warnings = collectWarnings(t, 'FST_JWT_EXT_WEAK_KEY')
  const app = await buildApp(t, { secretKey: 'short', allowWeakKeys: true })
  t.match(await warnings(), [/secretKey has 5 bytes/])
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
})

t.test('encodeKeyLoader gives the key that signs, for the raw identity', async (t) => {
  const asked: unknown[] = []
  const secrets: Record<string, string> = { ada: `${SECRET}-ada`, bob: `${SECRET}-bob` }
  for (const wrap of [(key: string) => key, async (key: string) => key]) {
    const app = await buildApp(t, {
      secretKey: SECRET,
      userIdentityLoader: () => 'somebody',
      encodeKeyLoader: (identity) => { asked.push(identity); return wrap(secrets[(identity as { id: string }).id]!) },
    })
    const ada = await buildApp(t, { secretKey: secrets['ada'] })
    const bob = await buildApp(t, { secretKey: secrets['bob'] })
    t.equal((await ada.decodeToken(await app.createAccessToken({ id: 'ada' }))).sub, 'somebody')
    t.equal((await bob.decodeToken(await app.createRefreshToken({ id: 'bob' }))).sub, 'somebody')
    await t.rejects(app.decodeToken(await app.createAccessToken({ id: 'ada' })), { message: 'Signature verification failed' })
  }
  t.strictSame(asked, [{ id: 'ada' }, { id: 'bob' }, { id: 'ada' }, { id: 'ada' }, { id: 'bob' }, { id: 'ada' }])
})

t.test('encodeKeyLoader may give an asymmetric key in any form, and alone it is enough to issue', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const verifier = await buildApp(t, { algorithm: 'PS256', publicKey })
  const forms = [privateKey, pem(privateKey), privateKey.export({ format: 'der', type: 'pkcs8' }), privateKey.export({ format: 'jwk' }),
    { key: privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'p' }) as string, passphrase: 'p' }]
  for (const form of forms) {
    const app = await buildApp(t, { algorithm: 'PS256', encodeKeyLoader: async () => form })
    const token = await app.createAccessToken('ada')
    t.equal(app.getUnverifiedJwtHeaders(token).alg, 'PS256')
    t.equal((await verifier.decodeToken(token)).sub, 'ada')
    await t.rejects(app.decodeToken(token), { code: 'FST_JWT_EXT_USAGE', message: 'There is no key to verify tokens with' })
  }
})

t.test('where there is no key to verify with, a request with a token is answered 500', async (t) => {
  const app = await buildApp(t, { encodeKeyLoader: () => SECRET })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
  t.equal(response.statusCode, 500)
  t.match(response.json().message, 'There is no key to verify tokens with')
})

t.test('decodeKeyLoader gives the key that verifies, chosen by the unverified header and payload', async (t) => {
  const secrets: Record<string, string> = { a: `${SECRET}-a`, b: `${SECRET}-b` }
  for (const wrap of [(key: string) => key, async (key: string) => key]) {
    const app = await buildApp(t, { decodeKeyLoader: (header, payload) => wrap(secrets[String(header.kid ?? payload['tenant'])]!) })
    app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
    for (const name of ['a', 'b']) {
      const byHeader = forge({ sub: 'ada' }, { alg: 'HS256', kid: name }, secrets[name])
      const byPayload = forge({ sub: 'bob', tenant: name }, { alg: 'HS256' }, secrets[name])
      for (let round = 0; round < 2; round++) {
        t.equal((await app.inject({ url: '/', headers: bearer(byHeader) })).body, 'ada')
        t.equal((await app.inject({ url: '/', headers: bearer(byPayload) })).body, 'bob')
      }
    }
    const crossed = forge({ sub: 'mallory' }, { alg: 'HS256', kid: 'a' }, secrets['b'])
    const response = await app.inject({ url: '/', headers: bearer(crossed) })
    t.equal(response.statusCode, 422)
    t.strictSame(response.json(), { msg: 'Signature verification failed' })
  }
})

t.test('with decodeKeyLoader alone creating a token is a clear error', async (t) => {
  const app = await buildApp(t, { decodeKeyLoader: () => SECRET })
  await t.rejects(app.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: 'There is no key to sign tokens with' })
})

t.test('decodeKeyLoader rules, also where there is a configured key', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeKeyLoader: () => `${SECRET}-loaded` })
  const loaded = await buildApp(t, { secretKey: `${SECRET}-loaded` })
  t.equal((await app.decodeToken(await loaded.createAccessToken('ada'))).sub, 'ada')
  await t.rejects(app.decodeToken(await app.createAccessToken('ada')), { message: 'Signature verification failed' })
})

t.test('the list of algorithms stays the configured one, whatever key decodeKeyLoader gives', async (t) => {
  let calls = 0
  const rsa = rsaPair()
  const app = await buildApp(t, { algorithm: 'RS256', decodeKeyLoader: () => { calls++; return rsa.publicKey } })
  const good = await buildApp(t, { algorithm: 'RS256', privateKey: rsa.privateKey })
  t.equal((await app.decodeToken(await good.createAccessToken('ada'))).sub, 'ada')
  t.equal(calls, 1)
  for (const algorithm of ['RS512', 'PS256'] as const) {
    const other = await buildApp(t, { algorithm, privateKey: rsa.privateKey })
    await t.rejects(app.decodeToken(await other.createAccessToken('ada')), { message: 'The specified alg value is not allowed' })
  }
  for (const header of [{ alg: 'HS256' }, { alg: 'none' }, { alg: 'None' }, { alg: '' }, {}, { alg: null }, { alg: ['RS256'] }]) {
    await t.rejects(app.decodeToken(forge({ sub: 'mallory' }, header, pem(rsa.publicKey))), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'The specified alg value is not allowed' })
  }
  t.equal(calls, 1, 'no loader is asked about a token that no key could save')
})

t.test('where secrets and public keys are both accepted, decodeKeyLoader may give either, and neither serves for the other', async (t) => {
  const rsa = rsaPair()
  const issuer = await buildApp(t, { algorithm: 'RS256', privateKey: rsa.privateKey })
  const forms = [rsa.publicKey, pem(rsa.publicKey), Buffer.from(pem(rsa.publicKey)), rsa.publicKey.export({ format: 'jwk' }), rsa.publicKey.export({ format: 'der', type: 'spki' })]
  for (const form of forms) {
    const app = await buildApp(t, { algorithm: 'HS256', decodeAlgorithms: ['RS256'], decodeKeyLoader: (header) => header.alg === 'HS256' && header.kid === 'secret' ? SECRET : form })
    t.equal((await app.decodeToken(await issuer.createAccessToken('ada'))).sub, 'ada')
    t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid: 'secret' }))).sub, 'ada')
    const bytes = typeof form === 'string' || Buffer.isBuffer(form) ? form : JSON.stringify(form)
    await t.rejects(app.decodeToken(forge({ sub: 'mallory' }, { alg: 'HS256' }, bytes)), { code: 'FST_JWT_EXT_INVALID_TOKEN' })
  }
})

t.test('where secrets and public keys are both accepted, a key in base64 or hex from decodeKeyLoader is neither', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const issuer = await buildApp(t, { algorithm: 'RS256', privateKey })
  const der = publicKey.export({ format: 'der', type: 'spki' })
  const rows: [key: string | Buffer, message: string][] = [
    [der.toString('base64'), "is a key in base64; give its bytes: Buffer.from(text, 'base64')"],
    [Buffer.from(der.toString('base64')), "is a key in base64; give its bytes: Buffer.from(text, 'base64')"],
    [der.toString('base64url'), "is a key in base64; give its bytes: Buffer.from(text, 'base64')"],
    [der.toString('hex'), "is a key in hex; give its bytes: Buffer.from(text, 'hex')"],
    ['{"keys":[]}', 'is the text of a JWK set'],
  ]
  for (const [key, message] of rows) {
    const app = await buildApp(t, { algorithm: 'HS256', decodeAlgorithms: ['RS256'], decodeKeyLoader: () => key })
    app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
    for (const token of [forge({ sub: 'mallory' }, { alg: 'HS256' }, key), await issuer.createAccessToken('ada')]) {
      const response = await app.inject({ url: '/', headers: bearer(token) })
      t.equal(response.statusCode, 500)
      t.match(response.json(), { code: 'FST_JWT_EXT_USAGE', message: `The key that decodeKeyLoader returned ${message}` })
    }
  }
})

t.test('a key that a loader should not have given is the application\'s fault: 500, and no token', async (t) => {
  const rsa = rsaPair()
  const small = rsaPair('', 1024)
  const rows: [algorithm: JwtAlgorithm, key: unknown, message: string][] = [
    ['HS256', undefined, 'must be a string or a Buffer, not undefined'],
    ['HS256', null, 'must be a string or a Buffer, not null'],
    ['HS256', '', 'must not be empty'],
    ['HS256', Buffer.alloc(0), 'must not be empty'],
    ['HS256', 5, 'must be a string or a Buffer, not a number'],
    ['HS256', [SECRET], 'must be a string or a Buffer, not a list'],
    ['HS256', rsa.publicKey, 'must be a string or a Buffer, not a public KeyObject'],
    ['HS256', pem(rsa.publicKey), 'is or contains a public or private key'],
    ['HS256', JSON.stringify(rsa.publicKey.export({ format: 'jwk' })), 'is or contains a public or private key'],
    ['HS256', rsa.publicKey.export({ format: 'der', type: 'spki' }).toString('base64'), 'is or contains a public or private key'],
    ['HS256', rsa.publicKey.export({ format: 'der', type: 'spki' }).toString('hex'), 'is or contains a public or private key'],
    ['HS256', Buffer.from(ecPair().publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')), 'is or contains a public or private key'],
    ['HS256', '{"keys":[]}', 'is or contains a public or private key'],
    ['RS256', SECRET, 'is no asymmetric key'],
    ['RS256', undefined, 'must be a PEM text, a Buffer, a KeyObject, a JWK or { key, passphrase }, not undefined'],
    ['RS256', small, 'must be a PEM text'],
    ['RS256', [rsa.publicKey], 'must be a PEM text, a Buffer, a KeyObject, a JWK or { key, passphrase }, not a list'],
    ['ES256', 'both secp256k1', 'which no JWT algorithm here can use'],
    ['ES256', 'both P-384', 'fit for ES384, but not for ES256'],
    ['RS256', 'both small', 'is an RSA key of 1024 bits'],
    ['RS256', 'both other half', 'must be a'],
  ]
  const pairs: Record<string, { privateKey: unknown, publicKey: unknown }> = {
    'both secp256k1': ecPair('secp256k1'),
    'both P-384': ecPair('P-384'),
    'both small': small,
    'both other half': { privateKey: rsa.publicKey, publicKey: rsa.privateKey },
  }
  for (const [algorithm, key, message] of rows) {
    const pair = typeof key === 'string' ? pairs[key] : undefined
    for (const wrap of [(value: unknown) => value, async (value: unknown) => value]) {
      const app = await buildApp(t, {
        algorithm,
        encodeKeyLoader: () => wrap(pair?.privateKey ?? key) as never,
        decodeKeyLoader: () => wrap(pair?.publicKey ?? key) as never,
      })
      app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
      await t.rejects(app.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: /^The key that encodeKeyLoader returned / })
      await t.rejects(app.createAccessToken('ada'), { message })
      const token = forge({ sub: 'ada' }, { alg: algorithm })
      const response = await app.inject({ url: '/', headers: bearer(token) })
      t.equal(response.statusCode, 500, `${algorithm} ${message}`)
      t.match(response.json(), { code: 'FST_JWT_EXT_USAGE', message: /^The key that decodeKeyLoader returned / })
      t.match(response.json().message, message)
    }
  }
})

t.test('loaders\' secrets are measured like configured ones', async (t) => {
  const warnings = collectWarnings(t, 'FST_JWT_EXT_WEAK_KEY')
  const options: JwtExtendedOptions = { encodeKeyLoader: () => 'a short secret', decodeKeyLoader: () => 'a short secret' }
  const app = await buildApp(t, options)
  const token = await app.createAccessToken('ada')
  t.equal((await app.decodeToken(token)).sub, 'ada')
  t.match(await warnings(), [
    /^The key that encodeKeyLoader returned has 14 bytes; RFC 7518 §3.2 asks for 32/,
    /^The key that decodeKeyLoader returned has 14 bytes; RFC 7518 §3.2 asks for 32/
  ])
  setNodeEnv(t, 'production')
  const strict = await buildApp(t, options)
  strict.get('/', { preHandler: strict.jwtRequired() }, async () => 'in')
  await t.rejects(strict.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: /encodeKeyLoader returned has 14 bytes.*allowWeakKeys/ })
  const response = await strict.inject({ url: '/', headers: bearer(token) })
  t.equal(response.statusCode, 500)
  t.match(response.json().message, /decodeKeyLoader returned has 14 bytes.*allowWeakKeys/)
  t.strictSame(await warnings(), [])
  const lax = await buildApp(t, { ...options, allowWeakKeys: true })
  t.equal((await lax.decodeToken(await lax.createAccessToken('ada'))).sub, 'ada')
})

t.test('a key loader that throws or rejects stops the token, with the status that its error carries', async (t) => {
  const failures: [thrown: unknown, status: number, message: string][] = [
    [new Error('the key server is down'), 500, 'the key server is down'],
    [Object.assign(new Error('busy'), { statusCode: 503 }), 503, 'busy'],
    ['a string', 500, 'A loader threw something that is no Error'],
    [undefined, 500, 'A loader threw something that is no Error'],
  ]
  for (const [thrown, status, message] of failures) {
    for (const fail of [() => { throw thrown }, async () => { throw thrown }]) {
      const app = await buildApp(t, { encodeKeyLoader: fail, decodeKeyLoader: fail })
      app.get('/', { preHandler: app.jwtRequired({ optional: true }) }, async () => 'in')
      const response = await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })
      t.equal(response.statusCode, status)
      t.equal(response.json().message, message)
      t.equal(await app.createAccessToken('ada').then(() => 'a token', (error: unknown) => error), thrown)
    }
  }
})

t.test('a loader that returns plain text, bytes or a promise of either settles', { timeout: 10_000 }, async (t) => {
  for (const key of [SECRET, Buffer.from(SECRET), Promise.resolve(SECRET), Promise.resolve(Buffer.from(SECRET))]) {
    const app = await buildApp(t, { encodeKeyLoader: () => key, decodeKeyLoader: () => key })
    app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
    const response = await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
    t.equal(response.body, 'ada')
  }
})
