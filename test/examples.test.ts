import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { bearer, SECRET } from './support/app.js'
import { forge } from './support/forge.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)

// The examples are programs of their own, run as their reader runs them. Coverage of TypeScript that tsx has compiled is
// wrong: it would count every line as covered.
const { NODE_OPTIONS, ...environment } = process.env
const OWN_PROCESS = { ...environment, NODE_V8_COVERAGE: '', _TAPJS_PROCESSINFO_COVERAGE_: '0' }

interface Example {
  address: string
  /** What it has printed until it listened. */
  printed: string
  stop (): Promise<void>
}

interface Answer {
  status: number
  /** `{}` where there is none. */
  body: Record<string, string>
  headers: Headers
}

/** Starts an example as its reader would, on a free port, and stops it when the test ends. */
async function start (t: Test, name: string, secret = ''): Promise<Example> {
  const child = spawn(process.execPath, ['--import', 'tsx', `examples/${name}.ts`], {
    cwd: root,
    env: { ...OWN_PROCESS, JWT_SECRET_KEY: secret, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill()
    await once(child, 'exit')
  }
  t.teardown(stop)
  const printed = await readUntilListening(child)
  t.equal(printed.includes('Note: JWT_SECRET_KEY is not set.'), secret === '', 'it says so where the secret is a random one')
  return { address: /http:\/\/127\.0\.0\.1:\d+/.exec(printed)![0], printed, stop }
}

// An example prints all it has to say in one go once it listens, and the last line of that ends with a line end.
async function readUntilListening (child: ChildProcess): Promise<string> {
  let output = ''
  let errors = ''
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => { errors += chunk })
  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => reject(new Error(`The example ended with ${code} before it listened:\n${output}${errors}`)))
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
      if (/Listening on http:\/\/127\.0\.0\.1:\d+[^]*\n$/.test(output)) resolve(output)
    })
  })
}

async function get (url: string, token?: string, method = 'GET'): Promise<Answer> {
  return await readAnswer(await fetch(url, { method, headers: token === undefined ? {} : bearer(token) }))
}

async function post (url: string, body: unknown, token?: string): Promise<Answer> {
  return await readAnswer(await fetch(url, {
    method: 'POST', headers: { 'content-type': 'application/json', ...(token !== undefined && bearer(token)) }, body: JSON.stringify(body),
  }))
}

async function readAnswer (response: Response): Promise<Answer> {
  const text = await response.text()
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) as Record<string, string>, headers: response.headers }
}

/** A token as another server with the same secret would make it. */
function tokenOf (claims: Record<string, unknown>): string {
  const now = Math.floor(Date.now() / 1000)
  return forge({ type: 'access', fresh: false, jti: 'of-the-test', iat: now, nbf: now, exp: now + 900, ...claims })
}

const TESTS: Record<string, (t: Test) => Promise<void>> = {
  async simple (t) {
    const { address } = await start(t, 'simple')

    const login = await post(`${address}/login`, { username: 'test', password: 'test' })
    t.equal(login.status, 200)
    t.same(Object.keys(login.body), ['access_token'])
    const page = await get(`${address}/protected`, login.body.access_token)
    t.equal(page.status, 200)
    t.same(page.body, { logged_in_as: 'test' })

    const anonymous = await get(`${address}/protected`)
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
    t.equal((await get(`${address}/login`, undefined, 'POST')).status, 401, 'no body at all')
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
      t.same((await get(`${address}/who_am_i`, token)).body, { id: index + 1, full_name: name, username })
    }

    for (const body of [{ username: 'ada', password: 'friendship seven' }, { username: 'nobody', password: 'x' }, { username: 'ada', password: 1 }, null]) {
      const refused = await post(`${address}/login`, body)
      t.equal(refused.status, 401, JSON.stringify(body))
      t.same(refused.body, { msg: 'Bad username or password' })
    }
    t.equal((await get(`${address}/who_am_i`)).status, 401)

    t.equal((await get(`${address}/account`, tokens[1], 'DELETE')).status, 204)
    const gone = await get(`${address}/who_am_i`, tokens[1])
    t.equal(gone.status, 401, 'the token of a deleted user is refused')
    t.same(gone.body, { msg: 'Error loading the user 2' })
    t.equal((await get(`${address}/who_am_i`, tokens[0])).status, 200)
  },

  async 'additional-claims' (t) {
    const { address } = await start(t, 'additional-claims')
    for (const [username, role] of [['ada', 'admin'], ['grace', 'editor'], ['alan', 'reader']]) {
      const response = await fetch(`${address}/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'a test' },
        body: JSON.stringify({ username }),
      })
      const { body } = await readAnswer(response)
      t.same((await get(`${address}/protected`, body.access_token)).body, { username, role, device: 'a test' })
    }
    t.equal((await post(`${address}/login`, {})).status, 401)
    t.equal((await get(`${address}/protected`)).status, 401)
  },

  async 'optional-routes' (t) {
    const { address } = await start(t, 'optional-routes', SECRET)
    const { body } = await post(`${address}/login`, { username: 'ada' })
    t.same((await get(`${address}/greeting`)).body, { greeting: 'Hello, whoever you are' })
    t.same((await get(`${address}/greeting`, body.access_token)).body, { greeting: 'Hello, ada' })
    const expired = await get(`${address}/greeting`, tokenOf({ sub: 'ada', exp: 1 }))
    t.equal(expired.status, 401, 'a bad token is refused on an optional route, too')
    t.same(expired.body, { msg: 'Token has expired' })
    t.equal((await post(`${address}/login`, 'ada')).status, 401)
  },

  async 'changing-default-behavior' (t) {
    const { address } = await start(t, 'changing-default-behavior', SECRET)
    const { body } = await post(`${address}/login`, { username: 'ada' })
    t.same((await get(`${address}/protected`, body.access_token)).body, { logged_in_as: 'ada' })
    const expired = await get(`${address}/protected`, tokenOf({ sub: 'ada', exp: 1_000_000_000 }))
    t.equal(expired.status, 401)
    t.same(expired.body, {
      error: 'session_over', hint: 'ada, your token ended at 2001-09-09T01:46:40.000Z. Please log in again.',
    })
    t.same((await get(`${address}/protected`)).body, { msg: 'Missing Authorization Header' }, 'other answers stay')
    t.equal((await post(`${address}/login`, null)).status, 401)
  },

  async 'custom-guards' (t) {
    const { address } = await start(t, 'custom-guards', SECRET)
    const admin = await post(`${address}/login`, { username: 'ada' })
    t.same((await get(`${address}/protected`, admin.body.access_token)).body, { administrator: 'ada' })
    const other = await post(`${address}/login`, { username: 'grace' })
    const forbidden = await get(`${address}/protected`, other.body.access_token)
    t.equal(forbidden.status, 403)
    t.same(forbidden.body, { msg: 'Administrators only' })
    t.equal((await get(`${address}/protected`, tokenOf({ sub: 'x', is_administrator: 'yes' }))).status, 403)
    const anonymous = await get(`${address}/protected`)
    t.equal(anonymous.status, 401)
    t.same(anonymous.body, { msg: 'Missing Authorization Header' })
    t.equal(anonymous.headers.get('www-authenticate'), 'Bearer')
    t.equal((await get(`${address}/protected`, 'no.good.token')).status, 422)
    t.equal((await post(`${address}/login`, [])).status, 401)
  },

  async scopes (t) {
    const { address } = await start(t, 'scopes', SECRET)
    const login = async (username: string): Promise<string | undefined> => (await post(`${address}/login`, { username })).body.access_token
    const [ada, grace] = [await login('ada'), await login('grace')]
    for (const token of [ada, grace]) {
      t.same((await get(`${address}/reports`, token)).body, { reports: ['January'] })
      t.same((await get(`${address}/drafts`, token)).body, { drafts: ['March'] })
    }
    const refused = await get(`${address}/reports`, grace, 'POST')
    t.equal(refused.status, 403)
    t.same(refused.body, { msg: 'Missing scope: reports:write' })
    t.match(refused.headers.get('www-authenticate'), 'Bearer error="insufficient_scope", scope="reports:read reports:write"')
    t.same((await get(`${address}/reports`, ada, 'POST')).body, { reports: ['January', 'February'] })
    t.equal((await get(`${address}/reports`, grace, 'DELETE')).status, 403)
    const reader = tokenOf({ sub: 'x', scope: 'reports:write', roles: ['reader'] })
    t.same((await get(`${address}/reports`, reader, 'DELETE')).body, { msg: 'Missing role: admin' })
    t.same((await get(`${address}/drafts`, reader)).body, { msg: 'Missing role: one of admin, editor' })
    t.same((await get(`${address}/reports`, ada, 'DELETE')).body, { reports: [] })
    for (const body of [{ username: 'nobody' }, { username: ['ada'] }, {}, [], null]) t.equal((await post(`${address}/login`, body)).status, 401)
  },

  async invitations (t) {
    const { address } = await start(t, 'invitations')
    const { body: { access_token: token } } = await post(`${address}/login`, { username: 'test', password: 'test' })
    const { body: { invitation } } = await post(`${address}/invitations`, { email: 'grace@example.com' }, token)
    const password = 'a password of hers'
    t.equal((await post(`${address}/join`, { password: 'short' }, invitation)).status, 400)
    const answers = await Promise.all(Array.from({ length: 10 }, () => post(`${address}/join`, { password }, invitation)))
    t.same(answers.filter(({ status }) => status === 200).map(({ body }) => body), [{ joined: 'grace@example.com', invited_by: 'test' }])
    t.equal(answers.filter(({ status, body }) => status === 401 && body.msg === 'Token has been revoked').length, 9)
    t.equal((await post(`${address}/login`, { username: 'grace@example.com', password })).status, 200)
    const wrongWay = await post(`${address}/invitations`, { email: 'x' }, invitation)
    t.equal(wrongWay.status, 422)
    t.same(wrongWay.body, { msg: 'Only access tokens are allowed' })
    t.same((await post(`${address}/join`, { password }, token)).body, { msg: 'Only invite tokens are allowed' })
    for (const body of [{}, { email: '' }, { email: 5 }, [], null]) t.equal((await post(`${address}/invitations`, body, token)).status, 400)
    for (const body of [{ username: 'test', password: 'no' }, { username: 'x' }, {}, [], null]) t.equal((await post(`${address}/login`, body)).status, 401)
  },

  async 'refresh-tokens' (t) {
    const { address } = await start(t, 'refresh-tokens')
    const login = await post(`${address}/login`, { username: 'test', password: 'test' })
    t.same(Object.keys(login.body), ['access_token', 'refresh_token'])
    const refreshed = await get(`${address}/refresh`, login.body.refresh_token, 'POST')
    t.equal(refreshed.status, 200)
    for (const token of [login.body.access_token, refreshed.body.access_token]) {
      t.same((await get(`${address}/protected`, token)).body, { logged_in_as: 'test' })
    }
    const wrongWay = await get(`${address}/protected`, login.body.refresh_token)
    t.equal(wrongWay.status, 422)
    t.same(wrongWay.body, { msg: 'Only non-refresh tokens are allowed' })
    const wrongToken = await get(`${address}/refresh`, login.body.access_token, 'POST')
    t.equal(wrongToken.status, 422)
    t.same(wrongToken.body, { msg: 'Only refresh tokens are allowed' })
    t.equal((await post(`${address}/login`, { username: 'test', password: 'no' })).status, 401)
  },

  async 'token-freshness' (t) {
    const { address } = await start(t, 'token-freshness', SECRET)
    const login = await post(`${address}/login`, { username: 'test', password: 'test' })
    const fresh = login.body.access_token
    t.same((await get(`${address}/protected`, fresh)).body, { logged_in_as: 'test', fresh: true })
    t.same((await get(`${address}/transfer`, fresh, 'POST')).body, { transferred_by: 'test' })
    const stale = (await get(`${address}/refresh`, login.body.refresh_token, 'POST')).body.access_token
    t.same((await get(`${address}/protected`, stale)).body, { logged_in_as: 'test', fresh: false })
    const refused = await get(`${address}/transfer`, stale, 'POST')
    t.equal(refused.status, 401)
    t.same(refused.body, { msg: 'Fresh token required' })
    const past = tokenOf({ sub: 'test', fresh: Math.floor(Date.now() / 1000) - 1 })
    t.equal((await get(`${address}/transfer`, past, 'POST')).status, 401, 'freshness ends by the clock')
    t.equal((await post(`${address}/login`, {})).status, 401)
  },
}

t.test('there is a test for every example', async (t) => {
  const tests = readdirSync(`${root}/test`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => readFileSync(`${root}/test/${file}`, 'utf8'))
  for (const file of readdirSync(`${root}/examples`).filter((file) => file.endsWith('.ts'))) {
    const name = file.slice(0, -'.ts'.length)
    t.ok(name in TESTS || tests.some((source) => source.includes(`examples/${name}`)), file)
  }
})

for (const [name, test] of Object.entries(TESTS)) t.test(`examples/${name}.ts does what it says`, test)

t.test('every example takes its secret from the environment, or else makes a random one', async (t) => {
  const readers = Object.keys(TESTS).map((name) => {
    const source = readFileSync(`${root}/examples/${name}.ts`, 'utf8')
    t.match(source, /await buildApp\(readSecret\(\)\)/, name)
    return /^function readSecret[^]+?^\}$/m.exec(source)?.[0]
  })
  t.equal(new Set(readers).size, 1, 'all of them in the same way')
})

t.test('a token of a random secret ends with the process', async (t) => {
  const credentials = { username: 'test', password: 'test' }
  const before = await start(t, 'simple')
  const { body } = await post(`${before.address}/login`, credentials)
  await before.stop()
  const after = await start(t, 'simple')
  const refused = await get(`${after.address}/protected`, body.access_token)
  t.equal(refused.status, 422)
  t.same(refused.body, { msg: 'Signature verification failed' })
})

const hasCurl = await run('sh', ['-c', 'curl --version']).then(() => true, () => false)
const skip = !hasCurl && process.env.CI !== 'true' && 'NOT TRIED: this machine has no curl, or no POSIX shell'

t.test('the lines that simple.ts prints work as they are printed', { skip }, async (t) => {
  t.ok(hasCurl, 'there are curl and a POSIX shell')
  const { printed } = await start(t, 'simple', SECRET)
  const lines = printed.split('\n').filter((line) => /^ {2}\S/.test(line))
  t.equal(lines.length, 4)
  // One shell for all of them, since one line sets a variable for the next.
  const script = lines.map((line) => `${line}\necho`).join('\n')
  const { stdout } = await run('sh', ['-c', script], { env: OWN_PROCESS })
  const [refused, login, nothing, page] = stdout.split('\n')
  t.same(JSON.parse(refused!), { msg: 'Missing Authorization Header' })
  t.match(JSON.parse(login!), { access_token: /^[\w-]+\.[\w-]+\.[\w-]+$/ })
  t.equal(nothing, '')
  t.same(JSON.parse(page!), { logged_in_as: 'test' })
})
