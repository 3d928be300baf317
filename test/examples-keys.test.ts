import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose'
import t, { type Test } from 'tap'
import { bearer } from './support/app.js'
import { forge } from './support/forge.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)

// The examples are programs of their own, run as their reader runs them. Coverage of TypeScript that tsx has compiled is
// wrong: it would count every line as covered.
const { NODE_OPTIONS, ...environment } = process.env
const OWN_PROCESS = { ...environment, NODE_V8_COVERAGE: '', _TAPJS_PROCESSINFO_COVERAGE_: '0' }

interface Example {
  address: string
  child: ChildProcess
  /** What it has printed until now. */
  printed (): string
  /** Waits until it has printed something like this. */
  until (pattern: RegExp): Promise<string>
}

/** Starts an example as its reader would, on a free port, and stops it when the test ends. */
async function start (t: Test, name: string, variables: Record<string, string> = {}): Promise<Example> {
  const child = spawn(process.execPath, ['--import', 'tsx', `examples/${name}.ts`], {
    cwd: root, env: { ...OWN_PROCESS, ...variables, PORT: '0' }, stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  let output = ''
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => { errors += chunk })
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => { output += chunk })

  async function until (pattern: RegExp): Promise<string> {
    return await new Promise((resolve, reject) => {
      const look = (): void => { if (pattern.test(output)) resolve(output) }
      child.once('error', reject)
      child.once('close', (code) => reject(new Error(`The example ended with ${code} too early:\n${output}${errors}`)))
      child.stdout.on('data', look)
      look()
    })
  }
  // It prints all it has to say in one go once it listens, and the last line of that ends with a line end.
  const printed = await until(/Listening on http:\/\/127\.0\.0\.1:\d+[^]*\n$/)
  return { address: /http:\/\/127\.0\.0\.1:\d+/.exec(printed)![0], child, printed: () => output, until }
}

interface Answer {
  status: number
  body: Record<string, unknown>
  headers: Headers
}

async function send (url: string, token?: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, { ...init, ...(token !== undefined && { headers: bearer(token) }) })
  return { status: response.status, body: await response.json() as Record<string, unknown>, headers: response.headers }
}

const hasCurl = await run('sh', ['-c', 'curl --version']).then(() => true, () => false)
const needsCurl = !hasCurl && process.env.CI !== 'true' && 'NOT TRIED: this machine has no curl, or no POSIX shell'

t.test('examples/oidc.ts does what it says', async (t) => {
  const { address, printed } = await start(t, 'oidc')
  const programs = [...printed().matchAll(/-u (\S+):(\S+) (\S+)\/token .*?resource=(\S+)/g)].map((match) => match.slice(1))
  t.equal(programs.length, 2)
  const [[report, , issuer, audience]] = programs as [[string, string, string, string]]

  /** Asks the provider for a token, as one of the programs that it knows. */
  async function tokenOf (program: string, resource = audience): Promise<string> {
    const [id, secret] = programs.find(([id]) => id === program)!
    const response = await fetch(`${issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', ...(resource !== '' && { resource }) }),
    })
    return (await response.json() as { access_token: string }).access_token
  }

  t.test('knows who has a token of the provider', async (t) => {
    t.equal(report, 'nightly-report')
    const { status, body } = await send(`${address}/who_am_i`, await tokenOf('nightly-report'))
    t.equal(status, 200)
    t.same(body, { name: 'The nightly report', id: 'nightly-report' })
    t.same((await send(`${address}/who_am_i`, await tokenOf('status-page'))).body, { name: 'The status page', id: 'status-page' })
  })

  t.test('lets the group in, and nobody else', async (t) => {
    const reports = await send(`${address}/reports`, await tokenOf('nightly-report'))
    t.equal(reports.status, 200)
    t.same(reports.body, { reports: ['Sunday', 'Monday'] })
    const refused = await send(`${address}/reports`, await tokenOf('status-page'))
    t.equal(refused.status, 403)
    t.same(refused.body, { msg: 'Reporters only' })
    for (const path of ['/who_am_i', '/reports']) {
      const anonymous = await send(`${address}${path}`)
      t.equal(anonymous.status, 401)
      t.equal(anonymous.headers.get('www-authenticate'), 'Bearer')
    }
  })

  t.test('refuses every other token', async (t) => {
    const good = await tokenOf('nightly-report')
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: issuer, aud: audience, sub: report, groups: ['reporters'], iat: now, exp: now + 600 }
    const refused: [string, string][] = [
      [await tokenOf('nightly-report', 'https://another.example.com'), "Audience doesn't match"],
      [await tokenOf('nightly-report', ''), 'Not enough segments'],
      [forge(claims), 'The specified alg value is not allowed'],
      [forge({ ...claims, iss: 'https://another.example.com' }), 'Invalid issuer'],
      [`${good.slice(0, good.lastIndexOf('.'))}.${'A'.repeat(342)}`, 'Signature verification failed'],
    ]
    for (const [token, msg] of refused) {
      const { status, body } = await send(`${address}/reports`, token)
      t.equal(status, 422, msg)
      t.same(body, { msg })
    }
  })

  t.test('the lines that it prints work as they are printed', { skip: needsCurl }, async (t) => {
    t.ok(hasCurl, 'there are curl and a POSIX shell')
    const lines = printed().split('\n').filter((line) => /^ {2}\S/.test(line)).map((line) => line.trim())
    t.equal(lines.length, 5)
    // One shell for all of them, since some set variables for the next. Each answer then ends with a line end.
    const script = lines.map((line) => line.startsWith('curl') ? `${line}\necho` : line).join('\n')
    const { stdout } = await run('sh', ['-c', script], { env: OWN_PROCESS })
    t.same(stdout.trim().split('\n').map((line) => JSON.parse(line) as unknown), [
      { name: 'The nightly report', id: 'nightly-report' }, { reports: ['Sunday', 'Monday'] }, { msg: 'Reporters only' },
    ])
  })
})

t.test('examples/key-rotation.ts changes its key, and no call fails', async (t) => {
  const example = await start(t, 'key-rotation', { ROTATE_EVERY: '1' })
  const { address, child, until } = example
  const login = async (): Promise<string> => (await send(`${address}/login`, undefined, { method: 'POST' })).body['access_token'] as string
  const readSet = async (): Promise<JSONWebKeySet> => (await send(`${address}/.well-known/jwks.json`)).body as unknown as JSONWebKeySet
  const keyOf = (token: string): unknown => (JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()) as { kid: string }).kid

  const early = await login()
  const rotations = (count: number): RegExp => new RegExp(`(New key [^]*){${count}}`)
  await until(rotations(1))
  // Whichever key signed the early token, another signs now.
  await until(rotations((example.printed().match(/New key/g) ?? []).length + 1))
  const late = await login()
  t.not(keyOf(early), keyOf(late))

  const { headers } = await send(`${address}/.well-known/jwks.json`)
  t.match(headers.get('content-type'), /^application\/jwk-set\+json\b/)
  t.equal(headers.get('cache-control'), 'public, max-age=1')
  const set = await readSet()
  t.ok(set.keys.some(({ kid }) => kid === keyOf(early)), 'the retired key is in the set')
  for (const { d, alg, use, kty } of set.keys) t.same([d, alg, use, kty], [undefined, 'ES256', 'sig', 'EC'])
  for (const token of [early, late]) {
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(set))
    t.equal(payload.sub, 'ada')
    t.same((await send(`${address}/protected`, token)).body, { logged_in_as: 'ada', key: protectedHeader.kid })
  }

  await until(rotations(8))
  const left = await readSet()
  t.notOk(left.keys.some(({ kid }) => kid === keyOf(early)), 'a key goes with the last of its tokens')
  t.ok(left.keys.length >= 2 && left.keys.length <= 7, `${left.keys.length} keys`)

  child.kill('SIGTERM')
  const [code] = await once(child, 'close') as [number | null]
  t.equal(code, 0, 'it ends by itself')
  const [, calls, failed] = /Ended\. Calls: (\d+), failed: (\d+)\n$/.exec(example.printed())!
  t.ok(Number(calls) > 20, `${calls} calls`)
  t.equal(failed, '0')
})
