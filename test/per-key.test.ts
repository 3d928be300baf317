import { createSecretKey } from 'node:crypto'
import t from 'tap'
import { compilePerKey } from '../lib/per-key.js'
import { buildApp, SECRET } from './support/app.js'
import { forge } from './support/forge.js'
import { ecPair, pem, rsaPair } from './support/keys.js'

/** Compiles anything to an object that names the value, and counts how often. */
function counting (): { compile: (value: unknown) => { value: unknown }, calls: () => number } {
  let calls = 0
  return { compile: compilePerKey((value) => { calls++; return { value } }), calls: () => calls }
}

t.test('a key is compiled once, however often a loader returns it', async (t) => {
  const pair = rsaPair()
  const jwk = pair.publicKey.export({ format: 'jwk' })
  const secretObject = createSecretKey(Buffer.from('x'))
  const rows: [name: string, first: unknown, again: unknown][] = [
    ['text', 'a secret', 'a ' + 'secret'],
    ['PEM', pem(pair.publicKey), pem(pair.publicKey)],
    ['bytes', Buffer.from([1, 2, 255]), Buffer.from([1, 2, 255])],
    ['bytes of another class', Buffer.from([1, 2, 255]), new Uint8Array([1, 2, 255])],
    ['JWK', { ...jwk }, { ...jwk }],
    ['JWK without prototype', Object.assign(Object.create(null), jwk), Object.assign(Object.create(null), jwk)],
    ['key and passphrase', { key: 'k', passphrase: 'p' }, { key: 'k', passphrase: 'p' }],
    ['KeyObject', secretObject, secretObject],
  ]
  for (const [name, first, again] of rows) {
    const { compile, calls } = counting()
    t.equal(compile(first), compile(again), name)
    t.equal(calls(), 1, name)
  }
})

t.test('keys that differ are told apart', async (t) => {
  const { compile, calls } = counting()
  const values: unknown[] = [
    'a', 'b', '\0a', '\0s\0a', '\0ba', '\0b\0a', '\0sa', '\0j{}', '\0\0', '\0',
    Buffer.from('a'), Buffer.from('b'), Buffer.from('\0a'), Buffer.from('ba'), Buffer.from([]), Buffer.from([0xff]), Buffer.from('ÿ'),
    {}, { kty: 'a' }, { kty: 'b' }, { kty: 'a', alg: 'b' }, { key: 'k', passphrase: 'p' }, { key: 'k', passphrase: 'q' },
    createSecretKey(Buffer.from('x')), createSecretKey(Buffer.from('x')), rsaPair().publicKey, ecPair().publicKey
  ]
  const results = new Set(values.map(compile))
  t.equal(results.size, values.length)
  t.equal(calls(), values.length)
  for (const value of values) t.strictSame(compile(value).value, value)
})

t.test('what is no key is compiled each time, so that each call gets its error', async (t) => {
  const { compile, calls } = counting()
  for (const value of [undefined, null, 5, true]) compile(value)
  for (const value of [undefined, null, 5, true]) compile(value)
  t.equal(calls(), 8)
})

t.test('what throws is not kept', async (t) => {
  let broken = true
  const compile = compilePerKey((value) => {
    if (broken) throw new Error('no such key')
    return { value }
  })
  t.throws(() => compile('k'), { message: 'no such key' })
  t.throws(() => compile('k'), { message: 'no such key' })
  broken = false
  t.strictSame(compile('k'), { value: 'k' })
})

t.test('the keys that are kept are bounded, least recently used out first', async (t) => {
  const { compile, calls } = counting()
  const first = compile('0')
  const second = compile('1')
  for (let i = 2; i < 5000; i++) compile(String(i))
  t.equal(compile('0'), first)
  compile('one more')
  t.equal(compile('0'), first, 'used lately')
  t.equal(calls(), 5001)
  t.not(compile('1'), second, 'driven out')
})

t.test('a Buffer that a loader overwrites and returns again is another key', async (t) => {
  const key = Buffer.from(SECRET)
  const app = await buildApp(t, { secretKey: SECRET, encodeKeyLoader: () => key, decodeKeyLoader: () => key })
  const token = await app.createAccessToken('ada')
  t.equal((await app.decodeToken(token)).sub, 'ada')
  key.write('B')
  await t.rejects(app.decodeToken(token), { message: 'Signature verification failed' })
  const next = await app.createAccessToken('ada')
  t.equal((await app.decodeToken(next)).sub, 'ada')
  key.write(SECRET[0]!)
  t.equal((await app.decodeToken(token)).sub, 'ada')
  await t.rejects(app.decodeToken(next), { message: 'Signature verification failed' })
})

t.test('text and bytes of one secret are one secret to tokens, whichever a loader returns', async (t) => {
  let round = 0
  const app = await buildApp(t, { decodeKeyLoader: () => round++ % 2 === 0 ? SECRET : Buffer.from(SECRET) })
  const token = forge({ sub: 'ada' })
  for (let i = 0; i < 4; i++) t.equal((await app.decodeToken(token)).sub, 'ada')
})

t.test('the keys of many tenants in turn all verify their own tokens', async (t) => {
  const app = await buildApp(t, { decodeKeyLoader: (header) => `${SECRET}${header.kid}` })
  for (let tenant = 0; tenant < 10_000; tenant += 7) {
    const token = forge({ sub: 'ada' }, { alg: 'HS256', kid: String(tenant) }, `${SECRET}${tenant}`)
    if ((await app.decodeToken(token)).sub !== 'ada') t.fail(String(tenant))
  }
  t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid: '0' }, `${SECRET}0`))).sub, 'ada')
})
