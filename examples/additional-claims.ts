// Claims of your own in a token: some for every token, some for this one.
//
//   npx tsx examples/additional-claims.ts

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

const ROLES = new Map([['ada', 'admin'], ['grace', 'editor']])

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(jwtExtended, {
    secretKey,
    // Asked once for each new token. It gets the identity that createAccessToken was called with.
    additionalClaimsLoader: (identity) => ({ role: ROLES.get(String(identity)) ?? 'reader' }),
  })

  app.post<{ Body: { username?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username } = request.body ?? {}
    if (typeof username !== 'string' || username === '') return reply.code(401).send({ msg: 'Who are you?' })
    // Claims given here win over those of the loader, and both win over the default ones.
    const additionalClaims = { device: request.headers['user-agent'] ?? 'unknown' }
    return { access_token: await app.createAccessToken(username, { additionalClaims }) }
  })

  // The payload of the verified token, with every claim in it. Whoever holds the token can read them, too:
  // a token is signed, not encrypted.
  app.get('/protected', { onRequest: app.jwtRequired() }, async (request) => {
    const { sub, role, device } = request.jwt
    return { username: sub, role, device }
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
  console.log('POST /login with {"username":"ada"}, "grace" or any other name, then GET /protected with the token')
}
