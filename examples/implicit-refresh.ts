// Implicit refreshing: who keeps using the application stays logged in, without a refresh token.
//
//   npx tsx examples/implicit-refresh.ts

import { randomBytes, randomUUID } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

// All in seconds.
const ACCESS_EXPIRES = 30 * 60
const RENEW_BEFORE = 15 * 60
const LONGEST_LOGIN = 12 * 60 * 60

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  // A real application keeps these where all its processes see them, each for as long as a login may last.
  const endedLogins = new Set<unknown>()

  await app.register(jwtExtended, {
    secretKey,
    tokenLocation: ['cookies', 'headers'],
    accessTokenExpires: ACCESS_EXPIRES,
    tokenInBlocklistLoader: (jwtHeader, jwtPayload) => endedLogins.has(jwtPayload['login']),
  })

  // The last hook before an answer leaves. By now it is known what became of the request.
  app.addHook('onSend', async (request, reply) => {
    // An error renews nothing, and neither does a token that the browser did not send by itself.
    if (reply.statusCode >= 400 || !cameByCookie(request)) return
    // The route has seen to the cookie itself: a login, or a logout that this hook must not undo.
    if (setsAccessCookie(reply)) return

    const { exp = 0, fresh = false, csrf = '', login, login_at: loginAt } = request.jwt
    const now = Math.floor(Date.now() / 1000)
    const end = Math.min(now + ACCESS_EXPIRES, Number(loginAt) + LONGEST_LOGIN)
    if (exp - now > RENEW_BEFORE || !(end > exp)) return
    // The user logged out while this request was under way.
    if (endedLogins.has(login)) return

    reply.setAccessCookies(await app.createAccessToken(request.jwtIdentity, {
      expiresDelta: end - now,
      // Nobody typed a password, so `fresh` is as it was. With the same `csrf`, forms that are open now stay good.
      additionalClaims: { fresh, csrf, login, login_at: loginAt },
    }))
    // Whatever the route said about caches, it did not know that a token would come along.
    reply.header('Cache-Control', 'no-store')
  })

  app.post<{ Body: { username?: unknown, password?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username, password } = request.body ?? {}
    // A real application looks the user up and compares hashes: see automatic-user-loading.ts.
    if (username !== 'test' || password !== 'test') {
      return reply.code(401).send({ msg: 'Bad username or password' })
    }
    const token = await app.createAccessToken(username, {
      // A second until which it is fresh, and not `true`: that would stay true in every token after it.
      fresh: '5m',
      // The same in every token that comes of this login: which one it is, and when the password was typed.
      additionalClaims: { login: randomUUID(), login_at: Math.floor(Date.now() / 1000) },
    })
    reply.setAccessCookies(token)
    return { msg: 'Logged in', access_token: token }
  })

  // Clearing the cookies empties this browser. Ending the login refuses every token of it, wherever one has got to.
  app.post('/logout', { onRequest: app.jwtRequired() }, async (request, reply) => {
    endedLogins.add(request.jwt['login'])
    reply.unsetJwtCookies()
    return { msg: 'Logged out' }
  })

  app.get('/protected', { onRequest: app.jwtRequired() }, async (request) => {
    return { logged_in_as: request.jwtIdentity }
  })

  app.get('/prices', { onRequest: app.jwtRequired() }, async (request, reply) => {
    reply.header('Cache-Control', 'private, max-age=600')
    return { apples: 3, pears: 4 }
  })

  app.post<{ Body: { amount?: unknown } | null | undefined }>('/transfer', {
    onRequest: app.jwtRequired({ fresh: true }),
  }, async (request, reply) => {
    const amount = request.body?.amount
    if (typeof amount !== 'number' || !(amount > 0)) return reply.code(400).send({ msg: 'How much?' })
    return { transferred: amount }
  })

  return app
}

function cameByCookie (request: FastifyRequest): boolean {
  try {
    return request.jwtLocation === 'cookies'
  } catch {
    // No guard has let this request in.
    return false
  }
}

function setsAccessCookie (reply: FastifyReply): boolean {
  return [reply.getHeader('Set-Cookie')].flat().some((line) => String(line).startsWith('access_token_cookie='))
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
  console.log('POST /login with {"username":"test","password":"test"}; GET /protected with the cookie: half an hour after')
  console.log('the login it has expired, unless it was used in the second half of that time')
}
