import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { memoryStore, type JwtExtendedOptions } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { moveClock, stopClock } from '../support/clock.js'
import { AUDIENCE, startProvider } from '../support/provider.js'

async function guardedApp (t: Test, options: JwtExtendedOptions): Promise<FastifyInstance> {
  const app = await buildApp(t, options)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity, claims: request.jwt }))
  return app
}

function get (app: FastifyInstance, token: string) {
  return app.inject({ url: '/', headers: bearer(token) })
}

for (const algorithm of ['RS256', 'PS256', 'ES256', 'EdDSA'] as const) {
  t.test(`${algorithm}: tokens of an OpenID provider pass the guard, beside our own`, async (t) => {
    const provider = await startProvider(t, algorithm)
    for (const jwksUri of [undefined, `${provider.origin}/jwks`]) {
      const app = await guardedApp(t, { secretKey: SECRET, store: memoryStore(), issuers: [{ issuer: provider.origin, audience: AUDIENCE, jwksUri }] })
      const token = await provider.issue()
      provider.asked.length = 0
      const response = await get(app, token)
      t.equal(response.statusCode, 200)
      t.match(response.json(), { who: 'robot', claims: { iss: provider.origin, aud: AUDIENCE, scope: 'read', type: 'access', fresh: false } })
      t.match(app.getUnverifiedJwtHeaders(token), { alg: algorithm, typ: 'at+jwt', kid: String })
      t.strictSame(provider.asked, jwksUri === undefined ? ['/.well-known/openid-configuration', '/jwks'] : ['/jwks'])
      t.equal((await get(app, await provider.issue())).statusCode, 200)
      t.equal((await get(app, await app.createAccessToken('ada'))).json().who, 'ada')
      t.equal(provider.asked.filter((path) => path === '/jwks').length, 1, 'the key set is fetched once')
      await app.revokeToken(token)
      t.equal((await get(app, token)).statusCode, 401)
    }
  })
}

t.test('the provider rotates its keys while requests run, and none of them fails', async (t) => {
  const provider = await startProvider(t, 'ES256')
  const app = await guardedApp(t, { issuers: [{ issuer: provider.origin, audience: AUDIENCE }] })
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const over = new AbortController()
  const statuses = new Map<number, number>()
  const kids = new Set<unknown>()
  const rounds = Array.from({ length: 4 }, () => 0)
  const clients = rounds.map(async (_, index) => {
    const tokens: string[] = []
    while (!over.signal.aborted) {
      const token = await provider.issue()
      tokens.push(token)
      kids.add(app.getUnverifiedJwtHeaders(token).kid)
      for (const one of [token, tokens[0]!, tokens[tokens.length >> 1]!]) {
        const { status } = await fetch(origin, { headers: bearer(one) })
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
      rounds[index]!++
    }
  })
  for (let rotation = 0; rotation < 6; rotation++) {
    await provider.rotate(true)
    const before = [...rounds]
    while (rounds.some((count, index) => count < before[index]! + 2)) await new Promise((resolve) => { setImmediate(resolve) })
  }
  over.abort()
  await Promise.all(clients)
  t.strictSame([...statuses.keys()], [200], `${statuses.get(200)} requests`)
  t.ok(kids.size >= 6, `by ${kids.size} keys`)
})

t.test('while the provider is down its last key set serves; without one the answer is 503 until it is back', async (t) => {
  stopClock(t, Math.floor(Date.now() / 1000))
  const provider = await startProvider(t, 'RS256')
  const options: JwtExtendedOptions = { issuers: [{ issuer: provider.origin, audience: AUDIENCE }] }
  const [known, cold] = [await guardedApp(t, options), await guardedApp(t, options)]
  const [seen, unseen] = [await provider.issue(), await provider.issue()]
  t.equal((await get(known, seen)).statusCode, 200)
  await provider.stop()

  const warnings: Error[] = []
  const listener = (warning: Error & { code?: string }): void => { if (warning.code === 'FST_JWT_EXT_KEY_SET') warnings.push(warning) }
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))

  t.equal((await get(known, seen)).statusCode, 200)
  t.equal((await get(known, unseen)).statusCode, 200)
  moveClock(t, 600)
  const warned = once(process, 'warning')
  t.equal((await get(known, seen)).statusCode, 200, 'a set that is old goes on serving')
  await warned
  moveClock(t, 600)
  for (const token of [seen, unseen]) t.equal((await get(known, token)).statusCode, 200)

  for (let round = 0; round < 3; round++) {
    const response = await get(cold, unseen)
    t.equal(response.statusCode, 503)
    t.match(response.headers, { 'retry-after': '10', 'www-authenticate': undefined })
    t.strictSame(response.json(), { msg: 'Key set of the issuer unavailable' })
  }
  await provider.start()
  provider.asked.length = 0
  t.equal((await get(cold, unseen)).statusCode, 503, 'nothing is asked so soon')
  t.strictSame(provider.asked, [])
  moveClock(t, 10)
  t.equal((await get(cold, unseen)).statusCode, 200)
  t.equal((await get(known, await provider.issue())).statusCode, 200)

  t.equal(warnings.length, 1, 'it is told once')
  // Fetched in the background: by both, and read.
  while (provider.asked.filter((path) => path === '/jwks').length < 2) await sleep(1)
  await sleep(20)
  await provider.stop()
  moveClock(t, 600)
  const warnedAgain = once(process, 'warning')
  t.equal((await get(known, seen)).statusCode, 200)
  await warnedAgain
  t.equal(warnings.length, 2, 'and once more where it happens again')
  t.match(warnings[0]!.message, `The key set of ${provider.origin} cannot be fetched; the last one goes on serving (fetch failed: `)
})

t.test('a key that the provider has taken back verifies no more', async (t) => {
  const provider = await startProvider(t, 'ES256')
  const app = await guardedApp(t, { issuers: [{ issuer: provider.origin, audience: AUDIENCE }] })
  const [cached, unseen] = [await provider.issue(), await provider.issue()]
  t.equal((await get(app, cached)).statusCode, 200)
  await provider.rotate(false)
  t.equal((await get(app, await provider.issue())).statusCode, 200, 'the unknown key brings the new set')
  for (const token of [cached, unseen]) t.equal((await get(app, token)).statusCode, 422)
})
