// A logout without sessions: the revoked tokens in a table of a database, with who ended them and when.
//
//   npx tsx examples/blocklist-database.ts

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { createClient } from '@libsql/client'
import { desc, eq, lte, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/libsql'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

// `jti` is looked for on every guarded request, so it has an index, as the primary key. The other columns are for
// people: add what your application wants to know, such as the reason.
const revokedTokens = sqliteTable('revoked_tokens', {
  jti: text('jti').primaryKey(),
  type: text('type').notNull(),
  user: text('user').notNull(),
  createdAt: integer('created_at', { mode: 'timestamp_ms' }).notNull(),
  expiresAt: integer('expires_at', { mode: 'timestamp' }),
})

// In memory, so that there is nothing to set up. A real application keeps the table on disk: who restarts a server must
// not bring revoked tokens back to life.
async function openDatabase () {
  const db = drizzle(createClient({ url: ':memory:' }))
  await db.run(sql`
    CREATE TABLE revoked_tokens (
      jti TEXT PRIMARY KEY,
      type TEXT NOT NULL,
      user TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      expires_at INTEGER
    )`)
  await db.run(sql`CREATE INDEX revoked_tokens_expires_at ON revoked_tokens (expires_at)`)
  return db
}

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const db = await openDatabase()
  const app = Fastify()
  app.addHook('onClose', async () => { db.$client.close() })

  await app.register(jwtExtended, {
    secretKey,
    accessTokenExpires: '1h',
    // Asked on every guarded request. Where the database fails, it rejects: that is a 500, and never a pass.
    tokenInBlocklistLoader: async (jwtHeader, jwtPayload) => {
      const { jti } = revokedTokens
      return (await db.select({ jti }).from(revokedTokens).where(eq(jti, String(jwtPayload.jti)))).length > 0
    },
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
    const now = Date.now()
    await db.insert(revokedTokens).values({
      jti: String(jti),
      type: String(type),
      user: String(request.jwtIdentity),
      createdAt: new Date(now),
      expiresAt: exp === undefined ? null : new Date(exp * 1000),
    }).onConflictDoNothing() // two requests with one token may get here at the same time
    // Nobody can use these tokens any more, revoked or not.
    await db.delete(revokedTokens).where(lte(revokedTokens.expiresAt, new Date(now)))
    return { msg: `The ${type} token is revoked` }
  })

  app.get('/logouts', { onRequest: app.jwtRequired() }, async (request) => {
    const { type, user, createdAt } = revokedTokens
    return await db.select({ type, created_at: createdAt }).from(revokedTokens)
      .where(eq(user, String(request.jwtIdentity))).orderBy(desc(createdAt))
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
  console.log('DELETE /logout with the access token, then with the refresh token; GET /logouts after the next login')
}
