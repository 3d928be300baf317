import t from 'tap'
import { bearer, buildApp, SECRET } from './support/app.js'

t.test('a guard lets a request with a token in and says who it is', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET })
  app.get('/me', { preHandler: app.jwtRequired() }, async (request) => ({ id: request.jwtIdentity }))
  const token = await app.createAccessToken('ada')
  const response = await app.inject({ url: '/me', headers: bearer(token) })
  t.equal(response.statusCode, 200)
  t.same(response.json(), { id: 'ada' })
  const refused = await app.inject({ url: '/me' })
  t.equal(refused.statusCode, 401)
  t.same(refused.json(), { msg: 'Missing Authorization Header' })
})
