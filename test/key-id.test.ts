import { createPublicKey, createSecretKey, randomBytes, type JsonWebKey, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import t from 'tap'
import { digestOf, thumbprintOf } from '../lib/key-id.js'
import { ecPair, edPair, rsaPair } from './support/keys.js'

function publicKey (jwk: JsonWebKey): KeyObject {
  return createPublicKey({ key: jwk, format: 'jwk' })
}

t.test('the thumbprint of RFC 7638 §3.1’s RSA key is the one that is printed there', async (t) => {
  const jwk = {
    kty: 'RSA',
    n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
    e: 'AQAB',
    alg: 'RS256',
    kid: '2011-04-29',
  }
  t.equal(thumbprintOf(publicKey(jwk)), 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
})

t.test('the thumbprint of RFC 8037 A.3’s Ed25519 key is the one that is printed there', async (t) => {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }
  t.equal(thumbprintOf(publicKey(jwk)), 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k')
})

t.test('jose finds the same thumbprint for each kind of key, and for either half', async (t) => {
  const pairs = { RSA: rsaPair(), 'P-256': ecPair(), 'P-384': ecPair('P-384'), 'P-521': ecPair('P-521'), Ed25519: edPair() }
  for (const [kind, { privateKey, publicKey }] of Object.entries(pairs)) {
    const expected = await calculateJwkThumbprint(publicKey, 'sha256')
    t.equal(thumbprintOf(publicKey), expected, kind)
    t.equal(thumbprintOf(privateKey), expected, `${kind}, the private half`)
  }
})

t.test('a secret’s digest is short, stays the same, and is another one for each secret', async (t) => {
  const secrets = Array.from({ length: 1000 }, () => randomBytes(32))
  const digests = secrets.map((secret) => digestOf(createSecretKey(secret)))
  t.equal(new Set(digests).size, secrets.length)
  t.ok(digests.every((digest) => /^[\w-]{11}$/.test(digest)), 'eight bytes: too few to be worth anything to who looks for the secret')
  t.strictSame(secrets.map((secret) => digestOf(createSecretKey(Buffer.from(secret)))), digests)
  const [secret, digest] = [secrets[0]!, digests[0]!]
  for (const encoding of ['base64url', 'hex', 'latin1'] as const) t.notOk(secret.toString(encoding).includes(digest))
})
