// Tokens, keys and CSRF values in what an application writes down: its log, its errors, its events.
import { inspect } from 'node:util'
import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyServerOptions, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { JwtDecodeError, memoryStore, type JwtExtendedOptions, type TokenStore } from '../../index.js'
import { buildApp, registrationError } from '../support/app.js'
import { forge } from '../support/forge.js'
import { ecPair, pem, rsaPair } from '../support/keys.js'
import { claimsOf, segmentsOf } from '../support/sign.js'
import { carriersOf } from '../support/target.js'

const SECRET = 'MARKED-SECRET-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEF'
const CSRF = 'MARKED-CSRF-3f2504e0-4f89-41d3-9a0c-0305e82c3301'
const WRONG_CSRF = 'MARKED-GUESS-0f8fad5b-d9cb-469f-a165-70867728950e'
const OTHER_COOKIE = 'MARKED-COOKIE-of-somebody-else'

/** What an application writes down, and what must not be in it. */
class Records {
  readonly texts: [where: string, text: string][] = []
  readonly #secrets = new Map<string, string>([['the secret key', SECRET], ['a CSRF value', CSRF], ['a guess at it', WRONG_CSRF], ['a cookie', OTHER_COOKIE]])

  /** Marks a token: neither it nor its signature nor the CSRF value in it may be written down. */
  mark (name: string, token: string): string {
    this.#secrets.set(name, token)
    const [, payload, signature] = segmentsOf(token)
    if (signature !== undefined && signature.length > 10) this.#secrets.set(`the signature of ${name}`, signature)
    if (payload !== undefined && payload.length > 20) this.#secrets.set(`the payload of ${name}`, payload)
    try {
      const { csrf } = claimsOf(token)
      if (typeof csrf === 'string') this.#secrets.set(`the CSRF value of ${name}`, csrf)
    } catch {
      // Not every token can be read.
    }
    return token
  }

  add (where: string, text: string): void {
    this.texts.push([where, text])
  }

  /** All that can be seen of an error without asking for what is hidden. */
  addError (where: string, error: unknown): void {
    this.add(where, `${inspect(error, { depth: 10 })}\n${JSON.stringify(error)}\n${String(error)}`)
    for (let next = error, depth = 0; next instanceof Error && depth < 10; next = next.cause, depth++) {
      const { message, stack, name } = next
      this.add(`${where}, cause ${depth}`, `${name} ${message}\n${stack}\n${JSON.stringify(next)}\n${JSON.stringify({ ...next })}`)
    }
  }

  leaks (): string[] {
    return this.texts.flatMap(([where, text]) => [...this.#secrets].filter(([, secret]) => text.includes(secret)).map(([name]) => `${name} in ${where}: ${text.slice(0, 300)}`))
  }

  assertClean (t: Test, least: number): void {
    t.ok(this.texts.length >= least, `${this.texts.length} records`)
    t.strictSame([...new Set(this.leaks())], [])
  }
}

function logTo (records: Records): FastifyServerOptions {
  return { logger: { level: 'trace', stream: { write: (line: string) => { records.add('a log line', line) } } } }
}

/** The configuration that README recommends to who takes tokens from addresses. */
function logWithoutQueries (records: Records): FastifyServerOptions {
  return {
    logger: {
      level: 'trace',
      stream: { write: (line: string) => { records.add('a log line', line) } },
      serializers: { req: (request: { method: string, url: string }) => ({ method: request.method, url: String(request.url).replace(/\?.*/, '') }) },
    },
  }
}

type Mood = 'good' | 'revoked' | 'refused' | 'gone' | 'throws'

/** An app with routes for each rule, which can be told what its loaders say. */
async function site (t: Test, records: Records, options: JwtExtendedOptions, server: FastifyServerOptions): Promise<{ app: FastifyInstance, feel: (mood: Mood) => void }> {
  let mood: Mood = 'good'
  const app = await buildApp(t, {
    secretKey: SECRET,
    tokenLocation: ['headers', 'cookies', 'query_string', 'json'],
    csrfCheckForm: true,
    tokenInBlocklistLoader: () => {
      if (mood === 'throws') throw new Error('the blocklist is down')
      return mood === 'revoked'
    },
    tokenVerificationLoader: () => mood !== 'refused',
    userLookupLoader: (_header, payload) => mood === 'gone' ? null : { id: payload.sub },
    ...options,
  }, server)
  await app.register(formbody)
  app.setErrorHandler((error, request, reply) => {
    records.addError('the error handler', error)
    request.log.error({ err: error }, 'failed')
    request.log.error(error)
    const { statusCode = 500 } = error as { statusCode?: number }
    return reply.code(statusCode).send({ msg: 'failed' })
  })
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).send({ msg: 'Not found' }))
  for (const [url, rule] of [['/', {}], ['/optional', { optional: true }], ['/fresh', { fresh: true }], ['/refresh', { refresh: true }]] as const) {
    app.route({ method: ['GET', 'POST'], url, preHandler: app.jwtRequired(rule), handler: async (request) => ({ who: request.jwtIdentity }) })
  }
  app.route({
    method: ['GET', 'POST'],
    url: '/own',
    handler: async (request) => {
      try {
        await request.verifyJwt()
      } catch (error) {
        records.addError('verifyJwt', error)
        throw error
      }
      return 'in'
    },
  })
  return { app, feel: (next) => { mood = next } }
}

/** A token of each fate. */
async function tokensOf (app: FastifyInstance, records: Records): Promise<[string, string][]> {
  const good = await app.createAccessToken('ada')
  const [header, payload, signature] = segmentsOf(good)
  const claims = { sub: 'ada', csrf: CSRF }
  const all: [string, string][] = [
    ['a good token', good], ['a fresh token', await app.createAccessToken('ada', { fresh: true })], ['a refresh token', await app.createRefreshToken('ada')],
    ['an expired token', await app.createAccessToken('ada', { expiresDelta: -60 })], ['a forged token', forge(claims, undefined, 'another secret that is long enough for it')],
    ['a token of another algorithm', forge(claims, { alg: 'HS512' }, SECRET)], ['a token of none', forge(claims, { alg: 'none' }, SECRET)], ['a critical token', forge(claims, { alg: 'HS256', crit: ['x'] }, SECRET)],
    ['a token without a subject', forge({ csrf: CSRF }, undefined, SECRET)], ['a token with an odd subject', forge({ sub: 5, csrf: CSRF }, undefined, SECRET)], ['a token with an odd exp', forge({ ...claims, exp: 'soon' }, undefined, SECRET)],
    ['a token of the future', forge({ ...claims, nbf: 9_999_999_999 }, undefined, SECRET)], ['a token of another type', forge({ ...claims, type: 'id' }, undefined, SECRET)], ['a token without csrf', forge({ sub: 'ada' }, undefined, SECRET)], ['a token with a broken payload', forge(`{"sub":"ada","csrf":"${CSRF}"`, undefined, SECRET)],
    ['a token that is a list', forge(`["${CSRF}"]`, undefined, SECRET)], ['a token that is a text', forge(`"${CSRF}"`, undefined, SECRET)], ['a token with a broken header', forge(claims, '{"alg":', SECRET)], ['a token with a character more', `${good}=`], ['a token cut short', good.slice(0, -4)], ['a token without a signature', `${header}.${payload}.`], ['half a token', `${header}.${payload}`],
    ['a token in two', `${header}.${payload}.${signature} ${signature}`], ['a token of too many segments', `${good}.${signature}`], ['a token that is too long', forge({ ...claims, pad: 'x'.repeat(17_000) }, undefined, SECRET)]
  ]
  for (const [name, token] of all) records.mark(name, token)
  return all
}

/** Every way to carry a token, with and without CSRF values. */
function requestsOf (token: string): InjectOptions[] {
  const cookie = `other=${OTHER_COOKIE}; access_token_cookie=${encodeURIComponent(token)}; refresh_token_cookie=${encodeURIComponent(token)}; csrf_access_token=${CSRF}`
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  return [
    ...carriersOf(token).map(({ method, query, headers, payload }) => ({ method, url: `/${query}`, headers, ...(payload !== undefined && { payload }) })),
    { url: `/?jwt=${encodeURIComponent(token)}&jwt=x` }, { url: '/', headers: { authorization: `Bearer ${token.slice(0, 50)} ${token}` } }, { url: '/', headers: { authorization: `Bearer ${token.replaceAll(/[^\x20-\x7e]/g, '')}, Bearer x` } }, { url: '/', headers: { authorization: `Basic ${token}` } },
    { method: 'POST', url: '/', headers: { cookie } }, { method: 'POST', url: '/', headers: { cookie, 'x-csrf-token': WRONG_CSRF } }, { method: 'POST', url: '/', headers: { cookie, 'x-csrf-token': CSRF } },
    { method: 'POST', url: '/', headers: { cookie, ...form }, payload: `csrf_token=${WRONG_CSRF}` }, { method: 'POST', url: '/', headers: { cookie, ...form }, payload: `csrf_token=${CSRF}` },
    { method: 'POST', url: '/', payload: { access_token: [token] } }, { method: 'POST', url: '/', payload: { refresh_token: token } }, { method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload: `{"access_token":"${token}"` }, { method: 'POST', url: '/', headers: { 'content-type': 'application/x' }, payload: token }
  ]
}

for (const [name, options] of Object.entries<JwtExtendedOptions>({
  'with answers of the plugin': {}, 'with answers by RFC 6750': { errorProfile: 'rfc6750' }, 'with throwErrors': { throwErrors: true }, 'with a loader of keys': { decodeKeyLoader: async () => SECRET },
  'with a loader of keys that refuses': { decodeKeyLoader: () => { throw new JwtDecodeError('Unknown key') } }, 'with a loader of keys that gives none': { decodeKeyLoader: () => undefined as never }, 'without a cache': { verifyCache: false },
})) {
  t.test(`${name}: no line, error or answer holds a token, a signature, a key or a CSRF value, whatever comes`, async (t) => {
    const records = new Records()
    const { app, feel } = await site(t, records, options, logWithoutQueries(records))
    const tokens = await tokensOf(app, records)
    const statuses = new Set<number>()
    for (const [kind, token] of tokens) {
      for (const request of requestsOf(token)) {
        const [path, query = ''] = String(request.url).split('?')
        for (const url of kind === 'a good token' ? ['/', '/optional', '/fresh', '/refresh', '/own'] : ['/', '/own', '/refresh']) {
          if (path !== '/') throw new Error('the paths are set here')
          const response = await app.inject({ ...request, url: query === '' ? url : `${url}?${query}` })
          statuses.add(response.statusCode)
          records.add('an answer', response.body + JSON.stringify(response.headers))
        }
      }
      await app.decodeToken(token).catch((error: unknown) => { records.addError('decodeToken', error) })
      await app.decodeToken(token, { csrfValue: WRONG_CSRF }).catch((error: unknown) => { records.addError('decodeToken', error) })
      await app.getCsrfToken(token).catch((error: unknown) => { records.addError('getCsrfToken', error) })
      try {
        app.getUnverifiedJwtHeaders(token)
      } catch (error) {
        records.addError('getUnverifiedJwtHeaders', error)
      }
    }
    for (const mood of ['revoked', 'refused', 'gone', 'throws'] as const) {
      feel(mood)
      for (const request of requestsOf(tokens[0]![1])) statuses.add((await app.inject(request)).statusCode)
    }
    for (const status of [401, 422, 400]) t.ok(statuses.has(status) || options.errorProfile === 'rfc6750' || options.decodeKeyLoader !== undefined, `${status} came up`)
    records.assertClean(t, 1000)
  })
}

t.test('cookies that are set and cleared, and those that cannot be, leave nothing behind', async (t) => {
  const records = new Records()
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies' }, logTo(records))
  app.setErrorHandler((error, request, reply) => {
    records.addError('the error handler', error)
    request.log.error(error)
    return reply.code(500).send({ msg: 'failed' })
  })
  const good = records.mark('a good token', await app.createAccessToken('ada'))
  const long = records.mark('a long token', await app.createAccessToken('ada', { additionalClaims: { pad: 'x'.repeat(4000) } }))
  const bare = records.mark('a token without csrf', forge({ sub: 'ada' }, undefined, SECRET))
  const routes: Record<string, string> = { good, long, bare, broken: records.mark('a broken token', `MARKED-BROKEN.${'y'.repeat(40)}.${'z'.repeat(40)}`) }
  app.get<{ Params: { name: string } }>('/set/:name', (request, reply) => { reply.setAccessCookies(routes[request.params.name]!).send('in') })
  app.get('/options', (_request, reply) => { reply.setAccessCookies(good, { domain: good } as never).send('in') })
  app.get('/out', (_request, reply) => { reply.unsetJwtCookies().send('out') })
  const answers = await Promise.all(['/set/good', '/set/long', '/set/bare', '/set/broken', '/options', '/out'].map(async (url) => (await app.inject(url)).statusCode))
  t.strictSame(answers, [200, 500, 500, 500, 500, 200])
  records.assertClean(t, 15)
})

t.test('sessions leave nothing of a token in their events, their log and their errors', async (t) => {
  const records = new Records()
  let isDown = false
  const memory = memoryStore()
  const store = new Proxy(memory, {
    get: (inner, name: keyof TokenStore) => (...args: unknown[]) => {
      if (isDown) throw new Error('the store is down')
      // What a store is told is written down by many a driver.
      records.add('the store', JSON.stringify(args))
      return (inner[name] as (...args: unknown[]) => unknown)(...args)
    },
  })
  const app = await buildApp(t, {
    secretKey: SECRET, store, storeTimeout: 20, refreshGrace: 0, tokenLocation: ['headers', 'cookies', 'json'], onSessionEvent: (event) => { records.add(`the event ${event.type}`, inspect(event, { depth: 10 }) + JSON.stringify(event)) },
  }, logTo(records))
  app.setErrorHandler((error, request, reply) => {
    records.addError('the error handler', error)
    request.log.error(error)
    return reply.code((error as { statusCode?: number }).statusCode ?? 500).send({ msg: 'failed' })
  })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  app.post('/refresh', { preHandler: app.jwtRequired({ refresh: true }) }, async (request, reply) => {
    const pair = await request.refreshTokens()
    records.mark('a renewed access token', pair.accessToken)
    records.mark('a renewed refresh token', pair.refreshToken)
    reply.setTokenCookies(pair)
    return { msg: 'renewed' }
  })
  const login = async () => {
    const pair = await app.createTokenPair('ada', { label: 'phone' })
    records.mark(`access token ${pair.sessionId}`, pair.accessToken)
    records.mark(`refresh token ${pair.sessionId}`, pair.refreshToken)
    return pair
  }
  const refresh = async (token: string): Promise<number> => {
    const csrf = String(claimsOf(token)['csrf'])
    return (await app.inject({ method: 'POST', url: '/refresh', cookies: { refresh_token_cookie: token }, headers: { 'x-csrf-token': csrf } })).statusCode
  }
  const failing = async (work: Promise<unknown>): Promise<void> => {
    await work.then(() => { t.fail('it should fail') }, (error: unknown) => { records.addError('a session method', error) })
  }

  const first = await login()
  t.equal(await refresh(first.refreshToken), 200)
  t.equal(await refresh(first.refreshToken), 401, 'reuse')
  const second = await login()
  const third = await login()
  await app.revokeToken(second.accessToken)
  await app.revokeSession('ada', third.sessionId)
  await app.revokeAllTokens('ada')
  t.equal((await app.inject({ url: '/', headers: { authorization: `Bearer ${second.accessToken}` } })).statusCode, 401)
  await failing(app.refreshTokens(second.refreshToken))
  await failing(app.refreshTokens(second.accessToken))
  await failing(app.refreshTokens(records.mark('a forged refresh token', forge({ sub: 'ada', type: 'refresh', sid: 'x', gen: 1, csrf: CSRF }, undefined, 'another secret that is long enough for it'))))
  await failing(app.revokeToken(records.mark('a broken token', `MARKED-BROKEN.${'y'.repeat(40)}.${'z'.repeat(40)}`)))
  const last = await login()
  isDown = true
  t.equal(await refresh(last.refreshToken), 503)
  await failing(app.refreshTokens(last.refreshToken))
  const kinds = new Set(records.texts.map(([where]) => where))
  for (const kind of ['session_created', 'session_renewed', 'token_reuse', 'session_revoked', 'identity_revoked', 'store_unavailable']) t.ok(kinds.has(`the event ${kind}`), kind)
  records.assertClean(t, 40)
})

t.test('an error about a key says nothing of the key', async (t) => {
  const records = new Records()
  const [rsa, ec] = [rsaPair(), ecPair()]
  const jwk = ec.privateKey.export({ format: 'jwk' })
  for (const key of [jwk.d!, pem(ec.privateKey).split('\n')[1]!, pem(rsa.privateKey).split('\n')[5]!]) records.mark('a private key', `.${key}.`)
  const secrets: unknown[] = [
    { secretKey: { secret: SECRET } }, { secretKey: 5, algorithm: SECRET }, { secretKey: SECRET, algorithm: 'RS256' }, { privateKey: SECRET, algorithm: 'RS256' }, { publicKey: SECRET, algorithm: 'ES256' }, { secretKey: [SECRET, 5] }, { secretKey: SECRET, accessTokenExpires: SECRET }, { secretKey: SECRET, secretkey: SECRET },
    { privateKey: pem(ec.privateKey), algorithm: 'RS256' }, { privateKey: pem(ec.privateKey) }, { secretKey: pem(rsa.privateKey) }, { secretKey: `x${pem(rsa.privateKey)}` }, { publicKey: pem(rsa.privateKey), algorithm: 'RS256' }, { privateKey: pem(rsa.privateKey).replaceAll('\n', '\\n'), algorithm: 'RS256' },
    { privateKey: pem(rsa.privateKey).slice(0, -200), algorithm: 'RS256' }, { privateKey: jwk, algorithm: 'RS256' }, { privateKey: { ...jwk, x: 5 }, algorithm: 'ES256' }, { privateKey: { ...jwk, crv: 'P-384' }, algorithm: 'ES384' }, { privateKey: { ...jwk, d: [jwk.d] }, algorithm: 'ES256' }, { privateKey: JSON.stringify(jwk), algorithm: 'ES256' }, { secretKey: JSON.stringify(jwk) },
    { privateKey: { key: pem(rsa.privateKey), passphrase: 5 }, algorithm: 'RS256' }, { privateKey: { key: SECRET, passphrase: SECRET }, algorithm: 'RS256' }, { privateKey: pem(rsa.privateKey), publicKey: pem(rsaPair('other').publicKey), algorithm: 'RS256' }
  ]
  for (const options of secrets) records.addError('registering', await registrationError(t, options))
  const app = await buildApp(t, { secretKey: SECRET, decodeKeyLoader: ({ kid }) => kid === 'object' ? { key: SECRET, passphrase: SECRET } : kid === 'pem' ? pem(rsa.privateKey) : 5 as never }, logTo(records))
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  for (const kid of ['object', 'pem', 'number']) t.equal((await app.inject({ url: '/', headers: { authorization: `Bearer ${forge({ sub: 'ada' }, { alg: 'HS256', kid }, SECRET)}` } })).statusCode, 500)
  records.assertClean(t, 50)
})

t.test('Fastify’s own log prints the address of a request with the token in it, unless the serializer of the README stands in for its own', async (t) => {
  for (const [server, leaks] of [[logTo, true], [logWithoutQueries, false]] as const) {
    const records = new Records()
    const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'query_string' }, server(records))
    app.setNotFoundHandler(async (_request, reply) => reply.code(404).send({ msg: 'Not found' }))
    app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
    const token = records.mark('a token', await app.createAccessToken('ada'))
    t.equal((await app.inject(`/?jwt=${token}`)).statusCode, 200)
    t.equal((await app.inject(`/nowhere?jwt=${token}`)).statusCode, 404)
    t.equal(records.leaks().length > 0, leaks)
  }
})
