// An API that changes its signing key every few seconds while a client keeps calling it, and that publishes its public keys
// for other services.
//
//   npx tsx examples/key-rotation.ts          (at another pace: ROTATE_EVERY=1 npx tsx …)

import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

// These keys end with the process. Keep yours where every instance finds them, before and after a restart: see docs/keys.md.
const makeKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

/** @param pace how often the key changes, in seconds */
export async function buildApp (pace: number): Promise<FastifyInstance> {
  // A retired key verifies until the last of its tokens has expired. In real life: minutes here, and weeks between two keys.
  const lifetime = 4 * pace
  const app = Fastify()
  await app.register(jwtExtended, {
    algorithm: 'ES256', privateKey: makeKey(), accessTokenExpires: lifetime, refreshTokenExpires: lifetime,
  })

  app.post('/login', async () => {
    // A real application asks for a password first: see automatic-user-loading.ts.
    return { access_token: await app.createAccessToken('ada'), expires_in: lifetime }
  })

  app.get('/protected', { onRequest: app.jwtRequired() }, async (request) => {
    return { logged_in_as: request.jwtIdentity, key: request.jwtHeader.kid }
  })

  // Who verifies our tokens keeps the set for so long, and asks again for a key that is not in it.
  app.get('/.well-known/jwks.json', async (request, reply) => {
    reply.type('application/jwk-set+json').header('Cache-Control', `public, max-age=${pace}`)
    return app.jwks()
  })

  return app
}

interface Tally {
  calls: number
  failures: number
}

/** A client: calls again and again with the token that it has, and logs in anew at half of its time. */
async function keepCalling (address: string, tally: Tally, signal: AbortSignal): Promise<void> {
  let token = ''
  let renewAt = 0
  while (!signal.aborted) {
    if (Date.now() >= renewAt) {
      const response = await fetch(`${address}/login`, { method: 'POST' })
      const login = await response.json() as { access_token: string, expires_in: number }
      token = login.access_token
      renewAt = Date.now() + login.expires_in * 500
    }
    const response = await fetch(`${address}/protected`, { headers: { authorization: `Bearer ${token}` } })
    await response.text()
    tally.calls += 1
    if (!response.ok) tally.failures += 1
    await setTimeout(20)
  }
}

async function start (): Promise<void> {
  const pace = Number(process.env.ROTATE_EVERY ?? 5)
  const app = await buildApp(pace)
  const address = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  console.log(`Listening on ${address}, with a new key every ${pace} s. Ctrl+C ends it. The public keys:`)
  console.log(`  curl -i ${address}/.well-known/jwks.json`)

  const end = new AbortController()
  const tally: Tally = { calls: 0, failures: 0 }
  const client = keepCalling(address, tally, end.signal)
  const rotation = setInterval(() => {
    app.rotateKeys({ privateKey: makeKey() })
    const [current, ...retired] = app.jwks().keys
    console.log(`New key ${current!.kid}. Retired, and still good: ${retired.length}. Calls: ${tally.calls}, failed: ${tally.failures}`)
  }, pace * 1000)

  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
  clearInterval(rotation)
  end.abort()
  await client
  await app.close()
  console.log(`Ended. Calls: ${tally.calls}, failed: ${tally.failures}`)
}

// Started as a program, not imported by a test.
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) await start()
