import fc from 'fast-check'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions, JwtRule } from '../index.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { forge } from './support/forge.js'
import { pairFor } from './support/keys.js'

const RUNS = 300

const RULES: Record<string, JwtRule> = {
  plain: {}, optional: { optional: true }, fresh: { fresh: true }, refresh: { refresh: true }, any: { verifyType: false }, strict: { fresh: true, refresh: true },
}

const LOADERS: JwtExtendedOptions = {
  tokenInBlocklistLoader: async () => false,
  tokenVerificationLoader: () => true,
  userLookupLoader: async (_header, payload) => payload.sub ?? null,
}

/** An app with a route for each rule; each tells that it was reached and by whom. */
async function fuzzApp (t: Test, options: JwtExtendedOptions): Promise<FastifyInstance> {
  const app = await buildApp(t, options)
  for (const [name, rule] of Object.entries(RULES)) {
    app.route({ method: ['GET', 'POST'], url: `/${name}`, preHandler: app.jwtRequired(rule), handler: async (request) => ({ reached: true, jwt: request.jwt, by: request.jwtLocation }) })
  }
  return app
}

interface Answered {
  status: number
  reached: boolean
  jwt: Record<string, unknown>
  by: string | null
}

/** Sends a request; fails for a 5xx, and for an answer that is neither of the contract nor of Fastify. */
async function send (app: FastifyInstance, request: InjectOptions): Promise<Answered> {
  const response = await app.inject(request)
  const body = response.json<{ reached?: boolean, jwt?: Record<string, unknown>, by?: string | null, msg?: unknown, message?: unknown }>()
  const known = [200, 400, 401, 415, 422].includes(response.statusCode)
  if (!known) throw new Error(`${response.statusCode} ${response.body}`)
  if ((response.statusCode === 200) !== (body.reached === true)) throw new Error(`${response.statusCode} ${response.body}`)
  if (response.statusCode !== 200 && typeof (body.msg ?? body.message) !== 'string') throw new Error(`no message: ${response.body}`)
  return { status: response.statusCode, reached: body.reached === true, jwt: body.jwt ?? {}, by: body.by ?? null }
}

/** Holds a property; prints the counterexample where it does not. */
async function hold<Values extends [unknown, ...unknown[]]> (t: Test, property: fc.IAsyncProperty<Values>, examples: Values[] = []): Promise<void> {
  const result = await fc.check(property, { numRuns: RUNS, examples })
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? `${result.numRuns} runs`)
}

const pathOf = fc.constantFrom(...Object.keys(RULES)).map((name) => `/${name}`)

// What Node lets through as a header's value (RFC 9110 §5.5).
const headerText = fc.string({ unit: fc.integer({ min: 0, max: 255 }).filter((code) => code === 9 || (code >= 32 && code !== 127)).map((code) => String.fromCharCode(code)), maxLength: 200 })

const base64url = fc.string({ unit: fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'), maxLength: 80 })

const tokenLike = fc.oneof(
  fc.tuple(base64url, base64url, base64url).map((parts) => parts.join('.')),
  fc.array(base64url, { maxLength: 6 }).map((parts) => parts.join('.')),
  fc.tuple(fc.json(), fc.json(), base64url).map(([header, payload, signature]) => `${Buffer.from(header).toString('base64url')}.${Buffer.from(payload).toString('base64url')}.${signature}`),
  headerText
)

const HEADER_TYPES: Record<string, JwtExtendedOptions> = {
  Bearer: {}, JWT: { headerType: 'JWT' }, 'the bare token': { headerType: '' }, 'another header': { headerName: 'X-Token', headerType: 'Token' },
}

for (const [name, options] of Object.entries(HEADER_TYPES)) {
  const header = options.headerName ?? 'authorization'
  const scheme = options.headerType ?? 'Bearer'

  t.test(`${name}: no random header is a 5xx, and none passes`, async (t) => {
    const app = await fuzzApp(t, { secretKey: SECRET, ...options })
    const piece = fc.oneof(fc.constantFrom(scheme, scheme.toLowerCase(), ' ', ',', '\t', ', ', '"', '=', 'Basic x', '.', ''), tokenLike)
    const value = fc.oneof(headerText, tokenLike, tokenLike.map((token) => `${scheme} ${token}`), fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')))
    await hold(t, fc.asyncProperty(pathOf, value, async (url, text) => {
      const answer = await send(app, { url, headers: { [header]: text } })
      if (url !== '/optional') return answer.status !== 200
      return answer.by === null && Object.keys(answer.jwt).length === 0
    }))
  })

  t.test(`${name}: a good token passes among whatever other fields there are, or is not looked at`, async (t) => {
    const app = await fuzzApp(t, { secretKey: SECRET, ...options })
    const token = await app.createAccessToken('ada')
    const field = fc.oneof(fc.constant(`${scheme} ${token}`), headerText, fc.constantFrom('', ' ', 'Basic x', scheme))
    await hold(t, fc.asyncProperty(fc.array(field, { maxLength: 4 }), fc.constantFrom(',', ', ', ' , '), async (fields, separator) => {
      const answer = await send(app, { url: '/optional', headers: { [header]: fields.join(separator) } })
      return answer.by === null || answer.jwt['sub'] === 'ada'
    }))
  })
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

type Mutation = (token: string) => string

const position = fc.nat({ max: 10_000 })
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(position, fc.constantFrom(...ALPHABET, '.', '=', '+', '/', ' ', '%', '~')).map(([at, sign]) => (token: string) => splice(token, at, 1, sign)),
  fc.tuple(position, fc.constantFrom(...ALPHABET, '.', '=', ' ', ',')).map(([at, sign]) => (token: string) => splice(token, at, 0, sign)),
  fc.tuple(position, fc.integer({ min: 1, max: 40 })).map(([at, count]) => (token: string) => splice(token, at, count, '')),
  fc.tuple(position, position).map(([a, b]) => (token: string) => swap(token, a % token.length, b % token.length)),
  fc.constantFrom<Mutation>(
    (token) => token.toLowerCase(), (token) => token.toUpperCase(), (token) => `${token}.`, (token) => `.${token}`, (token) => `${token}${token}`,
    (token) => token.slice(0, token.lastIndexOf('.')), (token) => token.slice(0, token.lastIndexOf('.') + 1), (token) => token.split('.').reverse().join('.'),
    (token) => token.split('').reverse().join(''), (token) => `"${token}"`, (token) => encodeURIComponent(`${token}\0`)
  )
)

function splice (token: string, at: number, count: number, insert: string): string {
  const from = at % (token.length + 1)
  return token.slice(0, from) + insert + token.slice(from + count)
}

function swap (token: string, a: number, b: number): string {
  const signs = [...token]
  ;[signs[a], signs[b]] = [signs[b]!, signs[a]!]
  return signs.join('')
}

/** Whether two texts are one token: the same signing input, and signatures of the same bytes in canonical signs. */
function isSameToken (text: string, token: string): boolean {
  const [cutA, cutB] = [text.lastIndexOf('.'), token.lastIndexOf('.')]
  const [signatureA, signatureB] = [text.slice(cutA + 1), token.slice(cutB + 1)]
  return text.slice(0, cutA) === token.slice(0, cutB) && /^[\w-]+$/.test(signatureA) &&
    Buffer.from(signatureA, 'base64url').equals(Buffer.from(signatureB, 'base64url'))
}

for (const algorithm of ['HS256', 'ES256', 'RS256', 'EdDSA'] as const) {
  t.test(`${algorithm}: of all mutations of a token only the intact one passes`, async (t) => {
    const key: JwtExtendedOptions = algorithm === 'HS256' ? { secretKey: SECRET } : { algorithm, ...pairFor(algorithm) }
    const app = await fuzzApp(t, key)
    const token = await app.createAccessToken('ada', { fresh: true })
    let passed = 0
    await hold(t, fc.asyncProperty(pathOf, fc.array(mutation, { maxLength: 3 }), async (url, mutations) => {
      const text = mutations.reduce((text, mutate) => mutate(text), token).trim()
      const answer = await send(app, { url, headers: bearer(text) })
      // What stands behind a comma is another field of the header, and no part of the token.
      const isOurs = isSameToken(text.split(',', 1)[0]!.trim(), token)
      if (isOurs && answer.reached) passed++
      if (url === '/refresh' || url === '/strict') return !answer.reached
      return answer.by === null ? !isOurs : isOurs && answer.jwt['sub'] === 'ada'
    }), [
      ['/plain', []], ['/optional', []], ['/fresh', []], ['/any', []], ['/refresh', []],
      ['/plain', [(intact) => `${intact},`]], ['/plain', [(intact) => `${intact} , Basic x`]], ['/plain', [(intact) => `,${intact}`]], ['/plain', [(intact) => `${intact}=`]]
    ])
    t.ok(passed >= 4, `${passed} passed`)
  })
}

const anyClaim = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<unknown>, fc.constantFrom<unknown>(null, 0, 1, -1, 1.5, 9e15, -9e15, 1e308, true, false, '', 'ada', 'access', 'refresh', [], {}, [null], { a: { b: [] } })
)
const claimName = fc.constantFrom('sub', 'type', 'fresh', 'jti', 'exp', 'nbf', 'iat', 'iss', 'aud', 'csrf', '__proto__', 'constructor', 'toString', 'x')
const headerName = fc.constantFrom('typ', 'kid', 'crit', 'b64', 'jku', 'jwk', 'x5u', 'x5c', 'cty', 'alg', 'zip', '__proto__', 'x')

function jsonOf (entries: [string, unknown][]): string {
  return `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`
}

t.test('no header and no claims, properly signed, are a 5xx; what passes is a string sub, of its type, and in time', async (t) => {
  const claims = fc.array(fc.tuple(claimName, anyClaim), { maxLength: 8 })
  const headers = fc.array(fc.tuple(headerName, anyClaim), { maxLength: 4 })
  for (const options of [{ secretKey: SECRET }, { secretKey: SECRET, ...LOADERS }, { secretKey: SECRET, decodeKeyLoader: async () => SECRET }, { secretKey: SECRET, decodeLeeway: 30, verifyCache: false as const }]) {
    const app = await fuzzApp(t, options)
    let passed = 0
    await hold(t, fc.asyncProperty(pathOf, headers, claims, fc.boolean(), async (url, header, payload, isNamed) => {
      const entries: [string, unknown][] = isNamed ? [...payload, ['sub', 'ada']] : payload
      const token = forge(jsonOf(entries), jsonOf([...header.filter(([name]) => name !== 'alg' && name !== 'crit'), ['alg', 'HS256']]))
      const answer = await send(app, { url, headers: bearer(token) })
      if (!answer.reached) return true
      passed++
      const { jwt } = answer
      const last = Object.fromEntries(entries.filter(([name]) => name !== '__proto__'))
      const type = 'type' in last ? last['type'] : 'access'
      return typeof jwt['sub'] === 'string' && JSON.stringify(jwt['type']) === JSON.stringify(type) &&
        (jwt['exp'] === undefined || Number(jwt['exp']) > Date.now() / 1000 - 31) &&
        (jwt['nbf'] === undefined || Number(jwt['nbf']) < Date.now() / 1000 + 31) &&
        (url === '/any' || type === (url === '/refresh' || url === '/strict' ? 'refresh' : 'access'))
    }), [['/plain', [], [['sub', 'ada']], false], ['/any', [['kid', 'k']], [['sub', 'ada'], ['exp', 9e15]], true]])
    t.ok(passed > 0, `${passed} passed`)
  }
})

t.test('no text in place of the header or the payload, properly signed, is a 5xx', async (t) => {
  const app = await fuzzApp(t, { secretKey: SECRET })
  const text = fc.oneof(fc.json(), fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('', 'null', '[]', '{}', '"', '{"alg":"HS256"}', '{"sub":"ada"}', '\ufeff{"sub":"ada"}'))
  await hold(t, fc.asyncProperty(pathOf, text, text, async (url, header, payload) => {
    const answer = await send(app, { url, headers: bearer(forge(payload, header)) })
    return !answer.reached || answer.jwt['sub'] !== undefined
  }))
})

t.test('no algorithm in the header but the configured one passes', async (t) => {
  const app = await fuzzApp(t, { secretKey: SECRET })
  const alg = fc.oneof(fc.constantFrom<unknown>('none', 'None', 'hs256', 'HS256 ', 'HS384', 'HS512', 'RS256', 'ES256', 'EdDSA', '', null, ['HS256'], { alg: 'HS256' }, 256, true), anyClaim)
  await hold(t, fc.asyncProperty(alg, async (value) => {
    // As text where it is no string: not every object can be made one, and the signature is then that of HS256.
    const header = { alg: value }
    const answer = await send(app, { url: '/any', headers: bearer(forge({ sub: 'ada' }, typeof value === 'string' ? header : JSON.stringify(header))) })
    return answer.reached === (value === 'HS256')
  }), [['HS256'], [{ toString: 0 }], [['HS256']]])
})

t.test('no cookie header, query string or body is a 5xx, and none passes', async (t) => {
  const app = await fuzzApp(t, { secretKey: SECRET, tokenLocation: ['cookies', 'query_string', 'json', 'headers'], csrfCheckForm: true, csrfMethods: ['POST', 'GET'] })
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => { done(null, Object.fromEntries(new URLSearchParams(body as string))) })
  const cookie = fc.oneof(headerText, tokenLike.map((token) => `access_token_cookie=${token}`), fc.array(fc.tuple(fc.constantFrom('access_token_cookie', 'refresh_token_cookie', 'x', ''), tokenLike), { maxLength: 4 }).map((pairs) => pairs.map((pair) => pair.join('=')).join('; ')))
  const query = fc.array(fc.tuple(fc.constantFrom('jwt', 'x', '__proto__', 'jwt[]', ''), tokenLike), { maxLength: 3 }).map((pairs) => pairs.map((pair) => pair.map((part) => encodeURIComponent(part)).join('=')).join('&'))
  const body = fc.oneof(fc.json(), tokenLike.map((token) => JSON.stringify({ access_token: token, refresh_token: token })), anyClaim.map((token) => JSON.stringify({ access_token: token, refresh_token: token })), fc.string())
  const type = fc.constantFrom('application/json', 'application/json; charset=utf-8', 'application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data', 'application/', '')
  const method = fc.constantFrom('GET', 'POST')
  await hold(t, fc.asyncProperty(fc.record({ method, url: pathOf, cookie: fc.option(cookie), query: fc.option(query), body: fc.option(body), type, csrf: fc.option(headerText) }), async (request) => {
    const headers: Record<string, string> = { 'content-type': request.type }
    if (request.cookie !== null) headers['cookie'] = request.cookie
    if (request.csrf !== null) headers['x-csrf-token'] = request.csrf
    const answer = await send(app, {
      method: request.method, url: `${request.url}${request.query === null ? '' : `?${request.query}`}`, headers, ...(request.body !== null && { payload: request.body }),
    })
    return request.url === '/optional' ? answer.by === null : !answer.reached
  }))
})

t.test('whatever the claims of a new token are, it says what was asked for, or there is none', async (t) => {
  const app = await fuzzApp(t, { secretKey: SECRET })
  const claims = fc.array(fc.tuple(claimName, anyClaim), { maxLength: 6 }).map((entries) => JSON.parse(jsonOf(entries)) as Record<string, unknown>)
  let made = 0
  await hold(t, fc.asyncProperty(claims, fc.boolean(), async (additionalClaims, isAccess) => {
    const create = isAccess ? app.createAccessToken : app.createRefreshToken
    const token = await create('ada', { additionalClaims: additionalClaims as never }).catch((error: { code?: string }) => {
      if (error.code !== 'FST_JWT_EXT_USAGE') throw error
    })
    if (token === undefined) return true
    made++
    const payload = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
    const crossed = await send(app, { url: isAccess ? '/refresh' : '/plain', headers: bearer(token) })
    return !crossed.reached && Object.entries(additionalClaims).every(([name, value]) => JSON.stringify(Object.getOwnPropertyDescriptor(payload, name)?.value) === JSON.stringify(value))
  }))
  t.ok(made > 0, `${made} made`)
})
