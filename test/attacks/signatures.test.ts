// Signatures that are changed or made up without the key.
import { constants, createHash, generateKeyPairSync, privateDecrypt, publicEncrypt } from 'node:crypto'
import t, { type Test } from 'tap'
import { memoryStore, type JwtAlgorithm, type JwtExtendedOptions } from '../../index.js'
import { SECRET } from '../support/app.js'
import { ecPair, edPair, pairFor, rsaPair } from '../support/keys.js'
import { claimsOf, resign, segment, segmentsOf, signatureBy, signatureOf } from '../support/sign.js'
import { buildTarget, type Target } from '../support/target.js'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const EACH = ['HS256', 'RS256', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const

// The orders of the groups: SEC 2 §2.4.2, §2.5.1, §2.6.1, and RFC 8032 §5.1.
const ORDERS = {
  ES256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  ES384: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  ES512: 2n ** 521n - 2n ** 260n + 0xa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
}
const ED25519_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n

function optionsFor (algorithm: JwtAlgorithm): JwtExtendedOptions {
  return algorithm.startsWith('HS') ? { algorithm, secretKey: SECRET } : { algorithm, ...pairFor(algorithm) }
}

function toBytes (value: bigint, length: number): Buffer {
  return Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex')
}

function toBigInt (bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`)
}

/** The other spellings of a signature: those that differ only in the bits that base64url leaves unused. */
function respell (token: string): string[] {
  const spare = [0, 4, 2][signatureOf(token).length % 3]!
  const index = ALPHABET.indexOf(token.at(-1)!) >> spare << spare
  return Array.from({ length: 2 ** spare }, (_, bits) => token.slice(0, -1) + ALPHABET[index | bits]).filter((one) => one !== token)
}

/** A token of the application whose signature has a sign in it that standard base64 writes otherwise. */
async function tokenWith (target: Target, sign: string): Promise<string> {
  for (;;) {
    const token = await target.app.createAccessToken('ada')
    if (segmentsOf(token)[2].includes(sign)) return token
  }
}

for (const algorithm of EACH) {
  t.test(`${algorithm}: a signature in another writing is refused`, async (t) => {
    const target = await buildTarget(t, optionsFor(algorithm))
    const { token } = target
    const signature = segmentsOf(token)[2]
    for (const [name, text] of [
      ['padding', `${signature}=`], ['double padding', `${signature}==`], ['a newline', `${signature}\n`], ['a space in it', `${signature.slice(0, 9)} ${signature.slice(9)}`],
      ['a tab in it', `${signature.slice(0, 9)}\t${signature.slice(9)}`], ['a NUL', `${signature}\0`], ['a zero-width space', `${signature}\u200b`], ['hex', signatureOf(token).toString('hex')], ['quotes', `"${signature}"`],
      ['one character more', `${signature}A`], ['four characters more', `${signature}AAAA`], ['one character less', signature.slice(0, -1)], ['four less', signature.slice(0, -4)], ['half', signature.slice(0, signature.length >> 1)], ['twice', signature + signature], ['reversed', [...signature].reverse().join('')]
    ] as const) {
      await target.refuses(t, resign(token, text), name)
    }
    const dashed = await tokenWith(target, '-')
    await target.refuses(t, resign(dashed, segmentsOf(dashed)[2].replaceAll('-', '+')), 'standard base64')
    const underscored = await tokenWith(target, '_')
    await target.refuses(t, resign(underscored, segmentsOf(underscored)[2].replaceAll('_', '/')), 'standard base64')
  })

  t.test(`${algorithm}: the spellings that differ in unused bits are the same token, and revoked with it`, async (t) => {
    const target = await buildTarget(t, { ...optionsFor(algorithm), store: memoryStore(), storeTimeout: 20 })
    const { token, app } = target
    const others = respell(token)
    const expected = [0, 15, 3][signatureOf(token).length % 3]
    t.equal(others.length, expected)
    for (const other of others.slice(0, 3)) t.strictSame(await target.passes(t, other, 'another spelling'), claimsOf(token))
    await app.revokeToken(token)
    for (const other of [token, ...others]) {
      t.equal((await app.inject({ url: '/', headers: { authorization: `Bearer ${other}` } })).statusCode, 401)
    }
  })

  t.test(`${algorithm}: no signature of a pattern passes`, async (t) => {
    const target = await buildTarget(t, optionsFor(algorithm))
    const { length } = signatureOf(target.token)
    const patterns: [string, Buffer][] = [
      ['zeros', Buffer.alloc(length)], ['ones', Buffer.alloc(length, 1)], ['0xff', Buffer.alloc(length, 0xff)], ['the number one', toBytes(1n, length)], ['no bytes but one', Buffer.alloc(1)],
      ['a zero in front', Buffer.concat([Buffer.alloc(1), signatureOf(target.token)])], ['a zero behind', Buffer.concat([signatureOf(target.token), Buffer.alloc(1)])],
      ['without its first byte', signatureOf(target.token).subarray(1)], ['without its last byte', signatureOf(target.token).subarray(0, -1)], ['two signatures', Buffer.concat([signatureOf(target.token), signatureOf(target.token)])],
      ['a megabit', Buffer.alloc(10_000, 7)]
    ]
    for (const [name, signature] of patterns) await target.refuses(t, resign(target.token, signature), name)
    for (let bit = 0; bit < length * 8; bit += 61) {
      const flipped = signatureOf(target.token)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      await target.refuses(t, resign(target.token, flipped), `bit ${bit}`)
    }
  })
}

for (const algorithm of ['ES256', 'ES384', 'ES512'] as const) {
  t.test(`${algorithm}: r and s outside of their range are refused, the zeros of "psychic signatures" (CVE-2022-21449) among them`, async (t) => {
    const target = await buildTarget(t, optionsFor(algorithm))
    const order = ORDERS[algorithm]
    const signature = signatureOf(target.token)
    const size = signature.length / 2
    const [r, s] = [toBigInt(signature.subarray(0, size)), toBigInt(signature.subarray(size))]
    const limit = 2n ** BigInt(size * 8)
    const pairs: [string, bigint, bigint][] = [
      ['(0, 0)', 0n, 0n], ['(0, s)', 0n, s], ['(r, 0)', r, 0n], ['(0, 1)', 0n, 1n], ['(1, 0)', 1n, 0n], ['(1, 1)', 1n, 1n], ['(n, n)', order, order], ['(n, s)', order, s], ['(r, n)', r, order],
      ['(n, 0)', order, 0n], ['(0, n)', 0n, order], ['(n - 1, n - 1)', order - 1n, order - 1n], ['(n + 1, s)', order + 1n, s], ['(s, r)', s, r], ['(n - r, s)', order - r, s], ['(r, r)', r, r], ['the largest', limit - 1n, limit - 1n]
    ]
    if (s + order < limit) pairs.push(['(r, s + n)', r, s + order])
    if (r + order < limit) pairs.push(['(r + n, s)', r + order, s])
    for (const [name, one, other] of pairs) await target.refuses(t, resign(target.token, Buffer.concat([toBytes(one, size), toBytes(other, size)])), name)
    await target.refuses(t, resign(target.token, Buffer.concat([Buffer.alloc(1), toBytes(r, size), Buffer.alloc(1), toBytes(s, size)])), 'both a byte longer')
    await target.refuses(t, resign(target.token, Buffer.concat([toBytes(r, size), Buffer.from([signature[size]! ^ 1]), toBytes(s, size).subarray(1)])), 's with another first byte')
  })

  t.test(`${algorithm}: a signature in DER is refused, in all that DER and BER allow`, async (t) => {
    const target = await buildTarget(t, optionsFor(algorithm))
    const signature = signatureOf(target.token)
    const size = signature.length / 2
    const number = (bytes: Buffer): Buffer => {
      const trimmed = bytes.subarray(bytes.findIndex((byte) => byte !== 0))
      const value = trimmed[0]! & 0x80 ? Buffer.concat([Buffer.alloc(1), trimmed]) : trimmed
      return Buffer.concat([Buffer.from([2, value.length]), value])
    }
    const body = Buffer.concat([number(signature.subarray(0, size)), number(signature.subarray(size))])
    const strict = Buffer.concat([Buffer.from(body.length < 128 ? [0x30, body.length] : [0x30, 0x81, body.length]), body])
    const long = Buffer.concat([Buffer.from([0x30, 0x82, 0, body.length]), body])
    const empty = Buffer.from([0x30, 6, 2, 1, 0, 2, 1, 0])
    for (const [name, der] of [['strict', strict], ['a long length', long], ['with more behind', Buffer.concat([strict, Buffer.alloc(4)])], ['zeros', empty], ['cut to the length of a raw one', Buffer.concat([strict, Buffer.alloc(2 * size)]).subarray(0, 2 * size)]] as const) {
      await target.refuses(t, resign(target.token, der), name)
    }
  })

  t.test(`${algorithm}: (r, n − s) is the same token, and revoked with it`, async (t) => {
    const target = await buildTarget(t, { ...optionsFor(algorithm), store: memoryStore(), storeTimeout: 20 })
    const signature = signatureOf(target.token)
    const size = signature.length / 2
    const mirrored = resign(target.token, Buffer.concat([signature.subarray(0, size), toBytes(ORDERS[algorithm] - toBigInt(signature.subarray(size)), size)]))
    t.not(mirrored, target.token)
    t.strictSame(await target.passes(t, mirrored, 'mirrored'), claimsOf(target.token))
    await target.app.revokeToken(target.token)
    t.equal((await target.app.inject({ url: '/', headers: { authorization: `Bearer ${mirrored}` } })).statusCode, 401)
  })
}

t.test('RSA: numbers that are the signature plus a multiple of the modulus, or trivial powers, are refused', async (t) => {
  for (const algorithm of ['RS256', 'PS256'] as const) {
    const { privateKey, publicKey } = rsaPair()
    const target = await buildTarget(t, { algorithm, privateKey, publicKey })
    const modulus = toBigInt(Buffer.from(publicKey.export({ format: 'jwk' }).n!, 'base64url'))
    const value = toBigInt(signatureOf(target.token))
    for (const [name, other] of [['0', 0n], ['1', 1n], ['n', modulus], ['n - 1', modulus - 1n], ['n + 1', modulus + 1n], ['n - s', modulus - value]] as const) {
      await target.refuses(t, resign(target.token, toBytes(other, 256)), `${algorithm} ${name}`)
    }
    await target.refuses(t, resign(target.token, toBytes(value + modulus, 257)), `${algorithm} s + n`)
    if (value + modulus < 2n ** 2048n) await target.refuses(t, resign(target.token, toBytes(value + modulus, 256)), `${algorithm} s + n in place`)
  }
})

// The digest of SHA-256 as PKCS #1 v1.5 signs it: RFC 8017 §9.2, note 1.
const SHA256_INFO = Buffer.from('3031300d060960864801650304020105000420', 'hex')

function cubeRoot (value: bigint): bigint {
  let low = 0n
  let high = 1n << BigInt(Math.ceil(value.toString(2).length / 3) + 1)
  while (low < high) {
    const middle = (low + high) >> 1n
    if (middle ** 3n < value) low = middle + 1n
    else high = middle
  }
  return low
}

t.test("RSA: a block made by hand is refused, be its padding short (Bleichenbacher's forgery), of another kind or with something behind it", async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 })
  const target = await buildTarget(t, { algorithm: 'RS256', privateKey, publicKey })
  const input = target.token.slice(0, target.token.lastIndexOf('.'))
  const digest = Buffer.concat([SHA256_INFO, createHash('sha256').update(input).digest()])
  // Without the private key: the cube of this number begins with a block that looks right to a careless reader.
  const prefix = Buffer.concat([Buffer.from([0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 0]), digest])
  const forged = cubeRoot(toBigInt(Buffer.concat([prefix, Buffer.alloc(256 - prefix.length)])))
  t.ok(toBytes(forged ** 3n, 256).subarray(0, prefix.length).equals(prefix), 'it is one')
  await target.refuses(t, resign(target.token, toBytes(forged, 256)), 'the cube root of a block')
  // With it: blocks that only a careless reader would take.
  const raw = (block: Buffer): Buffer => privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, block)
  const good = Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(256 - 3 - digest.length, 255), Buffer.alloc(1), digest])
  t.ok(raw(good).equals(signatureBy('RS256', privateKey, input)), 'the one that is right')
  const blocks: [string, Buffer][] = [
    ['garbage behind', Buffer.concat([prefix, Buffer.alloc(256 - prefix.length, 7)])],
    ['block type 2', Buffer.concat([Buffer.from([0, 2]), good.subarray(2)])], ['block type 0', Buffer.concat([Buffer.from([0, 0]), good.subarray(2)])],
    ['another byte in the padding', Buffer.concat([good.subarray(0, 9), Buffer.from([254]), good.subarray(10)])],
    ['the digest without its name', Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(256 - 3 - 32, 255), Buffer.alloc(1), digest.subarray(-32)])]
  ]
  for (const [name, block] of blocks) await target.refuses(t, resign(target.token, raw(block)), name)
  t.equal(publicEncrypt({ key: publicKey, padding: constants.RSA_NO_PADDING }, raw(good)).equals(good), true)
})

t.test('EdDSA: S + L, small points and a hash over nothing are refused', async (t) => {
  const target = await buildTarget(t, { algorithm: 'EdDSA', ...edPair() })
  const signature = signatureOf(target.token)
  const point = signature.subarray(0, 32)
  const scalar = toBigInt(Buffer.from(signature.subarray(32)).reverse())
  const write = (value: bigint): Buffer => toBytes(value, 32).reverse()
  const identity = Buffer.concat([Buffer.from([1]), Buffer.alloc(31)])
  for (const [name, bytes] of [
    ['S + L', Buffer.concat([point, write(scalar + ED25519_ORDER)])], ['S + 2L', Buffer.concat([point, write(scalar + 2n * ED25519_ORDER)])], ['L - S', Buffer.concat([point, write(ED25519_ORDER - scalar)])],
    ['S = 0', Buffer.concat([point, Buffer.alloc(32)])], ['S = L', Buffer.concat([point, write(ED25519_ORDER)])], ['the identity and 0', Buffer.concat([identity, Buffer.alloc(32)])],
    ['the identity and S', Buffer.concat([identity, signature.subarray(32)])], ['no point at all', Buffer.concat([Buffer.alloc(32, 0xff), signature.subarray(32)])], ['the sign of R', flip(signature, 31, 0x80)], ['the high bits of S', flip(signature, 63, 0x80)]
  ] as [string, Buffer][]) {
    await target.refuses(t, resign(target.token, bytes), name)
  }
})

function flip (bytes: Buffer, at: number, mask: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at]! ^= mask
  return copy
}

t.test('a signature of one token does not fit another, nor the same claims under another header', async (t: Test) => {
  for (const algorithm of EACH) {
    const target = await buildTarget(t, optionsFor(algorithm))
    const other = await target.app.createAccessToken('eve', { fresh: true })
    await target.refuses(t, resign(target.token, segmentsOf(other)[2]), `${algorithm}: another token`)
    const [header, payload, signature] = segmentsOf(target.token)
    await target.refuses(t, `${segment({ typ: 'JWT', alg: algorithm, kid: 'x' })}.${payload}.${signature}`, `${algorithm}: another header`)
    await target.refuses(t, `${header}.${segment({ ...claimsOf(target.token), fresh: true })}.${signature}`, `${algorithm}: another payload`)
    // The boundary between header and payload is part of what is signed.
    await target.refuses(t, `${header}${payload.slice(0, 4)}.${payload.slice(4)}.${signature}`, `${algorithm}: another boundary`)
  }
})

t.test('the keys of two applications do not pass for each other', async (t) => {
  const [one, other] = [await buildTarget(t, { algorithm: 'ES256', ...ecPair() }), await buildTarget(t, { algorithm: 'ES256', ...ecPair('P-256', 'other') })]
  await one.refuses(t, other.token, 'a good token of somebody else')
  await other.passes(t, other.token, 'at home')
})
