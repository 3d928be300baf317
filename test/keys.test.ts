import { createHash, createPublicKey, createSecretKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import t, { type Test } from 'tap'
import type { JwtAlgorithm, JwtExtendedOptions } from '../index.js'
import { hashLength, isHmac, nameKey, readPrivateKey, readPublicKey, readSecret } from '../lib/keys.js'
import { looksLikeKey } from '../lib/written-keys.js'
import { buildApp, registrationError, SECRET } from './support/app.js'
import { ASYMMETRIC, certificateDer, der, ecPair, edPair, pairFor, pem, rsaPair, SEQUENCE, type Pair } from './support/keys.js'

const KINDS: [name: string, algorithm: JwtAlgorithm, pair: Pair][] = [
  ['RSA', 'RS256', rsaPair()], ['P-256', 'ES256', ecPair()], ['P-384', 'ES384', ecPair('P-384')], ['P-521', 'ES512', ecPair('P-521')], ['Ed25519', 'EdDSA', edPair()]
]

function certificate (pair: Pair): string {
  const lines = certificateDer(pair).toString('base64').match(/.{1,64}/g)!
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

/** Each way to write a private key down. */
function privateForms ({ privateKey }: Pair): Record<string, NonNullable<JwtExtendedOptions['privateKey']>> {
  const pkcs8 = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
  const old = privateKey.asymmetricKeyType === 'rsa' ? 'pkcs1' : privateKey.asymmetricKeyType === 'ec' ? 'sec1' : 'pkcs8'
  const encrypted = { cipher: 'aes-256-cbc', passphrase: 'open sesame' }
  return {
    'PKCS#8 PEM': pkcs8,
    'PKCS#8 PEM with space around': `\n \t\n${pkcs8}\n \n`,
    'PKCS#8 PEM with CRLF': pkcs8.replaceAll('\n', '\r\n'),
    'PKCS#8 PEM bytes': Buffer.from(pkcs8),
    'PKCS#8 DER': privateKey.export({ format: 'der', type: 'pkcs8' }),
    [`${old} PEM`]: privateKey.export({ format: 'pem', type: old } as { format: 'pem', type: 'pkcs8' }),
    [`${old} DER`]: privateKey.export({ format: 'der', type: old } as { format: 'der', type: 'pkcs8' }),
    KeyObject: privateKey,
    JWK: privateKey.export({ format: 'jwk' }),
    'encrypted PEM': { key: privateKey.export({ format: 'pem', type: 'pkcs8', ...encrypted }) as string, passphrase: 'open sesame' },
    'encrypted PEM bytes': { key: Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8', ...encrypted })), passphrase: 'open sesame' },
    'encrypted DER': { key: privateKey.export({ format: 'der', type: 'pkcs8', ...encrypted }), passphrase: 'open sesame' },
  }
}

/** Each way to write a public key down. */
function publicForms (pair: Pair): Record<string, NonNullable<JwtExtendedOptions['publicKey']>> {
  const { publicKey } = pair
  const spki = pem(publicKey)
  return {
    'SPKI PEM': spki,
    'SPKI PEM bytes': Buffer.from(spki),
    'SPKI DER': publicKey.export({ format: 'der', type: 'spki' }),
    KeyObject: publicKey,
    JWK: publicKey.export({ format: 'jwk' }),
    ...(publicKey.asymmetricKeyType === 'rsa' && {
      'PKCS#1 PEM': publicKey.export({ format: 'pem', type: 'pkcs1' }),
      'PKCS#1 DER': publicKey.export({ format: 'der', type: 'pkcs1' }),
    }),
    ...(publicKey.asymmetricKeyType !== 'ed25519' && {
      'X.509 PEM': certificate(pair),
      'X.509 PEM bytes': Buffer.from(certificate(pair)),
      'X.509 DER': certificateDer(pair),
      'X.509 chain': certificate(pair) + certificate(publicKey.asymmetricKeyType === 'rsa' ? rsaPair('another') : ecPair('P-256', 'another')),
    }),
  }
}

/** A key as an algorithm has it that OpenSSL never heard of. */
const UNKNOWN_KEY = der(SEQUENCE, der(SEQUENCE, Buffer.from('06032a0304', 'hex')), der(0x03, Buffer.alloc(33)))

/** Each key of a pair in DER, and the certificate. */
function derForms (pair: Pair): Record<string, Buffer> {
  const { privateKey, publicKey } = pair
  const kind = privateKey.asymmetricKeyType
  return {
    SPKI: publicKey.export({ format: 'der', type: 'spki' }),
    'PKCS#8': privateKey.export({ format: 'der', type: 'pkcs8' }),
    'encrypted PKCS#8': privateKey.export({ format: 'der', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'p' }),
    ...(kind === 'rsa' && { 'PKCS#1': publicKey.export({ format: 'der', type: 'pkcs1' }), 'private PKCS#1': privateKey.export({ format: 'der', type: 'pkcs1' }) }),
    ...(kind === 'ec' && { SEC1: privateKey.export({ format: 'der', type: 'sec1' }) }),
    ...(kind !== 'ed25519' && { 'X.509': certificateDer(pair) }),
  }
}

/** Ways to write bytes as text. */
function writingsOf (bytes: Buffer): Record<string, string | Buffer> {
  const base64 = bytes.toString('base64')
  const lines = base64.match(/.{1,64}/g)!
  return {
    'in base64': base64,
    'in base64 without padding': base64.replace(/=+$/, ''),
    'in base64 bytes': Buffer.from(base64),
    'in base64 in UTF-16': Buffer.from(base64, 'utf16le'),
    'in base64 with a line end': `${base64}\n`,
    'in base64 over lines': lines.join('\n'),
    'in base64 over CRLF lines': ` ${lines.join('\r\n')}\r\n`,
    'in base64 over escaped lines': lines.join('\\n'),
    'in base64 in JSON': JSON.stringify({ realm: 'tests', public_key: base64 }),
    'in base64 with escaped slashes': base64.replaceAll('/', '\\/'),
    'in base64 behind a word': `key: ${base64}`,
    'in base64 behind three words': `RSA public key ${base64}`,
    'in base64 behind a name': `PUBLIC_KEY=${base64}`,
    'in base64 twice': Buffer.from(base64).toString('base64'),
    'in base64url': bytes.toString('base64url'),
    'in hex': bytes.toString('hex'),
    'in large hex': bytes.toString('hex').toUpperCase(),
    'in hex bytes': Buffer.from(bytes.toString('hex')),
    'in hex over lines': bytes.toString('hex').match(/.{1,60}/g)!.join('\n'),
    'in hex with colons': bytes.toString('hex').match(/../g)!.join(':'),
    'in hex behind 0x': `0x${bytes.toString('hex')}`,
  }
}

async function refusal (t: Test, options: unknown): Promise<string> {
  const error = await registrationError(t, options)
  t.equal(error.code, 'FST_JWT_EXT_USAGE')
  return error.message
}

t.test('each of the thirteen algorithms signs and verifies', async (t) => {
  for (const algorithm of ['HS256', 'HS384', 'HS512'] as const) {
    for (const secretKey of [SECRET, Buffer.from(SECRET)]) {
      const app = await buildApp(t, { algorithm, secretKey })
      const token = await app.createAccessToken('ada')
      t.strictSame(app.getUnverifiedJwtHeaders(token), { alg: algorithm, typ: 'JWT' })
      t.equal((await app.decodeToken(token)).sub, 'ada', algorithm)
    }
  }
  for (const algorithm of ASYMMETRIC) {
    const app = await buildApp(t, { algorithm, ...pairFor(algorithm) })
    const other = await buildApp(t, { algorithm, ...pairFor(algorithm, 'another') })
    const token = await app.createAccessToken('ada')
    const kid = await calculateJwkThumbprint(pairFor(algorithm).publicKey)
    t.strictSame(app.getUnverifiedJwtHeaders(token), { alg: algorithm, typ: 'JWT', kid })
    t.equal((await app.decodeToken(token)).sub, 'ada', algorithm)
    await t.rejects(other.decodeToken(token), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Signature verification failed' }, algorithm)
  }
})

t.test('EdDSA takes an Ed448 key, too', async (t) => {
  const app = await buildApp(t, { algorithm: 'EdDSA', ...generateKeyPairSync('ed448') })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
})

t.test('a private key may be written in every form', async (t) => {
  for (const [kind, algorithm, pair] of KINDS) {
    const verifier = await buildApp(t, { algorithm, publicKey: pair.publicKey })
    for (const [form, privateKey] of Object.entries(privateForms(pair))) {
      const app = await buildApp(t, { algorithm, privateKey })
      t.equal((await verifier.decodeToken(await app.createAccessToken('ada'))).sub, 'ada', `${kind} ${form}`)
    }
  }
})

t.test('an RSA key that is encrypted signs by RS* and PS* alike', async (t) => {
  const key = rsaPair().privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-128-cbc', passphrase: 'p' }) as string
  for (const algorithm of ['RS256', 'RS512', 'PS256', 'PS512'] as const) {
    const app = await buildApp(t, { algorithm, privateKey: { key, passphrase: 'p' } })
    t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada', algorithm)
  }
})

t.test('a public key may be written in every form', async (t) => {
  for (const [kind, algorithm, pair] of KINDS) {
    const issuer = await buildApp(t, { algorithm, privateKey: pair.privateKey })
    const token = await issuer.createAccessToken('ada')
    for (const [form, publicKey] of Object.entries(publicForms(pair))) {
      const app = await buildApp(t, { algorithm, publicKey })
      t.equal((await app.decodeToken(token)).sub, 'ada', `${kind} ${form}`)
    }
  }
})

t.test('an RSA key whose public exponent is 1 is refused', async (t) => {
  const publicKey = { ...rsaPair().publicKey.export({ format: 'jwk' }), e: 'AQ' }
  t.equal(await refusal(t, { algorithm: 'RS256', publicKey }), 'publicKey is an RSA key with the public exponent 1, which keeps nobody from signing')
})

t.test('an RSA key under 2048 bits is refused, in either half', async (t) => {
  const small = rsaPair('', 1024)
  for (const algorithm of ['RS256', 'PS256'] as const) {
    t.equal(await refusal(t, { algorithm, privateKey: small.privateKey }), 'privateKey is an RSA key of 1024 bits; RFC 7518 §3.3 asks for 2048 or more')
    t.equal(await refusal(t, { algorithm, publicKey: small.publicKey }), 'publicKey is an RSA key of 1024 bits; RFC 7518 §3.3 asks for 2048 or more')
    t.match(await refusal(t, { algorithm, privateKey: small.privateKey, allowWeakKeys: true }), '1024 bits')
  }
})

t.test('a key of another curve or kind than the algorithm wants is refused', async (t) => {
  const wrong: Partial<Record<JwtAlgorithm, Pair[]>> = {
    RS256: [ecPair(), edPair()],
    PS512: [ecPair('P-521'), edPair()],
    ES256: [ecPair('P-384'), ecPair('P-521'), rsaPair(), edPair()],
    ES384: [ecPair('P-256'), ecPair('P-521'), rsaPair()],
    ES512: [ecPair('P-256'), ecPair('P-384'), edPair()],
    EdDSA: [ecPair(), rsaPair()],
  }
  for (const [algorithm, pairs] of Object.entries(wrong)) {
    for (const { privateKey, publicKey } of pairs) {
      t.match(await refusal(t, { algorithm, privateKey }), `but not for ${algorithm}`)
      t.match(await refusal(t, { algorithm, publicKey }), `but not for ${algorithm}`)
      t.match(await refusal(t, { algorithm, privateKey, publicKey }), `but not for ${algorithm}`)
    }
  }
})

t.test('a key that no algorithm can use is refused', async (t) => {
  const rows: [Pair, string][] = [
    [ecPair('secp256k1'), 'a key of the kind ec on the curve secp256k1'],
    [ecPair('P-224'), 'a key of the kind ec on the curve secp224r1'],
    [generateKeyPairSync('x25519'), 'a key of the kind x25519'],
    [generateKeyPairSync('rsa-pss', { modulusLength: 2048 }), 'a key of the kind rsa-pss'],
  ]
  for (const [{ privateKey, publicKey }, kind] of rows) {
    for (const algorithm of ['ES256', 'RS256', 'PS256', 'EdDSA'] as const) {
      t.equal(await refusal(t, { algorithm, privateKey }), `privateKey is ${kind}, which no JWT algorithm here can use`)
      t.equal(await refusal(t, { algorithm, publicKey }), `publicKey is ${kind}, which no JWT algorithm here can use`)
    }
  }
})

t.test('a private key is no public key, in whatever form it comes', async (t) => {
  for (const [kind, algorithm, pair] of KINDS) {
    for (const [form, publicKey] of Object.entries(privateForms(pair))) {
      const message = await refusal(t, { algorithm, publicKey })
      t.match(message, form.startsWith('encrypted')
        ? 'publicKey: { key, passphrase } takes a private key'
        : 'publicKey must be a public key, not a private one', `${kind} ${form}`)
    }
  }
})

t.test('a public key is no private key, in whatever form it comes', async (t) => {
  for (const [kind, algorithm, pair] of KINDS) {
    for (const [form, privateKey] of Object.entries(publicForms(pair))) {
      t.equal(await refusal(t, { algorithm, privateKey }), 'privateKey must be a private key, not a public one', `${kind} ${form}`)
    }
  }
})

t.test('an HMAC secret serves no asymmetric algorithm', async (t) => {
  const oct = createSecretKey(Buffer.from(SECRET))
  for (const algorithm of ASYMMETRIC) {
    t.equal(await refusal(t, { algorithm, secretKey: SECRET }), `The algorithm ${algorithm} needs privateKey or publicKey; an HMAC secret cannot serve it`)
    for (const name of ['privateKey', 'publicKey']) {
      const half = name === 'privateKey' ? 'private' : 'public'
      t.match(await refusal(t, { algorithm, [name]: SECRET }), `${name} is no asymmetric key; an HMAC secret belongs in secretKey`)
      t.match(await refusal(t, { algorithm, [name]: Buffer.from(SECRET) }), `${name} is no asymmetric key`)
      t.equal(await refusal(t, { algorithm, [name]: oct }), `${name} must be a ${half} key, not a secret one`)
      t.equal(await refusal(t, { algorithm, [name]: oct.export({ format: 'jwk' }) }), `${name} must be a ${half} key, not a secret one`)
    }
  }
})

t.test('a passphrase that is wrong, missing or no text is refused', async (t) => {
  const key = rsaPair().privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'right' }) as string
  const algorithm = 'RS256'
  t.equal(await refusal(t, { algorithm, privateKey: key }), 'privateKey is a PEM text that cannot be read; it is encrypted: give { key, passphrase }')
  t.equal(await refusal(t, { algorithm, privateKey: { key, passphrase: 'wrong' } }), 'privateKey is a PEM text that cannot be read; the passphrase does not open it')
  const bytes = rsaPair().privateKey.export({ format: 'der', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'right' })
  t.equal(await refusal(t, { algorithm, privateKey: bytes }), 'privateKey is a DER key that cannot be read; it is encrypted: give { key, passphrase }')
  t.equal(await refusal(t, { algorithm, privateKey: { key: bytes, passphrase: 'wrong' } }), 'privateKey is a DER key that cannot be read; the passphrase does not open it')
  t.match(await refusal(t, { algorithm, publicKey: bytes }), 'publicKey must be a public key, not a private one')
  t.equal(await refusal(t, { algorithm, privateKey: bytes.toString('base64') }), "privateKey is a key in base64; give its bytes: Buffer.from(text, 'base64')")
  for (const privateKey of [{ key, passphrase: 5 }, { key, passphrase: null }, { key: 5, passphrase: 'p' }, { key: rsaPair().privateKey, passphrase: 'p' }]) {
    t.equal(await refusal(t, { algorithm, privateKey }), 'privateKey: { key, passphrase } takes a private key as a string or Buffer, and a string')
  }
  t.equal(await refusal(t, { algorithm, privateKey: { key: '', passphrase: 'p' } }), 'privateKey must not be empty')
})

t.test('a PEM text that is damaged is refused, with a hint where one is known', async (t) => {
  const text = pem(rsaPair().privateKey)
  const algorithm = 'RS256'
  t.equal(await refusal(t, { algorithm, privateKey: text.replaceAll('\n', '\\n') }),
    "privateKey is a PEM text that cannot be read; its line ends are escaped: give key.replaceAll('\\\\n', '\\n')")
  t.equal(await refusal(t, { algorithm, privateKey: text.slice(0, 300) }), 'privateKey is a PEM text that cannot be read')
  t.equal(await refusal(t, { algorithm, publicKey: '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----' }), 'publicKey is a PEM text that cannot be read')
})

t.test('a JWK that cannot be read, is meant for something else or is text is refused', async (t) => {
  const privateJwk = rsaPair().privateKey.export({ format: 'jwk' })
  const publicJwk = rsaPair().publicKey.export({ format: 'jwk' })
  const algorithm = 'RS256'
  t.equal(await refusal(t, { algorithm, publicKey: { kty: 'RSA', n: 'AQAB' } }), 'publicKey is a JWK that cannot be read')
  t.equal(await refusal(t, { algorithm, publicKey: { kty: 'EC', crv: 'P-999', x: 'AA', y: 'AA' } }), 'publicKey is a JWK that cannot be read')
  t.equal(await refusal(t, { algorithm, privateKey: { kty: 'RSA', n: 'AQAB', d: 'AA' } }), 'privateKey is a JWK that cannot be read')
  t.equal(await refusal(t, { algorithm, publicKey: { ...publicJwk, use: 'enc' } }), "publicKey is a JWK whose use is not 'sig'")
  t.equal(await refusal(t, { algorithm, privateKey: { ...privateJwk, use: 'enc' } }), "privateKey is a JWK whose use is not 'sig'")
  t.equal(await refusal(t, { algorithm, publicKey: JSON.stringify(publicJwk) }), 'publicKey is the text of a JWK; give JSON.parse() of it')
  t.equal(await refusal(t, { algorithm, privateKey: JSON.stringify(privateJwk) }), 'privateKey is the text of a JWK; give JSON.parse() of it')
  for (const keys of [[publicJwk], []]) {
    t.equal(await refusal(t, { algorithm, publicKey: JSON.stringify({ keys }) }), 'publicKey is the text of a JWK set; give one of its keys, such as JSON.parse(text).keys[0]')
  }
  t.equal(await refusal(t, { algorithm, publicKey: { ...publicJwk, alg: 'RS512' } }), 'publicKey[0] is a key of the kind rsa: fit for RS512, but not for RS256')
  t.match(await refusal(t, { algorithm, publicKey: { ...publicJwk, alg: 'RSA-OAEP' } }), "publicKey is a key of the kind rsa whose 'alg' is another one")
  t.match(await refusal(t, { algorithm, privateKey: { ...privateJwk, alg: 'PS256' } }), 'but not for RS256')
})

t.test('a key in base64 or hex is no key as it stands, and the message says what to give', async (t) => {
  for (const [kind, algorithm, pair] of KINDS) {
    const [spki, pkcs8] = [derForms(pair)['SPKI']!, derForms(pair)['PKCS#8']!]
    for (const [option, bytes] of [['publicKey', spki], ['privateKey', pkcs8]] as const) {
      for (const writing of ['in base64', 'in base64 bytes', 'in base64 over lines', 'in base64url', 'in hex'] as const) {
        const text = writingsOf(bytes)[writing]!
        const encoding = writing === 'in hex' ? 'hex' : 'base64'
        t.equal(await refusal(t, { algorithm, [option]: text }), `${option} is a key in ${encoding}; give its bytes: Buffer.from(text, '${encoding}')`, `${kind} ${writing}`)
        await buildApp(t, { algorithm, [option]: Buffer.from(String(text), encoding) })
      }
      for (const writing of ['in base64 in JSON', 'in hex with colons'] as const) {
        t.equal(await refusal(t, { algorithm, [option]: writingsOf(bytes)[writing]! }), `${option} is a text that holds a key in base64 or hex; give the bytes of that key alone`, `${kind} ${writing}`)
      }
    }
  }
  const text = Buffer.from(pem(rsaPair().publicKey)).toString('base64')
  t.equal(await refusal(t, { algorithm: 'RS256', publicKey: text }), "publicKey is a key in base64; give its bytes: Buffer.from(text, 'base64')", 'the PEM text, too')
  await buildApp(t, { algorithm: 'RS256', publicKey: Buffer.from(text, 'base64') })
  const certificateText = certificateDer(ecPair()).toString('base64')
  t.equal(await refusal(t, { algorithm: 'ES256', publicKey: certificateText }), "publicKey is a key in base64; give its bytes: Buffer.from(text, 'base64')")
})

t.test('a certificate whose key is of an unknown kind is no public key', async (t) => {
  const bytes = certificateDer(ecPair(), UNKNOWN_KEY)
  t.match(await refusal(t, { algorithm: 'ES256', publicKey: bytes }), 'publicKey is')
})

t.test('a JWK that names its use and its algorithm serves that algorithm', async (t) => {
  const jwk = { ...rsaPair().privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'PS384', kid: 'one' }
  const app = await buildApp(t, { algorithm: 'PS384', privateKey: jwk })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
})

t.test('what is no key at all is refused, and the message says what it is', async (t) => {
  const rows: [unknown, string][] = [[5, 'a number'], [true, 'a boolean'], [{}, 'an object'], [{ n: 'x' }, 'an object'], [Symbol('k'), 'a symbol'], [() => {}, 'a function']]
  for (const [key, name] of rows) {
    for (const option of ['privateKey', 'publicKey']) {
      t.equal(await refusal(t, { algorithm: 'RS256', [option]: key }),
        `${option} must be a PEM text, a Buffer, a KeyObject, a JWK or { key, passphrase }, not ${name}`)
    }
    t.equal(await refusal(t, { secretKey: key }), `secretKey must be a string or a Buffer, not ${name}`)
  }
  t.match(await refusal(t, { algorithm: 'RS256', privateKey: [pem(rsaPair().privateKey)] }), 'privateKey must be a PEM text, a Buffer, a KeyObject, a JWK or { key, passphrase }, not a list')
  t.equal(await refusal(t, { secretKey: createSecretKey(Buffer.from(SECRET)) }), 'secretKey must be a string or a Buffer, not a secret KeyObject')
  t.equal(await refusal(t, { secretKey: rsaPair().publicKey }), 'secretKey must be a string or a Buffer, not a public KeyObject')
  t.throws(() => readSecret(undefined, 'it'), { message: 'it must be a string or a Buffer, not undefined' })
  t.throws(() => readSecret(null, 'it'), { message: 'it must be a string or a Buffer, not null' })
})

t.test('an empty key is refused', async (t) => {
  for (const empty of ['', Buffer.alloc(0)]) {
    t.equal(await refusal(t, { secretKey: empty }), 'secretKey must not be empty')
    t.equal(await refusal(t, { algorithm: 'RS256', privateKey: empty }), 'privateKey must not be empty')
    t.equal(await refusal(t, { algorithm: 'RS256', publicKey: empty }), 'publicKey must not be empty')
  }
})

t.test('whatever is or contains an asymmetric key is no HMAC secret', async (t) => {
  const jwk = rsaPair().publicKey.export({ format: 'jwk' })
  const secrets: Record<string, string | Buffer> = {}
  for (const [kind, , pair] of KINDS) {
    const { privateKey, publicKey } = pair
    const spki = pem(publicKey)
    secrets[`${kind} public PEM`] = spki
    secrets[`${kind} private PEM`] = pem(privateKey)
    secrets[`${kind} PEM bytes`] = Buffer.from(spki)
    secrets[`${kind} PEM in UTF-16`] = Buffer.from(spki, 'utf16le')
    secrets[`${kind} PEM behind junk`] = `junk\u0000\ufeff # a comment\n${spki}`
    secrets[`${kind} PEM with escaped line ends`] = spki.replaceAll('\n', '\\n')
    secrets[`${kind} PEM in one line`] = spki.replaceAll('\n', '')
    secrets[`${kind} PEM in JSON`] = JSON.stringify({ key: spki })
    secrets[`${kind} SPKI DER`] = publicKey.export({ format: 'der', type: 'spki' })
    secrets[`${kind} PKCS#8 DER`] = privateKey.export({ format: 'der', type: 'pkcs8' })
    secrets[`${kind} JWK`] = JSON.stringify(publicKey.export({ format: 'jwk' }))
    secrets[`${kind} private JWK`] = JSON.stringify(privateKey.export({ format: 'jwk' }))
    for (const [form, bytes] of Object.entries(derForms(pair))) {
      secrets[`${kind} ${form}`] = bytes
      for (const [writing, text] of Object.entries(writingsOf(bytes))) secrets[`${kind} ${form} ${writing}`] = text
    }
  }
  Object.assign(secrets, {
    'PKCS#1 public DER': rsaPair().publicKey.export({ format: 'der', type: 'pkcs1' }),
    'PKCS#1 private DER': rsaPair().privateKey.export({ format: 'der', type: 'pkcs1' }),
    'SEC1 DER': ecPair().privateKey.export({ format: 'der', type: 'sec1' }),
    'PKCS#1 PEM': rsaPair().publicKey.export({ format: 'pem', type: 'pkcs1' }),
    certificate: certificate(rsaPair()),
    'encrypted PEM': rsaPair().privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'p' }),
    'JWK bytes': Buffer.from(JSON.stringify(jwk)),
    'JWK in UTF-16': Buffer.from(JSON.stringify(jwk), 'utf16le'),
    'JWK with space': JSON.stringify(jwk, null, 2),
    'JWK behind junk': `junk ${JSON.stringify(jwk)}`,
    'JWK escaped': JSON.stringify(JSON.stringify(jwk)),
    'JWK escaped twice': JSON.stringify(JSON.stringify(JSON.stringify(jwk))),
    'JWK set': JSON.stringify({ keys: [jwk] }),
    'JWK set behind junk': `\n\n;${JSON.stringify({ keys: [jwk] }, null, 1)}`,
    'list of JWKs': JSON.stringify([jwk]),
    'JWK in base64': Buffer.from(JSON.stringify(jwk)).toString('base64'),
    'empty JWK set': '{"keys":[]}',
    'empty JWK set bytes': Buffer.from('{"keys":[]}'),
    'empty JWK set in UTF-16': Buffer.from('{"keys":[]}', 'utf16le'),
    'empty JWK set with space': '{ "keys" : [ ] }',
    'empty JWK set over lines': JSON.stringify({ keys: [] }, null, 2),
    'empty JWK set escaped': JSON.stringify('{"keys":[]}'),
    'empty JWK set escaped twice': JSON.stringify(JSON.stringify('{"keys":[]}')),
    'empty JWK set behind junk': 'junk {"issuer":"x","keys":[]}',
    'JWK set of nothing known': '{"keys":[{"k":1}]}',
    'certificate of a key of an unknown kind': certificateDer(ecPair(), UNKNOWN_KEY),
    'certificate of a key of an unknown kind in base64': certificateDer(ecPair(), UNKNOWN_KEY).toString('base64'),
    'a public key of OpenSSH': `ssh-ed25519 ${Buffer.concat([Buffer.from('\0\0\0\x0bssh-ed25519\0\0\0\x20'), randomBytes(32)]).toString('base64')} ada@example.com`,
    'an EC key of OpenSSH': 'ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=',
    'an OpenSSH private key': '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----',
  })
  for (const [name, secret] of Object.entries(secrets)) {
    t.throws(() => readSecret(secret, 'it'), { code: 'FST_JWT_EXT_USAGE', message: /^it is or contains a public or private key, which cannot be an HMAC secret/ }, name)
    t.ok(looksLikeKey(secret), name)
  }
  for (const secretKey of [pem(rsaPair().publicKey), rsaPair().publicKey.export({ format: 'der', type: 'spki' }).toString('base64'), '{"keys":[]}']) {
    for (const algorithm of ['HS256', 'HS512'] as const) {
      t.match(await refusal(t, { algorithm, secretKey }), 'secretKey is or contains a public or private key, which cannot be an HMAC secret')
    }
    t.match(await refusal(t, { secretKey: [SECRET, secretKey] }), 'secretKey[1] is or contains a public or private key')
  }
})

t.test('a random secret in any writing is a secret', (t) => {
  const refused: string[] = []
  function take (secret: string | Buffer): void {
    try {
      readSecret(secret, 'it')
    } catch {
      refused.push(String(secret))
    }
  }
  for (let length = 16; length <= 128; length++) {
    for (let round = 0; round < 2; round++) {
      const bytes = randomBytes(length)
      for (const secret of [bytes, ...Object.values(writingsOf(bytes))]) take(secret)
    }
    // One that begins as a DER key does has to be looked at for longer.
    const bytes = Buffer.concat([Buffer.from([SEQUENCE, length - 2]), randomBytes(length - 2)])
    for (const secret of [bytes, bytes.toString('base64'), bytes.toString('hex')]) take(secret)
  }
  t.strictSame(refused, [])
  t.end()
})

t.test('a secret that only reminds of a key is a secret', async (t) => {
  const digest = createHash('sha512').update('seed').digest()
  const secrets = [
    digest,
    digest.toString('base64'),
    Buffer.concat([Buffer.from([0x30, 0x82]), digest]),
    '0'.repeat(64),
    '--BEGIN with two dashes and BEGIN without any-----------------------',
    '{"k":"a JSON text that is no JWK but long enough to be a secret of HMAC"}',
    'kty: the word alone makes no JWK, and this is a long enough secret too',
    '"keys": the word alone makes no set, and "keys"[0] neither, however long it is',
    'correct horse battery staple, and many more words that are told one after another',
    'correcthorsebatterystapleandmanymorewordsthataretoldoneafteranotherinonebreath',
    'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A-is-how-base64-of-a-key-begins-and-no-more-than-that',
    '302a300506032b6570032100',
    '302a300506032b657003ff00'.repeat(4),
    'deadbeef'.repeat(8),
    'M'.repeat(80),
    '0123456789abcdef'.repeat(16),
  ]
  for (const secretKey of secrets) {
    const app = await buildApp(t, { secretKey })
    t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada', String(secretKey))
  }
})

t.test('a secret counts as its UTF-8 bytes, as text and as a Buffer alike', async (t) => {
  const secret = `${SECRET} ünïcödé ✓`
  const text = await buildApp(t, { secretKey: secret })
  const bytes = await buildApp(t, { secretKey: Buffer.from(secret, 'utf8') })
  const view = await buildApp(t, { secretKey: new Uint8Array(Buffer.from(secret, 'utf8')) as Buffer })
  const token = await text.createAccessToken('ada')
  t.equal((await bytes.decodeToken(token)).sub, 'ada')
  t.equal((await view.decodeToken(token)).sub, 'ada')
  const trimmed = await buildApp(t, { secretKey: `${secret}\n` })
  await t.rejects(trimmed.decodeToken(token), { message: 'Signature verification failed' })
})

t.test('a Buffer that the caller overwrites later goes on being the key that it was', async (t) => {
  const secretKey = Buffer.from(SECRET)
  const app = await buildApp(t, { secretKey })
  const token = await app.createAccessToken('ada')
  secretKey.fill(0)
  t.equal(await app.createAccessToken('ada').then((another) => app.decodeToken(another)).then((payload) => payload.sub), 'ada')
  t.equal((await app.decodeToken(token)).sub, 'ada')
  const other = await buildApp(t)
  t.equal((await other.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
})

t.test('no message about a key gives the key away', async (t) => {
  const text = pem(rsaPair().privateKey)
  const jwk = rsaPair().privateKey.export({ format: 'jwk' })
  const secret = 'hunter2-hunter2'
  const messages = [
    await refusal(t, { algorithm: 'RS256', publicKey: text }),
    await refusal(t, { algorithm: 'RS256', privateKey: text.slice(0, 300) }),
    await refusal(t, { algorithm: 'RS256', publicKey: jwk }),
    await refusal(t, { algorithm: 'ES256', privateKey: jwk }),
    await refusal(t, { secretKey: text }),
    await refusal(t, { secretKey: JSON.stringify(jwk) }),
    await refusal(t, { algorithm: 'RS256', privateKey: secret }),
    await refusal(t, { algorithm: 'RS256', privateKey: text.replaceAll(/-----.*-----/g, '') }),
    await refusal(t, { secretKey: text.replaceAll(/-----.*-----/g, '') }),
    await refusal(t, { algorithm: 'RS256', secretKey: secret }),
  ]
  for (const message of messages) {
    t.notMatch(message, jwk.d!.slice(0, 16))
    t.notMatch(message, jwk.n!.slice(0, 16))
    t.notMatch(message, text.slice(40, 60))
    t.notMatch(message, secret)
  }
})

t.test('an algorithm knows its family and how long its secret should be', async (t) => {
  t.strictSame((['HS256', 'HS384', 'HS512'] as const).map(hashLength), [32, 48, 64])
  t.ok((['HS256', 'HS384', 'HS512'] as const).every(isHmac))
  t.notOk(ASYMMETRIC.some(isHmac))
})

t.test('a key has a name in words', async (t) => {
  t.equal(nameKey(createSecretKey(Buffer.from('x'))), 'an HMAC secret')
  t.equal(nameKey(rsaPair().publicKey), 'a key of the kind rsa')
  t.equal(nameKey(ecPair('P-384').privateKey), 'a key of the kind ec on the curve secp384r1')
})

t.test('a key that was read is fit for the algorithms of its kind, curve and size only', async (t) => {
  const rows: [KeyObject, readonly string[]][] = [
    [rsaPair().publicKey, ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']],
    [ecPair().publicKey, ['ES256']], [ecPair('P-384').publicKey, ['ES384']], [ecPair('P-521').publicKey, ['ES512']],
    [edPair().publicKey, ['EdDSA']],
  ]
  for (const [key, algorithms] of rows) t.strictSame(readPublicKey(key, 'it').algorithms, algorithms)
  t.strictSame(readPrivateKey(edPair().privateKey, 'it').algorithms, ['EdDSA'])
  t.strictSame(readSecret('x', 'it').algorithms, ['HS256', 'HS384', 'HS512'])
  t.ok(createPublicKey(edPair().privateKey).equals(edPair().publicKey))
})
