import Fastify = require('fastify')
import jwtExtended = require('fastify-jwt-extended')

const app = Fastify()
app.register(jwtExtended.default, { secretKey: 'a-secret-of-more-than-thirty-two-bytes' })
app.get('/me', { preHandler: app.jwtRequired() }, async (request) => request.currentUser?.name)
