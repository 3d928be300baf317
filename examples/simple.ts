// The smallest useful application: one route that hands out an access token, one that asks for it.
//
//   npm start                 (on another port: PORT=3001 npm start)

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

/** What a client should send to log in. It may send anything, so nothing is taken for granted. */
interface Credentials {
  username?: unknown
  password?: unknown
}

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(jwtExtended, { secretKey })

  app.post<{ Body: Credentials | null | undefined }>('/login', async (request, reply) => {
    const { username, password } = request.body ?? {}
    // A real application looks the user up and compares hashes: see automatic-user-loading.ts.
    if (username !== 'test' || password !== 'test') {
      return reply.code(401).send({ msg: 'Bad username or password' })
    }
    return { access_token: await app.createAccessToken(username) }
  })

  // The guard answers every request that has no good access token; the handler sees only the others.
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

async function start (): Promise<void> {
  const app = await buildApp(readSecret())
  const address = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  const login = `${address}/login -H 'Content-Type: application/json' -d '{"username":"test","password":"test"}'`
  console.log(`
Listening on ${address}. To try it, copy these lines into another terminal.

Without a token you are refused:
  curl ${address}/protected

Log in:
  curl ${login}

Log in and keep the token:
  TOKEN=$(curl -s ${login} | node -p 'JSON.parse(fs.readFileSync(0)).access_token')

With the token you are let in:
  curl ${address}/protected -H "Authorization: Bearer $TOKEN"
`)
}

// Started as a program, not imported by a test.
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) await start()
