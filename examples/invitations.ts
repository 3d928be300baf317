// Invitations: tokens of a type of their own, good for one use.
//
//   npx tsx examples/invitations.ts

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended, { memoryStore } from '../index.js' // in your application: 'fastify-jwt-extended'

const newMember = {
  type: 'object',
  required: ['password'],
  properties: { password: { type: 'string', minLength: 8 } },
}

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  // A real application has a table of users, with hashed passwords: see automatic-user-loading.ts.
  const passwords = new Map<unknown, unknown>([['test', 'test']])
  await app.register(jwtExtended, {
    secretKey,
    store: memoryStore(), // redisStore(client) where the application runs more than once
    tokenTypes: { invite: { expires: '7d', singleUse: true } },
  })

  app.post<{ Body: { username?: unknown, password?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username, password } = request.body ?? {}
    if (typeof username !== 'string' || !passwords.has(username) || passwords.get(username) !== password) {
      return reply.code(401).send({ msg: 'Bad username or password' })
    }
    return { access_token: await app.createAccessToken(username) }
  })

  // A real application sends the invitation to that address, and to nobody else.
  app.post<{ Body: { email?: unknown } | null | undefined }>('/invitations', { onRequest: app.jwtRequired() }, async (request, reply) => {
    const { email } = request.body ?? {}
    if (typeof email !== 'string' || email === '') return reply.code(400).send({ msg: 'Whom?' })
    return { invitation: await app.createToken('invite', email, { additionalClaims: { invited_by: request.jwtIdentity } }) }
  })

  // The guard comes after the schema: a password that is too short uses no invitation up.
  app.post<{ Body: { password: string } }>('/join', {
    schema: { body: newMember },
    preHandler: app.jwtRequired({ type: 'invite' }),
  }, async (request) => {
    passwords.set(request.jwtIdentity, request.body.password)
    return { joined: request.jwtIdentity, invited_by: request.jwt.invited_by }
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
  console.log('POST /login with {"username":"test","password":"test"}; POST /invitations with {"email":"grace@example.com"};')
  console.log('POST /join with the invitation as the token and {"password":"…"}, once; then log in as the new member')
}
