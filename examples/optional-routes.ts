// A route for everybody that knows who is there: a token is welcome but not needed.
//
//   npx tsx examples/optional-routes.ts

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(jwtExtended, { secretKey })

  app.post<{ Body: { username?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username } = request.body ?? {}
    if (typeof username !== 'string' || username === '') return reply.code(401).send({ msg: 'Who are you?' })
    return { access_token: await app.createAccessToken(username) }
  })

  // `optional` forgives that there is no token, and nothing else: one that is expired or forged is refused here, too.
  app.get('/greeting', { onRequest: app.jwtRequired({ optional: true }) }, async (request) => {
    if (request.jwtIdentity === null) return { greeting: 'Hello, whoever you are' }
    return { greeting: `Hello, ${request.jwtIdentity}` }
  })

  return app
}

function readSecret (): string {
  if (process.env.JWT_SECRET_KEY) return process.env.JWT_SECRET_KEY
  console.log('Note: JWT_SECRET_KEY is not set. A random secret is in use, and its tokens end with this process.')
  return randomBytes(32).toString('hex')
}

// Started as a program, not imported by a test.
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) {
  const app = await buildApp(readSecret())
  const address = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  console.log(`Listening on ${address}`)
  console.log('GET /greeting; POST /login with {"username":"ada"}; GET /greeting again, with the token')
}
