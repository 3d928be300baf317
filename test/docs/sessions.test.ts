import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import type { TokenPair, TokenStore } from '../../index.js'
import { moveClock } from '../support/clock.js'
import { forge } from '../support/forge.js'
import { readRows, root, unquote } from '../support/pages.js'
import { listen, open } from '../support/raw-http.js'
import { answer, payloadOf, testPage } from '../support/snippets.js'

const PAGE = 'docs/sessions.md'

await testPage(t, PAGE, {
  async 'Plain refresh tokens 1' (t, snippet) {
    const login = (await snippet.app.inject({ method: 'POST', url: '/login' })).json() as Record<string, string>
    const refresh = { method: 'POST', url: '/refresh' } as const
    const refreshed = await answer(t, snippet, refresh, login['refresh_token'], 200, undefined)
    const { access_token: token } = refreshed.json() as { access_token: string }
    t.equal(payloadOf(token)['fresh'], false)
    await answer(t, snippet, '/protected', token, 200, { logged_in_as: 'ada' })
    await answer(t, snippet, '/protected', login['refresh_token'], 422, { msg: 'Only non-refresh tokens are allowed' })
    await answer(t, snippet, refresh, login['access_token'], 422, { msg: 'Only refresh tokens are allowed' })
    await answer(t, snippet, refresh, login['refresh_token'], 200, undefined)
  },

  async 'Sessions with a store 1' (t, snippet) {
    const { app } = snippet
    const first = (await app.inject({ method: 'POST', url: '/login' })).json() as TokenPair
    t.same(Object.keys(first), ['accessToken', 'refreshToken', 'sessionId'])
    t.ok(Number(payloadOf(first.accessToken)['fresh']) > Date.now() / 1000)
    t.match(await app.listSessions('ada'), [{ sessionId: first.sessionId, label: 'Firefox on Linux' }])
    const refresh = { method: 'POST', url: '/refresh' } as const
    const racers = await Promise.all(Array.from({ length: 5 }, () => answer(t, snippet, refresh, first.refreshToken, 200, undefined)))
    const successors = racers.map((response) => response.json() as TokenPair)
    t.same([...new Set(successors.map(({ refreshToken }) => payloadOf(refreshToken)['gen']))], [2], 'all of one generation')
    t.equal(payloadOf(successors[0]!.accessToken)['fresh'], false)
    await answer(t, snippet, '/protected', successors[0]!.accessToken, 200, { logged_in_as: 'ada' })
    const third = (await answer(t, snippet, refresh, successors[4]!.refreshToken, 200, undefined)).json() as TokenPair
    await answer(t, snippet, refresh, first.refreshToken, 401, undefined)
    await answer(t, snippet, '/protected', third.accessToken, 401, { msg: 'Token has been revoked' })
    await answer(t, snippet, refresh, third.refreshToken, 401, { msg: 'Token has been revoked' })

    const plain = await app.createRefreshToken('ada')
    await answer(t, snippet, refresh, plain, 422, { statusCode: 422, code: 'FST_JWT_EXT_INVALID_TOKEN', error: 'Unprocessable Entity', message: 'Missing claim: sid' })
    const more = await app.createTokenPair('ada', { additionalClaims: { role: 'admin' } })
    t.equal(payloadOf(more.accessToken)['role'], 'admin')
    const bare = await app.refreshTokens(more.refreshToken)
    t.notOk('role' in payloadOf(bare.accessToken), 'claims of the login are not carried over')
    const again = await app.refreshTokens(bare.refreshToken, { additionalClaims: { role: 'admin' } })
    t.equal(payloadOf(again.accessToken)['role'], 'admin')
    moveClock(t, 11)
    await t.rejects(app.refreshTokens(bare.refreshToken), { code: 'FST_JWT_EXT_REVOKED' }, 'after the grace')
  },

  async 'Sessions with a store 2' (t, snippet) {
    const cookiesOf = (response: LightMyRequestResponse): Record<string, string> => {
      return Object.fromEntries(response.cookies.map(({ name, value }) => [name, value]))
    }
    const headersOf = (cookies: Record<string, string>): Record<string, string> => ({
      cookie: Object.entries(cookies).map(([name, value]) => `${name}=${value}`).join('; '),
      'x-csrf-token': cookies['csrf_refresh_token']!,
    })
    const first = cookiesOf(await answer(t, snippet, { method: 'POST', url: '/login' }, undefined, 200, { msg: 'Logged in' }))
    t.same(Object.keys(first).sort(), ['access_token_cookie', 'csrf_access_token', 'csrf_refresh_token', 'refresh_token_cookie'])
    const refresh = async (cookies: Record<string, string>, status: number): Promise<LightMyRequestResponse> => {
      return await answer(t, snippet, { method: 'POST', url: '/refresh', headers: headersOf(cookies) }, undefined, status, undefined)
    }
    const second = cookiesOf(await refresh(first, 200))
    await answer(t, snippet, { url: '/protected', headers: headersOf(second) }, undefined, 200, { logged_in_as: 'ada' })
    const third = cookiesOf(await refresh(second, 200))
    for (const cookies of [first, third]) {
      const refused = await refresh(cookies, 401)
      t.equal(refused.cookies.filter(({ value, maxAge }) => value === '' && maxAge === 0).length, 4, 'all cookies are cleared')
    }
  },

  async 'Logging out 1' (t, snippet) {
    const { app } = snippet
    const logout = { method: 'POST', url: '/logout' } as const
    for (const kind of ['accessToken', 'refreshToken'] as const) {
      const pair = await app.createTokenPair('ada')
      await answer(t, snippet, '/protected', pair.accessToken, 200, { logged_in_as: 'ada' })
      await answer(t, snippet, logout, pair[kind], 204, undefined)
      await answer(t, snippet, '/protected', pair.accessToken, 401, { msg: 'Token has been revoked' })
      await t.rejects(app.refreshTokens(pair.refreshToken), { code: 'FST_JWT_EXT_REVOKED' })
    }
    const [token, other] = [await app.createAccessToken('ada'), await app.createAccessToken('ada')]
    await answer(t, snippet, logout, token, 204, undefined)
    await answer(t, snippet, '/protected', token, 401, { msg: 'Token has been revoked' })
    await answer(t, snippet, '/protected', other, 200, { logged_in_as: 'ada' })
  },

  async 'Logging out late 1' (t, snippet) {
    const { app } = snippet
    const logout = (token: string): InjectOptions => ({ method: 'POST', url: '/logout', payload: { token } })
    const pair = await app.createTokenPair('ada')
    const forged = forge({ ...payloadOf(pair.accessToken) }, undefined, 'another secret than that of the snippet, and just as long')
    await answer(t, snippet, logout(forged), undefined, 422, undefined)
    await answer(t, snippet, '/protected', pair.accessToken, 200, { logged_in_as: 'ada' })
    moveClock(t, 3600)
    await answer(t, snippet, '/protected', pair.accessToken, 401, { msg: 'Token has expired' })
    await answer(t, snippet, logout(pair.accessToken), undefined, 204, undefined)
    await t.rejects(app.refreshTokens(pair.refreshToken), { code: 'FST_JWT_EXT_REVOKED' })
    await answer(t, snippet, { method: 'POST', url: '/logout', payload: {} }, undefined, 400, undefined)
  },

  async 'Devices, and a new password 1' (t, snippet) {
    const { app } = snippet
    const phone = await app.createTokenPair('ada', { label: 'phone' })
    const laptop = await app.createTokenPair('ada', { label: 'laptop', fresh: true })
    const tablet = await app.createTokenPair('ada')
    const stranger = await app.createTokenPair('grace')
    const token = laptop.accessToken
    const listed = (await answer(t, snippet, '/sessions', token, 200, undefined)).json() as object[]
    const parts = ['sessionId', 'label', 'startedAt', 'refreshedAt', 'expiresAt']
    t.equal(listed.length, 3)
    for (const session of listed) t.same(Object.keys({ label: undefined, ...session }).sort(), [...parts].sort())
    const end = (id: string): InjectOptions => ({ method: 'DELETE', url: `/sessions/${id}` })
    await answer(t, snippet, end(stranger.sessionId), token, 404, undefined)
    await answer(t, snippet, end(phone.sessionId), token, 204, undefined)
    await answer(t, snippet, '/sessions', phone.accessToken, 401, undefined)
    await answer(t, snippet, { method: 'POST', url: '/logout-others' }, token, 204, undefined)
    await answer(t, snippet, '/sessions', tablet.accessToken, 401, undefined)
    await answer(t, snippet, '/sessions', token, 200, undefined)
    const change = { method: 'POST', url: '/password' } as const
    const changed = (await answer(t, snippet, change, token, 200, undefined)).json() as TokenPair
    await answer(t, snippet, '/sessions', token, 401, undefined)
    await answer(t, snippet, '/sessions', changed.accessToken, 200, undefined)
    await answer(t, snippet, change, changed.accessToken, 200, undefined)
    await answer(t, snippet, '/sessions', stranger.accessToken, 200, undefined)
  },

  async 'Without sessions 1' (t, snippet) {
    const { app } = snippet
    const [token, other] = [await app.createAccessToken('ada'), await app.createAccessToken('ada')]
    const logout = { method: 'DELETE', url: '/logout' } as const
    await answer(t, snippet, '/protected', token, 200, { logged_in_as: 'ada' })
    await answer(t, snippet, logout, token, 204, undefined)
    await answer(t, snippet, '/protected', token, 401, { msg: 'Token has been revoked' })
    await answer(t, snippet, '/protected', other, 200, { logged_in_as: 'ada' })
    const refreshToken = await app.createRefreshToken('ada')
    await answer(t, snippet, logout, refreshToken, 204, undefined)
    await answer(t, snippet, logout, refreshToken, 401, { msg: 'Token has been revoked' })
  },

  async 'Running more than one instance 1' (t, snippet, { redis }) {
    const { app } = snippet
    const pair = await app.createTokenPair('ada@example.com', { label: 'phone' })
    const plain = await app.createAccessToken('ada@example.com')
    await app.revokeToken(plain)
    await app.revokeAllTokens('ada@example.com', { exceptSession: pair.sessionId })
    await answer(t, snippet, '/protected', pair.accessToken, 200, { logged_in_as: 'ada@example.com' })
    await answer(t, snippet, '/protected', plain, 401, { msg: 'Token has been revoked' })

    // What is said to stand in Redis, and nothing else.
    const keys = (await redis!.admin.keys('*')).sort()
    const digest = /^jwt:\{([\w-]+)\}:/.exec(keys[0]!)![1]!
    t.ok(createHash('sha256').update('ada@example.com').digest('base64url').startsWith(digest))
    const named = readRows(PAGE, 'key').map(([key]) => unquote(key!)
      .replace('digest', digest).replace('<session id>', pair.sessionId).replace('<jti>', String(payloadOf(plain)['jti'])))
    t.same(keys, named.sort())
    const days = 24 * 60 * 60 * 1000
    for (const key of keys) {
      const left = await redis!.admin.pttl(key)
      t.ok(left > 0 && left <= (key.endsWith('epoch') ? 400 : 30) * days, `${key} lives for ${left} ms`)
    }
    const values = await redis!.admin.mget(keys.filter((key) => !key.endsWith('sessions')))
    t.notMatch(values.join(), /ada|eyJ/)
    t.match(values.join(), /phone/, 'labels are stored as they are')
    t.ok(values.every((value) => value!.length < 300))
  },

  async 'Running more than one instance 2' (t, snippet, { redis }) {
    const pair = await snippet.app.createTokenPair('ada')
    await answer(t, snippet, '/protected', pair.accessToken, 200, { logged_in_as: 'ada' })
    t.ok((await redis!.admin.keys('*')).some((key) => key.startsWith('shop:jwt:{') && key.includes(pair.sessionId)))
  },

  async 'Shutting down 1' (t, { app }) {
    const end = process.listeners('SIGTERM').at(-1)!
    process.off('SIGTERM', end)
    const underWay = once(app.server, 'request')
    const socket = await open(await listen(app))
    const head = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n'
    socket.setEncoding('utf8').write(`${head}{`)
    await underWay
    end('SIGTERM')
    while (app.server.listening) await setImmediate()
    const closed = once(socket, 'close')
    socket.write('}')
    const [answer] = await once(socket, 'data') as [string]
    t.match(answer, /^HTTP\/1\.1 404 [^]*\r\nconnection: close\r\n/i)
    // By the server, which keeps an idle connection for 72 seconds otherwise.
    await closed
  },

  async 'When the store fails 1' (t, snippet) {
    const { app } = snippet
    const { accessToken } = await app.createTokenPair('ada')
    const store = snippet['store'] as TokenStore
    store.isRevoked = () => { throw new Error('away') }
    await answer(t, snippet, '/catalogue', accessToken, 200, ['apples', 'pears'])
    const refused = await answer(t, snippet, '/orders', accessToken, 503, { msg: 'Token store unavailable' })
    t.equal(refused.headers['retry-after'], '1')
    store.isRevoked = () => new Promise(() => {})
    await answer(t, snippet, '/orders', accessToken, 503, { msg: 'Token store unavailable' })
    store.rotate = () => { throw new Error('away') }
    await t.rejects(app.refreshTokens((await app.createTokenPair('ada')).refreshToken), { code: 'FST_JWT_EXT_STORE_UNAVAILABLE' })
  },

  async 'Events 1' (t, { app }) {
    const printed = t.capture(console, 'error', () => {})
    const first = await app.createTokenPair('ada')
    await app.refreshTokens((await app.refreshTokens(first.refreshToken)).refreshToken)
    await t.rejects(app.refreshTokens(first.refreshToken))
    t.same(printed().map(({ args }) => args), [['A refresh token of ada was used twice']])
    const source = readFileSync(`${root}/types/sessions.ts`, 'utf8')
    const types = [...source.matchAll(/readonly type: '(\w+)'/g)].map((match) => match[1]!)
    t.same(readRows(PAGE, 'event').map(([type]) => unquote(type!)), types, 'the table names every event')
  },
})
