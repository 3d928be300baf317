import { randomBytes, randomUUID } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { measure } from 'mitata'
import type { JwtExtendedOptions } from '../index.js'

const { default: jwtExtended, memoryStore } = await import(new URL('../dist/index.js', import.meta.url).href) as typeof import('../index.js')

const secret = randomBytes(64).toString('hex')

/** Something that was measured without a network, in microseconds per call. */
export interface Call {
  name: string
  microseconds: number
}

// The first thousands of calls run code that is not compiled yet.
const WARM_UP = 5000

async function time (name: string, call: () => unknown): Promise<Call> {
  for (let i = 0; i < WARM_UP; i++) await call()
  const { p50 } = await measure(call, { min_cpu_time: 300e6 })
  return { name, microseconds: p50 / 1000 }
}

async function build (options: JwtExtendedOptions = {}): Promise<ReturnType<typeof Fastify>> {
  const app = Fastify()
  await app.register(jwtExtended, { secretKey: secret, accessTokenExpires: '1d', ...options })
  return app
}

// A guard looks at a request's method and headers, and at nothing else before it has passed.
async function guardCall (options: JwtExtendedOptions, tokens: number): Promise<() => void> {
  const app = await build(options)
  const guard = app.jwtRequired()
  const requests = await Promise.all(Array.from({ length: tokens }, async (_, i) => {
    const token = await app.createAccessToken(`user-${i}`)
    return { method: 'GET', headers: { authorization: `Bearer ${token}` } } as unknown as FastifyRequest
  }))
  const reply = {} as FastifyReply
  let i = 0
  return () => {
    i = (i + 1) % tokens
    guard(requests[i]!, reply, (error?: Error) => {
      if (error !== undefined) throw error
    })
  }
}

/** A guard's own cost, and that of making a token, beside @fastify/jwt's sign of the same claims. */
export async function measureCalls (): Promise<Call[]> {
  const app = await build()
  const theirs = Fastify()
  await theirs.register(fastifyJwt, { secret })
  const claims = await app.decodeToken(await app.createAccessToken('user-1'))
  return [
    await time('guard, cached token', await guardCall({}, 500)),
    await time('guard, no cache', await guardCall({ verifyCache: false }, 500)),
    await time('createAccessToken', async () => await app.createAccessToken('user-1')),
    await time('@fastify/jwt sign, equal claims', () => theirs.jwt.sign({ ...claims })),
    await time('@fastify/jwt sign, equal claims, each token its own jti and csrf', () => theirs.jwt.sign({ ...claims, jti: randomUUID(), csrf: randomUUID() })),
  ]
}

/** A refresh with a session, one and ten at once, beside the same two tokens made without one. */
export async function measureRefreshes (): Promise<Call[]> {
  const plain = await build()
  const app = await build({ store: memoryStore() })
  let { refreshToken } = await app.createTokenPair('user')
  const refresh = async (racers: number): Promise<void> => {
    const pairs = await Promise.all(Array.from({ length: racers }, () => app.refreshTokens(refreshToken)))
    refreshToken = pairs[0]!.refreshToken
  }
  return [
    await time('two tokens, without a session', () => Promise.all([plain.createAccessToken('user'), plain.createRefreshToken('user')])),
    await time('a refresh, memory store', () => refresh(1)),
    await time('ten racing refreshes of one token, memory store', () => refresh(10)),
  ]
}

/** A guard's cost as something about it grows by ten and by a hundred. */
export async function measureGrowth (): Promise<Call[]> {
  const calls: Call[] = []
  for (const tokens of [40, 400, 4000]) calls.push(await time(`${tokens} tokens`, await guardCall({}, tokens)))
  for (const routes of [1, 10, 100]) {
    const app = await build()
    for (let i = 0; i < routes; i++) app.get(`/${i}`, { preHandler: app.jwtRequired() }, async () => 'ok')
    await app.ready()
    const headers = { authorization: `Bearer ${await app.createAccessToken('user')}` }
    calls.push(await time(`${routes} routes, the whole request`, async () => await app.inject({ url: `/${routes - 1}`, headers })))
  }
  for (const managers of [1, 10, 100]) {
    const app = await build()
    for (let i = 1; i < managers; i++) await app.register(jwtExtended, { secretKey: secret, namespace: `n${i}` })
    const { jwtRequired, createAccessToken } = managers === 1 ? app : app.jwtManager(`n${managers - 1}`)
    app.get('/', { preHandler: jwtRequired() }, async () => 'ok')
    await app.ready()
    const headers = { authorization: `Bearer ${await createAccessToken('user')}` }
    calls.push(await time(`${managers} managers, the whole request`, async () => await app.inject({ url: '/', headers })))
  }
  return calls
}
