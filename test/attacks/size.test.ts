// Too much of something: characters, commas, cookies, bytes, time.
import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { JwtRule } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { head, listen, open, sendRaw } from '../support/raw-http.js'
import { buildTarget } from '../support/target.js'

const LONGEST = 16_384
// What a busy machine may take for a request that is read once from end to end; read over and over it takes minutes.
const PATIENCE = 3000
// Of twenty thousand bad tokens of 10 kB each. They have 200 MB, and a tenth of that is far more than a heap sways by.
const MOST_GROWTH = 20 * 2 ** 20

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** A good token of exactly so many characters, as far as base64url has such a text. */
function tokenOf (length: number): string {
  for (let spaces = 0; spaces < 4; spaces++) {
    const header = `{"alg":"HS256"${' '.repeat(spaces)}}`
    const rest = length - forge('', header).length
    const bytes = Math.floor(rest * 3 / 4)
    const payload = `{"sub":"ada","pad":"${'x'.repeat(bytes - 22)}"}`
    const token = forge(payload, header)
    if (token.length === length) return token
  }
  throw new Error(`no token has ${length} characters`)
}

t.test('a token of 16,384 characters is taken wherever it comes, and one more is refused where Node sets no limit', async (t) => {
  const { app } = await buildTarget(t)
  const [longest, over] = [tokenOf(LONGEST), tokenOf(LONGEST + 1)]
  const inQuery = async (token: string) => await app.inject(`/?jwt=${token}`)
  const inJson = async (token: string) => await app.inject({ method: 'POST', url: '/', payload: { access_token: token } })
  for (const ask of [inQuery, inJson]) {
    t.equal((await ask(longest)).statusCode, 200)
    const response = await ask(over)
    t.equal(response.statusCode, 422)
    t.strictSame(response.json(), { msg: 'The token is too long' })
  }
})

t.test('a token of megabytes is refused at once in each place', async (t) => {
  const { app, token } = await buildTarget(t, undefined, { bodyLimit: 50_000_000 })
  for (const text of ['x'.repeat(4_000_000), '.'.repeat(4_000_000), `${'x'.repeat(4_000_000)}.y.z`, `a.${'x'.repeat(4_000_000)}.b`, `a.b.${'x'.repeat(4_000_000)}`, 'a.'.repeat(2_000_000), forge({ sub: 'ada', pad: 'x'.repeat(4_000_000) }, undefined, 'k'.repeat(64))]) {
    for (const request of [
      { url: `/?jwt=${text}` }, { url: '/', headers: bearer(text) }, { url: '/', headers: { cookie: `access_token_cookie=${text}` } }, { url: '/', method: 'POST' as const, payload: { access_token: text } }
    ]) {
      const started = performance.now()
      const { statusCode } = await app.inject(request)
      t.equal(statusCode, 422)
      t.ok(performance.now() - started < PATIENCE)
    }
  }
  t.equal((await app.inject({ url: '/', headers: bearer(token) })).statusCode, 200)
})

t.test('what is over the limits of Node and Fastify is a 431, 413 or 414 of theirs, and the server goes on', async (t) => {
  const { app, token } = await buildTarget(t)
  const port = await listen(app)
  const long = 'x'.repeat(70_000)
  for (const headers of [{ authorization: `Bearer ${long}` }, { cookie: `access_token_cookie=${long}` }, { 'x-csrf-token': long }, { [long]: 'x' }]) {
    t.strictSame((await sendRaw(port, head('GET', '/', headers))).statuses, [431])
  }
  t.match((await sendRaw(port, head('GET', `/?jwt=${long}`))).statuses, [/^(414|431)$/])
  const body = JSON.stringify({ access_token: 'x'.repeat(2_000_000) })
  t.strictSame((await sendRaw(port, `${head('POST', '/', { 'content-type': 'application/json', 'content-length': String(body.length) })}${body}`)).statuses, [413])
  t.strictSame((await sendRaw(port, head('GET', '/', bearer(token)))).statuses, [200])
})

t.test('two hundred thousand commas, spaces or fields in a header are read once', async (t) => {
  const { app, token } = await buildTarget(t)
  const many = 200_000
  for (const [name, value] of [
    ['commas', ','.repeat(many)], ['commas around a token', `${','.repeat(many)}Bearer ${token}${','.repeat(many)}`], ['commas between fields', `Basic a${','.repeat(many)}Bearer ${token}`], ['spaces between fields', `Basic a,${' '.repeat(many)}Bearer ${token}`], ['spaces', ' '.repeat(many)], ['spaces behind the scheme', `Bearer${' '.repeat(many)}x`],
    ['tabs in the middle', `Bearer x${'\t'.repeat(many)}y`], ['empty fields', ' , '.repeat(many)], ['schemes', 'Bearer,'.repeat(many)], ['schemes with words', 'Bearer a,'.repeat(many)], ['other schemes', 'Basic a, '.repeat(many)],
    ['words', `Bearer ${'a '.repeat(many)}`], ['commas and spaces', ', '.repeat(many)], ['quotes', '"'.repeat(many)], ['equals signs', `Bearer ${'='.repeat(many)}`], ['dots', `Bearer ${'.'.repeat(many)}`]
  ] as const) {
    const started = performance.now()
    const { statusCode } = await app.inject({ url: '/', headers: { authorization: value } })
    t.ok([200, 401, 422].includes(statusCode), `${name}: ${statusCode}`)
    t.ok(performance.now() - started < PATIENCE, `${name}: ${Math.round(performance.now() - started)} ms`)
  }
})

t.test('a hundred thousand cookies, of one name or of many, are read once', async (t) => {
  const { app, token } = await buildTarget(t, { secretKey: SECRET, tokenLocation: 'cookies' })
  const many = 100_000
  const names = Array.from({ length: many }, (_, i) => `c${i}=x`).join('; ')
  for (const [name, cookie, status] of [
    ['many names in front', `${names}; access_token_cookie=${token}`, 200], ['many names behind', `access_token_cookie=${token}; ${names}`, 200], ['the same name', 'access_token_cookie=x; '.repeat(many), 422],
    ['the same name, empty', 'access_token_cookie=; '.repeat(many), 401], ['semicolons', ';'.repeat(many), 401], ['equals signs', '='.repeat(many), 401], ['names without a value', 'a;'.repeat(many), 401], ['names without a value, then one with', `${'a;'.repeat(many)}=`, 401],
    ['quotes', '"'.repeat(many), 401], ['percent signs', `access_token_cookie=${'%'.repeat(many)}`, 422], ['escapes', `access_token_cookie=${'%2e'.repeat(many)}`, 422], ['bad escapes', `access_token_cookie=${'%ff'.repeat(many)}`, 422], ['spaces', `${' '.repeat(many)}access_token_cookie${' '.repeat(many)}=x`, 422]
  ] as const) {
    const started = performance.now()
    const { statusCode } = await app.inject({ url: '/', headers: { cookie } })
    t.equal(statusCode, status, name)
    t.ok(performance.now() - started < PATIENCE, `${name}: ${Math.round(performance.now() - started)} ms`)
  }
})

t.test('many parameters in an address, and many members in a body, are read once', async (t) => {
  const { app, token } = await buildTarget(t)
  for (const query of ['jwt=x&'.repeat(50_000), 'a=b&'.repeat(50_000), '&'.repeat(100_000), '='.repeat(100_000), '%'.repeat(100_000), `jwt=${'%41'.repeat(50_000)}`]) {
    const started = performance.now()
    const { statusCode } = await app.inject(`/?${query}`)
    t.ok([401, 422].includes(statusCode), `${query.slice(0, 10)} ${statusCode}`)
    t.ok(performance.now() - started < PATIENCE)
  }
  const members = Array.from({ length: 50_000 }, (_, i) => `"m${i}":1`).join()
  for (const payload of [`{${members}}`, `{${'"access_token":"x",'.repeat(30_000)}"a":1}`]) {
    const { statusCode } = await app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload })
    t.ok([401, 422].includes(statusCode), String(statusCode))
  }
  t.equal((await app.inject({ url: '/', headers: bearer(token) })).statusCode, 200)
})

t.test('a name of a megabyte that a client has put into a rule is compared with no other, and hardly repeated', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenTypes: Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`type-of-some-length-${i}`, { expires: 60 }])) }, { bodyLimit: 2_000_000 })
  app.post<{ Body: JwtRule }>('/', async (request) => await request.verifyJwt(request.body))
  for (const [rule, beginning] of [
    [{ type: 'x'.repeat(1_000_000) }, `Unknown token type '${'x'.repeat(64)}…'; there are: type-of-some-length-0, `],
    [{ [`optional${'x'.repeat(1_000_000)}`]: true }, `Unknown option 'optional${'x'.repeat(56)}…' of a guard; it takes: optional, `],
  ] as const) {
    const started = performance.now()
    const response = await app.inject({ method: 'POST', url: '/', payload: rule })
    t.ok(performance.now() - started < PATIENCE, `${Math.round(performance.now() - started)} ms`)
    t.equal(response.statusCode, 500, 'the mistake is the application\'s')
    t.ok(response.json<{ message: string }>().message.startsWith(beginning))
    t.ok(response.body.length < 3000)
  }
})

t.test('many tokens that are all bad take no memory with them', async (t) => {
  const { app, token } = await buildTarget(t, { secretKey: SECRET, verifyCache: 10 })
  const pad = 'x'.repeat(7000)
  const claims = [{ pad }, { pad, exp: 1 }, { pad, nbf: 9_999_999_999 }, { pad, iss: 5 }].map((more) => ({ sub: 'ada', ...more }))
  // Each is another one: of another signature, or signed and of another header or expiry.
  const bad = [
    () => `${forge(claims[0]).slice(0, -43)}${randomBytes(32).toString('base64url')}`, () => forge({ ...claims[1], jti: randomBytes(8).toString('hex') }), () => forge(claims[2], { alg: 'HS256', kid: randomBytes(8).toString('hex') }),
    () => forge(claims[3], { alg: 'HS256', kid: randomBytes(8).toString('hex') }), () => `${randomBytes(7000).toString('base64url')}.e30.`, () => `${randomBytes(7000).toString('base64url')}`
  ]
  t.ok(bad.every((make) => make().length > 9300))
  async function send (count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const given = bad[i % bad.length]!()
      if (i % 10 === 0) {
        const { statusCode } = await app.inject({ url: '/', headers: bearer(given) })
        if (statusCode !== 422 && statusCode !== 401) t.fail(String(statusCode))
      } else if (await app.decodeToken(given).then(() => true, () => false)) t.fail('a bad token passes')
    }
    // What requests leave to the next turns is no leak.
    for (let turn = 0; turn < 4; turn++) {
      await new Promise(setImmediate)
      collect()
    }
  }
  const before = await app.decodeToken(token)
  await send(1000)
  const { heapUsed } = process.memoryUsage()
  await send(20_000)
  const growth = process.memoryUsage().heapUsed - heapUsed
  t.ok(growth < MOST_GROWTH, `the heap grew by ${Math.round(growth / 1024)} KiB`)
  t.equal(await app.decodeToken(token), before, 'a good one is still remembered')
})

t.test('a refusal does not wait for a body, and a body that never ends holds up nobody else', async (t) => {
  const { app, token, reached } = await buildTarget(t, { secretKey: SECRET, tokenLocation: ['headers', 'json'] })
  app.post('/early', { onRequest: app.jwtRequired({ locations: 'headers' }) }, async () => 'in')
  const port = await listen(app)
  const length = { 'content-type': 'application/json', 'content-length': '1000000' }
  const early = await sendRaw(port, head('POST', '/early', { ...length, ...bearer('x.y.z') }), 5000)
  t.strictSame(early.statuses, [422], 'refused before the first byte of the body')

  const slow = await Promise.all(Array.from({ length: 20 }, async () => {
    const socket = await open(port)
    socket.on('error', () => {})
    socket.write(`${head('POST', '/', length)}{"access_token":"`)
    return socket
  }))
  for (const socket of slow) socket.write(token)
  t.strictSame((await sendRaw(port, head('GET', '/', bearer(token)))).statuses, [200], 'meanwhile')
  t.equal(reached.length, 1)
  await Promise.all(slow.map(async (socket) => {
    const closed = new Promise((resolve) => { socket.once('close', resolve) })
    socket.destroy()
    await closed
  }))
  t.strictSame((await sendRaw(port, head('GET', '/', bearer(token)))).statuses, [200], 'afterwards')
  t.equal(reached.length, 2, 'no handler ran for a body that did not come')
})

t.test('a token that comes a byte at a time is read as one', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const port = await listen(app)
  const socket = await open(port)
  const answer = new Promise<string>((resolve) => { socket.once('data', (chunk: Buffer) => { resolve(chunk.toString()) }) })
  for (const sign of head('GET', '/', bearer(await app.createAccessToken('ada')))) {
    await new Promise<void>((resolve) => { socket.write(sign, () => { resolve() }) })
  }
  t.match(await answer, /^HTTP\/1\.1 200 /)
  socket.destroy()
})
