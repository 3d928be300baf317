// Tokens that name another algorithm than the one their key is for, and tokens that name none.
import { createHmac, type KeyObject } from 'node:crypto'
import t from 'tap'
import { JwtDecodeError, type JwtAlgorithm, type JwtExtendedOptions } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { ASYMMETRIC, ecPair, edPair, pairFor, pem, rsaPair } from '../support/keys.js'
import { segment, segmentsOf, signToken } from '../support/sign.js'
import { buildTarget } from '../support/target.js'

const EVE = { sub: 'eve' }
const HMAC = ['HS256', 'HS384', 'HS512'] as const

/** Every text and every bytes that people write a public key as. */
function writingsOf (key: KeyObject): [name: string, secret: string | Buffer][] {
  const spki = pem(key)
  const der = key.export({ format: 'der', type: 'spki' })
  const jwk = key.export({ format: 'jwk' })
  const body = spki.replaceAll(/-----.*-----|\s/g, '')
  const writings: [string, string | Buffer][] = [
    ['PEM', spki], ['PEM without its last newline', spki.trimEnd()], ['PEM with one newline more', `${spki}\n`], ['PEM with CR LF', spki.replaceAll('\n', '\r\n')],
    ['PEM in one line', spki.replaceAll('\n', '')], ['PEM with escaped newlines', spki.replaceAll('\n', '\\n')], ['PEM behind a newline', `\n${spki}`],
    ['PEM without its armour', body], ['PEM in UTF-16', Buffer.from(spki, 'utf16le')], ['DER', der], ['DER in base64url', der.toString('base64url')], ['DER in hex', der.toString('hex')],
    ['JWK', JSON.stringify(jwk)], ['JWK, indented', JSON.stringify(jwk, null, 2)], ['JWK set', JSON.stringify({ keys: [jwk] })], ['JWK with sorted members', JSON.stringify(Object.fromEntries(Object.entries(jwk).sort()))],
    ['nothing', ''], ['a zero byte', '\0']
  ]
  for (const member of ['n', 'x', 'y', 'e'] as const) {
    const value = jwk[member]
    if (typeof value === 'string') writings.push([`the member ${member}`, value], [`the bytes of the member ${member}`, Buffer.from(value, 'base64url')])
  }
  if (key.asymmetricKeyType === 'rsa') {
    writings.push(['PKCS1 PEM', key.export({ format: 'pem', type: 'pkcs1' })], ['PKCS1 DER', key.export({ format: 'der', type: 'pkcs1' })])
  }
  return writings
}

for (const algorithm of ['RS256', 'PS256', 'ES256', 'EdDSA'] as const) {
  t.test(`${algorithm}: the public key in any writing is no secret of an HMAC`, async (t) => {
    const { privateKey, publicKey } = pairFor(algorithm)
    // With HMAC tokens accepted beside, by a secret of their own, and with a loader that gives the public key to all.
    const configurations: [string, JwtExtendedOptions][] = [
      ['alone', { algorithm, privateKey, publicKey }],
      ['beside HMAC', { algorithm, privateKey, publicKey, secretKey: SECRET, decodeAlgorithms: [...HMAC] }],
      ['from a loader', { algorithm, privateKey, decodeAlgorithms: [...HMAC], decodeKeyLoader: () => pem(publicKey) }],
      ['from a loader as DER', { algorithm, privateKey, decodeAlgorithms: [...HMAC], decodeKeyLoader: () => publicKey.export({ format: 'der', type: 'spki' }) }]
    ]
    for (const [how, options] of configurations) {
      const target = await buildTarget(t, options)
      for (const [name, secret] of writingsOf(publicKey)) {
        for (const alg of how === 'alone' ? HMAC : ['HS256'] as const) await target.refuses(t, forge(EVE, { alg }, secret), `${how}, ${alg} by ${name}`)
      }
    }
    const both = await buildTarget(t, configurations[1]![1])
    await both.passes(t, forge({ sub: 'ada' }), 'HMAC by its own secret')
  })

  t.test(`${algorithm}: a good signature under the name of any other algorithm is refused`, async (t) => {
    const { privateKey, publicKey } = pairFor(algorithm)
    const target = await buildTarget(t, { algorithm, privateKey, publicKey })
    for (const alg of [...HMAC, ...ASYMMETRIC, 'none', 'ES256K', 'Ed25519', 'RS1', 'HS1', algorithm.toLowerCase()]) {
      if (alg === algorithm) continue
      await target.refuses(t, signToken(algorithm, privateKey, EVE, { alg }), `signed for ${alg}`)
      await target.refuses(t, `${segment({ alg })}.${segmentsOf(target.token).slice(1).join('.')}`, `renamed to ${alg}`)
    }
    await target.passes(t, signToken(algorithm, privateKey, { sub: 'ada' }), 'the same by its own name')
  })
}

for (const algorithm of ['RS256', 'ES256', 'EdDSA'] as const) {
  t.test(`${algorithm}: where HMAC is accepted and there is no secret, the public key is none`, async (t) => {
    const { privateKey, publicKey } = pairFor(algorithm)
    const forms = [publicKey, pem(publicKey), publicKey.export({ format: 'der', type: 'spki' }), publicKey.export({ format: 'jwk' })]
    for (const form of forms) {
      const app = await buildApp(t, { algorithm, decodeAlgorithms: [algorithm, 'HS256'], publicKey: form })
      app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
      const get = async (token: string): Promise<[number, string]> => {
        const { statusCode, body } = await app.inject({ url: '/', headers: bearer(token) })
        return [statusCode, body]
      }
      for (const rotate of [false, true]) {
        if (rotate) app.rotateKeys({ publicKey: pairFor(algorithm, 'next').publicKey })
        for (const [name, secret] of writingsOf(publicKey)) {
          t.strictSame(await get(forge(EVE, { alg: 'HS256', typ: 'JWT' }, secret)), [422, '{"msg":"The specified alg value is not allowed"}'], name)
        }
        t.strictSame(await get(signToken(algorithm, privateKey, { sub: 'ada' })), [200, 'ada'])
      }
    }
  })
}

t.test('a key that could serve several algorithms serves the configured one', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const target = await buildTarget(t, { algorithm: 'RS256', privateKey, publicKey })
  for (const other of ['RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const) {
    await target.refuses(t, signToken(other, privateKey, EVE), `${other} by the very same key`)
  }
  const both = await buildTarget(t, { algorithm: 'RS256', decodeAlgorithms: ['PS256'], privateKey, publicKey })
  await both.refuses(t, signToken('RS256', privateKey, EVE, { alg: 'PS256' }), 'an RS256 signature named PS256')
  await both.refuses(t, signToken('PS256', privateKey, EVE, { alg: 'RS256' }), 'a PS256 signature named RS256')
  await both.passes(t, signToken('PS256', privateKey, { sub: 'ada' }), 'PS256 by its own name')
})

t.test('keys of other curves and kinds are refused under the accepted name', async (t) => {
  const target = await buildTarget(t, { algorithm: 'ES256', ...ecPair() })
  const others: [string, JwtAlgorithm, KeyObject][] = [
    ['P-384', 'ES384', ecPair('P-384').privateKey], ['P-521', 'ES512', ecPair('P-521').privateKey], ['secp256k1', 'ES256', ecPair('secp256k1').privateKey],
    ['another P-256', 'ES256', ecPair('P-256', 'other').privateKey], ['Ed25519', 'EdDSA', edPair().privateKey], ['RSA', 'RS256', rsaPair().privateKey]
  ]
  for (const [name, algorithm, key] of others) await target.refuses(t, signToken(algorithm, key, EVE, { alg: 'ES256' }), name)
  const ed = await buildTarget(t, { algorithm: 'EdDSA', ...edPair() })
  await ed.refuses(t, signToken('ES256', ecPair().privateKey, EVE, { alg: 'EdDSA' }), 'ECDSA named EdDSA')
})

t.test('a kid that names a key of another kind does not turn it into one', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const keys = new Map<string, string>([['shared', SECRET], ['public', pem(publicKey)]])
  const target = await buildTarget(t, {
    algorithm: 'RS256',
    privateKey,
    additionalHeadersLoader: () => ({ kid: 'public' }),
    decodeAlgorithms: ['HS256'],
    decodeKeyLoader ({ kid = 'public' }) {
      const key = keys.get(kid)
      if (key === undefined) throw new JwtDecodeError('Unknown key')
      return key
    },
  })
  await target.passes(t, forge({ sub: 'ada' }, { alg: 'HS256', kid: 'shared' }), 'HMAC by the shared secret')
  await target.passes(t, signToken('RS256', privateKey, { sub: 'ada' }, { alg: 'RS256', kid: 'public' }), 'RSA by the public key')
  await target.refuses(t, forge(EVE, { alg: 'HS256', kid: 'public' }, pem(publicKey)), 'HMAC by the public key')
  await target.refuses(t, signToken('RS256', privateKey, EVE, { alg: 'RS256', kid: 'shared' }), 'RSA by the shared secret')
  await target.refuses(t, forge(EVE, { alg: 'RS256', kid: 'shared' }), 'HMAC named RS256')
  for (const kid of ['__proto__', 'constructor', 'toString', '', 'SHARED', 'shared\0', '../shared', 'public,shared']) {
    await target.refuses(t, forge(EVE, { alg: 'HS256', kid }), `the kid ${JSON.stringify(kid)}`)
  }
  for (const kid of [['shared'], { shared: 1 }, 5, null, true]) await target.refuses(t, forge(EVE, { alg: 'HS256', kid }), `the kid ${JSON.stringify(kid)}`)
})

t.test('a loader that looks a kid up in a plain object hands out no key that it has not', async (t) => {
  const keys: Record<string, string> = { k1: SECRET }
  const target = await buildTarget(t, { secretKey: SECRET, additionalHeadersLoader: () => ({ kid: 'k1' }), decodeKeyLoader: ({ kid }) => keys[String(kid)]! })
  for (const kid of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'k2']) {
    for (const secret of [SECRET, '', '[object Object]', 'undefined', 'null']) {
      // A 500, and no refusal: the application has no key for what it was asked.
      const response = await target.app.inject({ url: '/optional', headers: { authorization: `Bearer ${forge(EVE, { alg: 'HS256', kid }, secret)}` } })
      t.equal(response.statusCode, 500, kid)
    }
  }
  t.strictSame(target.reached, [])
})

const NONES: unknown[] = [
  'none', 'None', 'NONE', 'nOnE', 'none ', ' none', 'none\t', 'none\n', 'none\0', 'n\u043ene', 'no\u200bne', 'ｎｏｎｅ', '', ' ', 'null', 'undefined', 'HS256,none', 'none,HS256',
  null, undefined, false, true, 0, 1, [], ['none'], ['HS256'], {}, { toString: 'HS256' }, [['HS256']]
]

for (const [name, options] of [['HS256', { secretKey: SECRET }], ['RS256', { algorithm: 'RS256', ...rsaPair() }], ['ES256', { algorithm: 'ES256', ...ecPair() }]] as [string, JwtExtendedOptions][]) {
  t.test(`${name}: none is refused in every spelling, with any signature and without one`, async (t) => {
    const target = await buildTarget(t, options)
    const kept = segmentsOf(target.token)[2]
    for (const alg of NONES) {
      const input = `${segment(JSON.stringify({ typ: 'JWT', alg }))}.${segment(EVE)}`
      const hmac = (secret: string): string => createHmac('sha256', secret).update(input).digest('base64url')
      const signatures = ['', '.', 'AA', kept, hmac(''), hmac(SECRET), hmac('none'), segment(Buffer.alloc(32)), 'null', 'undefined']
      for (const signature of signatures) await target.refuses(t, `${input}.${signature}`, `${JSON.stringify(alg)} signed ${signature.slice(0, 6)}`)
      await target.refuses(t, input, `${JSON.stringify(alg)} with two segments`)
    }
  })

  t.test(`${name}: a token with segments missing or too many is refused`, async (t) => {
    const target = await buildTarget(t, options)
    const [header, payload, signature] = segmentsOf(target.token)
    for (const token of [
      header, `${header}.`, `.${payload}`, `${header}.${payload}`, `${header}.${payload}.`, `${header}..${signature}`, `.${payload}.${signature}`, '.', '..', '...', `..${signature}`,
      `${header}.${payload}..`, `${header}.${payload}..${signature}`, `${header}.${payload}.${signature}.`, `${header}.${payload}.${signature}.${signature}`, `.${header}.${payload}.${signature}`,
      `${header}.${payload}.${payload}.${signature}`, `${header}.${header}.${payload}.${signature}`, `${header}.${payload}%2e${signature}`, `${header}．${payload}．${signature}`
    ]) {
      await target.refuses(t, token, `${token.length} characters, ${token.split('.').length} segments`)
    }
    await target.passes(t, target.token, 'the whole token')
  })
}
