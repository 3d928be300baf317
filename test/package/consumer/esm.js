import assert from 'node:assert/strict'
import jwtExtended, { NoAuthorizationError } from 'fastify-jwt-extended'

const { default: Fastify } = await import(process.argv[2] ?? 'fastify')

assert.equal(typeof NoAuthorizationError, 'function')

const app = Fastify()
await app.register(jwtExtended, { secretKey: 'a-secret-of-more-than-thirty-two-bytes' })
app.post('/login', async () => ({ accessToken: await app.createAccessToken('ada', { fresh: true }) }))
app.get('/me', { onRequest: app.jwtRequired() }, async (request) => ({ id: request.jwtIdentity }))

const login = await app.inject({ method: 'POST', url: '/login' })
assert.equal(login.statusCode, 200)
const me = await app.inject({ url: '/me', headers: { authorization: `Bearer ${login.json().accessToken}` } })
assert.equal(me.statusCode, 200)
assert.deepEqual(me.json(), { id: 'ada' })
const nobody = await app.inject({ url: '/me' })
assert.equal(nobody.statusCode, 401)
assert.deepEqual(nobody.json(), { msg: 'Missing Authorization Header' })
await app.close()
