// The answer to an expired token in your own words.
//
//   npx tsx examples/changing-default-behavior.ts

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(jwtExtended, {
    secretKey,
    // Short, so that you need not wait long for the answer below.
    accessTokenExpires: '20s',
    // What a loader like this returns is the body. The status stays 401 unless the loader calls reply.code().
    expiredTokenLoader: (error) => {
      const { sub, exp } = error.jwtPayload!
      return {
        error: 'session_over',
        hint: `${sub}, your token ended at ${new Date(Number(exp) * 1000).toISOString()}. Please log in again.`,
      }
    },
  })

  app.post<{ Body: { username?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username } = request.body ?? {}
    if (typeof username !== 'string' || username === '') return reply.code(401).send({ msg: 'Who are you?' })
    return { access_token: await app.createAccessToken(username) }
  })

  app.get('/protected', { onRequest: app.jwtRequired() }, async (request) => {
    return { logged_in_as: request.jwtIdentity }
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
  console.log('POST /login with {"username":"ada"}, then GET /protected with the token: now, and after 20 seconds')
}
