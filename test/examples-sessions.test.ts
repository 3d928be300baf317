import t, { type Test } from 'tap'
import { buildApp as buildDatabaseApp } from '../examples/blocklist-database.js'
import { bearer, SECRET } from './support/app.js'
import { moveClock } from './support/clock.js'
import { linesToTry, post, send, skipWithoutCurl, start, tokenOf, tryLines, type Answer, type Example } from './support/examples.js'
import { skipWithoutRedis, startRedis, type RedisServer } from './support/redis.js'

/** Starts an example on a Redis server. */
async function startOn (redis: RedisServer, t: Test, name: string): Promise<Example> {
  return await start(t, name, { JWT_SECRET_KEY: SECRET, REDIS_URL: `redis://127.0.0.1:${redis.port}` })
}

function payloadOf (token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
}

interface Login {
  access: string
  refresh: string
  session: string
}

const ADA = { username: 'ada', password: 'analytical engine' }
const GRACE = { username: 'grace', password: 'nanosecond of wire' }

async function login (address: string, credentials = ADA, device = 'a test'): Promise<Login> {
  return readPair(await post(`${address}/login`, credentials, { 'user-agent': device }))
}

function readPair ({ status, body }: Answer): Login {
  if (status !== 200) throw new Error(`There is no pair in an answer of ${status}: ${JSON.stringify(body)}`)
  return { access: body['access_token']!, refresh: body['refresh_token']!, session: body['session_id']! }
}

interface Listed {
  sessionId: string
  label: string
  current: boolean
}

const needsRedis = { skip: skipWithoutRedis() }

t.test('examples/sessions-redis.ts does what it says', needsRedis, async (t) => {
  const redis = await startRedis(t)
  const { address } = await startOn(redis, t, 'sessions-redis')
  const statusOf = async (path: string, token: string, method?: string): Promise<number> => (await send(`${address}${path}`, token, method)).status

  t.test('logs in with a pair of tokens, and nobody with a wrong password', async (t) => {
    const answer = await post(`${address}/login`, ADA)
    t.equal(answer.status, 200)
    t.same(Object.keys(answer.body), ['access_token', 'refresh_token', 'session_id'])
    const { access, refresh } = readPair(answer)
    t.same((await send(`${address}/protected`, access)).body, { logged_in_as: 'ada' })
    t.equal(await statusOf('/protected', refresh), 422)
    t.equal(await statusOf('/refresh', access, 'POST'), 422)
    const odd = [
      { ...ADA, password: GRACE.password }, { username: 'nobody', password: 'x' }, { username: 'nobody' }, { username: 'ada' },
      { username: ['ada'], password: ['analytical engine'] }, {}, [], null, 'ada', 5,
    ]
    for (const body of odd) {
      const refused = await post(`${address}/login`, body)
      t.equal(refused.status, 401, JSON.stringify(body))
      t.same(refused.body, { msg: 'Bad username or password' })
    }
  })

  t.test('takes a device with any name', async (t) => {
    const { access } = await login(address, GRACE, 'x'.repeat(1000))
    await post(`${address}/login`, GRACE, { 'user-agent': '' })
    const { body } = await send<Listed[]>(`${address}/sessions`, access)
    t.same(body.map(({ label }) => label).sort(), ['unknown', 'x'.repeat(200)])
  })

  t.test('refreshes with the newest token, and for a moment with the one before', async (t) => {
    const first = await login(address)
    const refresh = (token: string): Promise<Answer> => send(`${address}/refresh`, token, 'POST')
    const [second, again] = [readPair(await refresh(first.refresh)), readPair(await refresh(first.refresh))]
    t.equal(second.session, first.session)
    t.equal(payloadOf(again.refresh)['gen'], payloadOf(second.refresh)['gen'], 'both have the same successor')
    t.equal(await statusOf('/protected', second.access), 200)
    const third = readPair(await refresh(second.refresh))

    const reused = await refresh(first.refresh)
    t.equal(reused.status, 401, 'the token before the one before is no good')
    t.same(reused.body, { msg: 'Token has been revoked' }, 'the error handler answers as a guard does')
    t.match(reused.headers.get('www-authenticate'), /^Bearer error="invalid_token"/)
    for (const token of [third.access, first.access]) t.equal(await statusOf('/protected', token), 401, 'the session has ended')
    const ended = await refresh(third.refresh)
    t.equal(ended.status, 401)
    t.same(ended.body, reused.body)
  })

  t.test('logs out with either token of a session', async (t) => {
    for (const kind of ['access', 'refresh'] as const) {
      const pair = await login(address)
      t.equal(await statusOf('/logout', pair[kind], 'POST'), 204)
      t.equal(await statusOf('/protected', pair.access), 401)
      t.equal(await statusOf('/refresh', pair.refresh, 'POST'), 401)
    }
    t.equal((await send(`${address}/logout`, undefined, 'POST')).status, 401)
  })

  t.test('lists the sessions of who asks, and ends one of them', async (t) => {
    const phone = await login(address, ADA, 'phone')
    const laptop = await login(address, ADA, 'laptop')
    const other = await login(address, GRACE)
    const { body } = await send<Listed[]>(`${address}/sessions`, laptop.access)
    const found = (id: string): Listed | undefined => body.find(({ sessionId }) => sessionId === id)
    t.match(found(laptop.session), { label: 'laptop', current: true })
    t.match(found(phone.session), { label: 'phone', current: false })
    t.same(Object.keys(body[0]!), ['sessionId', 'label', 'startedAt', 'refreshedAt', 'expiresAt', 'current'])
    t.notOk(found(other.session))

    for (const id of [other.session, 'nothing', '%00', '../sessions']) {
      const missing = await send(`${address}/sessions/${encodeURIComponent(id)}`, laptop.access, 'DELETE')
      t.equal(missing.status, 404, id)
      t.same(missing.body, { msg: 'You have no such session' })
    }
    t.equal(await statusOf('/protected', other.access), 200, 'nobody ends the session of somebody else')

    t.equal(await statusOf(`/sessions/${phone.session}`, laptop.access, 'DELETE'), 204)
    t.equal(await statusOf('/protected', phone.access), 401)
    t.equal(await statusOf('/refresh', phone.refresh, 'POST'), 401)
    t.equal(await statusOf('/protected', laptop.access), 200)
    t.equal(await statusOf(`/sessions/${phone.session}`, laptop.access, 'DELETE'), 404, 'it has ended already')
  })

  t.test('ends all sessions but the one that asks', async (t) => {
    const others = [await login(address), await login(address)]
    const mine = await login(address)
    const stranger = await login(address, GRACE)
    t.equal(await statusOf('/logout-others', mine.access, 'POST'), 204)
    for (const { access, refresh } of others) {
      t.equal(await statusOf('/protected', access), 401)
      t.equal(await statusOf('/refresh', refresh, 'POST'), 401)
    }
    t.equal(await statusOf('/protected', mine.access), 200)
    t.equal(await statusOf('/protected', stranger.access), 200)
    t.equal((await send<Listed[]>(`${address}/sessions`, mine.access)).body.length, 1)
    const next = await login(address)
    t.equal(await statusOf('/refresh', next.refresh, 'POST'), 200, 'a login after that is good')
  })

  t.test('shares its sessions with another instance', async (t) => {
    const other = await startOn(redis, t, 'sessions-redis')
    const pair = await login(address)
    const refreshed = readPair(await send(`${other.address}/refresh`, pair.refresh, 'POST'))
    t.equal(await statusOf('/protected', refreshed.access), 200)
    t.equal((await send(`${other.address}/logout`, refreshed.access, 'POST')).status, 204)
    t.equal(await statusOf('/protected', pair.access), 401)
  })
})

t.test('examples/sessions-redis.ts answers 503 while Redis is away, and goes on when it is back', needsRedis, async (t) => {
  const redis = await startRedis(t)
  const { address } = await startOn(redis, t, 'sessions-redis')
  const pair = await login(address)
  await redis.kill()
  const answers = [
    await send(`${address}/protected`, pair.access), await send(`${address}/refresh`, pair.refresh, 'POST'),
    await send(`${address}/logout`, pair.access, 'POST'), await post(`${address}/login`, ADA),
  ]
  for (const { status, body, headers } of answers) {
    t.equal(status, 503)
    t.same(body, { msg: 'Token store unavailable' })
    t.match(headers.get('retry-after'), /^\d+$/)
  }
  await redis.restart()
  let status: number
  const since = performance.now()
  do status = (await post(`${address}/login`, ADA)).status
  while (status === 503 && performance.now() - since < 20_000)
  t.equal(status, 200)
})

t.test('the lines that sessions-redis.ts prints work as they are printed', { skip: needsRedis.skip || skipWithoutCurl }, async (t) => {
  const lines = linesToTry(await startOn(await startRedis(t), t, 'sessions-redis'))
  t.equal(lines.length, 9)
  const [sessions, ended, refused, ...rest] = await tryLines(lines)
  t.match(JSON.parse(sessions!), [{ label: 'laptop', current: true }, { label: 'phone', current: false }])
  t.equal(ended, '')
  t.same(JSON.parse(refused!), { msg: 'Token has been revoked' })
  t.same(rest, ['', ''], 'both logouts are answered with nothing')
})

/** What the two blocklists have in common: a pair that is logged out by one request for each token. */
async function checkBlocklist (t: Test, address: string): Promise<void> {
  const credentials = { username: 'test', password: 'test' }
  const { body: pair } = await post(`${address}/login`, credentials)
  t.same(Object.keys(pair), ['access_token', 'refresh_token'])
  const { body: other } = await post(`${address}/login`, credentials)
  const [access, refresh] = [pair['access_token']!, pair['refresh_token']!]
  t.same((await send(`${address}/protected`, access)).body, { logged_in_as: 'test' })

  const logout = await send(`${address}/logout`, access, 'DELETE')
  t.equal(logout.status, 200)
  t.same(logout.body, { msg: 'The access token is revoked' })
  for (const [path, method] of [['/protected', 'GET'], ['/logout', 'DELETE']] as const) {
    const refused = await send(`${address}${path}`, access, method)
    t.equal(refused.status, 401)
    t.same(refused.body, { msg: 'Token has been revoked' })
  }

  const { status, body } = await send(`${address}/refresh`, refresh, 'POST')
  t.equal(status, 200, 'the refresh token is another token')
  t.equal((await send(`${address}/protected`, body['access_token'])).status, 200)
  t.same((await send(`${address}/logout`, refresh, 'DELETE')).body, { msg: 'The refresh token is revoked' })
  t.equal((await send(`${address}/refresh`, refresh, 'POST')).status, 401)

  t.equal((await send(`${address}/protected`, other['access_token'])).status, 200, 'another login goes on')
  t.equal((await send(`${address}/logout`, undefined, 'DELETE')).status, 401)
  for (const wrong of [{ username: 'test', password: 'no' }, {}, null, 'test']) {
    t.equal((await post(`${address}/login`, wrong)).status, 401, JSON.stringify(wrong))
  }
  const racers = await Promise.all(Array.from({ length: 20 }, () => send(`${address}/logout`, other['access_token'], 'DELETE')))
  t.ok(racers.every(({ status }) => status === 200 || status === 401), 'many logouts at once do no harm')
}

t.test('examples/blocklist-redis.ts does what it says', needsRedis, async (t) => {
  const redis = await startRedis(t)
  const { address } = await startOn(redis, t, 'blocklist-redis')

  t.test('revokes one token at a time', async (t) => {
    await checkBlocklist(t, address)
  })

  t.test('keeps a mark for as long as its token would have lived', async (t) => {
    t.equal((await send(`${address}/logout`, tokenOf({ sub: 'test', jti: 'short', exp: Math.floor(Date.now() / 1000) + 300 }), 'DELETE')).status, 200)
    const left = await redis.admin.pttl('blocklist:short')
    t.ok(left > 280_000 && left <= 300_000, `${left} ms`)
    t.equal((await send(`${address}/logout`, tokenOf({ sub: 'test', jti: 'endless', exp: undefined }), 'DELETE')).status, 200)
    t.equal(await redis.admin.pttl('blocklist:endless'), -1, 'a token that never expires stays revoked')
    t.equal((await send(`${address}/protected`, tokenOf({ sub: 'test', jti: 'endless', exp: undefined }))).status, 401)
  })

  t.test('lets nobody in while Redis is away', async (t) => {
    const token = tokenOf({ sub: 'test', jti: 'good' })
    t.equal((await send(`${address}/protected`, token)).status, 200)
    await redis.kill()
    const since = performance.now()
    t.equal((await send(`${address}/protected`, token)).status, 500)
    const waited = performance.now() - since
    t.ok(waited < 5000, `after ${waited} ms`)
  })
})

t.test('examples/blocklist-database.ts does what it says', async (t) => {
  const { address } = await start(t, 'blocklist-database', { JWT_SECRET_KEY: SECRET })

  t.test('revokes one token at a time', async (t) => {
    await checkBlocklist(t, address)
  })

  t.test('knows when its user has logged out', async (t) => {
    const mine = tokenOf({ sub: 'somebody', jti: 'mine' })
    const logouts = async (): Promise<{ type: string, created_at: string }[]> => {
      return (await send<{ type: string, created_at: string }[]>(`${address}/logouts`, mine)).body
    }
    t.same(await logouts(), [], 'the logouts of others are not shown')
    for (const claims of [{ jti: 'endless', exp: undefined }, { jti: 'other', type: 'refresh' }]) {
      t.equal((await send(`${address}/logout`, tokenOf({ sub: 'somebody', ...claims }), 'DELETE')).status, 200)
    }
    const listed = await logouts()
    t.same(listed.map(({ type }) => type), ['refresh', 'access'])
    for (const { created_at: at } of listed) t.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000, at)
  })
})

t.test('the table of examples/blocklist-database.ts forgets a token that has expired, and no other', async (t) => {
  const app = await buildDatabaseApp(SECRET)
  t.teardown(() => app.close())
  const logout = async (claims: Record<string, unknown>): Promise<number> => {
    return (await app.inject({ method: 'DELETE', url: '/logout', headers: bearer(tokenOf({ sub: 'ada', ...claims })) })).statusCode
  }
  const logouts = async (): Promise<string[]> => {
    const response = await app.inject({ url: '/logouts', headers: bearer(tokenOf({ sub: 'ada', jti: 'of-the-list' })) })
    return response.json<{ type: string }[]>().map(({ type }) => type)
  }
  const hour = Math.floor(Date.now() / 1000) + 3600
  for (const claims of [{ jti: 'brief' }, { jti: 'long', type: 'refresh', exp: hour }, { jti: 'endless', type: 'other', exp: undefined }]) {
    t.equal(await logout(claims), 200)
  }
  t.same((await logouts()).sort(), ['access', 'other', 'refresh'])
  const racers = await Promise.all(Array.from({ length: 20 }, () => logout({ jti: 'raced', type: 'access' })))
  t.ok(racers.every((status) => status === 200 || status === 401), 'requests with one token at once do no harm')
  moveClock(t, 1800)
  t.equal(await logout({ jti: 'last', type: 'of-now' }), 200)
  t.same((await logouts()).sort(), ['of-now', 'other', 'refresh'])
  t.equal(await logout({ jti: 'long', type: 'refresh', exp: hour }), 401)
  t.equal(await logout({ jti: 'endless', exp: undefined }), 401)
})
