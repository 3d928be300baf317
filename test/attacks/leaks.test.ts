// Tokens, keys and CSRF values in what an application writes down: its log, its errors, its events.
import type { KeyObject } from 'node:crypto'
import { inspect } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import formbody from '@fastify/formbody'
import websocket from '@fastify/websocket'
import type { FastifyInstance, FastifyServerOptions, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { JwtDecodeError, memoryStore, type JwtExtendedOptions, type TokenStore, type TrustedIssuer } from '../../index.js'
import { buildApp, registrationError } from '../support/app.js'
import { moveClock, stopClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { ecPair, pem, rsaPair } from '../support/keys.js'
import { listen as listenTo } from '../support/listener.js'
import { head, listen, sendRaw } from '../support/raw-http.js'
import { claimsOf, segmentsOf, signToken } from '../support/sign.js'
import { carriersOf } from '../support/target.js'

const SECRET = 'MARKED-SECRET-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEF'
const CSRF = 'MARKED-CSRF-3f2504e0-4f89-41d3-9a0c-0305e82c3301'
const WRONG_CSRF = 'MARKED-GUESS-0f8fad5b-d9cb-469f-a165-70867728950e'
const OTHER_COOKIE = 'MARKED-COOKIE-of-somebody-else'

// So many characters of a secret in a row are a leak. A text is looked at in steps, so that a few more are found wherever they stand.
const WINDOW = 20
const STEP = 5

/** What an application writes down, and what must not be in it. */
class Records {
  readonly texts: [where: string, text: string][] = []
  readonly #windows = new Map<string, string>()

  constructor () {
    for (const [name, secret] of [['a CSRF value', CSRF], ['a guess at it', WRONG_CSRF], ['a cookie', OTHER_COOKIE]] as const) this.hide(name, secret)
    this.hideKey('the secret key', SECRET)
  }

  /** Marks a text: no part of it may be written down. */
  hide (name: string, secret: string): void {
    for (let at = 0; at + WINDOW <= secret.length; at++) this.#windows.set(secret.slice(at, at + WINDOW), name)
  }

  /** Marks a key, in what it may be written as. */
  hideKey (name: string, key: string | Buffer): void {
    const bytes = Buffer.from(key as string)
    if (typeof key === 'string') this.hide(name, key)
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      // Behind other bytes base64 looks otherwise.
      for (let from = 0; from < 3; from++) this.hide(`${name} in ${encoding}`, bytes.subarray(from).toString(encoding))
    }
  }

  /** Marks a private key. */
  hidePrivateKey (name: string, key: KeyObject): void {
    const { d, p, q, dp, dq, qi } = key.export({ format: 'jwk' })
    for (const part of [d, p, q, dp, dq, qi]) if (part !== undefined) this.hideKey(name, Buffer.from(part, 'base64url'))
    // Its first lines say what kind of key it is, and those of an RSA key the public modulus.
    this.hide(name, pem(key).split('\n').slice(key.asymmetricKeyType === 'rsa' ? 10 : 1, -2).join('\n'))
  }

  /** Marks a token, and the CSRF value in it. */
  mark (name: string, token: string): string {
    this.hide(name, token)
    try {
      const { csrf } = claimsOf(token)
      if (typeof csrf === 'string') this.hide(`the CSRF value of ${name}`, csrf)
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
    return this.texts.flatMap(([where, text]) => {
      for (let at = 0; at + WINDOW <= text.length; at += STEP) {
        const name = this.#windows.get(text.slice(at, at + WINDOW))
        if (name !== undefined) return [`${name} in ${where}: ${text.slice(Math.max(at - 100, 0), at + 100)}`]
      }
      return []
    })
  }

  assertClean (t: Test, least: number): void {
    t.ok(this.texts.length >= least, `${this.texts.length} records`)
    t.strictSame([...new Set(this.leaks())], [])
  }
}

/** The records of a test, with the warnings of the process among them. */
function keepRecords (t: Test): Records {
  const records = new Records()
  const listener = (warning: Error): void => { records.addError('a warning', warning) }
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))
  return records
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
  for (const [url, rule] of [
    ['/', {}], ['/optional', { optional: true }], ['/fresh', { fresh: true }], ['/refresh', { refresh: true }], ['/scopes', { scopes: ['reports:read', 'reports:write'] }], ['/roles', { roles: 'admin' }]
  ] as const) {
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
    const records = keepRecords(t)
    const { app, feel } = await site(t, records, options, logWithoutQueries(records))
    const tokens = await tokensOf(app, records)
    const statuses = new Set<number>()
    for (const [kind, token] of tokens) {
      for (const request of requestsOf(token)) {
        const [path, query = ''] = String(request.url).split('?')
        for (const url of kind === 'a good token' ? ['/', '/optional', '/fresh', '/refresh', '/own', '/scopes', '/roles'] : ['/', '/own', '/refresh']) {
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
    for (const status of [401, 422, 400, 403]) t.ok(statuses.has(status) || options.errorProfile === 'rfc6750' || options.decodeKeyLoader !== undefined, `${status} came up`)
    records.assertClean(t, 1000)
  })
}

t.test('cookies that are set and cleared, and those that cannot be, leave nothing behind', async (t) => {
  const records = keepRecords(t)
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
  const records = keepRecords(t)
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
  const records = keepRecords(t)
  const [rsa, ec] = [rsaPair(), ecPair()]
  const jwk = ec.privateKey.export({ format: 'jwk' })
  for (const [name, { privateKey }] of Object.entries({ 'an EC key': ec, 'an RSA key': rsa })) records.hidePrivateKey(name, privateKey)
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

/** What a promise is rejected with, written down. */
async function fails (t: Test, records: Records, what: string, work: () => unknown): Promise<void> {
  try {
    await work()
    t.fail(`${what}: it should fail`)
  } catch (error) {
    records.addError(what, error)
  }
}

t.test("tokens of one's own types leave nothing behind, good for one request or for many", async (t) => {
  const records = keepRecords(t)
  let isDown = false
  const store = new Proxy(memoryStore(), {
    get: (inner, name: keyof TokenStore) => async (...args: unknown[]) => {
      if (isDown) throw new Error('the store is down')
      records.add('the store', JSON.stringify(args))
      return (inner[name] as (...args: unknown[]) => unknown)(...args)
    },
  })
  const { app } = await site(t, records, { store, storeTimeout: 20, tokenTypes: { invite: { expires: '7d', singleUse: true }, export: { expires: 60 } } }, logWithoutQueries(records))
  for (const type of ['invite', 'export']) app.route({ method: ['GET', 'POST'], url: `/${type}`, preHandler: app.jwtRequired({ type }), handler: async () => 'in' })
  const claims = { sub: 'ada', csrf: CSRF, type: 'invite' }
  const tokens: [string, string][] = [
    ['an invitation', await app.createToken('invite', 'ada')], ['an export', await app.createToken('export', 'ada')], ['an expired invitation', await app.createToken('invite', 'ada', { expiresDelta: -60 })], ['an access token', await app.createAccessToken('ada')],
    ['a forged invitation', forge(claims, undefined, 'another secret that is long enough for it')], ['an invitation without an id', forge(claims, undefined, SECRET)], ['an invitation with an odd id', forge({ ...claims, jti: 5 }, undefined, SECRET)]
  ]
  const statuses = new Set<number>()
  const sendAll = async (): Promise<void> => {
    for (const [, token] of tokens) {
      for (const request of requestsOf(token)) {
        for (const url of ['/invite', '/export', '/']) {
          const response = await app.inject({ ...request, url: String(request.url).replace('/', url) })
          statuses.add(response.statusCode)
          records.add('an answer', response.body + JSON.stringify(response.headers))
        }
      }
    }
  }
  for (const [name, token] of tokens) records.mark(name, token)
  await sendAll()
  const contested = records.mark('a contested invitation', await app.createToken('invite', 'ada'))
  const rivals = await Promise.all([1, 2].map(() => app.inject({ url: '/invite', headers: { authorization: `Bearer ${contested}` } })))
  t.strictSame(rivals.map(({ statusCode }) => statusCode).sort(), [200, 401])
  isDown = true
  await sendAll()
  for (const status of [200, 401, 422, 503]) t.ok(statuses.has(status), `${status} came up`)
  isDown = false
  const note = { secret: SECRET, csrf: CSRF }
  const calls: [string, () => unknown][] = [
    ['an unknown type', () => app.createToken('invitation', 'ada', { additionalClaims: note })], ['the type access', () => app.createToken('access', 'ada', { additionalClaims: note })], ['another type', () => app.createToken('invite', 'ada', { additionalClaims: { ...note, type: 'access' } })],
    ['no id', () => app.createToken('invite', 'ada', { additionalClaims: { ...note, jti: '' } })], ['an algorithm', () => app.createToken('invite', 'ada', { additionalHeaders: { alg: SECRET } })], ['no duration', () => app.createToken('invite', 'ada', { expiresDelta: SECRET })],
    ['claims that are a text', () => app.createToken('invite', 'ada', { additionalClaims: SECRET as never })], ['claims that are no JSON', () => app.createToken('invite', 'ada', { additionalClaims: { ...note, more: () => SECRET } })], ['an odd identity', () => app.createToken('invite', { secret: SECRET } as never)],
    ['no identity', () => app.createAccessToken(undefined as never, { additionalClaims: note })], ['an odd claim', () => app.createAccessToken('ada', { additionalClaims: { ...note, exp: SECRET as never } })], ['an odd kid', () => app.createAccessToken('ada', { additionalHeaders: { kid: [SECRET] as never } })]
  ]
  for (const [name, call] of calls) await fails(t, records, name, call)
  records.assertClean(t, 500)
})

t.test('WebSockets that are opened and refused leave nothing behind', async (t) => {
  const records = keepRecords(t)
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'cookies', 'query_string'] }, logWithoutQueries(records))
  await app.register(websocket)
  app.get('/', { websocket: true, onRequest: app.jwtRequired({ allowedOrigins: 'https://app.example' }) }, (socket) => { socket.close() })
  const port = await listen(app)
  const good = records.mark('a good token', await app.createAccessToken('ada'))
  const others = [
    ['an expired token', await app.createAccessToken('ada', { expiresDelta: -60 })], ['a refresh token', await app.createRefreshToken('ada')], ['a forged token', forge({ sub: 'ada', csrf: CSRF }, undefined, 'another secret that is long enough for it')], ['a broken token', `MARKED-BROKEN.${'y'.repeat(40)}.${'z'.repeat(40)}`]
  ] as const
  for (const [name, token] of others) records.mark(name, token)
  const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
  const statuses = new Set<number>()
  for (const token of [good, ...others.map(([, token]) => token)]) {
    const cookie = `other=${OTHER_COOKIE}; access_token_cookie=${token}`
    for (const [path, headers] of [
      ['/', { authorization: `Bearer ${token}` }], ['/', { authorization: `Bearer ${token} ${token}` }], [`/?jwt=${token}`, {}], [`/?jwt=${token}&jwt=${token}`, {}], ['/', { cookie }], ['/', { cookie, origin: 'https://evil.example' }], ['/', { cookie, origin: 'https://app.example' }], ['/', { 'sec-websocket-protocol': token }]
    ] as [string, Record<string, string>][]) {
      const answer = await sendRaw(port, head('GET', path, { ...upgrade, ...headers }), 100)
      for (const status of answer.statuses) statuses.add(status)
      records.add('an answer', answer.text)
    }
  }
  for (const status of [101, 401, 422]) t.ok(statuses.has(status), `${status} came up`)
  records.assertClean(t, 100)
})

const ANSWERED = 'MARKED-ANSWER\u001b[2J\r\n{"level":30,"msg":"root logged in"}\u0000\u009b31m\u202e of a key server that somebody else runs'
const API_KEY = 'MARKED-API-KEY-7c9e6679-7425-40de-944b-e07fc1f90ae7'

t.test('a key server that fails or answers nonsense leaves of its words and of the secret in its address nothing behind', async (t) => {
  const records = keepRecords(t)
  const warnings: string[] = []
  const listener = ({ message }: Error): void => { warnings.push(message) }
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))
  stopClock(t, Math.floor(Date.now() / 1000))
  records.hide('the key of the address', API_KEY)
  const { privateKey, publicKey } = ecPair()
  records.hidePrivateKey('a private key in a key set', privateKey)
  const good = JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] })
  const answers: [name: string, status: number, body: string, hint: RegExp][] = [
    ['nonsense', 200, ANSWERED, /\/keys answered no JSON$/], ['nearly JSON', 200, `{"keys":[],"${API_KEY}":${ANSWERED}`, /\/keys answered no JSON$/], ['JSON that is cut off', 200, good.slice(0, -9), /\/keys answered no JSON$/], ['nothing', 200, '', /\/keys answered no JSON$/],
    ['a text', 200, JSON.stringify(ANSWERED), /\/keys answered no JSON object$/], ['a list', 200, JSON.stringify([ANSWERED]), /\/keys answered no JSON object$/], ['no keys', 200, JSON.stringify({ [ANSWERED]: ANSWERED, keys: ANSWERED }), /^The key set has no list of keys$/],
    ['an error', 500, ANSWERED, /\/keys answered 500$/], ['too much', 200, ANSWERED.repeat(10_000), /\/keys answered more than 500000 bytes$/], ['a redirect', 302, ANSWERED, /\/keys answered 302$/]
  ]
  let answer: [status: number, body: string] = [200, good]
  let location: string | undefined
  const server = await listenTo(t, ({ url }, response) => {
    const [status, body] = url!.startsWith('/keys') ? answer : [200, JSON.stringify({ issuer: server.origin, jwks_uri: location, [ANSWERED]: ANSWERED })]
    response.writeHead(status, status === 302 ? { location: `https://elsewhere.example/${API_KEY}` } : {}).end(body)
  })
  const jwksUri = `${server.origin}/keys?api_key=${API_KEY}`
  const issuer = 'https://login.example.com'
  const claims = { sub: 'ada', iss: issuer, aud: 'api', csrf: CSRF }
  const token = records.mark('a foreign token', signToken('ES256', privateKey, claims))
  const build = async (trusted: TrustedIssuer): Promise<FastifyInstance> => (await site(t, records, { issuers: [trusted] }, logWithoutQueries(records))).app
  const ask = async (app: FastifyInstance, given = token): Promise<number> => {
    const response = await app.inject({ url: '/own', headers: { authorization: `Bearer ${given}` } })
    records.add('an answer', response.body + JSON.stringify(response.headers))
    return (await app.inject({ url: '/', headers: { authorization: `Bearer ${given}` } })).statusCode
  }
  for (const [name, status, body, hint] of answers) {
    answer = [status, body]
    const cold = await build({ issuer, audience: 'api', jwksUri })
    t.equal(await ask(cold), 503, name)
    await cold.decodeToken(token).catch((error: unknown) => { records.addError('decodeToken', error) })
    moveClock(t, 10)
    t.match(await cold.decodeToken(token).catch((error: unknown) => error), { code: 'FST_JWT_EXT_KEY_SET_UNAVAILABLE', hint }, name)
    answer = [200, good]
    const warm = await build({ issuer, audience: 'api', jwksUri })
    t.equal(await ask(warm), 200)
    answer = [status, body]
    moveClock(t, 10 * 60)
    t.equal(await ask(warm), 200, 'the last set serves')
    for (let turn = 0; turn < 1000 && !hint.test(reasonOf(warnings.at(-1))); turn++) await sleep(10)
    t.match(reasonOf(warnings.at(-1)), hint, `${name} is warned of`)
    warnings.length = 0
  }
  answer = [200, JSON.stringify({ keys: [{ ...privateKey.export({ format: 'jwk' }), kid: ANSWERED }, { kty: ANSWERED, kid: ANSWERED }, ANSWERED] })]
  t.equal(await ask(await build({ issuer, audience: 'api', jwksUri })), 422, 'a set of private keys')
  answer = [200, ANSWERED]
  for (location of [jwksUri, `http://elsewhere.example/${API_KEY}`, ANSWERED]) {
    const found = records.mark('a token of a discovered issuer', signToken('ES256', privateKey, { ...claims, iss: server.origin }))
    t.equal(await ask(await build({ issuer: server.origin, audience: 'api' }), found), 503, location)
  }
  const gone = await build({ issuer, audience: 'api', jwksUri: `http://127.0.0.1:1/keys?api_key=${API_KEY}` })
  t.equal(await ask(gone), 503, 'nobody is there')
  await new Promise(setImmediate)
  records.assertClean(t, 100)
  const quotes = (text: string): boolean => ['MARKED', '\u001b', '\\u001b', '\\x1B', '\u009b', '\u202e', 'root logged in'].some((words) => text.includes(words))
  t.strictSame(records.texts.filter(([, text]) => quotes(text)), [])
  for (const [where, text] of records.texts) if (where === 'a log line' && !/^\{[^\n]*\}\n$/.test(text)) t.fail(text)
})

/** What a warning about a key set gives as its reason. */
function reasonOf (warning = ''): string {
  return /\((.*)\)$/s.exec(warning)?.[1] ?? ''
}

t.test('keys that are rotated, and those that cannot be, leave nothing behind', async (t) => {
  const records = keepRecords(t)
  const NEXT = 'MARKED-NEXT-SECRET-9876543210-zyxwvutsrqponmlkjihgfedcba-9876543210-ZYX'
  records.hideKey('the next secret', NEXT)
  const [rsa, next, ec, small] = [rsaPair(), rsaPair('next'), ecPair(), rsaPair('', 1024)]
  for (const [name, { privateKey }] of Object.entries({ rsa, next, ec, small })) records.hidePrivateKey(name, privateKey)
  const shared = await buildApp(t, { secretKey: SECRET }, logTo(records))
  const pairs = await buildApp(t, { algorithm: 'RS256', privateKey: rsa.privateKey }, logTo(records))
  const loaded = await buildApp(t, { decodeKeyLoader: () => SECRET }, logTo(records))
  for (const app of [shared, pairs]) app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const ask = async (app: FastifyInstance, token: string): Promise<number> => {
    const response = await app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })
    records.add('an answer', response.body + JSON.stringify(response.headers))
    return response.statusCode
  }
  const before = [await shared.createAccessToken('ada'), await pairs.createAccessToken('ada')] as const
  shared.rotateKeys({ secretKey: NEXT })
  pairs.rotateKeys({ privateKey: next.privateKey })
  t.strictSame([await ask(shared, before[0]), await ask(pairs, before[1])], [200, 200])
  shared.rotateKeys({ secretKey: [NEXT] })
  pairs.rotateKeys({ privateKey: next.privateKey, publicKey: [next.publicKey] })
  t.strictSame([await ask(shared, before[0]), await ask(pairs, before[1])], [422, 422])
  for (const app of [shared, pairs]) {
    t.equal(await ask(app, records.mark('a new token', await app.createAccessToken('ada'))), 200)
    // A kid and a public key are for everybody to see.
    records.add('the key set', JSON.stringify(app.jwks()) + JSON.stringify(app.getUnverifiedJwtHeaders(await app.createAccessToken('ada'))))
  }
  const jwk = ec.privateKey.export({ format: 'jwk' })
  const wrong: [FastifyInstance, unknown][] = [
    ...[
      { secretKey: [NEXT, 5] }, { secretKey: { secret: NEXT } }, { secretKey: [NEXT, ''] }, { secretKey: pem(rsa.privateKey) }, { secretKey: JSON.stringify(jwk) }, { secretKey: NEXT, privateKey: pem(rsa.privateKey) }, { privateKey: NEXT }, { secretkey: NEXT }, NEXT, [NEXT], {}
    ].map((keys) => [shared, keys] as [FastifyInstance, unknown]),
    ...[
      { privateKey: NEXT }, { secretKey: NEXT }, { privateKey: ec.privateKey }, { privateKey: jwk }, { privateKey: small.privateKey }, { privateKey: pem(next.privateKey).slice(0, -200) }, { privateKey: pem(next.privateKey).replaceAll('\n', '\\n') }, { privateKey: pem(next.privateKey), publicKey: [rsa.publicKey] },
      { privateKey: { key: pem(next.privateKey), passphrase: 5 } }, { privateKey: { key: NEXT, passphrase: NEXT } }, { privateKey: next.privateKey, publicKey: [pem(rsa.privateKey)] }, { privateKey: Buffer.from(NEXT) }, { privateKey: { ...jwk, d: [jwk.d] } }
    ].map((keys) => [pairs, keys] as [FastifyInstance, unknown]),
    [loaded, { secretKey: NEXT }]
  ]
  for (const [app, keys] of wrong) await fails(t, records, 'rotateKeys', () => { app.rotateKeys(keys as never) })
  records.assertClean(t, 70)
})

t.test('an error about a key that encodeKeyLoader gives says nothing of it', async (t) => {
  const records = keepRecords(t)
  const [rsa, ec] = [rsaPair(), ecPair()]
  for (const [name, { privateKey }] of Object.entries({ rsa, ec })) records.hidePrivateKey(name, privateKey)
  const jwk = ec.privateKey.export({ format: 'jwk' })
  let key: unknown
  const encodeKeyLoader = (): never => {
    if (key instanceof Error) throw key
    return key as never
  }
  const [shared, pairs] = [await buildApp(t, { encodeKeyLoader, secretKey: SECRET }, logTo(records)), await buildApp(t, { algorithm: 'RS256', encodeKeyLoader, publicKey: rsa.publicKey }, logTo(records))]
  for (const app of [shared, pairs]) app.get('/', async () => ({ token: await app.createAccessToken('ada') }))
  const wrong = [
    undefined, 5, '', { key: SECRET }, [SECRET], pem(rsa.privateKey).slice(0, -200), pem(ec.privateKey), jwk, JSON.stringify(jwk), { key: pem(ec.privateKey), passphrase: SECRET }, { key: SECRET, passphrase: SECRET }, ec.privateKey, rsa.publicKey, pem(rsa.publicKey), rsa.privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64'), new Error('the key service is down')
  ]
  for (const app of [shared, pairs]) {
    for (key of wrong) {
      await fails(t, records, 'createAccessToken', () => app.createAccessToken('ada'))
      const response = await app.inject('/')
      t.equal(response.statusCode, 500)
      records.add('an answer', response.body)
    }
  }
  key = SECRET
  await fails(t, records, 'a secret for RS256', () => pairs.createAccessToken('ada'))
  records.mark('a token', await shared.createAccessToken('ada'))
  records.assertClean(t, 100)
})

t.test('what is refused or warned of in production says nothing of a key', async (t) => {
  const records = keepRecords(t)
  const before = process.env['NODE_ENV']
  process.env['NODE_ENV'] = 'production'
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = before
  })
  const weak = 'MARKED-WEAK-SECRET-of-30-bytes'
  records.hideKey('a weak secret', weak)
  for (const options of [{ secretKey: weak }, { secretKey: [SECRET, weak] }, { secretKey: SECRET.slice(0, 40), algorithm: 'HS512' }]) {
    const error = await registrationError(t, options)
    t.match(error.message, 'RFC 7518 §3.2')
    records.addError('registering', error)
  }
  const app = await buildApp(t, { secretKey: SECRET, store: memoryStore() }, logTo(records))
  await fails(t, records, 'rotateKeys', () => { app.rotateKeys({ secretKey: weak }) })
  const loaded = await buildApp(t, { encodeKeyLoader: () => weak, decodeKeyLoader: () => weak }, logTo(records))
  loaded.get('/', { preHandler: loaded.jwtRequired() }, async () => 'in')
  await fails(t, records, 'encodeKeyLoader', () => loaded.createAccessToken('ada'))
  const response = await loaded.inject({ url: '/', headers: { authorization: `Bearer ${records.mark('a token', forge({ sub: 'ada', csrf: CSRF }, undefined, weak))}` } })
  t.equal(response.statusCode, 500)
  records.add('an answer', response.body)
  const allowed = await buildApp(t, { secretKey: weak, allowWeakKeys: true })
  records.mark('a token by a weak key', await allowed.createAccessToken('ada'))
  await new Promise(setImmediate)
  t.ok(records.texts.some(([where, text]) => where.startsWith('a warning') && text.includes('30 bytes')))
  records.assertClean(t, 10)
})

t.test("Fastify's own log prints the address of a request with the token in it, unless the serializer of the README stands in for its own", async (t) => {
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
