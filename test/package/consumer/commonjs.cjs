const assert = require('node:assert/strict')
const fastify = require('fastify')
const { NoAuthorizationError } = require('fastify-jwt-extended')

assert.equal(typeof NoAuthorizationError, 'function')

async function main () {
  const app = fastify()
  app.register(require('fastify-jwt-extended'), { secretKey: 'a-secret-of-more-than-thirty-two-bytes' })
  app.register(async (scope) => {
    scope.post('/login', async () => ({ accessToken: await scope.createAccessToken('ada') }))
    scope.get('/me', { preHandler: scope.jwtRequired() }, async (request) => ({ id: request.jwtIdentity }))
  })

  const login = await app.inject({ method: 'POST', url: '/login' })
  assert.equal(login.statusCode, 200)
  const me = await app.inject({ url: '/me', headers: { authorization: `Bearer ${login.json().accessToken}` } })
  assert.equal(me.statusCode, 200)
  assert.deepEqual(me.json(), { id: 'ada' })
  const nobody = await app.inject({ url: '/me' })
  assert.equal(nobody.statusCode, 401)
  assert.deepEqual(nobody.json(), { msg: 'Missing Authorization Header' })
  await app.close()
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
