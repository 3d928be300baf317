import { createSecretKey, type KeyObject } from 'node:crypto'
import { CompactSign, errors, exportJWK, exportPKCS8, exportSPKI, generateKeyPair, importJWK, importPKCS8, importSPKI, jwtVerify, SignJWT, type JWTPayload } from 'jose'
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { JwtAlgorithm, JwtExtendedOptions } from '../index.js'
import { ALGORITHMS } from '../lib/settings.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { pairFor } from './support/keys.js'

interface Keys {
  options: JwtExtendedOptions
  signing: KeyObject
  verifying: KeyObject
}

function keysFor (algorithm: JwtAlgorithm, label = ''): Keys {
  if (algorithm.startsWith('HS')) {
    const secretKey = `${SECRET}${label}`
    const key = createSecretKey(Buffer.from(secretKey))
    return { options: { algorithm, secretKey }, signing: key, verifying: key }
  }
  const { privateKey, publicKey } = pairFor(algorithm, label)
  return { options: { algorithm, privateKey, publicKey }, signing: privateKey, verifying: publicKey }
}

/** An app with one guarded route that tells who came. */
async function guardedApp (t: Test, options: JwtExtendedOptions): Promise<FastifyInstance> {
  const app = await buildApp(t, options)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwt)
  return app
}

function signed (payload: JWTPayload, algorithm: string, key: KeyObject): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg: algorithm, typ: 'JWT', kid: 'k' }).sign(key)
}

for (const algorithm of ALGORITHMS) {
  t.test(`${algorithm}: a token that jose made passes here`, async (t) => {
    const { options, signing } = keysFor(algorithm)
    const app = await guardedApp(t, { ...options, decodeAudience: 'api', decodeIssuer: 'us' })
    const token = await new SignJWT({ role: 'admin', deep: { list: [1, 'ünï'] } })
      .setProtectedHeader({ alg: algorithm, typ: 'JWT', kid: 'k' })
      .setSubject('ada').setAudience('api').setIssuer('us').setIssuedAt().setNotBefore('0s').setExpirationTime('5m').setJti('id')
      .sign(signing)
    const response = await app.inject({ url: '/', headers: bearer(token) })
    t.equal(response.statusCode, 200, response.body)
    t.match(response.json(), { sub: 'ada', aud: 'api', iss: 'us', jti: 'id', role: 'admin', deep: { list: [1, 'ünï'] }, type: 'access', fresh: false })
    t.strictSame(app.getUnverifiedJwtHeaders(token), { alg: algorithm, typ: 'JWT', kid: 'k' })
  })

  t.test(`${algorithm}: a token made here passes in jose`, async (t) => {
    const { options, verifying } = keysFor(algorithm)
    const app = await buildApp(t, { ...options, encodeAudience: ['api', 'web'], encodeIssuer: 'us' })
    for (const create of [app.createAccessToken, app.createRefreshToken]) {
      const token = await create('ada', { additionalClaims: { role: 'ünï' }, additionalHeaders: { kid: 'k' } })
      const { payload, protectedHeader } = await jwtVerify(token, verifying, { algorithms: [algorithm], audience: 'web', issuer: 'us', subject: 'ada', requiredClaims: ['exp', 'iat', 'nbf', 'jti'], typ: 'JWT' })
      t.match(payload, { sub: 'ada', role: 'ünï', type: create === app.createAccessToken ? 'access' : 'refresh' })
      t.strictSame(protectedHeader, { alg: algorithm, typ: 'JWT', kid: 'k' })
    }
  })

  t.test(`${algorithm}: a token by another key, by another algorithm or with another signature passes nowhere`, async (t) => {
    const { options, signing, verifying } = keysFor(algorithm)
    const stranger = keysFor(algorithm, '-stranger')
    const app = await guardedApp(t, options)
    const status = async (token: string): Promise<number> => (await app.inject({ url: '/', headers: bearer(token) })).statusCode
    t.equal(await status(await signed({ sub: 'ada' }, algorithm, signing)), 200)
    t.equal(await status(await signed({ sub: 'ada' }, algorithm, stranger.signing)), 422)
    await t.rejects(jwtVerify(await app.createAccessToken('ada'), stranger.verifying), errors.JWSSignatureVerificationFailed)
    for (const other of ALGORITHMS) {
      if (other === algorithm) continue
      const sameFamily = other.slice(0, 2) === algorithm.slice(0, 2) || (/^[RP]S/.test(other) && /^[RP]S/.test(algorithm))
      const key = sameFamily && !algorithm.startsWith('ES') ? signing : keysFor(other).signing
      t.equal(await status(await signed({ sub: 'ada' }, other, key)), 422, other)
    }
    const token = await signed({ sub: 'ada' }, algorithm, signing)
    const [header, payload, signature] = token.split('.')
    const bytes = Buffer.from(signature!, 'base64url')
    for (const at of [0, bytes.length >> 1, bytes.length - 1]) {
      const broken = Buffer.from(bytes)
      broken[at]! ^= 1
      t.equal(await status(`${header}.${payload}.${broken.toString('base64url')}`), 422)
    }
    for (const length of [0, 1, bytes.length - 1]) t.equal(await status(`${header}.${payload}.${bytes.subarray(0, length).toString('base64url')}`), 422)
    t.equal(await status(`${header}.${payload}.${Buffer.concat([bytes, Buffer.from([0])]).toString('base64url')}`), 422)
    t.ok((await jwtVerify(token, verifying)).payload)
  })
}

t.test('keys that jose made work here in each form that jose gives them', async (t) => {
  for (const algorithm of ALGORITHMS.filter((name) => !name.startsWith('HS'))) {
    const made = await generateKeyPair(algorithm, { extractable: true, ...(algorithm === 'EdDSA' && { crv: 'Ed25519' }) })
    const [privatePem, publicPem] = [await exportPKCS8(made.privateKey), await exportSPKI(made.publicKey)]
    // Read anew: see once() in support/keys.ts.
    const privateKey = await importPKCS8(privatePem, algorithm, { extractable: true })
    const publicKey = await importSPKI(publicPem, algorithm, { extractable: true })
    const privateForms = [privatePem, await exportJWK(privateKey)]
    const publicForms = [publicPem, await exportJWK(publicKey), { ...await exportJWK(publicKey), alg: algorithm, use: 'sig', kid: 'k' }]
    for (const [index, publicForm] of publicForms.entries()) {
      const app = await guardedApp(t, { algorithm, privateKey: privateForms[index % 2] as string, publicKey: publicForm as string })
      const theirs = await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: algorithm }).sign(privateKey)
      t.equal((await app.inject({ url: '/', headers: bearer(theirs) })).statusCode, 200, algorithm)
      t.ok((await jwtVerify(await app.createAccessToken('ada'), publicKey)).payload)
    }
  }
})

t.test('keys that are exported here as JWK work in jose', async (t) => {
  for (const algorithm of ALGORITHMS.filter((name) => !name.startsWith('HS'))) {
    const { options, verifying } = keysFor(algorithm)
    const app = await buildApp(t, options)
    const key = await importJWK(verifying.export({ format: 'jwk' }) as { kty: string }, algorithm)
    t.equal((await jwtVerify(await app.createAccessToken('ada'), key)).payload.sub, 'ada', algorithm)
  }
})

t.test('both judge the same of what is expired, early, for others or by others', async (t) => {
  const { options, signing, verifying } = keysFor('ES256')
  const app = await guardedApp(t, { ...options, decodeAudience: 'api', decodeIssuer: 'us' })
  const now = Math.floor(Date.now() / 1000)
  const good = { sub: 'ada', aud: 'api', iss: 'us' }
  const rows: [claims: JWTPayload, passes: boolean][] = [
    [good, true], [{ ...good, exp: now + 60 }, true], [{ ...good, exp: now - 1 }, false], [{ ...good, nbf: now + 60 }, false], [{ ...good, nbf: now - 1 }, true],
    [{ ...good, aud: ['x', 'api'] }, true], [{ ...good, aud: 'x' }, false], [{ ...good, aud: [] }, false], [{ sub: 'ada', iss: 'us' }, false],
    [{ ...good, iss: 'them' }, false], [{ sub: 'ada', aud: 'api' }, false], [{ ...good, exp: 'soon' as never }, false], [{ ...good, nbf: 'now' as never }, false]
  ]
  for (const [claims, passes] of rows) {
    const token = await signed(claims, 'ES256', signing)
    t.equal((await app.inject({ url: '/', headers: bearer(token) })).statusCode === 200, passes, JSON.stringify(claims))
    t.equal(await jwtVerify(token, verifying, { audience: 'api', issuer: 'us' }).then(() => true, () => false), passes, `jose: ${JSON.stringify(claims)}`)
  }
})

t.test('what jose signs that is no token with claims is refused', async (t) => {
  const { options, signing } = keysFor('HS256')
  const app = await guardedApp(t, options)
  const payloads = ['', 'text', '[]', 'null', '5', '"ada"', '{"sub":"ada"', '\ufeff{}']
  for (const payload of payloads) {
    const token = await new CompactSign(new TextEncoder().encode(payload)).setProtectedHeader({ alg: 'HS256' }).sign(signing)
    t.equal((await app.inject({ url: '/', headers: bearer(token) })).statusCode, 422, payload)
  }
  const extended = new CompactSign(new TextEncoder().encode('{"sub":"ada"}')).setProtectedHeader({ alg: 'HS256', 'urn:x': 1, crit: ['urn:x'] })
  const token = await extended.sign(signing, { crit: { 'urn:x': true } })
  t.equal((await app.inject({ url: '/', headers: bearer(token) })).statusCode, 422, 'an extension that is critical')
})
