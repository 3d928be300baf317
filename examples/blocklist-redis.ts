// A logout without sessions: the ids of revoked tokens in Redis, each for as long as its token would have lived.
//
//   npx tsx examples/blocklist-redis.ts          (Redis elsewhere: REDIS_URL=redis://… npx tsx …)

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

const keyOf = (jti: unknown): string => `blocklist:${String(jti)}`

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  // Let Redis keep its data on disk and never evict keys: a mark that it loses brings a revoked token back to life.
  const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: 1, commandTimeout: 1000 })
  redis.on('error', (error) => { console.error(`Redis: ${error.message}`) })
  app.addHook('onClose', async () => { redis.disconnect() })

  await app.register(jwtExtended, {
    secretKey,
    accessTokenExpires: '1h',
    // Asked on every guarded request. Where Redis does not answer, it rejects: that is a 500, and never a pass.
    tokenInBlocklistLoader: async (jwtHeader, jwtPayload) => await redis.exists(keyOf(jwtPayload.jti)) === 1,
  })

  app.post<{ Body: { username?: unknown, password?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username, password } = request.body ?? {}
    // A real application looks the user up and compares hashes: see automatic-user-loading.ts.
    if (username !== 'test' || password !== 'test') {
      return reply.code(401).send({ msg: 'Bad username or password' })
    }
    return {
      access_token: await app.createAccessToken(username),
      refresh_token: await app.createRefreshToken(username),
    }
  })

  app.post('/refresh', { onRequest: app.jwtRequired({ refresh: true }) }, async (request) => {
    return { access_token: await app.createAccessToken(request.jwtIdentity) }
  })

  // One token at a time: who logs out sends this request twice, once with each token.
  app.delete('/logout', { onRequest: app.jwtRequired({ verifyType: false }) }, async (request) => {
    const { jti, type, exp } = request.jwt
    // A token without an expiry is one that this application did not make. Its mark stays for ever.
    if (exp === undefined) await redis.set(keyOf(jti), '')
    else await redis.set(keyOf(jti), '', 'PX', Math.max(exp * 1000 - Date.now(), 1))
    return { msg: `The ${type} token is revoked` }
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
  console.log('POST /login with {"username":"test","password":"test"}; GET /protected with the access token;')
  console.log('DELETE /logout with the access token, then with the refresh token')
}
