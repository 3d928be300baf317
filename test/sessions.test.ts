import { once } from 'node:events'
import { createHmac } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import {
  ExpiredTokenError, JwtDecodeError, JwtUsageError, memoryStore, RevokedTokenError, StoreUnavailableError, WrongTokenError,
  type CreateAccessTokenOptions, type JwtExtendedOptions, type JwtPayload, type NewSession, type Rotation, type RotationResult, type SessionEvent, type TokenPair,
  type TokenStore
} from '../index.js'
import { bearer, buildApp, registrationError, SECRET } from './support/app.js'
import { moveClock, stopClock } from './support/clock.js'
import { forge } from './support/forge.js'

const DAY = 24 * 60 * 60
const SECOND = 1_700_000_000

interface Setup {
  app: FastifyInstance
  events: SessionEvent[]
  /** The methods of the store that were called, with what they were given. */
  calls: [name: string, ...args: unknown[]][]
}

/** An app over a memory store that tells what it was asked. */
async function buildSessions (t: Test, options: JwtExtendedOptions = {}, inner: TokenStore = memoryStore()): Promise<Setup> {
  const events: SessionEvent[] = []
  const calls: Setup['calls'] = []
  const store = new Proxy(inner, {
    get (target, name: keyof TokenStore) {
      const method = target[name] as (...args: unknown[]) => unknown
      return (...args: unknown[]) => {
        calls.push([name, ...args])
        return method.apply(target, args)
      }
    },
  })
  const app = await buildApp(t, { secretKey: SECRET, store, onSessionEvent: (event) => { events.push(event) }, ...options })
  return { app, events, calls }
}

/** A store of which one method is another. */
function storeWith (changes: Partial<TokenStore>): TokenStore {
  return { ...memoryStore(), ...changes }
}

function never (): Promise<never> {
  return new Promise(() => {})
}

function claimsOf (token: string): JwtPayload {
  return JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as JwtPayload
}

function generationOf (pair: TokenPair): unknown {
  return claimsOf(pair.refreshToken)['gen']
}

async function refusalOf (work: Promise<unknown>): Promise<Error & { code?: string, statusCode?: number }> {
  return work.then(() => { throw new Error('it passed') }, (error: unknown) => error as Error)
}

t.test('the options', async (t) => {
  const store = memoryStore()

  t.test('what they take is told where they get something else', async (t) => {
    const wrong: [name: keyof JwtExtendedOptions, values: unknown[]][] = [
      ['store', [null, 5, 'memory', {}, [], memoryStore, { ...store, rotate: undefined }, { ...store, endAll: true }]],
      ['sessionLifetime', [0, -5, NaN, Infinity, 1.5, '', '15', 'soon', false, null]],
      ['refreshGrace', [-1, NaN, Infinity, '', '15', null, false]],
      ['onReuse', ['token', 'all', '', true, null]],
      ['storeFailure', ['half-open', '', false, null]],
      ['storeTimeout', [0, -1, NaN, Infinity, 250, '1s', '0.25', null, false]],
      ['onSessionEvent', ['log', {}, null, true]],
    ]
    for (const [name, values] of wrong) {
      for (const value of values) {
        const error = await registrationError(t, { secretKey: SECRET, store, [name]: value })
        t.match(error, { code: 'FST_JWT_EXT_USAGE', message: new RegExp(`^The option ${name} must be `) }, `${name}: ${String(value)}`)
      }
    }
  })

  t.test('what they take passes', async (t) => {
    const right: JwtExtendedOptions[] = [
      { sessionLifetime: 60 }, { sessionLifetime: '12h' }, { refreshGrace: 0 }, { refreshGrace: 0.5 }, { refreshGrace: '30s' },
      { onReuse: 'session' }, { onReuse: 'identity' }, { storeFailure: 'closed' }, { storeFailure: 'open' },
      { storeTimeout: 0.001 }, { storeTimeout: 3 }, { onSessionEvent: () => {} }, { onSessionEvent: undefined, onReuse: undefined },
    ]
    for (const options of right) await t.resolves(buildApp(t, { secretKey: SECRET, store, ...options }))
  })

  t.test('all but the store need one', async (t) => {
    const idle: JwtExtendedOptions = {
      sessionLifetime: 60, refreshGrace: 1, onReuse: 'session', storeFailure: 'open', storeTimeout: 1, onSessionEvent: () => {},
    }
    for (const [name, value] of Object.entries(idle)) {
      const error = await registrationError(t, { secretKey: SECRET, [name]: value })
      t.match(error, { code: 'FST_JWT_EXT_USAGE', message: new RegExp(`^The option ${name} needs a store`) })
    }
  })

  t.test('an identity claim cannot be one of the session', async (t) => {
    for (const identityClaim of ['sid', 'gen', 'epoch']) {
      t.match(await registrationError(t, { secretKey: SECRET, store, identityClaim }), { code: 'FST_JWT_EXT_USAGE' })
    }
  })
})

const APP_MEMBERS = ['createTokenPair', 'refreshTokens', 'revokeToken', 'revokeSession', 'revokeAllTokens', 'listSessions'] as const

t.test('without a store there are no sessions', async (t) => {
  const app = await buildApp(t)
  for (const name of [...APP_MEMBERS, 'setTokenCookies']) t.notOk(name in app.jwtManager(), name)
  for (const name of APP_MEMBERS) t.notOk(app.hasDecorator(name), name)
  for (const name of ['refreshTokens', 'revokeJwt']) t.notOk(app.hasRequestDecorator(name), name)
  t.notOk(app.hasReplyDecorator('setTokenCookies'))
  const claims = claimsOf(await app.createAccessToken('ada'))
  for (const name of ['sid', 'gen', 'epoch']) t.notOk(name in claims, name)
})

t.test('a child scope without a store has none of its parent’s sessions', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, store: memoryStore() })
  const { default: jwtExtended } = await import('../index.js')
  await app.register(async (child) => {
    await child.register(jwtExtended, { secretKey: `${SECRET}2` })
    for (const name of APP_MEMBERS) t.notOk(name in child.jwtManager(), name)
    await t.rejects(async () => await child.createTokenPair('ada'))
    await t.rejects(async () => await child.revokeAllTokens('ada'))
  })
})

t.test('with a store the manager and the app have the same methods', async (t) => {
  const { app } = await buildSessions(t)
  for (const name of APP_MEMBERS) t.equal(app[name], app.jwtManager()[name], name)
  t.ok(Object.isFrozen(app.jwtManager()))
})

t.test('createTokenPair', async (t) => {
  t.test('starts a session of generation 1 and binds both tokens to it', async (t) => {
    const { app, events, calls } = await buildSessions(t)
    const pair = await app.createTokenPair('ada')
    t.ok(Object.isFrozen(pair))
    t.same(Object.keys(pair).sort(), ['accessToken', 'refreshToken', 'sessionId'])
    const { sessionId } = pair
    t.match(sessionId, /^[0-9a-f-]{36}$/)
    const access = claimsOf(pair.accessToken)
    const refresh = claimsOf(pair.refreshToken)
    t.match(access, { sub: 'ada', type: 'access', fresh: false, sid: sessionId })
    t.notOk('gen' in access)
    t.match(refresh, { sub: 'ada', type: 'refresh', sid: sessionId, gen: 1 })
    for (const claims of [access, refresh]) t.notOk('epoch' in claims)
    t.not(access.jti, refresh.jti)
    t.not(access.csrf, refresh.csrf)
    t.same(calls, [['startSession', { identity: 'ada', sessionId, label: undefined, lifetime: 90 * DAY * 1000, keepFor: 30 * DAY * 1000, timeout: 250 }]])
    t.same(events, [{ type: 'session_created', identity: 'ada', sessionId }])
  })

  t.test('an iat of its own moves no end', async (t) => {
    stopClock(t, SECOND)
    const { app } = await buildSessions(t)
    const { accessToken } = await app.createTokenPair('ada', { additionalClaims: { iat: SECOND - 5000 } })
    t.match(claimsOf(accessToken), { iat: SECOND - 5000, exp: SECOND + 15 * 60 })
  })

  t.test('takes fresh, claims, headers and a label', async (t) => {
    const { app, calls } = await buildSessions(t)
    const pair = await app.createTokenPair('ada', {
      fresh: true, additionalClaims: { role: 'admin' }, additionalHeaders: { kid: 'k1' }, label: 'phone',
    })
    t.match(claimsOf(pair.accessToken), { fresh: true, role: 'admin' })
    t.match(claimsOf(pair.refreshToken), { fresh: false, role: 'admin' })
    for (const token of [pair.accessToken, pair.refreshToken]) t.equal(app.getUnverifiedJwtHeaders(token).kid, 'k1')
    t.match(calls[0]?.[1], { label: 'phone' })
    const { fresh, iat } = claimsOf((await app.createTokenPair('ada', { fresh: '5m' })).accessToken)
    t.equal(fresh, iat! + 300)
  })

  t.test('refuses what it cannot use, and starts no session then', async (t) => {
    const { app, events, calls } = await buildSessions(t)
    const wrong: unknown[] = [
      { label: 5 }, { label: null }, { label: {} }, { fresh: 'soon' }, { fresh: 0 },
      { expiresDelta: 5 }, { lable: 'phone' }, null, 'phone', [], { additionalClaims: 5 }, { additionalHeaders: { alg: 'none' } },
      { additionalClaims: { type: 'access' } }, { additionalClaims: { type: 'refresh' } },
      ...['exp', 'jti', 'fresh', 'sid', 'gen', 'epoch', 'sub'].map((name) => ({ additionalClaims: { [name]: 'mine' } })),
      { additionalClaims: { exp: undefined } },
    ]
    for (const options of wrong) {
      await t.rejects(app.createTokenPair('ada', options as object), { code: 'FST_JWT_EXT_USAGE' }, JSON.stringify(options))
    }
    for (const identity of [undefined, null, 5, {}]) await t.rejects(app.createTokenPair(identity), JwtUsageError)
    t.same(calls, [])
    t.same(events, [])
  })

  t.test('cuts off a label that is too long, and takes an empty one for none', async (t) => {
    const { app, calls } = await buildSessions(t)
    for (const label of ['x'.repeat(200), 'x'.repeat(201), '', undefined]) await app.createTokenPair('ada', { label })
    t.same(calls.map(([, session]) => (session as NewSession).label), ['x'.repeat(200), 'x'.repeat(200), undefined, undefined])
  })

  t.test('no loader may set the claims of a session', async (t) => {
    for (const name of ['exp', 'jti', 'fresh', 'sid', 'gen', 'epoch', 'sub']) {
      for (const claims of [{ [name]: 'mine' }, { toJSON: () => ({ [name]: 'mine' }) }]) {
        const { app, calls } = await buildSessions(t, { additionalClaimsLoader: () => claims })
        const error = await refusalOf(app.createTokenPair('ada'))
        t.match(error, { code: 'FST_JWT_EXT_USAGE', message: new RegExp(`'${name}'`) })
        t.same(calls, [])
      }
    }
  })

  t.test('a token without a session cannot claim one', async (t) => {
    for (const name of ['sid', 'gen', 'epoch']) {
      const { app } = await buildSessions(t)
      await t.rejects(app.createAccessToken('ada', { additionalClaims: { [name]: 1 } }), { code: 'FST_JWT_EXT_USAGE' })
      await t.rejects(app.createRefreshToken('ada', { additionalClaims: { [name]: 1 } }), { code: 'FST_JWT_EXT_USAGE' })
    }
  })

  t.test('no token outlives its session', async (t) => {
    stopClock(t, SECOND)
    const { app, calls } = await buildSessions(t, { sessionLifetime: 600, refreshTokenExpires: '1d', accessTokenExpires: '15m' })
    const pair = await app.createTokenPair('ada')
    t.equal(claimsOf(pair.accessToken).exp, SECOND + 600)
    t.equal(claimsOf(pair.refreshToken).exp, SECOND + 600)
    t.match(calls[0]?.[1], { lifetime: 600_000, keepFor: 600_000 })
    moveClock(t, 500)
    const next = await app.refreshTokens(pair.refreshToken)
    t.equal(claimsOf(next.accessToken).exp, SECOND + 600)
    t.equal(claimsOf(next.refreshToken).exp, SECOND + 600)
  })

  t.test('tokens without an expiry of their own end with the session', async (t) => {
    stopClock(t, SECOND)
    const { app, calls } = await buildSessions(t, {
      sessionLifetime: '2d', refreshTokenExpires: false, accessTokenExpires: false, decodeLeeway: 7,
    })
    const pair = await app.createTokenPair('ada')
    t.equal(claimsOf(pair.accessToken).exp, SECOND + 2 * DAY)
    t.equal(claimsOf(pair.refreshToken).exp, SECOND + 2 * DAY)
    t.match(calls[0]?.[1], { keepFor: (2 * DAY + 7) * 1000 })
  })

  t.test('a session is kept for as long as the longer-lived of its tokens, and the leeway', async (t) => {
    const { app, calls } = await buildSessions(t, { refreshTokenExpires: '1h', accessTokenExpires: '2h', decodeLeeway: 30 })
    const { refreshToken } = await app.createTokenPair('ada')
    await app.refreshTokens(refreshToken)
    for (const [, asked] of calls) t.match(asked, { keepFor: (2 * 60 * 60 + 30) * 1000 })
    t.equal(calls.length, 2)
  })

  t.test('the loaders make the identity, and the store gets it as text', async (t) => {
    const seen: unknown[] = []
    const { app, calls } = await buildSessions(t, {
      verifySub: false,
      userIdentityLoader: (user) => ({ id: (user as { id: number }).id }),
      additionalClaimsLoader (user) {
        seen.push(user)
        return { role: 'member' }
      },
    })
    const user = { id: 7, name: 'Ada' }
    const pair = await app.createTokenPair(user)
    t.match(calls[0]?.[1], { identity: '{"id":7}' })
    t.same(claimsOf(pair.refreshToken).sub, { id: 7 })
    t.equal(seen[0], user)
    const next = await app.refreshTokens(pair.refreshToken)
    t.match(claimsOf(next.accessToken), { sub: { id: 7 }, role: 'member' })
    t.same(seen.at(-1), { id: 7 })
    t.equal((await app.listSessions(user)).length, 1)
    await app.revokeAllTokens(user)
    t.match(calls.at(-1), ['endAll', '{"id":7}', undefined])
    t.equal(await app.revokeSession(user, pair.sessionId), false)
  })

  t.test('another claim than sub may hold the identity', async (t) => {
    const { app, events } = await buildSessions(t, { identityClaim: 'user' })
    const pair = await app.createTokenPair('ada')
    t.match(claimsOf(pair.accessToken), { user: 'ada' })
    await t.rejects(app.createTokenPair('ada', { additionalClaims: { user: 'eve' } }), JwtUsageError)
    await app.refreshTokens(pair.refreshToken)
    await app.revokeToken(pair.accessToken)
    t.same(events.map(({ type }) => type), ['session_created', 'session_renewed', 'session_revoked'])
    t.ok(events.every((event) => 'identity' in event && event.identity === 'ada'))
  })

  t.test('a store that fails gives no tokens', async (t) => {
    const { app, events } = await buildSessions(t, {}, storeWith({ startSession: () => { throw new Error('no disk') } }))
    await t.rejects(app.createTokenPair('ada'), StoreUnavailableError)
    t.same(events.map(({ type }) => type), ['store_unavailable'])
  })
})

t.test('refreshTokens', async (t) => {
  t.test('gives a pair of the next generation, of the same session, not fresh', async (t) => {
    const { app, events, calls } = await buildSessions(t)
    const first = await app.createTokenPair('ada', { fresh: true, additionalClaims: { role: 'admin' } })
    const second = await app.refreshTokens(first.refreshToken)
    t.ok(Object.isFrozen(second))
    t.equal(second.sessionId, first.sessionId)
    t.match(claimsOf(second.accessToken), { sub: 'ada', type: 'access', fresh: false, sid: first.sessionId })
    t.notOk('role' in claimsOf(second.accessToken))
    t.match(claimsOf(second.refreshToken), { sub: 'ada', type: 'refresh', sid: first.sessionId, gen: 2 })
    const rotation: Rotation = {
      identity: 'ada', sessionId: first.sessionId, generation: 1, grace: 10_000, keepFor: 30 * DAY * 1000, endAllOnReuse: false, timeout: 250,
    }
    t.same(calls.slice(1), [['rotate', rotation]])
    t.same(events[1], { type: 'session_renewed', identity: 'ada', sessionId: first.sessionId, adopted: false })
    t.equal(generationOf(await app.refreshTokens(second.refreshToken)), 3)
  })

  t.test('gives the very same generation again within the grace, and tells nobody', async (t) => {
    const { app, events } = await buildSessions(t)
    const { refreshToken } = await app.createTokenPair('ada')
    await app.refreshTokens(refreshToken)
    moveClock(t, 9)
    for (let i = 0; i < 3; i++) t.equal(generationOf(await app.refreshTokens(refreshToken)), 2)
    t.equal(events.length, 2)
  })

  t.test('ends the session for a token that comes again after the grace', async (t) => {
    const { app, events } = await buildSessions(t)
    const { refreshToken, sessionId } = await app.createTokenPair('ada')
    const { refreshToken: next } = await app.refreshTokens(refreshToken)
    moveClock(t, 10)
    const error = await refusalOf(app.refreshTokens(refreshToken))
    t.ok(error instanceof RevokedTokenError)
    t.match(error, { statusCode: 401, jwtHeader: { alg: 'HS256' }, jwtPayload: { gen: 1 } })
    t.same(events.at(-1), { type: 'token_reuse', identity: 'ada', sessionId, tokenId: claimsOf(refreshToken).jti })
    await t.rejects(app.refreshTokens(next), RevokedTokenError)
    t.same(await app.listSessions('ada'), [])
    t.equal(events.length, 3)
  })

  t.test('ends the session for an older token within the grace, and says so each time', async (t) => {
    const { app, events } = await buildSessions(t)
    const { refreshToken } = await app.createTokenPair('ada')
    const { refreshToken: second } = await app.refreshTokens(refreshToken)
    const { refreshToken: third } = await app.refreshTokens(second)
    for (const token of [refreshToken, refreshToken, second]) await t.rejects(app.refreshTokens(token), RevokedTokenError)
    t.equal(events.filter(({ type }) => type === 'token_reuse').length, 3)
    await t.rejects(app.refreshTokens(third), RevokedTokenError)
    t.equal(events.filter(({ type }) => type === 'token_reuse').length, 3)
  })

  t.test('has no grace where that is 0', async (t) => {
    const { app, events } = await buildSessions(t, { refreshGrace: 0 })
    const { refreshToken } = await app.createTokenPair('ada')
    await app.refreshTokens(refreshToken)
    await t.rejects(app.refreshTokens(refreshToken), RevokedTokenError)
    t.equal(events.at(-1)?.type, 'token_reuse')
  })

  t.test('takes a grace of less than a second', async (t) => {
    const { app, calls } = await buildSessions(t, { refreshGrace: 0.5 })
    await app.refreshTokens((await app.createTokenPair('ada')).refreshToken)
    t.match(calls.at(-1)?.[1], { grace: 500 })
  })

  t.test('goes on from a token that is ahead of the store', async (t) => {
    const store = memoryStore()
    const { app, events } = await buildSessions(t, {}, store)
    const { sessionId } = await app.createTokenPair('ada')
    const ahead = forge({ sub: 'ada', type: 'refresh', sid: sessionId, gen: 7, jti: 'j', exp: Math.floor(Date.now() / 1000) + 60 })
    t.equal(generationOf(await app.refreshTokens(ahead)), 8)
    t.same(events.at(-1), { type: 'session_renewed', identity: 'ada', sessionId, adopted: true })
  })

  t.test('refuses a session that ended, that is unknown, or at its absolute end', async (t) => {
    const { app, events } = await buildSessions(t, { sessionLifetime: 100, decodeLeeway: 50 })
    const ended = await app.createTokenPair('ada')
    await app.revokeSession('ada', ended.sessionId)
    await t.rejects(app.refreshTokens(ended.refreshToken), RevokedTokenError)
    const unknown = forge({ sub: 'ada', type: 'refresh', sid: 'nobody', gen: 1, exp: Math.floor(Date.now() / 1000) + 60 })
    await t.rejects(app.refreshTokens(unknown), RevokedTokenError)
    const old = await app.createTokenPair('ada')
    moveClock(t, 120)
    await t.rejects(app.refreshTokens(old.refreshToken), RevokedTokenError)
    t.same(events.map(({ type }) => type), ['session_created', 'session_revoked', 'session_created'])
  })

  t.test('a session that nobody refreshes ends with its refresh token', async (t) => {
    const { app } = await buildSessions(t, { refreshTokenExpires: 100, accessTokenExpires: 60 })
    const idle = await app.createTokenPair('ada')
    const used = await app.createTokenPair('ada')
    moveClock(t, 60)
    const { refreshToken } = await app.refreshTokens(used.refreshToken)
    moveClock(t, 60)
    await t.rejects(app.refreshTokens(idle.refreshToken), ExpiredTokenError)
    t.same((await app.listSessions('ada')).map(({ sessionId }) => sessionId), [used.sessionId])
    await t.resolves(app.refreshTokens(refreshToken))
  })

  t.test('keeps to the absolute end, however often it is called', async (t) => {
    stopClock(t, SECOND)
    const { app } = await buildSessions(t, { sessionLifetime: 100, refreshTokenExpires: 60, accessTokenExpires: 10 })
    let { refreshToken } = await app.createTokenPair('ada')
    for (let i = 0; i < 9; i++) {
      moveClock(t, 10)
      const pair = await app.refreshTokens(refreshToken)
      t.ok(claimsOf(pair.refreshToken).exp! <= SECOND + 100)
      t.ok(claimsOf(pair.accessToken).exp! <= SECOND + 100)
      refreshToken = pair.refreshToken
    }
    moveClock(t, 10)
    await t.rejects(app.refreshTokens(refreshToken), ExpiredTokenError)
  })

  t.test('takes claims for the new pair only', async (t) => {
    const { app } = await buildSessions(t, { additionalClaimsLoader: () => ({ role: 'member', tenant: 't1' }) })
    const first = await app.createTokenPair('ada')
    const second = await app.refreshTokens(first.refreshToken, { additionalClaims: { role: 'admin' } })
    for (const token of [second.accessToken, second.refreshToken]) t.match(claimsOf(token), { role: 'admin', tenant: 't1' })
    t.match(claimsOf((await app.refreshTokens(second.refreshToken)).accessToken), { role: 'member', tenant: 't1' })
  })

  t.test('makes headers anew, and signs with the key of the identity', async (t) => {
    const { app } = await buildSessions(t, {
      additionalHeadersLoader: (identity) => ({ kid: `key of ${String(identity)}` }),
      encodeKeyLoader: async () => SECRET,
      decodeKeyLoader: async () => SECRET,
    })
    const first = await app.createTokenPair('ada')
    const second = await app.refreshTokens(first.refreshToken)
    t.equal(app.getUnverifiedJwtHeaders(second.refreshToken).kid, 'key of ada')
    t.equal(generationOf(await app.refreshTokens(second.refreshToken)), 3)
  })

  t.test('refuses what is no refresh token of a session, and asks no store then', async (t) => {
    const { app, calls } = await buildSessions(t)
    const pair = await app.createTokenPair('ada')
    const plain = await app.createRefreshToken('ada')
    const claims = { sub: 'ada', type: 'refresh', sid: pair.sessionId, jti: 'j' }
    calls.length = 0
    await t.rejects(app.refreshTokens(pair.accessToken), WrongTokenError)
    await t.rejects(app.refreshTokens(plain), { message: 'Missing claim: sid' })
    await t.rejects(app.refreshTokens(forge({ ...claims, sid: 5, gen: 1 })), { message: 'Missing claim: sid' })
    for (const gen of [undefined, 0, -1, 1.5, '1', null, 2 ** 53]) {
      await t.rejects(app.refreshTokens(forge({ ...claims, gen })), { message: 'Missing claim: gen' }, String(gen))
    }
    await t.rejects(app.refreshTokens(forge({ ...claims, gen: 1, exp: 1 })), ExpiredTokenError)
    await t.rejects(app.refreshTokens(forge({ ...claims, gen: 1 }, undefined, 'x'.repeat(64))), JwtDecodeError)
    for (const token of ['', 'abc', 5, undefined, null, {}]) await t.rejects(app.refreshTokens(token as string), JwtDecodeError)
    t.same(calls, [])
  })

  t.test('refuses unknown options and claims of the session, and rotates nothing then', async (t) => {
    const { app } = await buildSessions(t)
    const { refreshToken } = await app.createTokenPair('ada')
    for (const options of [{ fresh: true }, { label: 'x' }, null, [], { additionalHeaders: {} }]) {
      await t.rejects(app.refreshTokens(refreshToken, options as object), JwtUsageError)
    }
    t.equal(generationOf(await app.refreshTokens(refreshToken)), 2)
  })

  t.test('no claim makes its access token fresh', async (t) => {
    let loaded = {}
    const { app } = await buildSessions(t, { additionalClaimsLoader: () => loaded })
    const { refreshToken } = await app.createTokenPair('ada', { fresh: true })
    for (const fresh of [true, 2 ** 40, false]) {
      await t.rejects(app.refreshTokens(refreshToken, { additionalClaims: { fresh } }), { code: 'FST_JWT_EXT_USAGE', message: /'fresh'/ })
      loaded = { fresh }
      await t.rejects(app.refreshTokens(refreshToken), { code: 'FST_JWT_EXT_USAGE', message: /'fresh'/ })
      loaded = {}
    }
    t.equal(claimsOf((await app.refreshTokens(refreshToken)).accessToken).fresh, false)
  })

  t.test('a mistake of the application, or a loader that fails, uses no token up', async (t) => {
    let isDown = false
    const fail = (): never => { throw new Error('the database is down') }
    for (const loader of ['additionalClaimsLoader', 'additionalHeadersLoader', 'encodeKeyLoader'] as const) {
      const works = { additionalClaimsLoader: () => ({}), additionalHeadersLoader: () => ({}), encodeKeyLoader: () => SECRET }[loader]
      const { app, events } = await buildSessions(t, { refreshGrace: 0, onReuse: 'identity', [loader]: () => isDown ? fail() : works() })
      const { refreshToken } = await app.createTokenPair('ada')
      const attempts: Record<string, unknown>[] = [{ sid: 'mine' }, { exp: 5 }, { nbf: 0 }, { list: new Set() }, { type: 'access' }]
      for (const additionalClaims of attempts) {
        await t.rejects(app.refreshTokens(refreshToken, { additionalClaims: additionalClaims as never }), JwtUsageError)
      }
      isDown = true
      await t.rejects(app.refreshTokens(refreshToken), /the database is down/)
      isDown = false
      t.equal(generationOf(await app.refreshTokens(refreshToken)), 2, loader)
      t.same(events.map(({ type }) => type), ['session_created', 'session_renewed'])
    }
  })

  t.test('a store that answers something else is a mistake of the application', async (t) => {
    for (const answer of [undefined, null, 5, {}, { outcome: 'maybe' }, { outcome: null }]) {
      const { app } = await buildSessions(t, {}, storeWith({ rotate: () => answer as never }))
      const { refreshToken } = await app.createTokenPair('ada')
      await t.rejects(app.refreshTokens(refreshToken), { code: 'FST_JWT_EXT_USAGE', message: /^The store's rotate must give an outcome/ })
    }
    for (const answer of [undefined, null, 'ids', {}]) {
      const { app, events } = await buildSessions(t, {}, storeWith({ endAll: () => answer as never, listSessions: async () => answer as never }))
      await t.rejects(app.revokeAllTokens('ada'), { code: 'FST_JWT_EXT_USAGE', message: "The store's endAll must give a list of ids" })
      await t.rejects(app.listSessions('ada'), { code: 'FST_JWT_EXT_USAGE', message: "The store's listSessions must give a list of sessions" })
      t.same(events, [])
    }
  })

  t.test('changes nothing where the store fails', async (t) => {
    const inner = memoryStore()
    let isDown = true
    const { app, events } = await buildSessions(t, {}, {
      ...inner, rotate: (rotation) => isDown ? Promise.reject(new Error('down')) : inner.rotate(rotation),
    })
    const { refreshToken } = await app.createTokenPair('ada')
    await t.rejects(app.refreshTokens(refreshToken), { statusCode: 503, code: 'FST_JWT_EXT_STORE_UNAVAILABLE' })
    t.match(events.at(-1), { type: 'store_unavailable', error: { message: 'down' } })
    isDown = false
    t.equal(generationOf(await app.refreshTokens(refreshToken)), 2)
  })

  t.test('the same token 200 times at once gives one generation', async (t) => {
    const { app, events } = await buildSessions(t)
    const { refreshToken } = await app.createTokenPair('ada')
    const pairs = await Promise.all(Array.from({ length: 200 }, () => app.refreshTokens(refreshToken)))
    t.same(new Set(pairs.map(generationOf)), new Set([2]))
    t.equal(new Set(pairs.map((pair) => pair.refreshToken)).size, 200)
    t.equal(events.filter(({ type }) => type === 'session_renewed').length, 1)
  })
})

t.test('onReuse: what a stolen token ends', async (t) => {
  async function steal (app: FastifyInstance): Promise<string> {
    const { refreshToken } = await app.createTokenPair('ada')
    await app.refreshTokens((await app.refreshTokens(refreshToken)).refreshToken)
    await t.rejects(app.refreshTokens(refreshToken), RevokedTokenError)
    return refreshToken
  }

  t.test('session: the session alone', async (t) => {
    const { app, events } = await buildSessions(t, { onReuse: 'session' })
    const other = await app.createTokenPair('ada')
    await steal(app)
    t.equal(generationOf(await app.refreshTokens(other.refreshToken)), 2)
    t.notOk(events.some(({ type }) => type === 'identity_revoked' || type === 'session_revoked'))
  })

  t.test('identity: all sessions of the identity, and its tokens without a session', async (t) => {
    const { app, events, calls } = await buildSessions(t, { onReuse: 'identity' })
    const other = await app.createTokenPair('ada')
    const stranger = await app.createTokenPair('bob')
    await steal(app)
    await t.rejects(app.refreshTokens(other.refreshToken), RevokedTokenError)
    t.equal(generationOf(await app.refreshTokens(stranger.refreshToken)), 2)
    t.notOk(calls.some(([name]) => name === 'endAll'), 'it is one step')
    t.ok(events.some((event) => event.type === 'session_revoked' && event.sessionId === other.sessionId))
    t.ok(events.some((event) => event.type === 'identity_revoked' && event.identity === 'ada'))
  })

  t.test('identity: a store that fails at the reuse ends all of it at the next try', async (t) => {
    const store = memoryStore()
    const rotate = store.rotate.bind(store)
    const { app } = await buildSessions(t, { onReuse: 'identity', refreshGrace: 0 }, store)
    const { refreshToken } = await app.createTokenPair('ada')
    const other = await app.createTokenPair('ada')
    await app.refreshTokens(refreshToken)
    store.rotate = () => { throw new Error('down') }
    await t.rejects(app.refreshTokens(refreshToken), StoreUnavailableError)
    store.rotate = rotate
    await t.rejects(app.refreshTokens(refreshToken), RevokedTokenError)
    await t.rejects(app.refreshTokens(other.refreshToken), RevokedTokenError)
  })

  t.test('identity: the return of a token whose theft is known ends no login made since', async (t) => {
    const { app } = await buildSessions(t, { onReuse: 'identity' })
    const stolen = await steal(app)
    const login = await app.createTokenPair('ada')
    await t.rejects(app.refreshTokens(stolen), RevokedTokenError)
    t.equal(generationOf(await app.refreshTokens(login.refreshToken)), 2)
  })
})

t.test('revokeToken', async (t) => {
  t.test('ends the session of either token, once', async (t) => {
    for (const kind of ['accessToken', 'refreshToken'] as const) {
      const { app, events } = await buildSessions(t)
      const pair = await app.createTokenPair('ada')
      t.equal(await app.revokeToken(pair[kind]), undefined)
      await app.revokeToken(pair[kind])
      await t.rejects(app.refreshTokens(pair.refreshToken), RevokedTokenError)
      t.same(events.slice(1), [{ type: 'session_revoked', identity: 'ada', sessionId: pair.sessionId }])
    }
  })

  t.test('takes the payload of a token', async (t) => {
    const { app } = await buildSessions(t)
    const pair = await app.createTokenPair('ada')
    await app.revokeToken(await app.decodeToken(pair.accessToken))
    t.same(await app.listSessions('ada'), [])
  })

  t.test('ends the session of an expired token', async (t) => {
    const { app } = await buildSessions(t)
    const pair = await app.createTokenPair('ada')
    moveClock(t, 60 * 60)
    await t.rejects(app.decodeToken(pair.accessToken), ExpiredTokenError)
    await app.revokeToken(pair.accessToken)
    await t.rejects(app.refreshTokens(pair.refreshToken), RevokedTokenError)
  })

  t.test('never takes a forged token', async (t) => {
    const { app, calls } = await buildSessions(t)
    const pair = await app.createTokenPair('ada')
    calls.length = 0
    const forged = forge(claimsOf(pair.accessToken), undefined, 'x'.repeat(64))
    for (const token of [forged, `${pair.accessToken}x`, 'abc', '']) await t.rejects(app.revokeToken(token), JwtDecodeError)
    t.same(calls, [])
    t.equal((await app.listSessions('ada')).length, 1)
  })

  t.test('revokes a token without a session until it expires', async (t) => {
    stopClock(t, SECOND)
    const { app, calls, events } = await buildSessions(t, { decodeLeeway: 5 })
    const token = await app.createAccessToken('ada')
    calls.length = 0
    await app.revokeToken(token)
    t.same(calls, [['revokeToken', 'ada', claimsOf(token).jti, (15 * 60 + 5 + 60) * 1000]], 'a minute more, for a clock that is behind')
    t.equal(events.length, 0)
  })

  t.test('revokes one without expiry for longer than anybody asks', async (t) => {
    const { app, calls } = await buildSessions(t)
    await app.revokeToken(await app.createAccessToken('ada', { expiresDelta: false }))
    t.ok(calls.at(-1)?.[3] as number > 99 * 365 * DAY * 1000)
  })

  t.test('an expired token without a session is marked for as long as another clock may be behind', async (t) => {
    const { app, calls } = await buildSessions(t)
    const token = await app.createAccessToken('ada', { expiresDelta: -5 })
    calls.length = 0
    await app.revokeToken(token)
    t.same(calls, [['revokeToken', 'ada', claimsOf(token).jti, 60_000]])
  })

  t.test('cannot revoke a token without session and id, nor what is no token', async (t) => {
    const { app, calls } = await buildSessions(t)
    await t.rejects(app.revokeToken(forge({ sub: 'ada' })), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Missing claim: jti' })
    await t.rejects(app.revokeToken({}), { message: 'Missing claim: jti' })
    // Of whom a token is decides where its mark is kept.
    for (const payload of [{ jti: 'j' }, { sid: 's' }, { sid: 's', jti: 'j', uid: 'ada' }]) {
      await t.rejects(app.revokeToken(payload), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Missing claim: sub' })
    }
    for (const wrong of [null, undefined, 5, true]) await t.rejects(app.revokeToken(wrong as unknown as string), JwtUsageError)
    t.same(calls, [])
  })

  t.test('takes no payload whose end is no time: its mark would be none', async (t) => {
    const { app, calls } = await buildSessions(t)
    const payload = await app.decodeToken(await app.createAccessToken('ada'))
    calls.length = 0
    for (const exp of ['2027-01-01', NaN, Infinity, null, {}]) await t.rejects(app.revokeToken({ ...payload, exp } as never), JwtDecodeError)
    t.same(calls, [])
  })

  t.test('a store that fails is told', async (t) => {
    const failing = storeWith({ revokeToken: () => Promise.reject(new Error('down')), endSession: () => { throw new Error('down') } })
    const { app } = await buildSessions(t, {}, failing)
    await t.rejects(app.revokeToken(await app.createAccessToken('ada')), StoreUnavailableError)
    await t.rejects(app.revokeToken((await app.createTokenPair('ada')).accessToken), StoreUnavailableError)
  })
})

t.test('revokeSession', async (t) => {
  t.test('ends one session of the identity, and says whether there was one', async (t) => {
    const { app, events } = await buildSessions(t)
    const [first, second] = [await app.createTokenPair('ada'), await app.createTokenPair('ada')]
    t.equal(await app.revokeSession('bob', first.sessionId), false)
    t.equal(await app.revokeSession('ada', 'nothing'), false)
    t.equal(await app.revokeSession('ada', first.sessionId), true)
    t.equal(await app.revokeSession('ada', first.sessionId), false)
    t.same((await app.listSessions('ada')).map(({ sessionId }) => sessionId), [second.sessionId])
    t.same(events.slice(2), [{ type: 'session_revoked', identity: 'ada', sessionId: first.sessionId }])
  })

  t.test('needs an identity and an id', async (t) => {
    const { app } = await buildSessions(t)
    for (const id of ['', 5, undefined, null]) await t.rejects(app.revokeSession('ada', id as string), JwtUsageError)
    for (const identity of [undefined, null]) await t.rejects(app.revokeSession(identity, 's1'), JwtUsageError)
  })
})

t.test('revokeAllTokens', async (t) => {
  t.test('ends all sessions of the identity and tells of each', async (t) => {
    const { app, events } = await buildSessions(t)
    const pairs = [await app.createTokenPair('ada'), await app.createTokenPair('ada')]
    const other = await app.createTokenPair('bob')
    events.length = 0
    t.equal(await app.revokeAllTokens('ada'), undefined)
    for (const { refreshToken } of pairs) await t.rejects(app.refreshTokens(refreshToken), RevokedTokenError)
    await t.resolves(app.refreshTokens(other.refreshToken))
    t.same(events.slice(0, 3), [
      ...pairs.map(({ sessionId }) => ({ type: 'session_revoked', identity: 'ada', sessionId })),
      { type: 'identity_revoked', identity: 'ada' },
    ])
  })

  t.test('spares exceptSession', async (t) => {
    const { app } = await buildSessions(t)
    const [spared, ended] = [await app.createTokenPair('ada'), await app.createTokenPair('ada')]
    await app.revokeAllTokens('ada', { exceptSession: spared.sessionId })
    await t.rejects(app.refreshTokens(ended.refreshToken), RevokedTokenError)
    t.equal(generationOf(await app.refreshTokens(spared.refreshToken)), 2)
  })

  t.test('refuses what it cannot use, and ends nothing then', async (t) => {
    const { app, calls } = await buildSessions(t)
    for (const options of [{ exceptSession: 5 }, { exceptSession: null }, { except: 's' }, null, 's1']) {
      await t.rejects(app.revokeAllTokens('ada', options as object), JwtUsageError, JSON.stringify(options))
    }
    for (const identity of [undefined, null, NaN, Infinity, Symbol('ada'), 5n, () => 'ada', new Map(), { toJSON: () => null }]) {
      await t.rejects(app.revokeAllTokens(identity), JwtUsageError, String(identity))
    }
    t.same(calls, [])
  })

  t.test('does not pass for a log-out where the loader failed and nothing was ended', async (t) => {
    let isDown = false
    const { app } = await buildSessions(t, {
      async userIdentityLoader (name) {
        if (isDown) throw new Error('no database')
        return `id of ${String(name)}`
      },
    })
    const { refreshToken } = await app.createTokenPair('ada')
    isDown = true
    const hasPassed = await app.revokeAllTokens('ada').then(() => true, () => false)
    isDown = false
    const isAlive = await app.refreshTokens(refreshToken).then(() => true, () => false)
    t.notOk(hasPassed && isAlive)
  })

  t.test('ends nothing in silence where a user has no identity', async (t) => {
    const { app, calls } = await buildSessions(t, { userIdentityLoader: (user) => (user as { id?: string }).id })
    await t.rejects(app.revokeAllTokens({ id: undefined }), JwtUsageError)
    t.same(calls, [])
  })
})

t.test('listSessions gives what is alive, with dates', async (t) => {
  stopClock(t, SECOND)
  const { app } = await buildSessions(t, { sessionLifetime: 1000 })
  const first = await app.createTokenPair('ada', { label: 'phone' })
  moveClock(t, 10)
  const second = await app.createTokenPair('ada')
  const ended = await app.createTokenPair('ada')
  await app.revokeToken(ended.accessToken)
  moveClock(t, 10)
  await app.refreshTokens(first.refreshToken)
  const at = (seconds: number): number => SECOND + seconds
  t.same(await app.listSessions('ada'), [
    { sessionId: second.sessionId, label: undefined, startedAt: at(10), refreshedAt: at(10), expiresAt: at(1010) },
    { sessionId: first.sessionId, label: 'phone', startedAt: at(0), refreshedAt: at(20), expiresAt: at(1000) },
  ])
  t.same(await app.listSessions('bob'), [])
  await t.rejects(app.listSessions(undefined), JwtUsageError)
})

t.test('a token without a session carries the epoch of its identity', async (t) => {
  const { app } = await buildSessions(t)
  t.equal(claimsOf(await app.createAccessToken('ada'))['epoch'], 0)
  await app.revokeAllTokens('ada')
  t.ok(claimsOf(await app.createRefreshToken('ada'))['epoch'] as number > 0)
  t.equal(claimsOf(await app.createAccessToken('bob'))['epoch'], 0)
})

t.test('a store that fails is no reason to make no token without a session', async (t) => {
  for (const epochOf of [() => { throw new Error('down') }, () => Promise.reject(new Error('down')), never]) {
    const { app, events } = await buildSessions(t, { storeTimeout: 0.02 }, storeWith({ epochOf }))
    const claims = claimsOf(await app.createAccessToken('ada'))
    t.notOk('epoch' in claims)
    t.same(events.map(({ type }) => type), ['store_unavailable'])
  }
})

t.test('a token without a session that outlives a year is announced to the store', async (t) => {
  stopClock(t, SECOND)
  const YEAR = 365 * DAY
  const { app, calls } = await buildSessions(t, {
    decodeLeeway: 5, additionalClaimsLoader: (identity) => identity === 'loaded' ? { exp: SECOND + 2 * YEAR } : {},
  })
  const cases: [identity: string, options: CreateAccessTokenOptions, seconds: number | undefined][] = [
    ['ada', {}, undefined],
    ['ada', { expiresDelta: YEAR - 5 }, undefined],
    ['ada', { expiresDelta: YEAR }, YEAR + 5],
    ['ada', { expiresDelta: false }, 100 * YEAR],
    ['ada', { expiresDelta: '40000d' }, 100 * YEAR],
    ['ada', { additionalClaims: { exp: SECOND + 2 * YEAR } }, 2 * YEAR + 5],
    ['ada', { additionalClaims: { exp: SECOND + 2 * YEAR, iat: SECOND + 2 * YEAR - 60 } }, 2 * YEAR + 5],
    ['ada', { expiresDelta: -60, additionalClaims: { iat: SECOND - 2 * YEAR } }, undefined],
    ['loaded', {}, 2 * YEAR + 5],
  ]
  for (const [identity, options, seconds] of cases) {
    for (const create of [app.createAccessToken, app.createRefreshToken]) {
      await create(identity, options)
      t.same(calls.at(-1), ['epochOf', identity, seconds === undefined ? undefined : seconds * 1000], JSON.stringify(options))
    }
  }
})

t.test('a token that must be announced is not made while the store fails', async (t) => {
  for (const epochOf of [() => { throw new Error('down') }, () => Promise.reject(new Error('down')), never]) {
    const { app } = await buildSessions(t, { storeTimeout: 0.02 }, storeWith({ epochOf }))
    await t.rejects(app.createAccessToken('ada', { expiresDelta: false }), StoreUnavailableError)
    await t.rejects(app.createRefreshToken('ada', { expiresDelta: '2000d' }), StoreUnavailableError)
    await t.resolves(app.createRefreshToken('ada'))
  }
})

t.test('a log-out everywhere holds for as long as a token lives, whoever made it', async (t) => {
  stopClock(t, SECOND)
  const { app } = await buildSessions(t, {}, memoryStore({ maxEntries: 2 }))
  const tokens = [
    await app.createAccessToken('ada', { expiresDelta: false }), await app.createAccessToken('ada', { expiresDelta: '3000d' }),
    await app.createRefreshToken('ada'),
  ]
  app.get('/page', { preHandler: app.jwtRequired({ verifyType: false }) }, async () => ({}))
  const visit = async (token: string) => (await app.inject({ url: '/page', headers: bearer(token) })).statusCode
  for (const token of tokens) t.equal(await visit(token), 200)
  await app.revokeAllTokens('ada')
  for (let day = 0; day < 2900; day += 100) {
    // Others take the places of what is not needed any more.
    for (const other of ['bob', 'cy', 'dora']) await app.revokeAllTokens(other).catch(() => {})
    t.same([await visit(tokens[0]!), await visit(tokens[1]!)], [401, 401])
    moveClock(t, 100 * DAY)
  }
})

t.test('a store that answers later serves, and one that never answers is unavailable in time', async (t) => {
  const store = memoryStore()
  const late = storeWith({
    startSession: async (session: NewSession) => store.startSession(session),
    rotate: async (rotation: Rotation): Promise<RotationResult> => store.rotate(rotation),
    listSessions: never,
    endAll: never,
    endSession: never,
    epochOf: async () => 5,
  })
  const { app } = await buildSessions(t, { storeTimeout: 0.05 }, late)
  const { refreshToken, sessionId } = await app.createTokenPair('ada')
  t.equal(generationOf(await app.refreshTokens(refreshToken)), 2)
  t.equal(claimsOf(await app.createAccessToken('ada'))['epoch'], 5)
  const start = performance.now()
  await t.rejects(app.listSessions('ada'), StoreUnavailableError)
  await t.rejects(app.revokeAllTokens('ada'), StoreUnavailableError)
  await t.rejects(app.revokeSession('ada', sessionId), StoreUnavailableError)
  const waited = performance.now() - start
  t.ok(waited > 140 && waited < 600, `waited ${waited} ms`)
})

t.test('events', async (t) => {
  t.test('hold no token and no secret', async (t) => {
    const { app, events } = await buildSessions(t, { onReuse: 'identity', refreshGrace: 0 })
    const tokens: string[] = []
    for (let i = 0; i < 3; i++) {
      const pair = await app.createTokenPair('ada', { label: 'phone' })
      const next = await app.refreshTokens(pair.refreshToken)
      tokens.push(pair.accessToken, pair.refreshToken, next.accessToken, next.refreshToken)
    }
    await app.refreshTokens(tokens[1]!).catch(() => {})
    await app.revokeAllTokens('ada')
    t.same(new Set(events.map(({ type }) => type)), new Set([
      'session_created', 'session_renewed', 'token_reuse', 'session_revoked', 'identity_revoked',
    ]))
    const text = JSON.stringify(events)
    for (const token of tokens) {
      for (const part of token.split('.').slice(1)) t.notOk(text.includes(part))
      t.notOk(text.includes(claimsOf(token).csrf!))
    }
    for (const event of events) t.ok(Object.isFrozen(event))
  })

  t.test('tell of each cause once, and of nothing else', async (t) => {
    const store = memoryStore()
    const { app, events } = await buildSessions(t, { onReuse: 'identity' }, store)
    app.get('/page', { preHandler: app.jwtRequired({ verifyType: false }) }, async () => ({}))
    const visit = async (token: string) => (await app.inject({ url: '/page', headers: bearer(token) })).statusCode
    async function toldOf (work: () => Promise<unknown>): Promise<string[]> {
      events.length = 0
      await work().catch(() => {})
      return events.map((event) => 'sessionId' in event ? `${event.type} ${event.sessionId}` : event.type)
    }

    const first = await app.createTokenPair('ada')
    const other = await app.createTokenPair('ada')
    let second = first
    const [stolen, sibling] = [first.sessionId, other.sessionId]
    t.same(await toldOf(async () => { second = await app.refreshTokens(first.refreshToken) }), [`session_renewed ${stolen}`])
    t.same(await toldOf(() => app.refreshTokens(first.refreshToken)), [], 'a replay')
    await app.refreshTokens(second.refreshToken)
    t.same(await toldOf(() => app.refreshTokens(first.refreshToken)), [`token_reuse ${stolen}`, `session_revoked ${sibling}`, 'identity_revoked'])
    for (const { accessToken, refreshToken } of [first, second, other]) {
      for (const token of [accessToken, refreshToken]) t.same(await toldOf(async () => { t.equal(await visit(token), 401) }), [], 'a guard that refuses')
    }
    t.same(await toldOf(() => app.refreshTokens(other.refreshToken)), [], 'a refresh that is refused')
    t.same(await toldOf(() => app.refreshTokens(first.refreshToken)), [`token_reuse ${stolen}`], 'a theft that is known')
    for (const end of ['revokeToken', 'revokeSession'] as const) {
      const { sessionId, accessToken } = await app.createTokenPair('ada')
      const revoke = () => end === 'revokeToken' ? app.revokeToken(accessToken) : app.revokeSession('ada', sessionId)
      t.same(await toldOf(revoke), [`session_revoked ${sessionId}`])
      t.same(await toldOf(revoke), [], 'what has ended already')
    }
    t.same(await toldOf(async () => { await app.revokeToken(await app.createAccessToken('ada')) }), [])
    t.same(await toldOf(() => app.revokeAllTokens('ada')), ['identity_revoked'])
    store.isRevoked = () => { throw new Error('down') }
    t.same(await toldOf(async () => { t.equal(await visit(second.accessToken), 503) }), ['store_unavailable'])
  })

  t.test('a token without an id is named null in the event of its reuse', async (t) => {
    const { app, events } = await buildSessions(t, { refreshGrace: 0 })
    const { sessionId, refreshToken } = await app.createTokenPair('ada')
    await app.refreshTokens(refreshToken)
    await t.rejects(app.refreshTokens(forge({ sub: 'ada', type: 'refresh', sid: sessionId, gen: 1 })), RevokedTokenError)
    t.match(events.at(-1), { type: 'token_reuse', tokenId: null })
  })

  t.test('a listener that throws or rejects does no harm', async (t) => {
    for (const onSessionEvent of [() => { throw new Error('no log') }, async () => { throw new Error('no log') }]) {
      const { app } = await buildSessions(t, { onSessionEvent })
      const warned = once(process, 'warning')
      const pair = await app.createTokenPair('ada')
      t.match((await warned)[0], { code: 'FST_JWT_EXT_EVENT' })
      const again = once(process, 'warning')
      await app.revokeToken(pair.accessToken)
      await again
      t.same(await app.listSessions('ada'), [])
    }
  })
})

t.test('a namespace has sessions of its own', async (t) => {
  const { app } = await buildSessions(t)
  const { default: jwtExtended } = await import('../index.js')
  const partnerStore = memoryStore()
  await app.register(jwtExtended, { secretKey: `${SECRET} of partners`, namespace: 'partner', store: partnerStore })
  const partner = app.jwtManager('partner')
  const pair = await partner.createTokenPair('ada')
  t.equal(generationOf(await partner.refreshTokens(pair.refreshToken)), 2)
  t.same(await app.listSessions('ada'), [])
  t.equal((await partner.listSessions('ada')).length, 1)
  await t.rejects(app.refreshTokens(pair.refreshToken), JwtDecodeError)
  await partner.revokeAllTokens('ada')
  t.same(await partner.listSessions('ada'), [])
})

t.test('errors carry the status of the profile', async (t) => {
  const expected = { flask: [422, 422, 401, 503], rfc6750: [401, 401, 401, 503] } as const
  for (const errorProfile of ['flask', 'rfc6750'] as const) {
    const { app } = await buildSessions(t, { errorProfile }, storeWith({ endAll: () => { throw new Error('down') } }))
    const pair = await app.createTokenPair('ada')
    await app.revokeToken(pair.accessToken)
    const errors = await Promise.all([
      refusalOf(app.refreshTokens('abc')),
      refusalOf(app.refreshTokens(pair.accessToken)),
      refusalOf(app.refreshTokens(pair.refreshToken)),
      refusalOf(app.revokeAllTokens('ada')),
    ])
    t.same(errors.map(({ statusCode }) => statusCode), expected[errorProfile])
    t.match(errors[3], { headers: { 'retry-after': '1' } })
  }
})

t.test('a copy of the store gives nobody a token', async (t) => {
  const { app, calls } = await buildSessions(t)
  const pair = await app.createTokenPair('ada')
  await app.refreshTokens(pair.refreshToken)
  await app.revokeToken(await app.createAccessToken('ada'))
  const text = JSON.stringify(calls)
  t.notOk(text.includes(SECRET))
  for (const token of [pair.accessToken, pair.refreshToken]) {
    const [head, body, signature] = token.split('.')
    t.equal(createHmac('sha256', SECRET).update(`${head}.${body}`).digest('base64url'), signature)
    for (const part of [body!, signature!]) t.notOk(text.includes(part))
  }
})
