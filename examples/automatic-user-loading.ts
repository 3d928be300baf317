// Users in a database: hand the user in when you make a token, find the user on the request when it comes back.
//
//   npx tsx examples/automatic-user-loading.ts

import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { promisify } from 'node:util'
import { createClient } from '@libsql/client'
import { eq, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/libsql'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

const users = sqliteTable('users', {
  id: integer('id').primaryKey(),
  username: text('username').notNull().unique(),
  fullName: text('full_name').notNull(),
  passwordHash: text('password_hash').notNull(),
})

/** A user as the rest of the application sees one: without the hash of the password. */
interface User {
  id: number
  username: string
  fullName: string
}

// Your application would declare the type once, and createAccessToken, the loaders and request.currentUser would all
// know it: see "TypeScript" in docs/getting-started.md. The examples share one compilation, so this one says `as User`
// instead.

const PEOPLE = [
  { username: 'ada', fullName: 'Ada Lovelace', password: 'analytical engine' },
  { username: 'grace', fullName: 'Grace Hopper', password: 'nanosecond of wire' },
  { username: 'katherine', fullName: 'Katherine Johnson', password: 'friendship seven' },
]

const derive = promisify<string, Buffer, number, Buffer>(scrypt)

async function hashPassword (password: string): Promise<string> {
  const salt = randomBytes(16)
  return `${salt.toString('base64')}:${(await derive(password, salt, 32)).toString('base64')}`
}

async function isPassword (password: string, hash: string): Promise<boolean> {
  const [salt, key] = hash.split(':').map((part) => Buffer.from(part, 'base64')) as [Buffer, Buffer]
  return timingSafeEqual(key, await derive(password, salt, key.length))
}

async function openDatabase () {
  const db = drizzle(createClient({ url: ':memory:' }))
  await db.run(sql`
    CREATE TABLE users (
      id INTEGER PRIMARY KEY,
      username TEXT NOT NULL UNIQUE,
      full_name TEXT NOT NULL,
      password_hash TEXT NOT NULL
    )`)
  for (const { username, fullName, password } of PEOPLE) {
    await db.insert(users).values({ username, fullName, passwordHash: await hashPassword(password) })
  }
  return db
}

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const db = await openDatabase()
  // Compared with where there is no such user, so that the time of an answer does not tell which usernames exist.
  const nobodysHash = await hashPassword(randomBytes(16).toString('hex'))

  const app = Fastify()
  app.addHook('onClose', async () => { db.$client.close() })
  await app.register(jwtExtended, {
    secretKey,
    // On the way out: what of the user goes into the token. `sub` is a string.
    userIdentityLoader: (user) => String((user as User).id),
    // On the way in: the user of the token. Nobody found is a 401.
    userLookupLoader: async (jwtHeader, jwtPayload): Promise<User | undefined> => {
      const { id, username, fullName } = users
      const [user] = await db.select({ id, username, fullName }).from(users).where(eq(id, Number(jwtPayload.sub)))
      return user
    },
  })

  app.post<{ Body: { username?: unknown, password?: unknown } | null | undefined }>('/login', async (request, reply) => {
    const { username, password } = request.body ?? {}
    if (typeof username === 'string' && typeof password === 'string') {
      const [user] = await db.select().from(users).where(eq(users.username, username))
      const matches = await isPassword(password, user?.passwordHash ?? nobodysHash)
      if (user !== undefined && matches) return { access_token: await app.createAccessToken(user) }
    }
    return reply.code(401).send({ msg: 'Bad username or password' })
  })

  app.get('/who_am_i', { onRequest: app.jwtRequired() }, async (request) => {
    const user = request.currentUser as User
    return { id: user.id, full_name: user.fullName, username: user.username }
  })

  // A token outlives its user; the next request with it finds nobody.
  app.delete('/account', { onRequest: app.jwtRequired() }, async (request, reply) => {
    await db.delete(users).where(eq(users.id, (request.currentUser as User).id))
    return reply.code(204).send()
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
  console.log('POST /login with one of these, then GET /who_am_i with the token:')
  for (const { username, password } of PEOPLE) console.log(`  ${JSON.stringify({ username, password })}`)
}
