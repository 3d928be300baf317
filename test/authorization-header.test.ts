import { request as httpRequest, type OutgoingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import jwtExtended, { type JwtExtendedOptions } from '../index.js'
import { createHeaderReader } from '../lib/authorization-header.js'
import { buildApp, SECRET } from './support/app.js'

const MISSING = 'Missing Authorization Header'
const OTHER = "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'"
const BAD = "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'"

/** What a header comes to, `T` standing for a good token: the identity, or status and message. */
async function asker (t: Test, options: JwtExtendedOptions = {}): Promise<(header: string | undefined, url?: string) => Promise<string>> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  app.get('/optional', { preHandler: app.jwtRequired({ optional: true }) }, async (request) => request.jwtIdentity ?? 'anonymous')
  const token = await app.createAccessToken('ada')
  const name = options.headerName ?? 'authorization'
  return async (header, url = '/') => {
    const response = await app.inject({ url, headers: header === undefined ? {} : { [name]: header.replaceAll(/\bT/g, token) } })
    return response.statusCode === 200 ? response.body : `${response.statusCode} ${response.json().msg}`
  }
}

t.test('the header that everybody sends is read', async (t) => {
  const ask = await asker(t)
  t.equal(await ask('Bearer T'), 'ada')
  t.equal(await ask(undefined), `401 ${MISSING}`)
})

t.test('the scheme matches without regard to case', async (t) => {
  const ask = await asker(t)
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR']) t.equal(await ask(`${scheme} T`), 'ada', scheme)
  const jwt = await asker(t, { headerType: 'jwt' })
  for (const scheme of ['jwt', 'JWT', 'Jwt']) t.equal(await jwt(`${scheme} T`), 'ada', scheme)
})

t.test('spaces, tabs and commas around the token and the fields do not matter', async (t) => {
  const ask = await asker(t)
  for (const header of ['Bearer  T', 'Bearer\tT', 'Bearer \t T', '  Bearer T  ', 'Bearer T,', 'Bearer T , ', ',Bearer T', ' , Bearer T', 'Bearer T,,', ',,,Bearer T,,,', 'bearer   T ,']) {
    t.equal(await ask(header), 'ada', JSON.stringify(header))
  }
})

t.test('the field of the scheme may stand anywhere among others', async (t) => {
  const ask = await asker(t)
  for (const header of [
    'Bearer T, Basic abc', 'Basic abc, Bearer T', 'Basic abc,Bearer T', 'Basic abc , bearer T , Digest x', 'Foo, Bearer T', 'Bearer T, Foo', ', Foo 1 2 3, Bearer T'
  ]) {
    t.equal(await ask(header), 'ada', header)
    t.equal(await ask(header, '/optional'), 'ada', header)
  }
})

t.test('two fields of the scheme count as none', async (t) => {
  const ask = await asker(t)
  for (const header of ['Bearer T, Bearer T', 'Bearer T, bearer T', 'Bearer T,Bearer x', 'Bearer, Bearer T', 'Bearer T, Bearer', 'Bearer a b, Bearer T', 'Bearer T, Foo 1, Bearer T']) {
    t.equal(await ask(header), `401 ${OTHER}`, header)
    t.equal(await ask(header, '/optional'), 'anonymous', header)
  }
})

t.test('a header without the scheme holds no token', async (t) => {
  const ask = await asker(t)
  for (const header of ['Basic abc', 'T', 'Foo 1, Bar 2', 'BearerT', 'Bearer:T', 'Bearer=T', 'Basic Bearer T', '"Bearer" T', 'Bearerx T', 'xBearer T', 'Bearer;T']) {
    t.equal(await ask(header), `401 ${OTHER}`, header)
    t.equal(await ask(header, '/optional'), 'anonymous', header)
  }
})

t.test('a header that is empty, or nothing but spaces and commas, is missing', async (t) => {
  const ask = await asker(t)
  for (const header of ['', ' ', ',', ',,', ' , ', '\t']) {
    t.equal(await ask(header), `401 ${MISSING}`, JSON.stringify(header))
    t.equal(await ask(header, '/optional'), 'anonymous', JSON.stringify(header))
  }
})

t.test('the scheme with nothing or with several words behind it is a bad header, on optional routes too', async (t) => {
  const ask = await asker(t)
  for (const header of ['Bearer', 'Bearer ', 'bearer', 'Bearer ,', 'Bearer, Basic x', 'Basic x, Bearer', 'Bearer T x', 'Bearer x T', 'Bearer T T', 'Bearer Bearer T', 'Bearer a b c']) {
    t.equal(await ask(header), `422 ${BAD}`, header)
    t.equal(await ask(header, '/optional'), `422 ${BAD}`, header)
  }
})

t.test('one word behind the scheme is a token, good or bad, on optional routes too', async (t) => {
  const ask = await asker(t)
  for (const url of ['/', '/optional']) {
    t.equal(await ask('Bearer x', url), '422 Not enough segments')
    t.equal(await ask('Bearer Tx', url), '422 Signature verification failed')
    t.equal(await ask('Bearer "T"', url), '422 Malformed token')
  }
})

t.test('the name and the scheme are the configured ones, in the messages too', async (t) => {
  const ask = await asker(t, { headerName: 'X-Token', headerType: 'JWT' })
  t.equal(await ask('JWT T'), 'ada')
  t.equal(await ask(undefined), '401 Missing X-Token Header')
  t.equal(await ask('Bearer T'), "401 Missing 'JWT' type in 'X-Token' header. Expected 'X-Token: JWT <JWT>'")
  t.equal(await ask('JWT'), "422 Bad X-Token header. Expected 'X-Token: JWT <JWT>'")
})

t.test('with the scheme \'\' the header is the bare token', async (t) => {
  const ask = await asker(t, { headerType: '' })
  for (const header of ['T', ' T ', 'T,', ',T', ',, T ,']) t.equal(await ask(header), 'ada', JSON.stringify(header))
  for (const header of [undefined, '', ' ', ',']) {
    t.equal(await ask(header), `401 ${MISSING}`)
    t.equal(await ask(header, '/optional'), 'anonymous')
  }
  for (const header of ['Bearer T', 'T T', 'a b c', 'T, T']) {
    t.equal(await ask(header), "422 Bad Authorization header. Expected 'Authorization: <JWT>'", header)
    t.equal(await ask(header, '/optional'), "422 Bad Authorization header. Expected 'Authorization: <JWT>'", header)
  }
  t.equal(await ask('x'), '422 Not enough segments')
})

t.test('a header that came as a list is read as one', async (t) => {
  const reader = createHeaderReader('X-Token', 'Bearer')
  t.equal(reader.read(['Basic x', 'Bearer abc']), 'abc')
  t.equal(reader.read(['Bearer abc']), 'abc')
  t.equal(reader.read(['Bearer abc', 'Bearer def']), undefined)
  t.equal(reader.read([]), undefined)
  t.equal(reader.absence([]), 'Missing X-Token Header')
  t.equal(reader.absence(undefined), 'Missing X-Token Header')
  t.equal(reader.absence(['Basic x']), "Missing 'Bearer' type in 'X-Token' header. Expected 'X-Token: Bearer <JWT>'")
  const bare = createHeaderReader('X-Token', '')
  t.equal(bare.read(['abc']), 'abc')
  t.equal(bare.read([]), undefined)
  t.equal(bare.absence(undefined), 'Missing X-Token Header')
})

t.test('a header of nothing but commas or spaces is read in time', async (t) => {
  const ask = await asker(t)
  for (const piece of [',', ' ', ', ', 'Foo,', ' \t', 'a ']) {
    const started = performance.now()
    t.match(await ask(`${piece.repeat(7000)}x`), /^401/)
    t.ok(performance.now() - started < 1000, JSON.stringify(piece))
  }
})

t.test('a listening server reads what came over the wire', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET })
  const custom = { secretKey: SECRET, headerName: 'X-Token', namespace: 'custom' }
  await app.register(jwtExtended, custom)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  app.get('/custom', { preHandler: app.jwtManager('custom').jwtRequired() }, async (request) => request.jwtIdentity)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const [token, other] = [await app.createAccessToken('ada'), await app.createAccessToken('bob')]

  async function get (path: string, headers: OutgoingHttpHeaders): Promise<string> {
    return await new Promise((resolve, reject) => {
      httpRequest({ port, host: '127.0.0.1', path, headers, agent: false }, (response) => {
        response.setEncoding('utf8').reduce((text: string, chunk: string) => text + chunk, '').then((body) => { resolve(`${response.statusCode} ${body}`) }, reject)
      }).on('error', reject).end()
    })
  }

  t.equal(await get('/', { authorization: `Bearer ${token}` }), '200 ada')
  t.equal(await get('/', { AUTHORIZATION: `bearer   ${token}  ` }), '200 ada')
  t.equal(await get('/', { authorization: `Basic YTpi, Bearer ${token}` }), '200 ada')
  t.match(await get('/', {}), `401 {"msg":"${MISSING}"}`)
  t.match(await get('/', { authorization: '' }), `401 {"msg":"${MISSING}"}`)
  t.match(await get('/', { authorization: 'Bearer ' }), '422')
  t.equal(await get('/custom', { 'x-token': ['Basic YTpi', `Bearer ${token}`] }), '200 ada', 'sent twice, joined by Node')
  t.match(await get('/custom', { 'x-token': [`Bearer ${token}`, `Bearer ${other}`] }), '401')
  t.match(await get('/', { authorization: `Bearer ${'x'.repeat(20_000)}` }), '431')
})
