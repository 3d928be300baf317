import type { FastifyInstance } from 'fastify'
import { importSPKI, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions } from '../../index.js'
import { bearer, buildApp, registrationError, SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { ASYMMETRIC, pairFor, pem, rsaPair } from '../support/keys.js'

async function buildGuarded (t: Test, options: JwtExtendedOptions): Promise<FastifyInstance> {
  const app = await buildApp(t, options)
  app.get('/', { onRequest: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity }))
  return app
}

async function get (app: FastifyInstance, token: string): Promise<{ status: number, body: unknown }> {
  const response = await app.inject({ url: '/', headers: bearer(token) })
  return { status: response.statusCode, body: response.json() }
}

const REACHED = { status: 200, body: { who: 'ada' } }

t.test('takes tokens of its key pair, and none of the secret that it has as well', async (t) => {
  const { privateKey, publicKey } = pairFor('RS256')
  const keys = { secretKey: SECRET, privateKey: pem(privateKey), publicKey: pem(publicKey) }
  const symmetric = await buildGuarded(t, { ...keys, algorithm: 'HS256' })
  const asymmetric = await buildGuarded(t, { ...keys, algorithm: 'RS256' })
  const secretToken = await symmetric.createAccessToken('ada')
  const pairToken = await asymmetric.createAccessToken('ada')
  const notAllowed = { status: 422, body: { msg: 'The specified alg value is not allowed' } }

  t.strictSame(await get(asymmetric, secretToken), notAllowed)
  t.strictSame(await get(asymmetric, pairToken), REACHED)
  t.strictSame(await get(symmetric, pairToken), notAllowed, 'nor the other way about')
  t.strictSame(await get(symmetric, secretToken), REACHED)
})

t.test('signs and verifies by every asymmetric algorithm', async (t) => {
  for (const algorithm of ASYMMETRIC) {
    const { privateKey, publicKey } = pairFor(algorithm)
    const app = await buildGuarded(t, { algorithm, privateKey: pem(privateKey), publicKey: pem(publicKey) })
    const token = await app.createAccessToken('ada')
    t.strictSame(await get(app, token), REACHED, algorithm)
    await t.resolves(jwtVerify(token, await importSPKI(pem(publicKey), algorithm)), `${algorithm}: another library agrees`)
  }
})

t.test('a public key serves nobody as a secret', async (t) => {
  const { privateKey, publicKey } = pairFor('RS256')
  const app = await buildGuarded(t, { algorithm: 'RS256', privateKey: pem(privateKey), decodeAlgorithms: ['HS256'], secretKey: SECRET })
  const forged = forge({ sub: 'ada' }, { alg: 'HS256', typ: 'JWT' }, pem(publicKey))
  t.strictSame(await get(app, forged), { status: 422, body: { msg: 'Signature verification failed' } })
  t.match(await registrationError(t, { secretKey: pem(publicKey) }), { code: 'FST_JWT_EXT_USAGE', message: /secretKey/ })
})

t.test('refuses an RSA key of 1024 bits', async (t) => {
  const { privateKey } = rsaPair('', 1024)
  t.match(await registrationError(t, { algorithm: 'RS256', privateKey: pem(privateKey) }), { message: /privateKey.*1024/ })
})
