import { spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import Fastify from 'fastify'
import type { JwtAlgorithm, JwtExtendedOptions } from '../index.js'

// The compiled package, as an application would run it. The types are those of the source.
const { default: jwtExtended, memoryStore, redisStore } = await import(new URL('../dist/index.js', import.meta.url).href) as typeof import('../index.js')

/** A request of the load. */
export interface LoadRequest {
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
}

/** A server under load. */
export interface Subject {
  requests: LoadRequest[]
  listen (): Promise<number>
}

export const HOT = 500
export const COLD = 20_000
const TENANTS = 1000

type Algorithm = Extract<JwtAlgorithm, 'HS256' | 'RS256' | 'ES256' | 'EdDSA'>

const secret = randomBytes(64).toString('hex')

interface Keys {
  secret?: string
  privateKey?: KeyObject
  publicKey?: KeyObject
}

function makeKeys (algorithm: Algorithm): Keys {
  switch (algorithm) {
    case 'HS256': return { secret }
    case 'RS256': return generateKeyPairSync('rsa', { modulusLength: 2048 })
    case 'ES256': return generateKeyPairSync('ec', { namedCurve: 'P-256' })
    case 'EdDSA': return generateKeyPairSync('ed25519')
  }
}

function configure (algorithm: Algorithm, keys: Keys): JwtExtendedOptions {
  return keys.secret !== undefined
    ? { secretKey: keys.secret }
    : { algorithm, privateKey: keys.privateKey!, publicKey: keys.publicKey! }
}

async function makeTokens (options: JwtExtendedOptions, count: number): Promise<string[]> {
  const maker = Fastify()
  await maker.register(jwtExtended, { ...options, accessTokenExpires: '1d' })
  return await Promise.all(Array.from({ length: count }, (_, i) => maker.createAccessToken(`user-${i}`)))
}

function byHeader (tokens: string[]): LoadRequest[] {
  return tokens.map((token) => ({ method: 'GET', path: '/', headers: { Authorization: `Bearer ${token}` } }))
}

const answer = { hello: 'world' }

function serve (app: FastifyInstance, requests: LoadRequest[]): Subject {
  return {
    requests,
    async listen () {
      await app.listen({ port: 0, host: '127.0.0.1' })
      return (app.server.address() as { port: number }).port
    },
  }
}

async function noop (): Promise<Subject> {
  const app = Fastify()
  app.route({
    method: ['GET', 'POST'], url: '/', preHandler: (_request, _reply, done) => { done() }, handler: (_request, reply) => { reply.send(answer) },
  })
  return serve(app, byHeader(await makeTokens({ secretKey: secret }, HOT)))
}

async function ours (algorithm: Algorithm, more: JwtExtendedOptions = {}, count = HOT): Promise<Subject> {
  const options = { ...configure(algorithm, makeKeys(algorithm)), ...more }
  const app = Fastify()
  await app.register(jwtExtended, options)
  app.get('/', { preHandler: app.jwtRequired() }, (_request, reply) => { reply.send(answer) })
  return serve(app, byHeader(await makeTokens(options, count)))
}

const ISSUER = 'https://login.example.com/'

/** Tokens of somebody else's, with the claims of ours, whose key set this process serves, too. */
async function oursByIssuer (): Promise<Subject> {
  const { privateKey } = makeKeys('RS256')
  const maker = Fastify()
  await maker.register(jwtExtended, { algorithm: 'RS256', privateKey: privateKey!, accessTokenExpires: '1d', encodeIssuer: ISSUER, encodeAudience: 'bench' })
  maker.get('/jwks', () => maker.jwks())
  const jwksUri = `${await maker.listen({ port: 0, host: '127.0.0.1' })}/jwks`
  const app = Fastify()
  await app.register(jwtExtended, { issuers: [{ issuer: ISSUER, audience: 'bench', jwksUri }] })
  app.get('/', { preHandler: app.jwtRequired() }, (_request, reply) => { reply.send(answer) })
  return serve(app, byHeader(await Promise.all(Array.from({ length: HOT }, (_, i) => maker.createAccessToken(`user-${i}`)))))
}

async function oursByCookie (): Promise<Subject> {
  const app = Fastify()
  await app.register(jwtExtended, { secretKey: secret, tokenLocation: 'cookies' })
  app.post('/', { preHandler: app.jwtRequired() }, (_request, reply) => { reply.send(answer) })
  const tokens = await makeTokens({ secretKey: secret }, HOT)
  const requests = await Promise.all(tokens.map(async (token): Promise<LoadRequest> => ({
    method: 'POST',
    path: '/',
    headers: { Cookie: `access_token_cookie=${token}`, 'X-CSRF-TOKEN': await app.getCsrfToken(token) },
  })))
  return serve(app, requests)
}

/** Whether the store on Redis can be measured here. */
const hasRedis = spawnSync('redis-server', ['--version']).status === 0

async function oursByRedis (): Promise<Subject> {
  const socket = join(mkdtempSync(join(tmpdir(), 'bench-redis-')), 'redis.sock')
  const redis = spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no'], { stdio: 'ignore' })
  process.once('exit', () => { redis.kill() })
  const { Redis } = await import('ioredis')
  const client = new Redis(socket, { retryStrategy: () => 50 })
  client.on('error', () => {})
  await client.ping()
  return await ours('HS256', { store: redisStore(client) })
}

async function oursByTenant (loader: (key: string) => string | Promise<string>): Promise<Subject> {
  const keys = new Map(Array.from({ length: TENANTS }, (_, i) => [`tenant-${i}`, randomBytes(32).toString('hex')]))
  const app = Fastify()
  await app.register(jwtExtended, { decodeKeyLoader: (header) => loader(keys.get(header['tenant'] as string)!) })
  app.get('/', { preHandler: app.jwtRequired() }, (_request, reply) => { reply.send(answer) })
  const maker = Fastify()
  await maker.register(jwtExtended, { encodeKeyLoader: (tenant) => keys.get(tenant as string)!, accessTokenExpires: '1d' })
  const tokens = await Promise.all([...keys.keys()].map((tenant) => maker.createAccessToken(tenant, { additionalHeaders: { tenant } })))
  return serve(app, byHeader(tokens))
}

// The least that a guard could do: a map of known tokens, or fast-jwt's verifier, and nothing else.
async function byHand (known: boolean): Promise<Subject> {
  const { createVerifier } = await import('fast-jwt')
  const verify = createVerifier({ key: secret, algorithms: ['HS256'] })
  const tokens = await makeTokens({ secretKey: secret }, HOT)
  const payloads = new Map(tokens.map((token) => [token, verify(token) as { exp: number }]))
  const app = Fastify()
  app.decorateRequest('user')
  app.get('/', {
    preHandler: (request, _reply, done) => {
      const token = request.headers.authorization!.slice('Bearer '.length)
      const payload = known ? payloads.get(token)! : verify(token) as { exp: number }
      if (payload.exp * 1000 <= Date.now()) throw new Error('expired')
      ;(request as typeof request & { user: unknown }).user = payload
      done()
    },
  }, (_request, reply) => { reply.send(answer) })
  return serve(app, byHeader(tokens))
}

async function fastifyJwt (algorithm: Algorithm, cache: boolean, count = HOT): Promise<Subject> {
  const { default: plugin } = await import('@fastify/jwt')
  const keys = makeKeys(algorithm)
  const verify = cache ? { cache: true } : {}
  const app = Fastify()
  if (keys.secret !== undefined) {
    await app.register(plugin, { secret: keys.secret, verify })
  } else {
    const pem = {
      private: keys.privateKey!.export({ type: 'pkcs8', format: 'pem' }) as string,
      public: keys.publicKey!.export({ type: 'spki', format: 'pem' }) as string,
    }
    await app.register(plugin, { secret: pem, sign: { algorithm }, verify: { algorithms: [algorithm], ...verify } })
  }
  app.get('/', { preHandler: async (request) => { await request.jwtVerify() } }, (_request, reply) => { reply.send(answer) })
  return serve(app, byHeader(await makeTokens(configure(algorithm, keys), count)))
}

async function fastifyJose (): Promise<Subject> {
  const { jwtVerify } = await import('jose')
  const key = new TextEncoder().encode(secret)
  const app = Fastify()
  app.get('/', {
    preHandler: async (request) => { await jwtVerify(request.headers.authorization!.slice('Bearer '.length), key, { algorithms: ['HS256'] }) },
  }, (_request, reply) => { reply.send(answer) })
  return serve(app, byHeader(await makeTokens({ secretKey: secret }, HOT)))
}

async function expressJwt (): Promise<Subject> {
  const { default: express } = await import('express')
  const { expressjwt } = await import('express-jwt')
  const app = express()
  app.get('/', expressjwt({ secret, algorithms: ['HS256'] }), (_request, response) => { response.json(answer) })
  return {
    requests: byHeader(await makeTokens({ secretKey: secret }, HOT)),
    listen: () => new Promise((resolve) => {
      const server = app.listen(0, '127.0.0.1', () => { resolve((server.address() as { port: number }).port) })
    }),
  }
}

async function hono (): Promise<Subject> {
  const [{ Hono }, { jwt }, { serve: serveHono }] = await Promise.all([import('hono'), import('hono/jwt'), import('@hono/node-server')])
  const app = new Hono()
  app.use('/', jwt({ secret, alg: 'HS256' }))
  app.get('/', (context) => context.json(answer))
  return {
    requests: byHeader(await makeTokens({ secretKey: secret }, HOT)),
    listen: () => new Promise((resolve) => {
      serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, (info) => { resolve(info.port) })
    }),
  }
}

const later = async <T>(value: T): Promise<T> => value

/** Every server that is measured, by the name it has in the table. The others are compared with the first. */
export const CASES = {
  'no-op hook': noop,
  'ours, HS256': () => ours('HS256'),
  'ours, RS256': () => ours('RS256'),
  'ours, issuer RS256': oursByIssuer,
  'ours, ES256': () => ours('ES256'),
  'ours, EdDSA': () => ours('EdDSA'),
  'ours, HS256, no cache': () => ours('HS256', { verifyCache: false }),
  'ours, RS256, no cache': () => ours('RS256', { verifyCache: false }),
  'ours, ES256, no cache': () => ours('ES256', { verifyCache: false }),
  'ours, EdDSA, no cache': () => ours('EdDSA', { verifyCache: false }),
  'ours, HS256, cold': () => ours('HS256', {}, COLD),
  'ours, HS256, cold, no cache': () => ours('HS256', { verifyCache: false }, COLD),
  'ours, cookie and CSRF': oursByCookie,
  'ours, user lookup': () => ours('HS256', { userLookupLoader: (_header, payload) => ({ id: payload['sub'] }) }),
  'ours, async user lookup': () => ours('HS256', { userLookupLoader: (_header, payload) => later({ id: payload['sub'] }) }),
  'ours, async blocklist and user': () => ours('HS256', {
    tokenInBlocklistLoader: () => later(false), userLookupLoader: (_header, payload) => later({ id: payload['sub'] }),
  }),
  'ours, memory store': () => ours('HS256', { store: memoryStore() }),
  ...(hasRedis && { 'ours, Redis store': oursByRedis }),
  'ours, 1,000 tenants': () => oursByTenant((key) => key),
  'ours, 1,000 tenants, async': () => oursByTenant(later),
  'by hand, a Map of tokens': () => byHand(true),
  'by hand, fast-jwt alone': () => byHand(false),
  '@fastify/jwt, HS256': () => fastifyJwt('HS256', false),
  '@fastify/jwt, HS256, cache': () => fastifyJwt('HS256', true),
  '@fastify/jwt, HS256, cold': () => fastifyJwt('HS256', false, COLD),
  '@fastify/jwt, RS256': () => fastifyJwt('RS256', false),
  '@fastify/jwt, RS256, cache': () => fastifyJwt('RS256', true),
  '@fastify/jwt, ES256': () => fastifyJwt('ES256', false),
  '@fastify/jwt, ES256, cache': () => fastifyJwt('ES256', true),
  '@fastify/jwt, EdDSA': () => fastifyJwt('EdDSA', false),
  '@fastify/jwt, EdDSA, cache': () => fastifyJwt('EdDSA', true),
  'fastify + jose, HS256': fastifyJose,
  'express 5 + express-jwt, HS256': expressJwt,
  'Hono on Node, HS256': hono,
} satisfies Record<string, () => Promise<Subject>>

export type CaseName = keyof typeof CASES
