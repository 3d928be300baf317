// Scopes for what a token may do, and roles for what its holder is.
//
//   npx tsx examples/scopes.ts

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

// In a real application this is a table of users.
const users = new Map([
  ['ada', { scope: 'reports:read reports:write', roles: ['admin'] }],
  ['grace', { scope: 'reports:read', roles: ['editor'] }],
])

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  const reports = ['January']
  await app.register(jwtExtended, {
    secretKey,
    // Every token gets what its holder may do, as it is at that moment.
    additionalClaimsLoader: (identity) => users.get(String(identity)) ?? {},
  })

  app.post<{ Body: { username?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username } = request.body ?? {}
    if (typeof username !== 'string' || !users.has(username)) return reply.code(401).send({ msg: 'Who are you?' })
    return { access_token: await app.createAccessToken(username) }
  })

  app.get('/reports', { onRequest: app.jwtRequired({ scopes: 'reports:read' }) }, async () => ({ reports }))

  // Of scopes all are needed.
  app.post('/reports', { onRequest: app.jwtRequired({ scopes: ['reports:read', 'reports:write'] }) }, async () => {
    reports.push('February')
    return { reports }
  })

  // Of roles one suffices.
  app.get('/drafts', { onRequest: app.jwtRequired({ roles: ['admin', 'editor'] }) }, async () => ({ drafts: ['March'] }))

  app.delete('/reports', { onRequest: app.jwtRequired({ roles: 'admin', scopes: 'reports:write' }) }, async () => {
    reports.length = 0
    return { reports }
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
  console.log('POST /login with {"username":"ada"} (who may do everything) or {"username":"grace"} (who may read);')
  console.log('then GET, POST and DELETE /reports and GET /drafts with the token')
}
