import { execFile } from 'node:child_process'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { relative, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import * as plugin from '../index.js'
import { bearer, buildApp, registrationError } from './support/app.js'
import type { TokenPair, TokenStore } from '../index.js'
import { moveClock } from './support/clock.js'
import { forge } from './support/forge.js'
import { skipWithoutRedis, startRedis, type RedisServer } from './support/redis.js'

const noRedis = skipWithoutRedis()
const redis: RedisServer | undefined = noRedis === false ? await startRedis(t) : undefined

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))
const readme = readFileSync(`${root}/README.md`, 'utf8')
const pkg = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { version: string, scripts: Record<string, string> }

interface Block {
  /** The heading it stands under, and which one of its language it is there: `Quick start 1`. */
  name: string
  language: string
  code: string
}

function readBlocks (markdown: string): Block[] {
  const blocks: Block[] = []
  const counts = new Map<string, number>()
  let heading = ''
  let open: { language: string, lines: string[] } | undefined
  for (const line of markdown.split('\n')) {
    const fence = /^```(\w*)$/.exec(line)
    if (open !== undefined && fence !== null) {
      const language = open.language
      const count = (counts.get(`${heading} ${language}`) ?? 0) + 1
      counts.set(`${heading} ${language}`, count)
      blocks.push({ name: `${heading} ${count}`, language, code: `${open.lines.join('\n')}\n` })
      open = undefined
    } else if (open !== undefined) {
      open.lines.push(line)
    } else if (fence !== null) {
      open = { language: fence[1]!, lines: [] }
    } else {
      heading = /^#+ (.+)$/.exec(line)?.[1] ?? heading
    }
  }
  return blocks
}

/** The rows of all tables whose first column has this title: one list of cells each. */
function readRows (title: string, markdown = readme): string[][] {
  const rows: string[][] = []
  let inside = false
  for (const line of markdown.split('\n')) {
    if (!line.startsWith('|')) {
      inside = false
      continue
    }
    const cells = line.split('|').slice(1, -1).map((cell) => cell.trim())
    if (cells[0] === title) inside = true
    else if (inside && !/^-+$/.test(cells[0]!)) rows.push(cells)
  }
  return rows
}

const unquote = (cell: string): string => cell.replaceAll('`', '')

const blocks = readBlocks(readme)
const snippets = blocks.filter(({ language }) => ['ts', 'js', 'typescript', 'javascript', 'mjs'].includes(language))

// The lines that the guide says its snippets go on from.
const IMPORTS = "import Fastify from 'fastify'\nimport jwtExtended from 'fastify-jwt-extended'\n"
const APP = 'const app = Fastify()\n'
const REGISTER = 'await app.register(jwtExtended, { secretKey: process.env.JWT_SECRET_KEY })\n'

/** A snippet as a module of its own: the stated lines before it, and what it declares exported. */
function completeSnippet (code: string): string {
  let module = code
  if (!code.includes('= Fastify(')) {
    module = `${IMPORTS}${APP}${code.includes('app.register(jwtExtended') ? '' : REGISTER}${code}`
  }
  // The tests ask the application without a port.
  module = module.replaceAll(/^await app\.listen\(.*\)$/gm, '')
  const names = [...module.matchAll(/^(?:const|function) (\w+)/gm)].map((match) => match[1]!)
  return `${module}\nexport { ${names.join(', ')} }\n`
}

const fileNameOf = (name: string): string => `${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.ts`

// The package itself is the source next door, at run time and for the types alike.
const entry = `${relative(t.testdirName, root).split(sep).join('/')}/index.js`
const fixOptions = { extends: `${relative(t.testdirName, root).split(sep).join('/')}/tsconfig.json` }
const declaring = snippets.filter(({ code }) => code.includes('declare module'))

/** A compilation of its own: one that declares `JwtTypes` declares them for all its files. */
function project (members: Block[]): string {
  return JSON.stringify({
    ...fixOptions, compilerOptions: { noEmit: true, declaration: false, rootDir: root }, include: [], files: members.map(({ name }) => fileNameOf(name)),
  })
}

const directory = t.testdir({
  ...Object.fromEntries(snippets.map(({ name, code }) => [
    fileNameOf(name), completeSnippet(code).replaceAll("'fastify-jwt-extended'", `'${entry}'`).replaceAll("'fastify-jwt-extended/store-suite'", `'${entry.replace('index.js', 'lib/store-suite.js')}'`),
  ])),
  'tsconfig.snippets.json': project(snippets.filter((snippet) => !declaring.includes(snippet))),
  ...Object.fromEntries(declaring.map((snippet, index) => [`tsconfig.declaring-${index}.json`, project([snippet])])),
})

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ENVIRONMENT: Record<string, string> = {
  JWT_SECRET_KEY: 'the secret of the snippets, which is long enough for HS512, as it happens',
  OLD_JWT_SECRET_KEY: 'the secret before that, which was no shorter',
  REDIS_URL: `redis://127.0.0.1:${redis?.port ?? 0}`,
  STAFF_SECRET_KEY: 'the secret of the staff, which nobody else knows',
  PARTNER_SECRET_KEY: 'the secret of the partners, which they do know',
  ACME_SECRET_KEY: 'the secret of the first tenant, whoever that is',
  GLOBEX_SECRET_KEY: 'the secret of the second tenant, whoever that is',
  JWT_PRIVATE_KEY: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
  JWT_PUBLIC_KEY: publicKey.export({ format: 'pem', type: 'spki' }) as string,
}
const before = process.env
process.env = { ...before, ...ENVIRONMENT }
t.teardown(() => { process.env = before })

/** What a snippet exports: its application, and whatever else it declares. */
type Snippet = Record<string, unknown> & { app: FastifyInstance }

async function answer (
  t: Test, { app }: Snippet, request: InjectOptions | string, token: string | undefined, status: number, body: unknown
): Promise<LightMyRequestResponse> {
  const options = typeof request === 'string' ? { url: request } : request
  const headers = { ...options.headers, ...(token !== undefined && bearer(token)) }
  const response = await app.inject({ ...options, headers })
  const what = `${options.method ?? 'GET'} ${String(options.url)}`
  t.equal(response.statusCode, status, `${what} is answered with ${status}`)
  if (body !== undefined) t.same(response.headers['content-type']?.toString().includes('json') ? response.json() : response.body, body, `${what} has the body`)
  return response
}

function payloadOf (token: unknown): Record<string, unknown> {
  return JSON.parse(Buffer.from(String(token).split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
}

// What the README says of a snippet, where running it does not show it.
const CHECKS: Record<string, (t: Test, snippet: Snippet, printed: string[]) => Promise<void>> = {
  async 'Tokens in cookies 1' (t, snippet) {
    const { cookies, headers } = await answer(t, snippet, { method: 'POST', url: '/login' }, undefined, 200, { msg: 'Logged in' })
    t.same(cookies.map(({ name, httpOnly = false }) => [name, httpOnly ? 'no' : 'yes']), readRows('cookie').map(([name, , readable]) => [unquote(name!), readable]))
    t.equal(headers['cache-control'], 'no-store')
    const jar = Object.fromEntries(cookies.map(({ name, value }) => [name, value]))
    const cookie = Object.entries(jar).map(([name, value]) => `${name}=${value}`).join('; ')
    const post = (url: string, csrf?: string): InjectOptions => ({ method: 'POST', url, headers: { cookie, ...(csrf !== undefined && { 'x-csrf-token': csrf }) } })
    await answer(t, snippet, post('/orders'), undefined, 401, { msg: 'Missing CSRF token' })
    await answer(t, snippet, post('/orders', jar['csrf_access_token']), undefined, 200, { ordered_by: 'ada' })
    await answer(t, snippet, post('/refresh', jar['csrf_access_token']), undefined, 401, { msg: 'CSRF double submit tokens do not match' })
    await answer(t, snippet, post('/refresh', jar['csrf_refresh_token']), undefined, 200, { msg: 'Refreshed' })
    const logout = await answer(t, snippet, { method: 'POST', url: '/logout' }, undefined, 200, { msg: 'Logged out' })
    t.same(logout.cookies.map(({ name, maxAge }) => [name, maxAge]), cookies.map(({ name }) => [name, 0]))
  },

  async 'Tokens in cookies 2' (t, snippet) {
    const login = await answer(t, snippet, { method: 'POST', url: '/login' }, undefined, 200, undefined)
    t.same(login.cookies.map(({ name }) => name), ['access_token_cookie'])
    const csrf = /name="csrf_token" value="([^"]+)"/.exec(login.body)![1]!
    const form = (field: string): InjectOptions => ({
      method: 'POST', url: '/orders', payload: `csrf_token=${field}`,
      headers: { cookie: `access_token_cookie=${login.cookies[0]!.value}`, 'content-type': 'application/x-www-form-urlencoded' },
    })
    await answer(t, snippet, form(csrf), undefined, 200, { ordered_by: 'ada' })
    await answer(t, snippet, form('guessed'), undefined, 401, { msg: 'CSRF double submit tokens do not match' })
  },

  async 'Tokens in cookies 3' (t, snippet) {
    const { cookies } = await answer(t, snippet, { method: 'POST', url: '/login' }, undefined, 200, undefined)
    t.same(cookies.map(({ name, path, maxAge, sameSite }) => [name, path, maxAge, sameSite]), [
      ['__Host-access', '/', 2_592_000, 'Strict'], ['__Host-access_csrf', '/', 2_592_000, 'Strict'],
      ['__Secure-refresh', '/refresh', 2_592_000, 'Strict'], ['csrf_refresh_token', '/', 2_592_000, 'Strict'],
    ])
    t.match((await registrationError(t, { secretKey: ENVIRONMENT['JWT_SECRET_KEY'], accessCookieName: '__Host-access', cookieDomain: 'example.com' })).message, /__Host-/)
  },

  async 'Query string 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    const link = await answer(t, snippet, { method: 'POST', url: '/reports/link' }, token, 200, undefined)
    const url = link.json<{ link: string }>().link
    const report = await answer(t, snippet, url, undefined, 200, { report_for: 'ada' })
    t.equal(report.headers['cache-control'], 'private')
    await answer(t, snippet, `${url}&jwt=x`, undefined, 422, undefined)
    await answer(t, snippet, url.replace('latest', 'gone'), undefined, 404, { msg: 'Not found' })
  },

  async 'JSON body 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    await answer(t, snippet, { method: 'POST', url: '/orders', payload: { access_token: token } }, undefined, 200, { ordered_by: 'ada' })
    await answer(t, snippet, { method: 'POST', url: '/orders', payload: {} }, undefined, 401, { msg: 'Missing "access_token" key in json data.' })
  },

  async 'Several locations 1' (t, snippet) {
    const [token, expired] = [await snippet.app.createAccessToken('ada'), await snippet.app.createAccessToken('ada', { expiresDelta: -1 })]
    const cookie = `access_token_cookie=${token}`
    await answer(t, snippet, '/orders', token, 200, { orders_of: 'ada', found_in: 'headers' })
    await answer(t, snippet, { url: '/orders', headers: { cookie } }, undefined, 200, { orders_of: 'ada', found_in: 'cookies' })
    await answer(t, snippet, { url: '/orders', headers: { cookie } }, expired, 401, { msg: 'Token has expired' })
    await answer(t, snippet, { url: '/orders', headers: { cookie, authorization: 'Basic eA==' } }, undefined, 200, undefined)
    await answer(t, snippet, { url: '/export', headers: { cookie } }, undefined, 401, { msg: 'Missing Authorization Header' })
  },

  async 'Implicit refreshing 1' (t, snippet) {
    const { app } = snippet
    const now = Math.floor(Date.now() / 1000)
    const tokenOf = (minutes: number): Promise<string> => app.createAccessToken('ada', { expiresDelta: minutes * 60, additionalClaims: { fresh: now + 5 } })
    const send = async (token: string, url = '/orders', method: 'GET' | 'POST' = 'GET'): Promise<LightMyRequestResponse> =>
      await app.inject({ method, url, headers: { cookie: `access_token_cookie=${token}`, 'x-csrf-token': await app.getCsrfToken(token) } })
    t.same((await send(await tokenOf(16))).cookies, [])
    const renewed = await send(await tokenOf(14))
    t.equal(renewed.cookies.length, 2)
    t.equal(payloadOf(renewed.cookies[0]!.value)['fresh'], now + 5)
    t.equal(renewed.headers['cache-control'], 'no-store')
    t.ok((await send(await tokenOf(14), '/logout', 'POST')).cookies.every(({ maxAge }) => maxAge === 0))
    t.same((await app.inject({ url: '/orders', headers: bearer(await tokenOf(14)) })).cookies, [])
    t.same((await app.inject('/orders')).cookies, [])
  },

  async 'Quick start 1' (t, { app }) {
    // The session that the chapter shows: each command, then the line that answers it.
    const session = blocks.find(({ name, language }) => name === 'Quick start 1' && language === 'console')!
    const lines = session.code.trim().split('\n')
    let token = ''
    t.equal(lines.length, 6)
    for (let i = 0; i < lines.length; i += 2) {
      const command = lines[i]!
      const headers = [...command.matchAll(/-H ['"]([\w-]+): ([^'"]+)['"]/g)].map((match) => [match[1]!, match[2]!.replace(/eyJ\S*…/, token)])
      const data = /-d '([^']+)'/.exec(command)?.[1]
      const response = await app.inject({
        method: data === undefined ? 'GET' : 'POST',
        url: /^\$ curl (\S+)/.exec(command)![1]!,
        headers: Object.fromEntries(headers) as Record<string, string>,
        ...(data !== undefined && { payload: data }),
      })
      const [start, end] = lines[i + 1]!.split('…')
      if (end === undefined) {
        t.equal(response.body, start, command)
      } else {
        t.ok(response.body.startsWith(start!) && response.body.endsWith(end), command)
        token = (response.json() as { access_token: string }).access_token
      }
    }
    const wrong = { method: 'POST', url: '/login', payload: { username: 'test', password: 'x' } } as const
    t.equal((await app.inject(wrong)).statusCode, 401)
    t.equal((await app.inject({ ...wrong, payload: {} })).statusCode, 400)
  },

  async 'Registering the plugin 1' (t, snippet, printed) {
    t.match(printed, [/accessTokenExpires must be a positive duration/])
  },

  async 'Registering the plugin 2' (t, snippet) {
    const { app } = snippet
    const token = await app.createAccessToken('ada')
    await answer(t, snippet, '/inbox', token, 200, { inbox_of: 'ada' })
    await answer(t, snippet, '/staff/reports', token, 422, { msg: 'Signature verification failed' })
    const staff = await buildApp(t, { secretKey: ENVIRONMENT['STAFF_SECRET_KEY'] })
    const staffToken = await staff.createAccessToken('grace')
    await answer(t, snippet, '/staff/reports', staffToken, 200, { reader: 'grace' })
    await answer(t, snippet, '/inbox', staffToken, 422, { msg: 'Signature verification failed' })
  },

  async 'Registering the plugin 3' (t, snippet) {
    const { app } = snippet
    const partner = await app.jwtManager('partner').createAccessToken('acme')
    const post = { method: 'POST', url: '/orders', headers: { 'x-partner-token': partner } } as const
    await answer(t, snippet, post, undefined, 200, { ordered_by: 'acme' })
    await answer(t, snippet, '/orders', await app.createAccessToken('ada'), 200, { seen_by: 'ada' })
    await answer(t, snippet, '/orders', partner, 422, { msg: 'Signature verification failed' })
    t.equal(app.jwtManager().createAccessToken, app.createAccessToken)
  },

  async 'Creating tokens 1' (t, snippet) {
    const said = payloadOf(snippet['accessToken'])
    const claims = readRows('claim').flatMap(([names]) => names!.split(',').map((name) => unquote(name).trim()))
    t.same([...Object.keys(said), 'iss', 'aud'].sort(), claims.sort(), 'the table names every claim')
    t.match(said, { sub: 'ada', type: 'access', fresh: false })
    t.match(payloadOf(snippet['refreshToken']), { sub: 'ada', type: 'refresh', fresh: false })
    const hour = payloadOf(snippet['forOneHour'])
    t.equal(Number(hour['exp']) - Number(hour['iat']), 3600)
    t.equal(payloadOf(snippet['fresh'])['fresh'], true)
    t.equal(payloadOf(snippet['forAPartner'])['role'], 'guest')
    t.same(snippet.app.getUnverifiedJwtHeaders(String(snippet['forAPartner'])), { alg: 'HS256', typ: 'JWT', kid: 'key-1' })
    const { app } = snippet
    for (const options of [{ expiresDelta: -1 }, { fresh: -1 }] as const) {
      const token = await app.createAccessToken('ada', options)
      await t.rejects(app.decodeToken(token).then(({ fresh }) => { if (Number(fresh) < Date.now() / 1000) throw new Error('stale') }))
    }
    await t.rejects(app.createAccessToken({ id: 5 }), { code: 'FST_JWT_EXT_USAGE' })
    await t.rejects(app.createAccessToken('ada', { expires: 5 } as object), { code: 'FST_JWT_EXT_USAGE' })
    await t.rejects(app.createAccessToken('ada', { additionalClaims: { big: 5n } }), { code: 'FST_JWT_EXT_USAGE' })
    const plain = await buildApp(t, { secretKey: ENVIRONMENT['JWT_SECRET_KEY'], cookieCsrfProtect: false })
    t.notHas(payloadOf(await plain.createAccessToken('ada')), { csrf: String })
  },

  async 'Guarding routes 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    const expires = payloadOf(token)['exp']
    await answer(t, snippet, '/account', token, 200, { identity: 'ada', expires, algorithm: 'HS256', location: 'headers' })
    await answer(t, snippet, '/account', undefined, 401, { msg: 'Missing Authorization Header' })
  },

  async 'Guarding routes 2' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    await answer(t, snippet, '/members/inbox', token, 200, { inbox_of: 'ada' })
    await answer(t, snippet, '/members/outbox', token, 200, { outbox_of: 'ada' })
    await answer(t, snippet, '/members/outbox', undefined, 401, undefined)
    await answer(t, snippet, '/about', undefined, 200, undefined)
  },

  async 'Where the token travels 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    await answer(t, snippet, { url: '/protected', headers: { 'x-access-token': token } }, undefined, 200, { logged_in_as: 'ada' })
    await answer(t, snippet, '/protected', token, 401, { msg: 'Missing X-Access-Token Header' })
  },

  async 'Loading users 1' (t, snippet) {
    const { app } = snippet
    t.equal(payloadOf(snippet['token'])['sub'], '1')
    await answer(t, snippet, '/who_am_i', String(snippet['token']), 200, { id: 1, name: 'Ada' })
    const nobody = await app.createAccessToken({ id: 3 })
    await answer(t, snippet, '/who_am_i', nobody, 401, { msg: 'Error loading the user 3' })
  },

  async 'Additional claims and headers 1' (t, snippet) {
    const { app } = snippet
    await answer(t, snippet, '/role', String(snippet['token']), 200, { role: 'admin', device: 'phone' })
    await answer(t, snippet, '/role', await app.createAccessToken('grace'), 200, { role: 'reader' })
    const token = await app.createAccessToken('ada', { additionalClaims: { role: 'none', sub: 'other' } })
    t.match(payloadOf(token), { role: 'none', sub: 'other' })
    t.equal(app.getUnverifiedJwtHeaders(token).kid, 'key-1')
    await t.rejects(app.createAccessToken('ada', { additionalClaims: { type: 'refresh' } }))
    await t.rejects(app.createAccessToken('ada', { additionalHeaders: { alg: 'HS512' } }))
  },

  async 'Additional claims and headers 2' (t, snippet) {
    const { app } = snippet
    const token = await app.createAccessToken('ada', { additionalClaims: { tenant: 'acme' } })
    await answer(t, snippet, '/protected', token, 200, { tenant: 'acme' })
    await answer(t, snippet, '/protected', await app.createAccessToken('ada'), 400, { msg: 'User claims verification failed' })
  },

  async 'Changing the answers 1' (t, snippet) {
    const { app } = snippet
    const expired = await app.createAccessToken('ada', { expiresDelta: -1 })
    await answer(t, snippet, '/protected', expired, 401, { error: 'expired', user: 'ada' })
    await answer(t, snippet, '/protected', 'x.y.z', 400, { error: 'FST_JWT_EXT_INVALID_TOKEN', path: '/protected' })
    const login = await answer(t, snippet, '/protected', undefined, 302, undefined)
    t.equal(login.headers.location, '/login')
    const refresh = await buildApp(t, { secretKey: ENVIRONMENT['JWT_SECRET_KEY'], errorMessageKey: 'message' })
    refresh.get('/protected', { onRequest: refresh.jwtRequired() }, async () => 'secret')
    t.same((await refresh.inject('/protected')).json(), { message: 'Missing Authorization Header' })
  },

  async 'Changing the answers 2' (t, snippet) {
    const refused = await answer(t, snippet, '/protected', undefined, 401, {
      problem: 'FST_JWT_EXT_NO_AUTHORIZATION', detail: 'Missing Authorization Header',
    })
    t.equal(refused.headers['www-authenticate'], 'Bearer', 'the challenge is there all the same')
  },

  async 'Changing the answers 3' (t, snippet) {
    const forged = await answer(t, snippet, '/protected', 'x.y.z', 401, undefined)
    t.match(forged.headers['www-authenticate'], /^Bearer error="invalid_token"/)
    const malformed = await answer(t, snippet, { url: '/protected', headers: { authorization: 'Bearer' } }, undefined, 400, undefined)
    t.match(malformed.headers['www-authenticate'], /^Bearer error="invalid_request"/)
  },

  async 'Optional routes 1' (t, snippet) {
    const { app } = snippet
    await answer(t, snippet, '/greeting', undefined, 200, { greeting: 'Hello, whoever you are' })
    await answer(t, snippet, '/greeting', await app.createAccessToken('ada'), 200, { greeting: 'Hello, ada' })
    await answer(t, snippet, '/greeting', await app.createAccessToken('ada', { expiresDelta: -1 }), 401, undefined)
    await answer(t, snippet, { url: '/greeting', headers: { authorization: 'Bearer' } }, undefined, 422, undefined)
  },

  async 'Freshness 1' (t, snippet) {
    const login = await snippet.app.inject({ method: 'POST', url: '/login' })
    const change = { method: 'POST', url: '/password' } as const
    await answer(t, snippet, change, (login.json() as { access_token: string }).access_token, 200, { changed_for: 'ada' })
    await answer(t, snippet, change, await snippet.app.createAccessToken('ada'), 401, { msg: 'Fresh token required' })
  },

  // Entries of CHECKS for the chapters "Refreshing", "Logging out" and "Running more than one instance". They take the
  // place of 'Refresh tokens 1' and 'Revoking tokens 1'.

  async 'Refreshing 1' (t, snippet) {
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

  async 'Refreshing 2' (t, snippet) {
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

  async 'Refreshing 3' (t, snippet) {
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

  async 'Logging out 2' (t, snippet) {
    const { app } = snippet
    const logout = (token: string): InjectOptions => ({ method: 'POST', url: '/logout', payload: { token } })
    const pair = await app.createTokenPair('ada')
    const forged = forge({ ...payloadOf(pair.accessToken) }, undefined, 'another secret than that of the snippet, as long as any')
    await answer(t, snippet, logout(forged), undefined, 422, undefined)
    await answer(t, snippet, '/protected', pair.accessToken, 200, { logged_in_as: 'ada' })
    moveClock(t, 3600)
    await answer(t, snippet, '/protected', pair.accessToken, 401, { msg: 'Token has expired' })
    await answer(t, snippet, logout(pair.accessToken), undefined, 204, undefined)
    await t.rejects(app.refreshTokens(pair.refreshToken), { code: 'FST_JWT_EXT_REVOKED' })
    await answer(t, snippet, { method: 'POST', url: '/logout', payload: {} }, undefined, 400, undefined)
  },

  async 'Logging out 3' (t, snippet) {
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

  async 'Logging out 4' (t, snippet) {
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

  async 'Running more than one instance 1' (t, snippet) {
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
    const named = readRows('key').map(([key]) => unquote(key!)
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

  async 'Running more than one instance 2' (t, snippet) {
    const pair = await snippet.app.createTokenPair('ada')
    await answer(t, snippet, '/protected', pair.accessToken, 200, { logged_in_as: 'ada' })
    t.ok((await redis!.admin.keys('*')).some((key) => key.startsWith('shop:jwt:{') && key.includes(pair.sessionId)))
  },

  async 'Running more than one instance 3' (t, snippet) {
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

  async 'Running more than one instance 4' (t, { app }) {
    const printed = t.capture(console, 'error', () => {})
    const first = await app.createTokenPair('ada')
    await app.refreshTokens((await app.refreshTokens(first.refreshToken)).refreshToken)
    await t.rejects(app.refreshTokens(first.refreshToken))
    t.same(printed().map(({ args }) => args), [['A refresh token of ada was used twice']])
    const source = readFileSync(`${root}/types/sessions.ts`, 'utf8')
    const types = [...source.matchAll(/readonly type: '(\w+)'/g)].map((match) => match[1]!)
    t.same(readRows('event').map(([type]) => unquote(type!)), types, 'the table names every event')
  },

  async 'Guards of your own 1' (t, snippet) {
    const { app } = snippet
    const admin = await app.createAccessToken('ada', { additionalClaims: { role: 'admin' } })
    await answer(t, snippet, '/settings', admin, 200, { administrator: 'ada' })
    await answer(t, snippet, '/settings', await app.createAccessToken('grace'), 403, { msg: 'Administrators only' })
    const refused = await answer(t, snippet, '/settings', undefined, 401, undefined)
    t.equal(refused.headers['www-authenticate'], 'Bearer')
    t.match(refused.json(), { code: 'FST_JWT_EXT_NO_AUTHORIZATION', message: 'Missing Authorization Header' })
  },

  async 'Keys and algorithms 1' (t, { app }) {
    const token = await app.createAccessToken('ada')
    t.equal(app.getUnverifiedJwtHeaders(token).alg, 'ES256')
    t.equal((await app.decodeToken(token))['sub'], 'ada', 'the public half was derived')
  },

  async 'Keys and algorithms 2' (t, { app }) {
    const issuer = await buildApp(t, { algorithm: 'ES256', privateKey })
    t.equal((await app.decodeToken(await issuer.createAccessToken('ada')))['sub'], 'ada')
    await t.rejects(app.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: /no key to sign/ })
  },

  async 'Keys and algorithms 3' (t, { app }) {
    const old = await buildApp(t, { secretKey: ENVIRONMENT['OLD_JWT_SECRET_KEY'] })
    const current = await buildApp(t, { secretKey: ENVIRONMENT['JWT_SECRET_KEY'] })
    t.equal((await app.decodeToken(await old.createAccessToken('ada')))['sub'], 'ada')
    t.equal((await current.decodeToken(await app.createAccessToken('ada')))['sub'], 'ada')
  },

  async 'Keys and algorithms 4' (t, snippet) {
    const { app } = snippet
    await answer(t, snippet, '/protected', String(snippet['token']), 200, { tenant: 'acme' })
    const acme = await buildApp(t, { secretKey: ENVIRONMENT['ACME_SECRET_KEY'] })
    for (const [tenant, message] of [['globex', 'Signature verification failed'], ['nobody', 'Unknown tenant']]) {
      const forged = await acme.createAccessToken('1', { additionalClaims: { tenant } })
      await answer(t, snippet, '/protected', forged, 422, { msg: message })
    }
    await answer(t, snippet, '/protected', await app.createAccessToken({ id: '2', tenant: 'globex' }), 200, { tenant: 'globex' })
  },

  async 'Helpers 1' (t, snippet) {
    const said = payloadOf(snippet['token'])
    t.same(snippet['payload'], said)
    t.equal(snippet['jti'], said['jti'])
    t.equal(snippet['csrf'], said['csrf'])
    t.same(snippet['header'], { alg: 'HS256', typ: 'JWT' })
    const { app } = snippet
    const expired = await app.createRefreshToken('ada', { expiresDelta: -1 })
    await t.rejects(app.decodeToken(expired), { code: 'FST_JWT_EXT_EXPIRED' })
    t.equal((await app.decodeToken(expired, { allowExpired: true }))['type'], 'refresh')
    await t.rejects(app.decodeToken(String(snippet['token']), { csrfValue: 'another' }), { code: 'FST_JWT_EXT_CSRF' })
    t.throws(() => app.getUnverifiedJwtHeaders('nothing'), { code: 'FST_JWT_EXT_INVALID_TOKEN' })
  },

  async 'TypeScript 1' (t, snippet) {
    await answer(t, snippet, '/who_am_i', String(snippet['token']), 200, { name: 'Ada', role: 'admin' })
  },

  async 'Coming from @fastify/jwt 1' (t, snippet) {
    // As @fastify/jwt signs { id: 5 }: that payload and `iat`, and nothing else.
    const token = forge({ id: 5, iat: 1_700_000_000 }, undefined, ENVIRONMENT['JWT_SECRET_KEY'])
    await answer(t, snippet, '/protected', token, 200, { logged_in_as: 5 })
  },
}

t.test('every snippet runs, and does what is said of it', async (t) => {
  const unused = new Set(Object.keys(CHECKS))
  for (const { name, code } of snippets) {
    const skip = code.includes('REDIS_URL') ? noRedis : false
    if (skip !== false) unused.delete(name)
    await t.test(name, { skip }, async (t) => {
      const printed = t.capture(console, 'error', () => {})
      const snippet = await import(pathToFileURL(`${directory}/${fileNameOf(name)}`).href) as Snippet
      t.teardown(() => snippet.app.close())
      // Nobody can wait for an application whose registration failed, as one snippet shows.
      const lines = printed().map(({ args }) => String(args[0]))
      if (lines.length === 0) await snippet.app.ready()
      await CHECKS[name]?.(t, snippet, lines)
      unused.delete(name)
    })
  }
  t.same([...unused], [], 'no check is left over from a snippet that is gone')
})

t.test('every snippet has the right types', async (t) => {
  const projects = readdirSync(directory).filter((file) => file.startsWith('tsconfig.'))
  await Promise.all(projects.map(async (file) => {
    const tsc = [`${root}/node_modules/typescript/bin/tsc`, '--pretty', 'false', '-p', file]
    const env = { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' } // slow enough without it
    const output = await run(process.execPath, tsc, { cwd: directory, env })
      .then(() => '', (error: { stdout: string }) => error.stdout)
    // Our own sources are compiled here, too, which a reader's JwtTypes never reach: only what a snippet did counts.
    const errors = output.split('\n').filter((line) => /^[\w-]+\.ts\(|^error/.test(line))
    t.same(errors, [], file)
  }))
})

t.test('every npm script that is named exists', async (t) => {
  const named = [...readme.matchAll(/npm (?:run )?(start|test|(?<=run )[\w:]+)/g)].map((match) => match[1]!)
  t.ok(named.includes('start') && named.includes('test'))
  for (const script of new Set(named)) t.ok(pkg.scripts[script], script)
  for (const { code } of blocks.filter(({ language }) => language === 'sh')) {
    for (const command of code.trim().split(/\n|&&/).map((line) => line.trim())) {
      t.match(command, /^(npm (install( [\w-]+)?|start|test|run [\w:]+( examples\/[\w-]+\.ts)?)|export JWT_SECRET_KEY=.*)$/, command)
    }
  }
  const secret = /\$\(node -p "(.+)"\)/.exec(readme)![1]!
  const { stdout } = await run(process.execPath, ['-p', secret])
  t.match(stdout.trim(), /^[0-9a-f]{64}$/, 'the command makes a secret of 32 bytes')
})

t.test('every link leads somewhere', async (t) => {
  const anchors = [...readme.replaceAll(/^```[^]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm)]
    .map((match) => match[1]!.toLowerCase().replaceAll(/[^\w\s-]/g, '').replaceAll(' ', '-'))
  for (const target of [...readme.matchAll(/\]\(([^)]+)\)/g)].map((match) => match[1]!)) {
    if (target.startsWith('https://')) continue
    t.ok(target.startsWith('#') ? anchors.includes(target.slice(1)) : existsSync(`${root}/${target}`), target)
  }
})

t.test('the tables of options name every option, with its default', async (t) => {
  const source = readFileSync(`${root}/types/options.ts`, 'utf8')
  const members = (name: string): string[][] => {
    const body = new RegExp(`^export interface ${name} [^]*?\\{$([^]*?)^\\}$`, 'm').exec(source)![1]!
    return [...body.matchAll(/\/\*\*([^]*?)\*\/\s+(\w+)\?:/g)].map(([, comment, option]) => {
      const fallback = /@default ([^]*)/.exec(comment!)?.[1]?.replaceAll(/\s+\*?\s*/g, ' ').trim() ?? '–'
      return [option!, fallback.replace(/:.*/, '')]
    })
  }
  const options = readRows('option', readme.slice(readme.indexOf('\n## Every option')))
  t.same(options.map(([name, fallback]) => [unquote(name!), unquote(fallback!)]).sort(), members('JwtExtendedOptions').sort())
  // tokenLocation is not a value but the name of one, in the code as in the table.
  const fields = readRows('field').map(([name, fallback]) => [unquote(name!), unquote(fallback!).replace('tokenLocation', '–')])
  t.same(fields.sort(), members('JwtRule').sort())
})

t.test('the table of errors is that of the code', async (t) => {
  const classes = Object.entries(plugin).filter(([, value]) => {
    return typeof value === 'function' && value.prototype instanceof plugin.JwtError
  }) as [string, typeof plugin.NoAuthorizationError][]
  const rows = readRows('class')
  const coded = classes.map(([name, Class]) => {
    const { code, statuses, loader } = new Class()
    return [name, code.replace('FST_JWT_EXT_', ''), String(statuses.flask), String(statuses.rfc6750), loader ?? '–']
  })
  t.same(rows.map(([name, code, flask, rfc6750, , loader]) => [name, code, flask, rfc6750, loader].map((cell) => unquote(cell!))).sort(), coded.sort())
  for (const [name, Class] of classes) {
    const row = rows.find(([cell]) => cell === `\`${name}\``)!
    if (name !== 'JwtDecodeError') t.ok(row[4]!.includes(new Class().message), `${name}: ${row[4]}`)
  }
})

t.test('what is said to be on the instance, the request and the reply is there', async (t) => {
  const app = await buildApp(t, { secretKey: ENVIRONMENT['JWT_SECRET_KEY'], store: plugin.memoryStore() })
  const found: Record<string, object> = { app }
  app.get('/', { onRequest: app.jwtRequired({ optional: true }) }, async (request, reply) => {
    Object.assign(found, { request, reply })
    return ''
  })
  await app.inject('/')
  // In the table for users of @fastify/jwt, the first column is about another plugin.
  const own = readme.replaceAll(/^\|.*(jwtVerify|jwtSign|jwtDecode|request\.user\b|setCookie).*$/gm, (line) => line.split('|').slice(2).join('|'))
    .replaceAll(/`request\.(jwtVerify\(\)|user)`/g, '')
  const named = new Set([...own.matchAll(/\b(app|request|reply)\.(\w+)/g)].map((match) => match[0]))
  t.ok(named.size > 20)
  for (const name of named) {
    const [owner, member] = name.split('.') as [string, string]
    t.ok(member in found[owner]!, name)
  }
})

t.test('every example is in the table of examples', async (t) => {
  const listed = readRows('file').map(([cell]) => /\((.*)\)/.exec(cell!)![1]!)
  t.same(listed.sort(), readdirSync(`${root}/examples`).map((file) => `examples/${file}`).sort())
})

t.test('the names for those who come from Flask-JWT-Extended are options', async (t) => {
  const chapter = readme.slice(readme.indexOf('## Coming from Flask'), readme.indexOf('## Coming from @fastify'))
  const pairs = [...chapter.matchAll(/`JWT_(\w+)` is (?:not )?`(\w+)`/g)].filter(([, , name]) => /^[a-z]/.test(name!))
  t.ok(pairs.length >= 3)
  for (const [, flask, ours] of pairs) t.equal(ours!.toLowerCase(), flask!.replaceAll('_', '').toLowerCase())
  t.match(await registrationError(t, { JWT_COOKIE_SAMESITE: 'Lax' }), { message: /did you mean 'cookieSameSite'\?/ })
})

t.test('the changelog has a section for this version', async (t) => {
  t.match(readFileSync(`${root}/CHANGELOG.md`, 'utf8'), new RegExp(`^## ${pkg.version.replaceAll('.', '\\.')}\\b`, 'm'))
})
