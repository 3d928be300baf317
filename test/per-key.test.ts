import { createSecretKey, type JsonWebKey } from 'node:crypto'
import t from 'tap'
import { compilePerKey } from '../lib/per-key.js'
import { buildApp, SECRET } from './support/app.js'
import { forge } from './support/forge.js'
import { ecPair, pem, rsaPair } from './support/keys.js'

/** A JWK as a class of an application may hold it. */
class OwnJwk {
  #text: string
  constructor (jwk: JsonWebKey) { this.#text = JSON.stringify(jwk) }
  get kty (): unknown { return this.#read('kty') }
  get n (): unknown { return this.#read('n') }
  get e (): unknown { return this.#read('e') }
  #read (name: string): unknown { return (JSON.parse(this.#text) as Record<string, unknown>)[name] }
}

class StoredKey {
  readonly table = 'keys'
}

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
    ['JWK in a class', Object.assign(new StoredKey(), jwk), Object.assign(new StoredKey(), jwk)],
    ['JWK behind getters', new OwnJwk(jwk), new OwnJwk(jwk)],
    ['JWK with members that say nothing of the key', { ...jwk, size: 5n }, { ...jwk, usedAt: new Date() }],
    ['key bytes and passphrase', { key: Buffer.from('k'), passphrase: 'p' }, { key: Buffer.from('k'), passphrase: 'p' }],
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
    { key: Buffer.from('k'), passphrase: 'p' }, { key: Buffer.from('l'), passphrase: 'p' },
    createSecretKey(Buffer.from('x')), createSecretKey(Buffer.from('x')), rsaPair().publicKey, ecPair().publicKey
  ]
  const results = new Set(values.map(compile))
  t.equal(results.size, values.length)
  t.equal(calls(), values.length)
  for (const value of values) t.strictSame(compile(value).value, value)
})

t.test('what is no key is compiled each time, so that each call gets its error', async (t) => {
  const { compile, calls } = counting()
  const circular: Record<string, unknown> = { kty: 'RSA' }
  circular['n'] = circular
  const values = [undefined, null, 5, true, ['a'], [rsaPair().publicKey], { kty: 'RSA', n: 5n }, { kty: 'RSA', n: undefined }, { kty: 'RSA', n: { toJSON: () => 'a' } }, circular]
  for (const value of [...values, ...values]) compile(value)
  t.equal(calls(), 2 * values.length)
})

t.test('keys are told apart by what is read of them, whatever their class makes of itself as JSON', async (t) => {
  const jwks = ['one', 'two'].map((label) => rsaPair(label).publicKey.export({ format: 'jwk' }))
  const makers: ((jwk: JsonWebKey) => object)[] = [
    (jwk) => new OwnJwk(jwk),
    (jwk) => ({ ...jwk, toJSON: () => '[redacted]' }),
    (jwk) => ({ ...jwk, toJSON: () => undefined }),
    (jwk) => Object.create(jwk) as object,
    (jwk) => Object.defineProperties({}, Object.fromEntries(Object.entries(jwk).map(([name, value]) => [name, { value }]))),
  ]
  for (const make of makers) {
    let tenant = 0
    const app = await buildApp(t, { algorithm: 'RS256', decodeKeyLoader: () => make(jwks[tenant]!) as never })
    const tokens = await Promise.all(['one', 'two'].map(async (label) => await (await buildApp(t, { algorithm: 'RS256', ...rsaPair(label) })).createAccessToken(label)))
    t.equal((await app.decodeToken(tokens[0]!)).sub, 'one')
    await t.rejects(app.decodeToken(tokens[1]!), { message: 'Signature verification failed' })
    tenant = 1
    t.equal((await app.decodeToken(tokens[1]!)).sub, 'two')
    await t.rejects(app.decodeToken(tokens[0]!), { message: 'Signature verification failed' })
  }
})

t.test('an object that is changed and returned again is another key, of whatever class it is', async (t) => {
  const [one, two] = [rsaPair('one'), rsaPair('two')]
  const tokens = await Promise.all([one, two].map(async (pair) => await (await buildApp(t, { algorithm: 'RS256', ...pair })).createAccessToken('ada')))
  for (const key of [{}, new StoredKey()]) {
    const app = await buildApp(t, { algorithm: 'RS256', decodeKeyLoader: () => Object.assign(key, { kid: 'theirs' }) as never })
    Object.assign(key, one.publicKey.export({ format: 'jwk' }))
    t.equal((await app.decodeToken(tokens[0]!)).sub, 'ada')
    Object.assign(key, two.publicKey.export({ format: 'jwk' }))
    await t.rejects(app.decodeToken(tokens[0]!), { message: 'Signature verification failed' })
    t.equal((await app.decodeToken(tokens[1]!)).sub, 'ada')
  }
})

t.test('a JWK that is meant for encryption is refused, also where the same key was taken before', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const jwk: Record<string, unknown> = publicKey.export({ format: 'jwk' })
  const app = await buildApp(t, { algorithm: 'RS256', decodeKeyLoader: () => jwk as never })
  const token = await (await buildApp(t, { algorithm: 'RS256', privateKey })).createAccessToken('ada')
  for (const use of [undefined, 'sig']) {
    Object.assign(jwk, use && { use })
    t.equal((await app.decodeToken(token)).sub, 'ada')
  }
  jwk['use'] = 'enc'
  await t.rejects(app.decodeToken(token), { code: 'FST_JWT_EXT_USAGE', message: "The key that decodeKeyLoader returned is a JWK whose use is not 'sig'" })
})

t.test('a key with a BigInt is the usage error of its loader, unless nothing of the key is one', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const jwk = publicKey.export({ format: 'jwk' })
  const issuer = await buildApp(t, { algorithm: 'RS256', privateKey })
  const token = await issuer.createAccessToken('ada')
  const wrong = await buildApp(t, {
    algorithm: 'RS256', encodeKeyLoader: () => ({ ...privateKey.export({ format: 'jwk' }), d: 5n }) as never, decodeKeyLoader: () => ({ ...jwk, n: 5n }) as never,
  })
  for (let round = 0; round < 2; round++) {
    await t.rejects(wrong.decodeToken(token), { code: 'FST_JWT_EXT_USAGE', message: 'The key that decodeKeyLoader returned is a JWK that cannot be read' })
    await t.rejects(wrong.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: 'The key that encodeKeyLoader returned is a JWK that cannot be read' })
  }
  const right = await buildApp(t, { algorithm: 'RS256', decodeKeyLoader: () => ({ ...jwk, version: 5n }) as never })
  t.equal((await right.decodeToken(token)).sub, 'ada')
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
