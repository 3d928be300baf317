// Good requests, changed at random byte by byte, over real sockets.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import formbody from '@fastify/formbody'
import fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtRule, TokenLocation } from '../../index.js'
import { buildApp, SECRET } from '../support/app.js'
import { head, listen, sendRaw } from '../support/raw-http.js'
import { claimsOf } from '../support/sign.js'

// A minute in a continuous build, less at a desk.
const DURATION = process.env['CI'] === 'true' ? 60_000 : 15_000
// What a heap may have more at the end than after a quarter of the time. A leak of one request's data is far beyond it.
const MOST_GROWTH = 24 * 2 ** 20
// How long a server may be silent before it is told that nothing more comes.
const QUIET = 100
// The same for a request that had no answer by then: on a busy machine it may take that long.
const PATIENCE = 3000

const PLACES: readonly TokenLocation[] = ['headers', 'cookies', 'query_string', 'json']

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

interface Site {
  app: FastifyInstance
  port: number
  /** What no handler should have seen. */
  breaches: string[]
  /** How often a handler saw a token, by its place. */
  reached: Map<string, number>
  templates: string[]
}

function urlOf (place: TokenLocation | 'any', optional: boolean): string {
  return `/${place}${optional ? '/optional' : ''}`
}

/** A server with a guard for each place and one for all, and a good request for each of them. */
async function site (t: Test): Promise<Site> {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: [...PLACES], csrfCheckForm: true, verifyCache: 100 })
  await app.register(formbody)
  const tokens = await Promise.all(PLACES.map((place) => app.createAccessToken(place, { expiresDelta: '1d', additionalClaims: { list: [1, { deep: true }] } })))
  const claims = new Map(tokens.map((token, i) => [PLACES[i]!, JSON.stringify(claimsOf(token))]))
  const breaches: string[] = []
  const reached = new Map<string, number>()
  for (const place of [...PLACES, 'any' as const]) {
    for (const optional of [false, true]) {
      const rule: JwtRule = { optional, ...(place !== 'any' && { locations: place }) }
      app.route({
        method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
        url: urlOf(place, optional),
        preHandler: app.jwtRequired(rule),
        handler: async (request) => {
          const { jwtIdentity, jwtLocation } = request
          reached.set(String(jwtLocation), (reached.get(String(jwtLocation)) ?? 0) + 1)
          if (jwtLocation === null) {
            if (!optional || jwtIdentity !== null || Object.keys(request.jwt).length > 0) breaches.push(`nobody came in at ${request.url}`)
          } else if (claims.get(jwtIdentity as TokenLocation) !== JSON.stringify(request.jwt)) {
            breaches.push(`claims that were never signed came in at ${request.url}: ${JSON.stringify(request.jwt)}`)
          }
          return { who: jwtIdentity }
        },
      })
    }
  }

  const [inHeader, inCookie, inQuery, inJson] = tokens as [string, string, string, string]
  const csrf = await app.getCsrfToken(inCookie)
  const cookie = `theme=dark; access_token_cookie=${inCookie}; csrf_access_token=${csrf}`
  const withBody = (path: string, type: string, body: string, headers: Record<string, string> = {}): string =>
    `${head('POST', path, { ...headers, 'content-type': type, 'content-length': String(body.length) })}${body}`
  const templates = [false, true].flatMap((optional) => (['any', 'own'] as const).flatMap((which) => {
    const url = (place: TokenLocation): string => urlOf(which === 'any' ? 'any' : place, optional)
    return [
      head('GET', url('headers'), { authorization: `Bearer ${inHeader}` }),
      head('GET', url('headers'), { authorization: `Basic YTpi, bearer ${inHeader},` }),
      head('GET', url('cookies'), { cookie }),
      head('POST', url('cookies'), { cookie, 'x-csrf-token': csrf, 'content-length': '0' }),
      withBody(url('cookies'), 'application/x-www-form-urlencoded', `a=b&csrf_token=${csrf}`, { cookie }),
      head('GET', `${url('query_string')}?page=1&jwt=${inQuery}`),
      withBody(url('json'), 'application/json', JSON.stringify({ page: 1, access_token: inJson })),
      withBody(url('json'), 'application/json; charset=utf-8', JSON.stringify({ access_token: inJson, a: [{}] })),
      `${head('POST', url('json'), { 'content-type': 'application/json', 'transfer-encoding': 'chunked' })}5\r\n{"a":\r\n5\r\n1,"ac\r\n${(13 + inJson.length).toString(16)}\r\ncess_token":"${inJson}\r\n2\r\n"}\r\n0\r\n\r\n`,
      `${withBody(url('cookies'), 'application/x-www-form-urlencoded', `csrf_token=${csrf}`, { cookie, connection: 'keep-alive' })}${head('GET', '/headers', { authorization: `Bearer ${inHeader}` })}`
    ]
  }))
  return { app, port: await listen(app), breaches, reached, templates }
}

// What tends to matter to whoever reads requests.
const PIECES = [
  '', ' ', '\t', ',', ';', '=', '"', "'", '.', '..', '-', '_', '+', '/', '%', '%2e', '%00', '%', '&', '?', '#', '\\', '\r', '\n', '\r\n', '\r\n\r\n', ':', '\0', '\x7f', '\x80', '\xff', '\u00e9', '{', '}', '[', ']', '[]', '{}', 'null', 'true', '0', '-1', '1e999',
  'Bearer', 'Bearer ', 'bearer ', 'Basic ', 'jwt=', '&jwt=', 'jwt[]=', 'access_token_cookie=', '; access_token_cookie=', '"access_token":', '"access_token":null,', '"__proto__":', '__proto__', 'constructor', 'csrf_token=', 'X-CSRF-TOKEN: ',
  'GET ', 'POST ', 'OPTIONS ', 'HEAD ', 'TRACE ', 'CONNECT ', 'PROPFIND ', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/9.9', 'content-length: 0\r\n', 'content-length: 99999\r\n', 'Content-Length: -1\r\n', 'transfer-encoding: chunked\r\n', 'Transfer-Encoding: gzip\r\n', 'expect: 100-continue\r\n', 'Expect: x\r\n',
  'upgrade: websocket\r\nconnection: upgrade\r\n', 'content-type: application/json\r\n', 'content-type: multipart/form-data; boundary=x\r\n', 'content-type: \r\n', 'content-type: application/json, text/plain\r\n', 'content-encoding: gzip\r\n', 'cookie: \r\n', 'authorization: Bearer x\r\n', 'host: \r\n', 'accept-version: 9\r\n',
  'eyJhbGciOiJub25lIn0', 'eyJhbGciOiJIUzI1NiJ9', 'e30', '/optional', '//', '/../', '/any', '%2f', 'A'.repeat(300), 'a'.repeat(20_000)
]

// What a guard reads, as against what only Node does.
const CARRIER = /eyJ[\w.-]+|access_token\w*|csrf_\w+|x-csrf-token: [\w-]+|[Bb]earer|jwt=|content-type: [^\r]+|\{[^\r]*\}/g

interface Mutation {
  /** Whether anywhere, or in the part of this number that a guard reads. */
  zone: 'anywhere' | number
  /** Where in there, as a part of the whole. */
  at: number
  length: number
  kind: 'replace' | 'insert' | 'delete' | 'flip' | 'copy'
  piece: string
}

const part = fc.noBias(fc.nat({ max: 9999 })).map((value) => value / 10_000)

const mutation: fc.Arbitrary<Mutation> = fc.record({
  zone: fc.oneof({ weight: 1, arbitrary: fc.constant('anywhere' as const) }, { weight: 6, arbitrary: part }),
  at: part,
  length: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 60 })),
  kind: fc.constantFrom('replace', 'insert', 'delete', 'flip', 'copy'),
  piece: fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 8 })),
})

function mutate (text: string, { zone, at, length, kind, piece }: Mutation): string {
  const carriers = zone === 'anywhere' ? [] : [...text.matchAll(CARRIER)]
  const carrier = carriers[Math.floor(Number(zone) * carriers.length)]
  const from = carrier === undefined ? Math.floor(at * text.length) : carrier.index + Math.floor(at * (carrier[0].length + 1))
  const [before, part, after] = [text.slice(0, from), text.slice(from, from + length), text.slice(from + length)]
  switch (kind) {
    case 'replace': return before + piece + after
    case 'insert': return before + piece + part + after
    case 'delete': return before + after
    case 'flip': return before + [...part].map((sign) => String.fromCharCode(sign.charCodeAt(0) ^ (1 << (length & 7)))).join('') + after
    case 'copy': return before + part + part + after
  }
}

/** Says again how long the body is, so that a changed one is read to its end. */
function repair (text: string): string {
  const body = text.indexOf('\r\n\r\n') + 4
  return body < 4 ? text : text.slice(0, body).replace(/^content-length: \d+/m, `content-length: ${text.length - body}`) + text.slice(body)
}

t.test('no change to a good request makes a server error, a hang or a pass for claims that were never signed', async (t) => {
  const { port, breaches, reached, templates } = await site(t)
  for (const template of templates) {
    const { statuses } = await sendRaw(port, template)
    t.ok(statuses.length > 0 && statuses.every((status) => status === 200), `${template.split('\r\n', 1)[0]}: ${statuses.join()}`)
  }
  for (const place of PLACES) t.ok((reached.get(place) ?? 0) > 0, `the good requests come in by ${place}`)

  const statuses = new Map<number | 'closed', number>()
  const started = performance.now()
  let heap: number | undefined
  let runs = 0
  const request = fc.record({
    template: fc.constantFrom(...templates), mutations: fc.array(mutation, { minLength: 1, maxLength: 3 }), isRepaired: fc.boolean(),
  })
  const property = fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 16 }), async (requests) => {
    if (heap === undefined && performance.now() - started > DURATION / 4) {
      collect()
      heap = process.memoryUsage().heapUsed
    }
    // Several at once: many of them are incomplete, so that the server waits.
    await Promise.all(requests.map(async ({ template, mutations, isRepaired }) => {
      runs++
      const changed = mutations.reduce(mutate, template)
      const sent = isRepaired ? repair(changed) : changed
      let answer = await sendRaw(port, sent, QUIET)
      if (answer.statuses.length === 0) answer = await sendRaw(port, sent, PATIENCE)
      if (answer.statuses.length === 0) {
        statuses.set('closed', (statuses.get('closed') ?? 0) + 1)
        throw new Error(`no answer to ${JSON.stringify(sent)}`)
      }
      for (const status of answer.statuses) {
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        if (status >= 500) throw new Error(answer.text.slice(0, 1000))
      }
    }))
    if (breaches.length > 0) throw new Error(breaches.splice(0).join('\n'))
  })
  const result = await fc.check(property, { numRuns: 1e9, interruptAfterTimeLimit: DURATION, markInterruptAsFailure: false })
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? 'no request did')
  t.strictSame(breaches, [])

  collect()
  const growth = process.memoryUsage().heapUsed - heap!
  t.ok(growth < MOST_GROWTH, `the heap grew by ${Math.round(growth / 1024)} KiB`)
  t.comment(`${runs} requests: ${[...statuses].map(([status, count]) => `${status} ${count}`).join(', ')}`)
  t.equal(statuses.get('closed') ?? 0, 0, 'each request had an answer')
  // A run that came near nothing would prove nothing.
  t.ok(runs > DURATION / 200, `${runs} requests`)
  for (const status of [200, 400, 401, 422] as const) t.ok((statuses.get(status) ?? 0) > 5, `${status}: ${statuses.get(status)}`)
  for (const template of templates) {
    const { statuses } = await sendRaw(port, template)
    t.ok(statuses.length > 0 && statuses.every((status) => status === 200), 'a good request afterwards')
  }
})
