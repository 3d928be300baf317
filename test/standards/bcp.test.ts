// RFC 8725 (best current practices for JWT): docs/standards.md has the table.
import { createHmac, type KeyObject } from 'node:crypto'
import t from 'tap'
import { JwtDecodeError } from '../../index.js'
import { bearer, buildApp, registrationError, SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { certificateDer, ecPair, edPair, pairFor, pem, rsaPair } from '../support/keys.js'
import { listen } from '../support/listener.js'
import { resign, segment, signToken } from '../support/sign.js'

const REFUSED = { code: 'FST_JWT_EXT_INVALID_TOKEN' }

t.test('RFC 8725 §3.1: only the configured algorithms verify, and each key serves its own', async (t) => {
  const { privateKey, publicKey } = rsaPair()
  const app = await buildApp(t, { algorithm: 'RS256', privateKey, publicKey, secretKey: SECRET, decodeAlgorithms: ['HS256'] })
  t.equal((await app.decodeToken(signToken('RS256', privateKey, { sub: 'ada' }))).sub, 'ada')
  t.equal((await app.decodeToken(forge({ sub: 'ada' }))).sub, 'ada')
  await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256' }, pem(publicKey))), REFUSED, 'a public key is no secret')
  await t.rejects(app.decodeToken(signToken('PS256', privateKey, { sub: 'ada' })), REFUSED)
  await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS512' })), REFUSED)
})

t.test('RFC 8725 §3.2: none cannot be turned on', async (t) => {
  t.match(await registrationError(t, { secretKey: SECRET, algorithm: 'none' }), { code: 'FST_JWT_EXT_USAGE' })
})

t.test('RFC 8725 §3.2: RSA of PKCS1 v1.5 for encryption is not there, since nothing is encrypted', async (t) => {
  for (const algorithm of ['RSA1_5', 'RSA-OAEP', 'dir']) {
    t.match(await registrationError(t, { secretKey: SECRET, algorithm }), { code: 'FST_JWT_EXT_USAGE' })
  }
})

t.test('RFC 8725 §3.3: a token of which one cryptographic operation fails is refused as a whole, with or without claims checks', async (t) => {
  const app = await buildApp(t)
  for (const optional of [false, true]) {
    app.get(optional ? '/optional' : '/', { preHandler: app.jwtRequired({ optional, verifyType: false, skipRevocationCheck: true }) }, async () => 'in')
  }
  for (const url of ['/', '/optional']) {
    t.equal((await app.inject({ url, headers: bearer(forge({ sub: 'ada' }, undefined, 'k'.repeat(64))) })).statusCode, 422)
  }
})

t.test('RFC 8725 §3.4: a signature of zeros, which fits no key, is refused', async (t) => {
  for (const algorithm of ['ES256', 'ES384', 'ES512', 'EdDSA'] as const) {
    const app = await buildApp(t, { algorithm, ...pairFor(algorithm) })
    const token = await app.createAccessToken('ada')
    const { length } = Buffer.from(token.split('.')[2]!, 'base64url')
    await t.rejects(app.decodeToken(resign(token, Buffer.alloc(length))), REFUSED, algorithm)
  }
})

t.test('RFC 8725 §3.5: a short secret is warned of, and a key that is no secret is refused as one', async (t) => {
  const codes: unknown[] = []
  const listen = (warning: Error & { code?: string }): void => { codes.push(warning.code) }
  process.on('warning', listen)
  t.teardown(() => process.off('warning', listen))
  await buildApp(t, { secretKey: 'password' })
  await new Promise((resolve) => setImmediate(resolve))
  t.ok(codes.includes('FST_JWT_EXT_WEAK_KEY'))
  t.match(await registrationError(t, { secretKey: pem(rsaPair().publicKey) }), { code: 'FST_JWT_EXT_USAGE' })
})

t.test('RFC 8725 §3.7: claims that are not ASCII go out and come back as UTF-8', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('Zoë 😀')
  t.match(Buffer.from(token.split('.')[1]!, 'base64url').toString('utf8'), '"Zoë 😀"')
  t.equal((await app.decodeToken(token)).sub, 'Zoë 😀')
})

t.test('RFC 8725 §3.8: with decodeIssuer another issuer is refused, and so is a token that names none', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeIssuer: 'us' })
  t.equal((await app.decodeToken(forge({ sub: 'ada', iss: 'us' }))).sub, 'ada')
  for (const iss of ['them', undefined]) await t.rejects(app.decodeToken(forge({ sub: 'ada', iss })), REFUSED)
})

t.test('RFC 8725 §3.8: with userLookupLoader a subject that nobody is, is refused', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, userLookupLoader: (_header, { sub }) => sub === 'ada' ? { name: sub } : null })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  t.equal((await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })).statusCode, 200)
  t.equal((await app.inject({ url: '/', headers: bearer(forge({ sub: 'eve' })) })).statusCode, 401)
})

t.test('RFC 8725 §3.8: a key of one issuer verifies no token of another, though both call it the same', async (t) => {
  const pairs = { one: ecPair('P-256', 'one'), two: ecPair('P-256', 'two') }
  const server = await listen(t, ({ url }, response) => {
    response.end(JSON.stringify({ keys: [{ ...pairs[url!.slice(1) as 'one' | 'two'].publicKey.export({ format: 'jwk' }), kid: '1' }] }))
  })
  const app = await buildApp(t, { issuers: ['one', 'two'].map((name) => ({ issuer: `https://${name}.example`, audience: 'api', jwksUri: `${server.origin}/${name}` })) })
  const decode = async (signer: 'one' | 'two', named: string) => {
    return (await app.decodeToken(signToken('ES256', pairs[signer].privateKey, { sub: 'ada', iss: `https://${named}.example`, aud: 'api' }, { alg: 'ES256', kid: '1' }))).iss
  }
  // Twice, for what may be remembered of the first time.
  for (let time = 0; time < 2; time++) {
    for (const [name, other] of [['one', 'two'], ['two', 'one']] as const) {
      t.equal(await decode(name, name), `https://${name}.example`)
      await t.rejects(decode(name, other), REFUSED)
    }
    await t.rejects(decode('one', 'three'), REFUSED)
  }
})

t.test('RFC 8725 §3.9: with encodeAudience and decodeAudience tokens are for one audience, and others are refused', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, encodeAudience: 'api', decodeAudience: 'api' })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).aud, 'api')
  for (const aud of ['other', undefined]) await t.rejects(app.decodeToken(forge({ sub: 'ada', aud })), REFUSED)
})

t.test('RFC 8725 §3.10: a kid that is hostile text goes no further than a loader that looks it up', async (t) => {
  const keys = new Map([['k1', SECRET]])
  const app = await buildApp(t, {
    secretKey: SECRET,
    decodeKeyLoader ({ kid }) {
      const key = keys.get(String(kid))
      if (key === undefined) throw new JwtDecodeError('Unknown key')
      return key
    },
  })
  t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid: 'k1' }))).sub, 'ada')
  for (const kid of ["' OR 1=1 --", '../../etc/passwd', '__proto__', '', '\0', 'http://attacker.example/']) {
    await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid })), { message: 'Unknown key' })
  }
})

t.test('RFC 8725 §3.10: of several keys of our own a kid chooses one, and then no other verifies', async (t) => {
  const secrets = [SECRET, 'an-older-secret-of-the-tests-that-is-as-long-as-the-longest-hash']
  const app = await buildApp(t, { secretKey: secrets })
  const kidOf = async (secretKey: string[]) => {
    const issuer = await buildApp(t, { secretKey })
    return issuer.getUnverifiedJwtHeaders(await issuer.createAccessToken('ada')).kid
  }
  const kids = [await kidOf(secrets), await kidOf(secrets.toReversed())]
  t.ok(kids[0] !== undefined && kids[1] !== undefined && kids[0] !== kids[1])
  // Before a token of the key was seen, and after it.
  for (let time = 0; time < 2; time++) {
    for (const [i, kid] of kids.entries()) {
      await t.rejects(app.decodeToken(forge({ sub: 'eve' }, { alg: 'HS256', kid }, secrets[1 - i])), REFUSED)
      t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid }, secrets[i]))).sub, 'ada')
    }
  }
  for (const kid of [undefined, 'unknown', '__proto__', '../../etc/passwd', '\0', 'k'.repeat(10_000)]) {
    for (const secret of secrets) t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid }, secret))).sub, 'ada', 'a kid of nobody chooses none')
    await t.rejects(app.decodeToken(forge({ sub: 'eve' }, { alg: 'HS256', kid }, 'k'.repeat(64))), REFUSED)
  }
})

t.test('RFC 8725 §3.10: jku, x5u and jwk in a header choose no key', async (t) => {
  const other = ecPair('P-256', 'attacker')
  const app = await buildApp(t, { algorithm: 'ES256', ...ecPair() })
  const jwk = other.publicKey.export({ format: 'jwk' })
  for (const more of [{ jwk }, { jku: 'https://attacker.example/' }, { x5u: 'https://attacker.example/' }]) {
    await t.rejects(app.decodeToken(signToken('ES256', other.privateKey, { sub: 'ada' }, { alg: 'ES256', ...more })), REFUSED)
  }
})

t.test('RFC 8725 §3.11: typ is not looked at, so it tells no token of ours from another kind by the same key', async (t) => {
  const app = await buildApp(t)
  for (const typ of ['JWT', 'at+jwt', 'secevent+jwt']) t.equal((await app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', typ }))).sub, 'ada')
})

t.test('RFC 8725 §3.12: an access token and a refresh token do not pass for each other', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  app.get('/refresh', { preHandler: app.jwtRequired({ refresh: true }) }, async () => 'in')
  const [access, refresh] = [await app.createAccessToken('ada'), await app.createRefreshToken('ada')]
  t.equal((await app.inject({ url: '/', headers: bearer(access) })).statusCode, 200)
  t.equal((await app.inject({ url: '/refresh', headers: bearer(refresh) })).statusCode, 200)
  t.equal((await app.inject({ url: '/', headers: bearer(refresh) })).statusCode, 422)
  t.equal((await app.inject({ url: '/refresh', headers: bearer(access) })).statusCode, 422)
  for (const type of ['id', 'reset-password', 'ACCESS', '', null, true, ['access']]) {
    t.equal((await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada', type })) })).statusCode, 422, JSON.stringify(type))
  }
})

t.test('RFC 8725 §3.12: a token without a type counts as an access token', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  t.equal((await app.inject({ url: '/', headers: bearer(forge({ sub: 'ada' })) })).statusCode, 200)
})

t.test('RFC 8725 §3.12: a token of another issuer is an access token, and neither a refresh token nor of a type of ours, whatever it claims', async (t) => {
  const { privateKey, publicKey } = ecPair()
  const server = await listen(t, (_request, response) => { response.end(JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] })) })
  const issuer = 'https://login.example.com'
  const app = await buildApp(t, { secretKey: SECRET, issuers: [{ issuer, audience: 'api', jwksUri: server.origin }], tokenTypes: { invite: { expires: 60 } } })
  for (const [url, rule] of [['/', {}], ['/refresh', { refresh: true }], ['/invite', { type: 'invite' }]] as const) app.get(url, { preHandler: app.jwtRequired(rule) }, async () => 'in')
  const statuses = async (type: string | undefined) => {
    const headers = bearer(signToken('ES256', privateKey, { sub: 'ada', iss: issuer, aud: 'api', type }))
    return await Promise.all(['/', '/refresh', '/invite'].map(async (url) => (await app.inject({ url, headers })).statusCode))
  }
  for (const type of [undefined, 'access']) t.strictSame(await statuses(type), [200, 422, 422], String(type))
  for (const type of ['refresh', 'invite', 'id']) t.strictSame(await statuses(type), [422, 422, 422], type)
})

/** What people write a public key as. */
function writingsOf (key: KeyObject, certificate: Buffer | undefined): [name: string, secret: string | Buffer][] {
  const [spki, der, jwk] = [pem(key), key.export({ format: 'der', type: 'spki' }), key.export({ format: 'jwk' })]
  const writings: [string, string | Buffer][] = [
    ['PEM', spki], ['PEM without its last newline', spki.trim()], ['PEM with a comment', `# key\n${spki}`], ['PEM with CR LF', spki.replaceAll('\n', '\r\n')], ['PEM in one line', spki.replaceAll('\n', ' ')],
    ['PEM with escaped newlines', spki.replaceAll('\n', '\\n')], ['the bytes of PEM', Buffer.from(spki)], ['PEM in UTF-16', Buffer.from(spki, 'utf16le')], ['DER', der], ['DER in base64', der.toString('base64')], ['DER in base64url', der.toString('base64url')],
    ['DER in hex', der.toString('hex')], ['JWK', JSON.stringify(jwk)], ['JWK, indented', JSON.stringify(jwk, null, 2)], ['JWK set', JSON.stringify({ keys: [jwk] })]
  ]
  if (key.asymmetricKeyType === 'rsa') {
    writings.push(['PKCS#1 PEM', key.export({ format: 'pem', type: 'pkcs1' })], ['PKCS#1 DER', key.export({ format: 'der', type: 'pkcs1' })])
  }
  if (certificate !== undefined) {
    const text = certificate.toString('base64')
    writings.push(['a certificate', certificate], ['a certificate in base64', text], ['a certificate in PEM', `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`])
  }
  return writings
}

t.test('RFC 8725 §2.1: a public key in any writing is refused as an HMAC secret, as an option and from a loader', async (t) => {
  let loaded: string | Buffer = SECRET
  const app = await buildApp(t, { encodeKeyLoader: () => loaded, decodeKeyLoader: () => loaded })
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).sub, 'ada')
  for (const [pair, certificate] of [[rsaPair(), certificateDer(rsaPair())], [ecPair(), certificateDer(ecPair())], [edPair(), undefined]] as const) {
    for (const [name, secret] of writingsOf(pair.publicKey, certificate)) {
      for (const secretKey of [secret, [SECRET, secret]]) t.match(await registrationError(t, { secretKey }), { code: 'FST_JWT_EXT_USAGE' }, name)
      loaded = secret
      await t.rejects(app.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE' }, `${name}, to sign`)
      await t.rejects(app.decodeToken(forge({ sub: 'eve' }, undefined, secret)), { code: 'FST_JWT_EXT_USAGE' }, `${name}, to verify`)
    }
  }
})

t.test('RFC 8725 §2.2: an empty secret is no secret, and a token by one is refused', async (t) => {
  const app = await buildApp(t)
  const input = `${segment({ alg: 'HS256' })}.${segment({ sub: 'ada' })}`
  await t.rejects(app.decodeToken(`${input}.${createHmac('sha256', '').update(input).digest('base64url')}`), REFUSED)
  t.match(await registrationError(t, { secretKey: '' }), { code: 'FST_JWT_EXT_USAGE' })
})
