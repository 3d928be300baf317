// RFC 7515 (JSON Web Signature), RFC 7518 (algorithms) and RFC 8037 (EdDSA): docs/standards.md has the table.
import { constants, createHash, createHmac, createPublicKey, sign, X509Certificate } from 'node:crypto'
import t, { type Test } from 'tap'
import type { JwtAlgorithm, JwtExtendedOptions } from '../../index.js'
import { buildApp, registrationError, SECRET } from '../support/app.js'
import { stopClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { ASYMMETRIC, certificateDer, ecPair, ed448Pair, edPair, pairFor, rsaPair } from '../support/keys.js'
import { listen } from '../support/listener.js'
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
  for (const more of [{ 'urn:example:new': [1] }, { b64: true }, { b64: false }, { zip: 'DEF' }, { enc: 'A256GCM' }]) {
    t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', ...more }))).sub, 'ada', JSON.stringify(more))
  }
  const input = `${segment({ alg: 'HS256', b64: false })}.{"sub":"ada"}`
  await t.rejects(app.decodeToken(`${input}.${createHmac('sha256', SECRET).update(input).digest('base64url')}`), REFUSED, 'a payload that is not encoded')
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
  const [theirs, ours] = [certificateDer(other), certificateDer(rsaPair())]
  t.ok(new X509Certificate(theirs).publicKey.equals(other.publicKey), 'it is one, of the key that signs')
  for (const chain of [[theirs], [theirs, ours], [ours, theirs]]) {
    const header = { alg: 'RS256', x5c: chain.map((certificate) => certificate.toString('base64')) }
    await t.rejects(app.decodeToken(signToken('RS256', other.privateKey, { sub: 'ada' }, header)), REFUSED)
    t.equal((await app.decodeToken(signToken('RS256', rsaPair().privateKey, { sub: 'ada' }, header))).sub, 'ada')
  }
})

/** Holds that a header parameter chooses none of several keys, be it the thumbprint of a certificate or what the key is called here. */
async function assertChoosesNoKey (t: Test, parameter: string, hash: string): Promise<void> {
  const [current, older, other] = [rsaPair(), rsaPair('older'), rsaPair('other')]
  const app = await buildApp(t, { algorithm: 'RS256', privateKey: current.privateKey, publicKey: [current.publicKey, older.publicKey] })
  const names = app.jwks().keys.map(({ kid }) => kid)
  t.equal(names.length, 2)
  for (const value of [...[current, older, other].map((pair) => createHash(hash).update(certificateDer(pair)).digest('base64url')), ...names, 5, null]) {
    const header = { alg: 'RS256', [parameter]: value }
    for (const { privateKey } of [current, older]) t.equal((await app.decodeToken(signToken('RS256', privateKey, { sub: 'ada' }, header))).sub, 'ada', String(value))
    await t.rejects(app.decodeToken(signToken('RS256', other.privateKey, { sub: 'ada' }, header)), REFUSED, String(value))
  }
}

t.test('RFC 7515 §4.1.7: the thumbprint in x5t chooses no key', async (t) => {
  await assertChoosesNoKey(t, 'x5t', 'sha1')
})

t.test('RFC 7515 §4.1.8: the thumbprint in x5t#S256 chooses no key', async (t) => {
  await assertChoosesNoKey(t, 'x5t#S256', 'sha256')
})

t.test('RFC 7515 §4.1.9: typ decides nothing', async (t) => {
  const app = await buildApp(t)
  for (const typ of ['JOSE', 'JOSE+JSON', 'example', '', 5, null, ['JWT']]) t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', typ }))).sub, 'ada', JSON.stringify(typ))
})

t.test('RFC 7515 §4.1.10: cty decides nothing, and ours have none', async (t) => {
  const app = await buildApp(t)
  for (const cty of ['JWT', 'json', 'text/plain', '', 5, null]) t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', cty }))).sub, 'ada', JSON.stringify(cty))
  t.equal(app.getUnverifiedJwtHeaders(await app.createAccessToken('ada'))['cty'], undefined)
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

t.test('RFC 7515 §8: key sets come over TLS, or from this host', async (t) => {
  const { privateKey, publicKey } = ecPair()
  for (const more of [{ jwksUri: 'http://login.example.com/keys' }, { issuer: 'http://login.example.com' }]) {
    t.match(await registrationError(t, { issuers: [{ issuer: 'https://login.example.com', audience: 'api', ...more }] }), { code: 'FST_JWT_EXT_USAGE' })
  }
  const server = await listen(t, ({ url }, response) => {
    response.end(JSON.stringify(url === '/keys' ? { keys: [publicKey.export({ format: 'jwk' })] } : { issuer: server.origin, jwks_uri: `${leadsTo}/keys` }))
  })
  let leadsTo = 'http://login.example.com'
  const token = signToken('ES256', privateKey, { sub: 'ada', iss: server.origin, aud: 'api' })
  const decode = async () => (await (await buildApp(t, { issuers: [{ issuer: server.origin, audience: 'api' }] })).decodeToken(token)).sub
  await t.rejects(decode(), { code: 'FST_JWT_EXT_KEY_SET_UNAVAILABLE', hint: 'The configuration has no jwks_uri that begins with https://' })
  leadsTo = server.origin
  t.equal(await decode(), 'ada')
})

t.test('RFC 7515 §10.12: what is almost JSON is refused, and so is anything behind it', async (t) => {
  const app = await buildApp(t)
  for (const [claims, header] of [
    ['{"sub":"ada"}x'], ['{"sub":"ada"}{}'], ['{"sub":"ada"}\0'], ['{"sub":"ada",}'], ["{'sub':'ada'}"], ['{sub:"ada"}'], ['{"sub":"ada"/**/}'], ['{"sub":"ada","x":NaN}'], ['{"sub":"ada","x":01}'], ['{"sub":"a\nda"}'],
    ['{"sub":"ada"}', '{"alg":"HS256"}x'], ['{"sub":"ada"}', '{"alg":"HS256"}{"alg":"none"}'], ['{"sub":"ada"}', '{"alg":"HS256",}'], ['{"sub":"ada"}', "{'alg':'HS256'}"]
  ] as [string, string?][]) {
    await t.rejects(app.decodeToken(forge(claims, header)), REFUSED, claims + header)
  }
  t.equal((await app.decodeToken(forge(' \n{"sub":"ada"}\t', '\r\n{"alg":"HS256"} '))).sub, 'ada', 'white space around it is a part of JSON')
})

t.test('RFC 7515 §10.13: names are compared when escapes are undone, sign by sign, and with nothing else undone', async (t) => {
  const app = await buildApp(t)
  for (const header of ['{"\\u0061lg":"HS256"}', '{"alg":"\\u0048S256"}', '{"alg":"HS256","CRIT":["x"]}', '{"alg":"HS256","crit\\u0000":["x"]}']) t.equal((await app.decodeToken(forge({ sub: 'ada' }, header))).sub, 'ada', header)
  for (const header of ['{"ALG":"HS256"}', '{"\uff41lg":"HS256"}', '{"alg ":"HS256"}', '{"alg\\u0000":"HS256"}', '{"alg":"\uff28S256"}', '{"alg":"H\u017f256"}', '{"alg":"hs256"}', '{"alg":"HS256\\u0000"}', '{"alg":"HS256\u0301"}']) {
    await t.rejects(app.decodeToken(forge({ sub: 'ada' }, header)), NOT_ALLOWED, header)
  }
  await t.rejects(app.decodeToken(forge({ sub: 'ada' }, '{"alg":"HS256","cr\\u0069t":["x"]}')), { message: 'Critical header extensions are not supported' })
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

t.test('RFC 7518 §3.5: a PSS signature with a salt of another length is refused', async (t) => {
  for (const [algorithm, own] of [['PS256', 32], ['PS384', 48], ['PS512', 64]] as const) {
    const { privateKey, publicKey } = pairFor(algorithm)
    const app = await buildApp(t, { algorithm, privateKey, publicKey })
    const input = `${segment({ alg: algorithm })}.${segment({ sub: 'ada' })}`
    const decode = async (saltLength: number) => {
      const signature = sign(`sha${algorithm.slice(2)}`, Buffer.from(input), { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength })
      return (await app.decodeToken(`${input}.${segment(signature)}`)).sub
    }
    t.equal(await decode(own), 'ada', algorithm)
    for (const saltLength of [0, 20, own - 1, own + 1, 2 * own, constants.RSA_PSS_SALTLEN_MAX_SIGN]) await t.rejects(decode(saltLength), REFUSED, `${algorithm} ${saltLength}`)
  }
})

t.test('RFC 7518 §3.6: none is not among the algorithms that can be configured', async (t) => {
  for (const options of [{ algorithm: 'none' }, { decodeAlgorithms: ['none'] }, { decodeAlgorithms: ['HS256', 'none'] }]) {
    t.match(await registrationError(t, { secretKey: SECRET, ...options }), { code: 'FST_JWT_EXT_USAGE' })
  }
})

t.test('RFC 8037 §3.1: EdDSA signs and verifies by an Ed25519 key and by an Ed448 key', async (t) => {
  for (const [{ privateKey, publicKey }, other, length] of [[edPair(), ed448Pair(), 64], [ed448Pair(), edPair(), 114]] as const) {
    const app = await buildApp(t, { algorithm: 'EdDSA', privateKey, publicKey })
    const token = await app.createAccessToken('ada')
    t.equal(signatureOf(token).length, length)
    t.equal(signatureBy('EdDSA', privateKey, token.slice(0, token.lastIndexOf('.'))).equals(signatureOf(token)), true)
    t.equal((await app.decodeToken(token)).sub, 'ada')
    t.equal((await app.decodeToken(signToken('EdDSA', privateKey, { sub: 'bob' }))).sub, 'bob')
    await t.rejects(app.decodeToken(signToken('EdDSA', other.privateKey, { sub: 'eve' })), REFUSED, 'a key of the other curve')
  }
})
