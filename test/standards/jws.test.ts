// RFC 7515 (JSON Web Signature), RFC 7518 (algorithms) and RFC 8037 (EdDSA): docs/standards.md has the table.
import { constants, createPublicKey, sign } from 'node:crypto'
import t from 'tap'
import type { JwtAlgorithm, JwtExtendedOptions } from '../../index.js'
import { buildApp, registrationError, SECRET } from '../support/app.js'
import { stopClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { ASYMMETRIC, ecPair, pairFor, rsaPair } from '../support/keys.js'
import { resign, segment, segmentsOf, signatureBy, signatureOf, signToken } from '../support/sign.js'

const REFUSED = { code: 'FST_JWT_EXT_INVALID_TOKEN' }
const NOT_ALLOWED = { message: 'The specified alg value is not allowed' }

function optionsFor (algorithm: JwtAlgorithm): JwtExtendedOptions {
  return algorithm.startsWith('HS') ? { algorithm, secretKey: SECRET } : { algorithm, ...pairFor(algorithm) }
}

// The claims of the examples in RFC 7515, appendix A, expired in 2011; `is_root` stands in for the identity.
const ROOT = 'http://example.com/is_root'
const EXAMPLE_PAYLOAD = 'eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ'

t.test('RFC 7515 §3.1: a token is a compact serialization without padding', async (t) => {
  for (const algorithm of ['HS256', ...ASYMMETRIC] as const) {
    const app = await buildApp(t, optionsFor(algorithm))
    const token = await app.createAccessToken('ada')
    t.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/, algorithm)
    await t.rejects(app.decodeToken(`${token}=`), REFUSED)
  }
})

t.test('RFC 7515 §4: of two header parameters of one name the last is the one', async (t) => {
  const app = await buildApp(t)
  t.equal((await app.decodeToken(forge({ sub: 'ada' }, '{"alg":"none","alg":"HS256"}'))).sub, 'ada')
  await t.rejects(app.decodeToken(forge({ sub: 'ada' }, '{"alg":"HS256","alg":"none"}')), NOT_ALLOWED)
})

t.test('RFC 7515 §4: header parameters that are not understood are left alone', async (t) => {
  const app = await buildApp(t)
  const token = forge({ sub: 'ada' }, { alg: 'HS256', 'urn:example:new': [1], b64: true })
  t.equal((await app.decodeToken(token)).sub, 'ada')
})

t.test('RFC 7515 §4.1.1: a token without an alg, or with one that is not accepted, is refused', async (t) => {
  const app = await buildApp(t)
  for (const alg of [undefined, null, '', 'hs256', 'HS256 ', 'HS512', 'RS256', 'none', ['HS256'], 5]) {
    await t.rejects(app.decodeToken(forge({ sub: 'ada' }, alg === undefined ? {} : JSON.stringify({ alg }))), NOT_ALLOWED, JSON.stringify(alg))
  }
})

t.test('RFC 7515 §4.1.2: the address in jku is not a source of keys', async (t) => {
  const app = await buildApp(t, { algorithm: 'RS256', ...rsaPair() })
  const header = { alg: 'RS256', jku: 'https://attacker.example/keys' }
  await t.rejects(app.decodeToken(signToken('RS256', rsaPair('other').privateKey, { sub: 'ada' }, header)), REFUSED)
  t.equal((await app.decodeToken(signToken('RS256', rsaPair().privateKey, { sub: 'ada' }, header))).sub, 'ada')
})

t.test('RFC 7515 §4.1.3: the key in jwk is not used', async (t) => {
  const app = await buildApp(t, { algorithm: 'ES256', ...ecPair() })
  const other = ecPair('P-256', 'other')
  const header = { alg: 'ES256', jwk: other.publicKey.export({ format: 'jwk' }) }
  await t.rejects(app.decodeToken(signToken('ES256', other.privateKey, { sub: 'ada' }, header)), REFUSED)
  t.equal((await app.decodeToken(signToken('ES256', ecPair().privateKey, { sub: 'ada' }, header))).sub, 'ada')
})

t.test('RFC 7515 §4.1.4: a kid is a string', async (t) => {
  const app = await buildApp(t)
  t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid: 'any' }))).sub, 'ada')
  for (const kid of [5, null, ['k'], {}, true]) await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid })), REFUSED, JSON.stringify(kid))
  await t.rejects(app.createAccessToken('ada', { additionalHeaders: { kid: 5 as never } }), { code: 'FST_JWT_EXT_USAGE' })
})

t.test('RFC 7515 §4.1.5: the address in x5u is not a source of keys', async (t) => {
  const app = await buildApp(t, { algorithm: 'RS256', ...rsaPair() })
  const header = { alg: 'RS256', x5u: 'https://attacker.example/chain.pem' }
  await t.rejects(app.decodeToken(signToken('RS256', rsaPair('other').privateKey, { sub: 'ada' }, header)), REFUSED)
})

t.test('RFC 7515 §4.1.6: the certificates in x5c are not used', async (t) => {
  const app = await buildApp(t, { algorithm: 'RS256', ...rsaPair() })
  const other = rsaPair('other')
  const der = other.publicKey.export({ format: 'der', type: 'spki' }).toString('base64')
  await t.rejects(app.decodeToken(signToken('RS256', other.privateKey, { sub: 'ada' }, { alg: 'RS256', x5c: [der] })), REFUSED)
})

t.test('RFC 7515 §4.1.11: a token with crit is refused', async (t) => {
  const app = await buildApp(t)
  for (const crit of [['exp'], ['b64'], [], ['crit'], 'exp', null, {}, 0, '', false]) {
    const token = forge({ sub: 'ada' }, { alg: 'HS256', exp: 1, b64: true, crit })
    await t.rejects(app.decodeToken(token), { message: 'Critical header extensions are not supported' }, JSON.stringify(crit))
  }
  await t.rejects(app.createAccessToken('ada', { additionalHeaders: { crit: ['exp'] } }), { code: 'FST_JWT_EXT_USAGE' })
})

t.test('RFC 7515 §5.2: a signature that does not fit what it signs is refused', async (t) => {
  for (const algorithm of ['HS256', ...ASYMMETRIC] as const) {
    const app = await buildApp(t, optionsFor(algorithm))
    const token = await app.createAccessToken('ada')
    const other = await app.createAccessToken('eve')
    t.equal((await app.decodeToken(token)).sub, 'ada')
    await t.rejects(app.decodeToken(resign(token, segmentsOf(other)[2])), REFUSED, algorithm)
    const flipped = signatureOf(token)
    flipped[0]! ^= 1
    await t.rejects(app.decodeToken(resign(token, flipped)), REFUSED, algorithm)
  }
})

t.test('RFC 7515 §5.2: bits of the last character that stand for nothing are not looked at, so a signature has several spellings', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const other = token.slice(0, -1) + alphabet[alphabet.indexOf(token.at(-1)!) ^ 1]
  t.not(other, token)
  t.equal((await app.decodeToken(other)).jti, (await app.decodeToken(token)).jti)
})

t.test('RFC 7515 §7.2: the JSON serialization is refused', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'json' })
  app.post('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const [header, payload, signature] = segmentsOf(await app.createAccessToken('ada'))
  const flat = { payload, protected: header, signature }
  for (const token of [flat, { payload, signatures: [{ protected: header, signature }] }, JSON.stringify(flat)]) {
    const response = await app.inject({ method: 'POST', url: '/', payload: { access_token: token } })
    t.equal(response.statusCode, 422)
  }
})

t.test('RFC 7515 appendix A.1: the example of HS256 verifies', async (t) => {
  const secretKey = Buffer.from('AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow', 'base64url')
  const app = await buildApp(t, { secretKey, identityClaim: ROOT })
  stopClock(t, 1_300_819_379)
  const token = `eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.${EXAMPLE_PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk`
  t.match(await app.decodeToken(token), { iss: 'joe', exp: 1_300_819_380, [ROOT]: true })
})

t.test('RFC 7515 appendix A.3: the example of ES256 verifies', async (t) => {
  const publicKey = createPublicKey({
    format: 'jwk',
    key: { kty: 'EC', crv: 'P-256', x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU', y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0' },
  })
  const app = await buildApp(t, { algorithm: 'ES256', publicKey, identityClaim: ROOT })
  stopClock(t, 1_300_819_379)
  const token = `eyJhbGciOiJFUzI1NiJ9.${EXAMPLE_PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q`
  t.match(await app.decodeToken(token), { iss: 'joe', [ROOT]: true })
})

t.test('RFC 7515 appendix A.5: the unsecured example is refused', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, identityClaim: ROOT })
  stopClock(t, 1_300_819_379)
  await t.rejects(app.decodeToken(`eyJhbGciOiJub25lIn0.${EXAMPLE_PAYLOAD}.`), REFUSED)
})

t.test('RFC 7518 §3.1: each algorithm signs what it verifies, and node:crypto agrees in both directions', async (t) => {
  for (const algorithm of ASYMMETRIC) {
    const { privateKey, publicKey } = pairFor(algorithm)
    const app = await buildApp(t, { algorithm, privateKey, publicKey })
    t.equal((await app.decodeToken(signToken(algorithm, privateKey, { sub: 'ada' }))).sub, 'ada', algorithm)
    t.equal((await app.decodeToken(await app.createAccessToken('bob'))).sub, 'bob', algorithm)
  }
  for (const algorithm of ['HS256', 'HS384', 'HS512'] as const) {
    const app = await buildApp(t, { algorithm, secretKey: SECRET })
    t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: algorithm }))).sub, 'ada', algorithm)
  }
})

t.test('RFC 7518 §3.2: a secret shorter than the hash is an error in production', async (t) => {
  const before = process.env['NODE_ENV']
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = before
  })
  process.env['NODE_ENV'] = 'production'
  for (const [algorithm, bytes] of [['HS256', 32], ['HS384', 48], ['HS512', 64]] as const) {
    t.match(await registrationError(t, { algorithm, secretKey: 'k'.repeat(bytes - 1) }), { code: 'FST_JWT_EXT_USAGE' }, algorithm)
    await buildApp(t, { algorithm, secretKey: 'k'.repeat(bytes) })
  }
})

t.test('RFC 7518 §3.3: an RSA key under 2048 bits is an error', async (t) => {
  for (const algorithm of ['RS256', 'PS256']) {
    t.match(await registrationError(t, { algorithm, privateKey: rsaPair('', 1024).privateKey }), { message: /2048/ }, algorithm)
  }
})

t.test('RFC 7518 §3.4: an ECDSA signature is r and s in full length, and in no other form', async (t) => {
  for (const [algorithm, length] of [['ES256', 64], ['ES384', 96], ['ES512', 132]] as const) {
    const { privateKey, publicKey } = pairFor(algorithm)
    const app = await buildApp(t, { algorithm, privateKey, publicKey })
    const token = await app.createAccessToken('ada')
    t.equal(signatureOf(token).length, length)
    const input = token.slice(0, token.lastIndexOf('.'))
    const der = sign(`sha${algorithm.slice(2)}`, Buffer.from(input), { key: privateKey, dsaEncoding: 'der' })
    await t.rejects(app.decodeToken(resign(token, der)), REFUSED, 'DER')
    await t.rejects(app.decodeToken(resign(token, signatureOf(token).subarray(1))), REFUSED, 'a byte short')
    await t.rejects(app.decodeToken(resign(token, Buffer.concat([signatureOf(token), Buffer.alloc(1)]))), REFUSED, 'a byte long')
  }
})

t.test('RFC 7518 §3.4: each ECDSA algorithm goes with its own curve', async (t) => {
  for (const [algorithm, curve] of [['ES256', 'P-384'], ['ES384', 'P-256'], ['ES512', 'P-256'], ['ES256', 'secp256k1']] as const) {
    t.match(await registrationError(t, { algorithm, privateKey: ecPair(curve).privateKey }), { code: 'FST_JWT_EXT_USAGE' }, `${algorithm} ${curve}`)
  }
})

t.test('RFC 7518 §3.5: a PSS signature we make has a salt as long as the hash', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const app = await buildApp(t, { algorithm: 'PS256', privateKey, publicKey })
  const input = `${segment({ alg: 'PS256' })}.${segment({ sub: 'ada' })}`
  t.equal((await app.decodeToken(`${input}.${segment(signatureBy('PS256', privateKey, input))}`)).sub, 'ada')
  const { verify } = await import('node:crypto')
  const token = await app.createAccessToken('ada')
  const signed = Buffer.from(token.slice(0, token.lastIndexOf('.')))
  const check = (saltLength: number): boolean => verify('sha256', signed, { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signatureOf(token))
  t.equal(check(32), true)
  t.equal(check(20), false)
})

t.test('RFC 7518 §3.6: none is not among the algorithms that can be configured', async (t) => {
  for (const options of [{ algorithm: 'none' }, { decodeAlgorithms: ['none'] }, { decodeAlgorithms: ['HS256', 'none'] }]) {
    t.match(await registrationError(t, { secretKey: SECRET, ...options }), { code: 'FST_JWT_EXT_USAGE' })
  }
})

t.test('RFC 8037 §3.1: EdDSA signs and verifies by an Ed25519 key', async (t) => {
  const { privateKey, publicKey } = pairFor('EdDSA')
  const app = await buildApp(t, { algorithm: 'EdDSA', privateKey, publicKey })
  const token = await app.createAccessToken('ada')
  t.equal(signatureOf(token).length, 64)
  t.equal(signatureBy('EdDSA', privateKey, token.slice(0, token.lastIndexOf('.'))).equals(signatureOf(token)), true)
})
