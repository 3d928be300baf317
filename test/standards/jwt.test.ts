// RFC 7519 (JSON Web Token): docs/standards.md has the table.
import { createHmac } from 'node:crypto'
import t from 'tap'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { moveClock, stopClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { pairFor } from '../support/keys.js'
import { claimsOf, segment, segmentsOf, signToken } from '../support/sign.js'

const REFUSED = { code: 'FST_JWT_EXT_INVALID_TOKEN' }

/** A token of two segments as they are, with the signature that fits. */
function seal (header: string, payload: string): string {
  const input = `${header}.${payload}`
  return `${input}.${createHmac('sha256', SECRET).update(input).digest('base64url')}`
}

t.test('RFC 7519 §2: a NumericDate may have a fraction', async (t) => {
  const app = await buildApp(t)
  stopClock(t, 1000)
  t.equal((await app.decodeToken(forge({ sub: 'ada', iat: 999.5, nbf: 999.5, exp: 1000.5 }))).exp, 1000.5)
  await t.rejects(app.decodeToken(forge({ sub: 'ada', exp: 999.5 })), { code: 'FST_JWT_EXT_EXPIRED' })
  await t.rejects(app.decodeToken(forge({ sub: 'ada', nbf: 1000.5 })), REFUSED)
})

t.test('RFC 7519 §2: a name with a colon in it is not checked for being a URI', async (t) => {
  const app = await buildApp(t)
  t.equal((await app.decodeToken(forge({ sub: 'not a: uri', iss: '::' }))).sub, 'not a: uri')
})

t.test('RFC 7519 §3: a token of ours is three segments of base64url, and the first two are JSON objects', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  t.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/)
  for (const part of segmentsOf(token).slice(0, 2)) t.type(JSON.parse(Buffer.from(part, 'base64url').toString()), Object)
})

t.test('RFC 7519 §4: of two claims of one name the last is the one, for the verdict and for the request', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  t.equal((await app.inject({ url: '/', headers: bearer(forge('{"sub":"eve","sub":"ada"}')) })).body, 'ada')
  t.equal((await app.inject({ url: '/', headers: bearer(forge('{"type":"access","sub":"ada","type":"refresh"}')) })).statusCode, 422)
})

t.test('RFC 7519 §4: claims that are not understood are left alone', async (t) => {
  const app = await buildApp(t)
  t.match(await app.decodeToken(forge({ sub: 'ada', 'urn:example:new': { deep: [1] } })), { 'urn:example:new': { deep: [1] } })
})

t.test('RFC 7519 §4.1.1: the issuer is a case-sensitive string, and one that is not accepted is refused', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeIssuer: ['https://a.example', 'https://b.example'] })
  t.equal((await app.decodeToken(forge({ sub: 'ada', iss: 'https://b.example' }))).iss, 'https://b.example')
  for (const iss of ['https://A.example', 'https://a.example/', '', 5, null, ['https://a.example'], undefined]) {
    await t.rejects(app.decodeToken(forge({ sub: 'ada', iss })), REFUSED, JSON.stringify(iss))
  }
})

t.test('RFC 7519 §4.1.2: the subject is a string, when a token is made and when it is read', async (t) => {
  const app = await buildApp(t)
  await t.rejects(app.createAccessToken(5 as never), { code: 'FST_JWT_EXT_USAGE' })
  for (const sub of [5, null, true, ['ada'], {}]) await t.rejects(app.decodeToken(forge({ sub })), REFUSED, JSON.stringify(sub))
})

t.test('RFC 7519 §4.1.3: a token whose audience does not name us is refused', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeAudience: 'api' })
  for (const aud of ['api', ['api'], ['other', 'api']]) t.same((await app.decodeToken(forge({ sub: 'ada', aud }))).aud, aud)
  for (const aud of ['other', 'API', ['other'], [], '', 5, null, ['api', 5], { api: 1 }, undefined]) {
    await t.rejects(app.decodeToken(forge({ sub: 'ada', aud })), REFUSED, JSON.stringify(aud))
  }
})

t.test('RFC 7519 §4.1.3: without decodeAudience a token for any audience is taken', async (t) => {
  const app = await buildApp(t)
  t.equal((await app.decodeToken(forge({ sub: 'ada', aud: 'somebody else' }))).aud, 'somebody else')
})

t.test('RFC 7519 §4.1.4: on or after its expiry a token is refused', async (t) => {
  const app = await buildApp(t)
  stopClock(t, 1000)
  t.equal((await app.decodeToken(forge({ sub: 'ada', exp: 1001 }))).sub, 'ada')
  for (const exp of [1000, 999, 0, -1]) await t.rejects(app.decodeToken(forge({ sub: 'ada', exp })), { code: 'FST_JWT_EXT_EXPIRED' }, String(exp))
  for (const exp of ['1001', null, true, [1001]]) await t.rejects(app.decodeToken(forge({ sub: 'ada', exp })), REFUSED, JSON.stringify(exp))
})

t.test('RFC 7519 §4.1.4: leeway for clock skew is given only where decodeLeeway says so', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeLeeway: 10 })
  stopClock(t, 1000)
  t.equal((await app.decodeToken(forge({ sub: 'ada', exp: 991, nbf: 1010 }))).sub, 'ada')
  await t.rejects(app.decodeToken(forge({ sub: 'ada', exp: 990 })), { code: 'FST_JWT_EXT_EXPIRED' })
  await t.rejects(app.decodeToken(forge({ sub: 'ada', nbf: 1011 })), REFUSED)
})

t.test('RFC 7519 §4.1.5: before its nbf a token is refused', async (t) => {
  const app = await buildApp(t)
  stopClock(t, 1000)
  t.equal((await app.decodeToken(forge({ sub: 'ada', nbf: 1000 }))).sub, 'ada')
  for (const nbf of [1001, '1000', null]) await t.rejects(app.decodeToken(forge({ sub: 'ada', nbf })), REFUSED, JSON.stringify(nbf))
})

t.test('RFC 7519 §4.1.6: iat must be a number, and one in the future is refused, which the standard does not ask for', async (t) => {
  const app = await buildApp(t)
  stopClock(t, 1000)
  t.equal((await app.decodeToken(forge({ sub: 'ada', iat: 1000 }))).sub, 'ada')
  for (const iat of [1001, '1000', null]) await t.rejects(app.decodeToken(forge({ sub: 'ada', iat })), REFUSED, JSON.stringify(iat))
})

t.test('RFC 7519 §4.1.7: each token has a jti of its own, and a jti that is no string is refused', async (t) => {
  const app = await buildApp(t)
  const ids = await Promise.all(Array.from({ length: 100 }, async () => claimsOf(await app.createAccessToken('ada'))['jti']))
  t.equal(new Set(ids).size, 100)
  for (const jti of [5, ['x'], {}]) await t.rejects(app.decodeToken(forge({ sub: 'ada', jti })), REFUSED, JSON.stringify(jti))
})

t.test('RFC 7519 §5.1: a token of ours says that it is a JWT, and no typ is asked for', async (t) => {
  const app = await buildApp(t)
  t.equal(app.getUnverifiedJwtHeaders(await app.createAccessToken('ada'))['typ'], 'JWT')
  for (const typ of [undefined, 'jwt', 'at+jwt', 'anything']) t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', typ }))).sub, 'ada')
})

t.test('RFC 7519 §5.2: a token inside a token is refused', async (t) => {
  const app = await buildApp(t)
  const inner = await app.createAccessToken('ada')
  await t.rejects(app.decodeToken(forge(inner, { alg: 'HS256', cty: 'JWT' })), REFUSED)
})

t.test('RFC 7519 §5.3: claims that are repeated in the header do not count', async (t) => {
  const app = await buildApp(t)
  t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', sub: 'eve', iss: 'x' }))).sub, 'ada')
  await t.rejects(app.decodeToken(forge({}, { alg: 'HS256', sub: 'eve' })), { message: 'Missing claim: sub' })
})

t.test('RFC 7519 §6: an unsecured token is refused', async (t) => {
  const app = await buildApp(t)
  const input = `${segment({ alg: 'none' })}.${segment({ sub: 'ada' })}`
  for (const token of [`${input}.`, input, `${input}.AA`]) await t.rejects(app.decodeToken(token), REFUSED)
})

t.test('RFC 7519 §7.2: what is no three segments, no base64url, no UTF-8 JSON object is refused', async (t) => {
  const app = await buildApp(t)
  const [header, payload, signature] = segmentsOf(forge({ sub: 'ada' }))
  t.equal((await app.decodeToken(`${header}.${payload}.${signature}`)).sub, 'ada')
  for (const token of [
    '', '.', '..', header, `${header}.${payload}`, `${header}.${payload}.${signature}.`, `${header}.${payload}.${signature}.x.y`,
    `${header}=.${payload}.${signature}`, `${header}.${payload}\n.${signature}`, forge('null'), forge('[]'), forge('"x"'), forge('{'), forge(''),
    forge('\ufeff{"sub":"ada"}'), forge({ sub: 'ada' }, 'null'), forge({ sub: 'ada' }, '[]')
  ]) {
    await t.rejects(app.decodeToken(token), REFUSED, token.slice(0, 80))
  }
})

t.test('RFC 7519 §7.2: bytes of a signed payload that are no UTF-8 are read as replacement characters', async (t) => {
  const app = await buildApp(t)
  const bytes = Buffer.concat([Buffer.from('{"sub":"a'), Buffer.from([0xff, 0xc0]), Buffer.from('"}')])
  t.equal((await app.decodeToken(seal(segment({ alg: 'HS256' }), segment(bytes)))).sub, 'a\ufffd\ufffd')
})

t.test('RFC 7519 §7.2: what is signed is refused in any writing but base64url', async (t) => {
  const app = await buildApp(t)
  const [header, payload] = [segment({ alg: 'HS256', x: 'ÿÿ???>>>' }), segment({ sub: 'ada', x: 'ÿÿ???>>>' })]
  t.equal((await app.decodeToken(seal(header, payload))).sub, 'ada')
  const writings: [name: string, write: (segment: string) => string][] = [
    ['padding', (one) => `${one}=`], ['more padding', (one) => `${one}==`], ['a newline behind', (one) => `${one}\n`], ['a newline inside', (one) => `${one.slice(0, 4)}\r\n${one.slice(4)}`], ['a space in front', (one) => ` ${one}`],
    ['a space inside', (one) => `${one.slice(0, 4)} ${one.slice(4)}`], ['standard base64', (one) => one.replaceAll('-', '+').replaceAll('_', '/')], ['a plus', (one) => one.replaceAll('-', '+')], ['a slash', (one) => one.replaceAll('_', '/')],
    ['quotes', (one) => `"${one}"`], ['a NUL', (one) => `${one}\0`], ['a percent sign', (one) => `${one}%`], ['a zero-width space', (one) => `${one}\u200b`], ['JSON', (one) => Buffer.from(one, 'base64url').toString()], ['hex', (one) => Buffer.from(one, 'base64url').toString('hex')]
  ]
  for (const [name, write] of writings) {
    t.not(write(header), header)
    t.not(write(payload), payload)
    await t.rejects(app.decodeToken(seal(write(header), payload)), REFUSED, `${name} in the header`)
    await t.rejects(app.decodeToken(seal(header, write(payload))), REFUSED, `${name} in the payload`)
  }
})

t.test('RFC 7519 §7.2: bits, and a single character, that stand for nothing at the end of what is signed are not looked at', async (t) => {
  const app = await buildApp(t)
  const [header, payload] = [segment('{"alg":"HS256"}'), segment('{"sub":"ada"}  ')]
  t.strictSame([header.length % 4, payload.length % 4], [0, 0])
  t.equal((await app.decodeToken(seal(`${header}A`, payload))).sub, 'ada')
  t.equal((await app.decodeToken(seal(header, `${payload}A`))).sub, 'ada')
  const [spare, next] = [segment('{"alg":"HS256"} '), segment('{"sub":"ada"}')]
  t.strictSame([spare.slice(-2), next.slice(-2)], ['IA', 'fQ'])
  t.equal((await app.decodeToken(seal(`${spare.slice(0, -1)}B`, payload))).sub, 'ada')
  t.equal((await app.decodeToken(seal(header, `${next.slice(0, -1)}R`))).sub, 'ada')
})

t.test('RFC 7519 §7.3: texts are the same by their code points, when escapes are undone and nothing else', async (t) => {
  const name = 'https://caf\u00e9.example/\ufb01'
  const app = await buildApp(t, { secretKey: SECRET, decodeIssuer: name, decodeAudience: name })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const visit = async (claims: unknown): Promise<number> => (await app.inject({ url: '/', headers: bearer(forge(claims)) })).statusCode
  const good = { sub: 'ada', iss: name, aud: name }
  t.equal(await visit(good), 200)
  t.equal(await visit(JSON.stringify(good).replaceAll('\u00e9', '\\u00e9').replace('"iss"', '"\\u0069ss"')), 200)
  for (const other of [name.normalize('NFD'), name.normalize('NFKC'), name.toUpperCase(), `${name} `, `${name}\0`, `\ufeff${name}`, encodeURI(name), name.replace('caf\u00e9', 'xn--caf-dma')]) {
    t.not(other, name)
    t.equal(await visit({ ...good, iss: other }), 422, `the issuer ${other}`)
    t.equal(await visit({ ...good, aud: other }), 422, `the audience ${other}`)
    t.equal(await visit({ ...good, aud: ['x', other] }), 422, `the audience ${other} in a list`)
  }
  for (const type of ['acces\u017f', 'Access', '\uff41ccess', 'access ']) t.equal(await visit({ ...good, type }), 422, `the type ${type}`)
  for (const other of ['ISS', '\u0131ss', 'iss ', 'iss\\u0000']) t.equal(await visit(JSON.stringify(good).replace('"iss"', `"${other}"`)), 422, `the claim ${other}`)
})

t.test('RFC 7519 §7.2: an encrypted token is refused', async (t) => {
  const app = await buildApp(t)
  const encrypted = [segment({ alg: 'dir', enc: 'A256GCM' }), '', segment('iv'), segment('text'), segment('tag')].join('.')
  await t.rejects(app.decodeToken(encrypted), REFUSED)
})

t.test('RFC 7519 §8: HS256 signs and verifies without being asked for', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  t.equal(app.getUnverifiedJwtHeaders(token).alg, 'HS256')
  t.equal((await app.decodeToken(token)).sub, 'ada')
})

t.test('RFC 7519 §8: RS256 and ES256 sign and verify', async (t) => {
  for (const algorithm of ['RS256', 'ES256'] as const) {
    const { privateKey, publicKey } = pairFor(algorithm)
    const app = await buildApp(t, { algorithm, privateKey, publicKey })
    const token = await app.createAccessToken('ada')
    t.equal(app.getUnverifiedJwtHeaders(token).alg, algorithm)
    t.equal((await app.decodeToken(token)).sub, 'ada')
    t.equal((await app.decodeToken(signToken(algorithm, privateKey, { sub: 'bob' }))).sub, 'bob')
  }
})

t.test('RFC 7519 §4.1: a token of ours says from when and until when it is good', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const token = await app.createAccessToken('ada')
  const { iat, nbf, exp } = claimsOf(token) as Record<string, number>
  t.ok(iat === nbf && nbf! < exp!)
  moveClock(t, exp! - iat! + 1)
  t.equal((await app.inject({ url: '/', headers: bearer(token) })).statusCode, 401)
})
