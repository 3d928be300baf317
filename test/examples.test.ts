import { readdirSync, readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { bearer, SECRET } from './support/app.js'
import { linesToTry, post, send, skipWithoutCurl, sourceOf, start, tokenOf, tryLines } from './support/examples.js'

const EXAMPLES = readdirSync(`${import.meta.dirname}/../examples`).filter((file) => file.endsWith('.ts')).map((file) => file.slice(0, -'.ts'.length))

const TESTS: Record<string, (t: Test) => Promise<void>> = {
  async simple (t) {
    const { address } = await start(t, 'simple')

    const login = await post(`${address}/login`, { username: 'test', password: 'test' })
    t.equal(login.status, 200)
    t.same(Object.keys(login.body), ['access_token'])
    const page = await send(`${address}/protected`, login.body.access_token)
    t.equal(page.status, 200)
    t.same(page.body, { logged_in_as: 'test' })

    const anonymous = await send(`${address}/protected`)
    t.equal(anonymous.status, 401)
    t.same(anonymous.body, { msg: 'Missing Authorization Header' })
    t.equal(anonymous.headers.get('www-authenticate'), 'Bearer')

    const odd = [
      { username: 'test', password: 'wrong' }, { username: 'nobody', password: 'test' }, { username: 'test' },
      { username: ['test'], password: ['test'] }, {}, [], null, 'test', 5, true,
    ]
    for (const body of odd) {
      const refused = await post(`${address}/login`, body)
      t.equal(refused.status, 401, JSON.stringify(body))
      t.same(refused.body, { msg: 'Bad username or password' })
    }
    t.equal((await send(`${address}/login`, undefined, 'POST')).status, 401, 'no body at all')
    for (const [type, body] of [['application/json', '{"username":'], ['text/plain', 'username=test'], ['text/html', '']]) {
      const response = await fetch(`${address}/login`, { method: 'POST', headers: { 'content-type': type! }, body: body! })
      t.ok(response.status >= 400 && response.status < 500, `${type} ${body} is answered with ${response.status}`)
    }
  },

  async 'automatic-user-loading' (t) {
    const { address } = await start(t, 'automatic-user-loading')
    const people = [
      { username: 'ada', password: 'analytical engine', name: 'Ada Lovelace' },
      { username: 'grace', password: 'nanosecond of wire', name: 'Grace Hopper' },
      { username: 'katherine', password: 'friendship seven', name: 'Katherine Johnson' },
    ]
    const tokens: string[] = []
    for (const [index, { username, password, name }] of people.entries()) {
      const { status, body } = await post(`${address}/login`, { username, password })
      t.equal(status, 200)
      const token = body.access_token!
      tokens.push(token)
      const payload = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { sub: string }
      t.equal(payload.sub, String(index + 1), 'the token holds the id of the user')
      t.notMatch(JSON.stringify(payload), username, 'and nothing else of the user')
      t.same((await send(`${address}/who_am_i`, token)).body, { id: index + 1, full_name: name, username })
    }

    for (const body of [{ username: 'ada', password: 'friendship seven' }, { username: 'nobody', password: 'x' }, { username: 'ada', password: 1 }, null]) {
      const refused = await post(`${address}/login`, body)
      t.equal(refused.status, 401, JSON.stringify(body))
      t.same(refused.body, { msg: 'Bad username or password' })
    }
    t.equal((await send(`${address}/who_am_i`)).status, 401)

    t.equal((await send(`${address}/account`, tokens[1], 'DELETE')).status, 204)
    const gone = await send(`${address}/who_am_i`, tokens[1])
    t.equal(gone.status, 401, 'the token of a deleted user is refused')
    t.same(gone.body, { msg: 'Error loading the user 2' })
    t.equal((await send(`${address}/who_am_i`, tokens[0])).status, 200)
  },

  async 'additional-claims' (t) {
    const { address } = await start(t, 'additional-claims')
    for (const [username, role] of [['ada', 'admin'], ['grace', 'editor'], ['alan', 'reader']]) {
      const { body } = await post(`${address}/login`, { username }, { 'user-agent': 'a test' })
      t.same((await send(`${address}/protected`, body.access_token)).body, { username, role, device: 'a test' })
    }
    t.equal((await post(`${address}/login`, {})).status, 401)
    t.equal((await send(`${address}/protected`)).status, 401)
  },

  async 'optional-routes' (t) {
    const { address } = await start(t, 'optional-routes', { JWT_SECRET_KEY: SECRET })
    const { body } = await post(`${address}/login`, { username: 'ada' })
    t.same((await send(`${address}/greeting`)).body, { greeting: 'Hello, whoever you are' })
    t.same((await send(`${address}/greeting`, body.access_token)).body, { greeting: 'Hello, ada' })
    const expired = await send(`${address}/greeting`, tokenOf({ sub: 'ada', exp: 1 }))
    t.equal(expired.status, 401, 'a bad token is refused on an optional route, too')
    t.same(expired.body, { msg: 'Token has expired' })
    t.equal((await post(`${address}/login`, 'ada')).status, 401)
  },

  async 'changing-default-behavior' (t) {
    const { address } = await start(t, 'changing-default-behavior', { JWT_SECRET_KEY: SECRET })
    const { body } = await post(`${address}/login`, { username: 'ada' })
    t.same((await send(`${address}/protected`, body.access_token)).body, { logged_in_as: 'ada' })
    const expired = await send(`${address}/protected`, tokenOf({ sub: 'ada', exp: 1_000_000_000 }))
    t.equal(expired.status, 401)
    t.same(expired.body, {
      error: 'session_over', hint: 'ada, your token ended at 2001-09-09T01:46:40.000Z. Please log in again.',
    })
    t.same((await send(`${address}/protected`)).body, { msg: 'Missing Authorization Header' }, 'other answers stay')
    t.equal((await post(`${address}/login`, null)).status, 401)
  },

  async 'custom-guards' (t) {
    const { address } = await start(t, 'custom-guards', { JWT_SECRET_KEY: SECRET })
    const admin = await post(`${address}/login`, { username: 'ada' })
    t.same((await send(`${address}/protected`, admin.body.access_token)).body, { administrator: 'ada' })
    const other = await post(`${address}/login`, { username: 'grace' })
    const forbidden = await send(`${address}/protected`, other.body.access_token)
    t.equal(forbidden.status, 403)
    t.same(forbidden.body, { msg: 'Administrators only' })
    t.equal((await send(`${address}/protected`, tokenOf({ sub: 'x', is_administrator: 'yes' }))).status, 403)
    const anonymous = await send(`${address}/protected`)
    t.equal(anonymous.status, 401)
    t.same(anonymous.body, { msg: 'Missing Authorization Header' })
    t.equal(anonymous.headers.get('www-authenticate'), 'Bearer')
    t.equal((await send(`${address}/protected`, 'no.good.token')).status, 422)
    t.equal((await post(`${address}/login`, [])).status, 401)
  },

  async scopes (t) {
    const { address } = await start(t, 'scopes', { JWT_SECRET_KEY: SECRET })
    const login = async (username: string): Promise<string | undefined> => (await post(`${address}/login`, { username })).body.access_token
    const [ada, grace] = [await login('ada'), await login('grace')]
    for (const token of [ada, grace]) {
      t.same((await send(`${address}/reports`, token)).body, { reports: ['January'] })
      t.same((await send(`${address}/drafts`, token)).body, { drafts: ['March'] })
    }
    const refused = await send(`${address}/reports`, grace, 'POST')
    t.equal(refused.status, 403)
    t.same(refused.body, { msg: 'Missing scope: reports:write' })
    t.match(refused.headers.get('www-authenticate'), 'Bearer error="insufficient_scope", scope="reports:read reports:write"')
    t.same((await send(`${address}/reports`, ada, 'POST')).body, { reports: ['January', 'February'] })
    t.equal((await send(`${address}/reports`, grace, 'DELETE')).status, 403)
    const reader = tokenOf({ sub: 'x', scope: 'reports:write', roles: ['reader'] })
    t.same((await send(`${address}/reports`, reader, 'DELETE')).body, { msg: 'Missing role: admin' })
    t.same((await send(`${address}/drafts`, reader)).body, { msg: 'Missing role: one of admin, editor' })
    t.same((await send(`${address}/reports`, ada, 'DELETE')).body, { reports: [] })
    for (const body of [{ username: 'nobody' }, { username: ['ada'] }, {}, [], null]) t.equal((await post(`${address}/login`, body)).status, 401)
  },

  async invitations (t) {
    const { address } = await start(t, 'invitations')
    const { body: { access_token: token } } = await post(`${address}/login`, { username: 'test', password: 'test' })
    const { body: { invitation } } = await post(`${address}/invitations`, { email: 'grace@example.com' }, bearer(token!))
    const password = 'a password of hers'
    t.equal((await post(`${address}/join`, { password: 'short' }, bearer(invitation!))).status, 400)
    const answers = await Promise.all(Array.from({ length: 10 }, () => post(`${address}/join`, { password }, bearer(invitation!))))
    t.same(answers.filter(({ status }) => status === 200).map(({ body }) => body), [{ joined: 'grace@example.com', invited_by: 'test' }])
    t.equal(answers.filter(({ status, body }) => status === 401 && body.msg === 'Token has been revoked').length, 9)
    t.equal((await post(`${address}/login`, { username: 'grace@example.com', password })).status, 200)
    const wrongWay = await post(`${address}/invitations`, { email: 'x' }, bearer(invitation!))
    t.equal(wrongWay.status, 422)
    t.same(wrongWay.body, { msg: 'Only access tokens are allowed' })
    t.same((await post(`${address}/join`, { password }, bearer(token!))).body, { msg: 'Only invite tokens are allowed' })
    for (const body of [{}, { email: '' }, { email: 5 }, [], null]) t.equal((await post(`${address}/invitations`, body, bearer(token!))).status, 400)
    for (const body of [{ username: 'test', password: 'no' }, { username: 'x' }, {}, [], null]) t.equal((await post(`${address}/login`, body)).status, 401)
  },

  async 'refresh-tokens' (t) {
    const { address } = await start(t, 'refresh-tokens')
    const login = await post(`${address}/login`, { username: 'test', password: 'test' })
    t.same(Object.keys(login.body), ['access_token', 'refresh_token'])
    const refreshed = await send(`${address}/refresh`, login.body.refresh_token, 'POST')
    t.equal(refreshed.status, 200)
    for (const token of [login.body.access_token, refreshed.body.access_token]) {
      t.same((await send(`${address}/protected`, token)).body, { logged_in_as: 'test' })
    }
    const wrongWay = await send(`${address}/protected`, login.body.refresh_token)
    t.equal(wrongWay.status, 422)
    t.same(wrongWay.body, { msg: 'Only non-refresh tokens are allowed' })
    const wrongToken = await send(`${address}/refresh`, login.body.access_token, 'POST')
    t.equal(wrongToken.status, 422)
    t.same(wrongToken.body, { msg: 'Only refresh tokens are allowed' })
    t.equal((await post(`${address}/login`, { username: 'test', password: 'no' })).status, 401)
  },

  async 'token-freshness' (t) {
    const { address } = await start(t, 'token-freshness', { JWT_SECRET_KEY: SECRET })
    const login = await post(`${address}/login`, { username: 'test', password: 'test' })
    const fresh = login.body.access_token
    t.same((await send(`${address}/protected`, fresh)).body, { logged_in_as: 'test', fresh: true })
    t.same((await send(`${address}/transfer`, fresh, 'POST')).body, { transferred_by: 'test' })
    const stale = (await send(`${address}/refresh`, login.body.refresh_token, 'POST')).body.access_token
    t.same((await send(`${address}/protected`, stale)).body, { logged_in_as: 'test', fresh: false })
    const refused = await send(`${address}/transfer`, stale, 'POST')
    t.equal(refused.status, 401)
    t.same(refused.body, { msg: 'Fresh token required' })
    const past = tokenOf({ sub: 'test', fresh: Math.floor(Date.now() / 1000) - 1 })
    t.equal((await send(`${address}/transfer`, past, 'POST')).status, 401, 'freshness ends by the clock')
    t.equal((await post(`${address}/login`, {})).status, 401)
  },
}

t.test('there is a test for every example', async (t) => {
  const tests = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => readFileSync(`${import.meta.dirname}/${file}`, 'utf8'))
  for (const name of EXAMPLES) t.ok(name in TESTS || tests.some((source) => source.includes(`examples/${name}`)), name)
})

for (const [name, test] of Object.entries(TESTS)) t.test(`examples/${name}.ts does what it says`, test)

t.test('every example takes its secret from the environment, or else makes a random one', async (t) => {
  const readers = EXAMPLES.filter((name) => sourceOf(name).includes('JWT_SECRET_KEY')).map((name) => {
    t.match(sourceOf(name), /await buildApp\(readSecret\(\)\)/, name)
    return /^function readSecret[^]+?^\}$/m.exec(sourceOf(name))?.[0]
  })
  t.ok(readers.length > Object.keys(TESTS).length)
  t.equal(new Set(readers).size, 1, 'all of them in the same way')
})

t.test('a token of a random secret ends with the process', async (t) => {
  const credentials = { username: 'test', password: 'test' }
  const before = await start(t, 'simple')
  const { body } = await post(`${before.address}/login`, credentials)
  await before.stop()
  const after = await start(t, 'simple')
  const refused = await send(`${after.address}/protected`, body.access_token)
  t.equal(refused.status, 422)
  t.same(refused.body, { msg: 'Signature verification failed' })
})

t.test('the lines that simple.ts prints work as they are printed', { skip: skipWithoutCurl }, async (t) => {
  const lines = linesToTry(await start(t, 'simple', { JWT_SECRET_KEY: SECRET }))
  t.equal(lines.length, 4)
  const [refused, login, page] = (await tryLines(lines)).map((line) => JSON.parse(line) as unknown)
  t.same(refused, { msg: 'Missing Authorization Header' })
  t.match(login, { access_token: /^[\w-]+\.[\w-]+\.[\w-]+$/ })
  t.same(page, { logged_in_as: 'test' })
})
