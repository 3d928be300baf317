// Fresh tokens: some things ask for a password that was given a moment ago.
//
//   npx tsx examples/token-freshness.ts

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(jwtExtended, { secretKey, accessTokenExpires: '1h' })

  app.post<{ Body: { username?: unknown, password?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username, password } = request.body ?? {}
    // A real application looks the user up and compares hashes: see automatic-user-loading.ts.
    if (username !== 'test' || password !== 'test') {
      return reply.code(401).send({ msg: 'Bad username or password' })
    }
    return {
      // Good for an hour, fresh for its first ten minutes. `fresh: true` would keep it fresh as long as it is good.
      access_token: await app.createAccessToken(username, { fresh: '10m' }),
      refresh_token: await app.createRefreshToken(username),
    }
  })

  // Nobody typed a password here, so that the new token is not fresh.
  app.post('/refresh', { onRequest: app.jwtRequired({ refresh: true }) }, async (request) => {
    return { access_token: await app.createAccessToken(request.jwtIdentity) }
  })

  app.get('/protected', { onRequest: app.jwtRequired() }, async (request) => {
    return { logged_in_as: request.jwtIdentity, fresh: request.jwt.fresh !== false }
  })

  app.post('/transfer', { onRequest: app.jwtRequired({ fresh: true }) }, async (request) => {
    return { transferred_by: request.jwtIdentity }
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
  console.log('POST /login with {"username":"test","password":"test"}; POST /transfer with the access token;')
  console.log('POST /refresh with the refresh token; POST /transfer with the new access token')
}
