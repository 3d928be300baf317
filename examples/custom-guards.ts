// A guard of your own: administrators only.
//
//   npx tsx examples/custom-guards.ts

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance, type onRequestAsyncHookHandler } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

// An ordinary hook. It runs behind a guard, so that the token is verified and only this question is left.
const adminsOnly: onRequestAsyncHookHandler = async (request, reply) => {
  if (request.jwt.is_administrator !== true) {
    return reply.code(403).send({ msg: 'Administrators only' })
  }
}

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(jwtExtended, { secretKey })

  app.post<{ Body: { username?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username } = request.body ?? {}
    if (typeof username !== 'string' || username === '') return reply.code(401).send({ msg: 'Who are you?' })
    const additionalClaims = { is_administrator: username === 'ada' }
    return { access_token: await app.createAccessToken(username, { additionalClaims }) }
  })

  app.get('/protected', { onRequest: [app.jwtRequired(), adminsOnly] }, async (request) => {
    return { administrator: request.jwtIdentity }
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
  console.log('POST /login with {"username":"ada"} (an administrator) or any other name, then GET /protected with the token')
}
