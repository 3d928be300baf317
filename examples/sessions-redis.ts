// Sessions in Redis: refresh tokens that are good for one use, and logins that can be listed and ended one by one.
// Any number of instances of this program may share one Redis.
//
//   npx tsx examples/sessions-redis.ts          (Redis elsewhere: REDIS_URL=redis://… npx tsx …)

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import jwtExtended, { JwtError, redisStore, type TokenPair } from '../index.js' // in your application: 'fastify-jwt-extended'

// A real application looks the user up and compares hashes: see automatic-user-loading.ts.
const PASSWORDS = new Map<unknown, string>([['ada', 'analytical engine'], ['grace', 'nanosecond of wire']])

const LONGEST_LABEL = 200

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  // The store uses this client and makes no connection of its own. Without Redis, requests are answered with 503.
  const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: 1 })
  redis.on('error', (error) => { console.error(`Redis: ${error.message}`) })
  app.addHook('onClose', async () => { redis.disconnect() })

  await app.register(jwtExtended, { secretKey, store: redisStore(redis) })

  // A guard answers by itself. What the methods below throw in a handler comes here, and gets the same answer.
  app.setErrorHandler((error, request, reply) => {
    if (!(error instanceof JwtError)) throw error
    return reply.code(error.statusCode).headers(error.headers).send({ msg: error.message })
  })

  app.post<{ Body: { username?: unknown, password?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username, password } = request.body ?? {}
    if (password === undefined || password !== PASSWORDS.get(username)) {
      return reply.code(401).send({ msg: 'Bad username or password' })
    }
    // The label is what GET /sessions shows, so that people know their devices again.
    const label = (request.headers['user-agent'] || 'unknown').slice(0, LONGEST_LABEL)
    return present(await app.createTokenPair(username, { label }))
  })

  // Both tokens are new. The refresh token that came is used up: sent once more after a few seconds, it ends the session,
  // since somebody must have made a copy of it.
  app.post('/refresh', { onRequest: app.jwtRequired({ refresh: true }) }, async (request) => {
    return present(await request.refreshTokens())
  })

  app.get('/protected', { onRequest: app.jwtRequired() }, async (request) => {
    return { logged_in_as: request.jwtIdentity }
  })

  // Either token of the session will do, and both are dead afterwards.
  app.post('/logout', { onRequest: app.jwtRequired({ verifyType: false }) }, async (request, reply) => {
    await request.revokeJwt()
    return reply.code(204).send()
  })

  app.get('/sessions', { onRequest: app.jwtRequired() }, async (request) => {
    const sessions = await app.listSessions(request.jwtIdentity)
    return sessions.map((session) => ({ ...session, current: session.sessionId === request.jwt['sid'] }))
  })

  // The identity comes from the token, so that nobody ends the sessions of somebody else.
  app.delete<{ Params: { id: string } }>('/sessions/:id', { onRequest: app.jwtRequired() }, async (request, reply) => {
    const ended = await app.revokeSession(request.jwtIdentity, request.params.id)
    return ended ? reply.code(204).send() : reply.code(404).send({ msg: 'You have no such session' })
  })

  // Without exceptSession it would end this session, too.
  app.post('/logout-others', { onRequest: app.jwtRequired() }, async (request, reply) => {
    await app.revokeAllTokens(request.jwtIdentity, { exceptSession: String(request.jwt['sid']) })
    return reply.code(204).send()
  })

  return app
}

function present ({ accessToken, refreshToken, sessionId }: TokenPair): Record<string, string> {
  return { access_token: accessToken, refresh_token: refreshToken, session_id: sessionId }
}

function readSecret (): string {
  if (process.env.JWT_SECRET_KEY) return process.env.JWT_SECRET_KEY
  console.log('Note: JWT_SECRET_KEY is not set. A random secret is in use, and its tokens end with this process.')
  return randomBytes(32).toString('hex')
}

async function start (): Promise<void> {
  const app = await buildApp(readSecret())
  const address = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  const login = `${address}/login -H 'Content-Type: application/json' -d '{"username":"ada","password":"analytical engine"}'`
  console.log(`
Listening on ${address}. To try it, copy these lines into another terminal.

Log in on two devices, and keep the tokens:
  PHONE=$(curl -s -A phone ${login})
  LAPTOP=$(curl -s -A laptop ${login})
  token () { echo "$1" | node -p "JSON.parse(fs.readFileSync(0)).$2"; }

List your sessions:
  curl -s ${address}/sessions -H "Authorization: Bearer $(token "$LAPTOP" access_token)"

Get the laptop new tokens for its refresh token:
  LAPTOP=$(curl -s -X POST ${address}/refresh -H "Authorization: Bearer $(token "$LAPTOP" refresh_token)")

End the session of the phone from the laptop; the phone is refused then:
  curl -s -X DELETE ${address}/sessions/$(token "$PHONE" session_id) -H "Authorization: Bearer $(token "$LAPTOP" access_token)"
  curl -s ${address}/protected -H "Authorization: Bearer $(token "$PHONE" access_token)"

End all sessions but this one, and then this one, too:
  curl -s -X POST ${address}/logout-others -H "Authorization: Bearer $(token "$LAPTOP" access_token)"
  curl -s -X POST ${address}/logout -H "Authorization: Bearer $(token "$LAPTOP" access_token)"
`)
}

// Started as a program, not imported by a test.
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) await start()
