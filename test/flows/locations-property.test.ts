import assert from 'node:assert/strict'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import jwtExtended, { type TokenLocation } from '../../index.js'
import { SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'

const LOCATIONS: TokenLocation[] = ['headers', 'cookies', 'query_string', 'json']

/** What may stand in a place. `twice` is a good token of the place and one of somebody else behind it. */
const CONTENTS = ['nothing', 'empty', 'good', 'expired', 'forged', 'malformed', 'other type', 'twice', 'odd'] as const
type Content = typeof CONTENTS[number]

interface Sent {
  /** The order in which the guard looks. */
  order: TokenLocation[]
  /** Whether that order is the configuration's, or the rule's over a configuration of another one. */
  from: 'tokenLocation' | 'locations'
  optional: boolean
  refresh: boolean
  method: 'GET' | 'POST'
  places: Record<TokenLocation, Content>
  csrf: 'missing' | 'wrong' | 'right'
  /** What the body is said to be. */
  bodyType: 'application/json' | 'application/json; charset=utf-8' | 'text/plain'
}

interface Outcome {
  status: number
  msg: string | undefined
  who: string | null | undefined
  where: TokenLocation | null | undefined
}

// Every token of a place names the place, so that an answer shows which one was taken.
const CSRF = 'the value of the double submit'
const HOUR = 3600
const NOW = Math.floor(Date.now() / 1000)

function tokenOf (place: string, content: Content, refresh: boolean): string {
  const claims = { sub: place, csrf: CSRF, type: refresh ? 'refresh' : 'access', exp: NOW + HOUR }
  switch (content) {
    case 'expired': return forge({ ...claims, exp: NOW - HOUR })
    case 'forged': return forge(claims, undefined, 'k'.repeat(64))
    case 'malformed': return 'a.b.c'
    case 'other type': return forge({ ...claims, type: refresh ? 'access' : 'refresh' })
    default: return forge(claims)
  }
}

// ---- the model: what the rule says, written out

function refused (status: number, msg: string): Outcome {
  return { status, msg, who: undefined, where: undefined }
}

function passed (who: string | null, where: TokenLocation | null): Outcome {
  return { status: 200, msg: undefined, who, where }
}

/** What a token comes to once its place has decided. */
function judge (place: TokenLocation, content: Content, sent: Sent): Outcome {
  const needsCsrf = place === 'cookies' && sent.method === 'POST'
  if (needsCsrf && sent.csrf === 'missing') return refused(401, 'Missing CSRF token')
  if (content === 'forged') return refused(422, 'Signature verification failed')
  if (content === 'malformed') return refused(422, 'Malformed token')
  if (needsCsrf && sent.csrf === 'wrong') return refused(401, 'CSRF double submit tokens do not match')
  if (content === 'expired') return refused(401, 'Token has expired')
  if (content === 'other type') return refused(422, sent.refresh ? 'Only refresh tokens are allowed' : 'Only non-refresh tokens are allowed')
  return passed(place, place)
}

/** What one place comes to: an outcome where it decides, or the words for its absence. */
function look (place: TokenLocation, sent: Sent): Outcome | string {
  const content = sent.places[place]
  switch (place) {
    case 'headers':
      if (content === 'nothing' || content === 'empty') return 'Missing Authorization Header'
      // Two fields of the scheme count as none, and so does one of another scheme.
      if (content === 'twice' || content === 'odd') {
        return "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'"
      }
      break
    case 'cookies':
      if (content === 'nothing' || content === 'empty' || content === 'odd') {
        return `Missing cookie "${sent.refresh ? 'refresh' : 'access'}_token_cookie"`
      }
      break
    case 'query_string':
      if (content === 'nothing' || content === 'empty') return "Missing 'jwt' query parameter"
      if (content === 'twice' || content === 'odd') return refused(422, "Invalid value for query parameter 'jwt'. Expected it once")
      break
    case 'json':
      if (sent.bodyType === 'text/plain') return 'Invalid content-type. Must be application/json.'
      // The body of a GET is not read.
      if (sent.method === 'GET' || content === 'nothing' || content === 'empty') {
        return `Missing "${sent.refresh ? 'refresh' : 'access'}_token" key in json data.`
      }
      if (content === 'odd') return refused(422, 'The token must be a string')
      // Of two members of one name a JSON parser keeps the last.
      if (content === 'twice') return passed('somebody else', 'json')
  }
  return judge(place, content, sent)
}

/** The rule: the first location that holds a token decides, also when that token is bad. */
function predict (sent: Sent): Outcome {
  const absent: string[] = []
  for (const place of sent.order) {
    const found = look(place, sent)
    if (typeof found !== 'string') return found
    absent.push(found)
  }
  if (sent.optional) return passed(null, null)
  if (absent.length === 1) return refused(401, absent[0]!)
  return refused(401, `Missing JWT in ${sent.order.slice(0, -1).join(', ')} or ${sent.order.at(-1)} (${absent.join('; ')})`)
}

// ---- the request

const EMPTY_OR_ODD = {
  headers: { empty: '', odd: 'Basic YWRhOmFkYQ==' },
  query_string: { empty: 'jwt=', odd: 'jwt=&jwt=' },
  json: { empty: '', odd: 42 },
}

function compose (sent: Sent): { headers: Record<string, string>, query: string, payload: string } {
  const headers: Record<string, string> = { 'content-type': sent.bodyType }
  const token = (place: TokenLocation): string => tokenOf(place, sent.places[place], sent.refresh)
  const other = tokenOf('somebody else', 'good', sent.refresh)

  const inHeader = sent.places.headers
  if (inHeader === 'empty' || inHeader === 'odd') headers['authorization'] = EMPTY_OR_ODD.headers[inHeader]
  else if (inHeader !== 'nothing') headers['authorization'] = `Bearer ${token('headers')}${inHeader === 'twice' ? `, Bearer ${other}` : ''}`

  const cookieName = sent.refresh ? 'refresh_token_cookie' : 'access_token_cookie'
  const inCookie = sent.places.cookies
  const cookies = ['theme=dark']
  if (inCookie === 'empty') cookies.push(`${cookieName}=`)
  // An empty one in front hides the full one behind: of two cookies of one name the first counts.
  else if (inCookie === 'odd') cookies.push(`${cookieName}=`, `${cookieName}=${other}`)
  else if (inCookie !== 'nothing') cookies.push(`${cookieName}=${token('cookies')}`)
  if (inCookie === 'twice') cookies.push(`${cookieName}=${other}`)
  headers['cookie'] = cookies.join('; ')
  if (sent.csrf !== 'missing') headers['x-csrf-token'] = sent.csrf === 'right' ? CSRF : 'guessed'

  const inQuery = sent.places.query_string
  let query = 'page=1'
  if (inQuery === 'empty' || inQuery === 'odd') query += `&${EMPTY_OR_ODD.query_string[inQuery]}`
  else if (inQuery !== 'nothing') query += `&jwt=${token('query_string')}${inQuery === 'twice' ? `&jwt=${other}` : ''}`

  const member = sent.refresh ? 'refresh_token' : 'access_token'
  const inBody = sent.places.json
  const body: string[] = ['"page":1']
  if (inBody === 'empty' || inBody === 'odd') body.push(`"${member}":${JSON.stringify(EMPTY_OR_ODD.json[inBody])}`)
  else if (inBody !== 'nothing') body.push(`"${member}":"${token('json')}"`)
  if (inBody === 'twice') body.push(`"${member}":"${other}"`)
  return { headers, query, payload: `{${body.join()}}` }
}

// ---- the server: each order in a scope of its own

function ordersOf (rest: TokenLocation[]): TokenLocation[][] {
  return rest.flatMap((first) => [[first], ...ordersOf(rest.filter((other) => other !== first)).map((order) => [first, ...order])])
}

function urlOf ({ from, order, optional, refresh }: Pick<Sent, 'from' | 'order' | 'optional' | 'refresh'>): string {
  return `/${from}/${order.join('-')}/${optional ? 'optional' : 'required'}/${refresh ? 'refresh' : 'access'}`
}

async function build (): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(jwtExtended, { secretKey: SECRET })
  for (const order of ordersOf(LOCATIONS)) {
    await app.register(async (child) => {
      await child.register(jwtExtended, { secretKey: SECRET, tokenLocation: order })
      declare(child, 'tokenLocation', order)
    })
    declare(app, 'locations', order)
  }
  return app
}

function declare (app: FastifyInstance, from: Sent['from'], order: TokenLocation[]): void {
  for (const optional of [false, true]) {
    for (const refresh of [false, true]) {
      app.route({
        method: ['GET', 'POST'],
        url: urlOf({ from, order, optional, refresh }),
        preHandler: app.jwtRequired({ optional, refresh, ...(from === 'locations' && { locations: order }) }),
        handler: async (request) => ({ who: request.jwtIdentity, where: request.jwtLocation }),
      })
    }
  }
}

async function send (app: FastifyInstance, sent: Sent): Promise<Outcome> {
  const { headers, query, payload } = compose(sent)
  const response = await app.inject({ method: sent.method, url: `${urlOf(sent)}?${query}`, headers, payload })
  const { msg, who, where } = response.json<Partial<Outcome>>()
  return { status: response.statusCode, msg, who, where }
}

const anyContent = fc.constantFrom(...CONTENTS)
// Empty places are the ones that let the next one be seen, so they are to be common.
const content = fc.oneof({ weight: 2, arbitrary: fc.constantFrom<Content[]>('nothing', 'empty') }, { weight: 3, arbitrary: anyContent })

const anySent: fc.Arbitrary<Sent> = fc.record({
  order: fc.shuffledSubarray(LOCATIONS, { minLength: 1 }),
  from: fc.constantFrom('tokenLocation', 'locations'),
  optional: fc.boolean(),
  refresh: fc.boolean(),
  method: fc.constantFrom('GET', 'POST'),
  places: fc.record({ headers: content, cookies: content, query_string: content, json: content }),
  csrf: fc.constantFrom('missing', 'wrong', 'right', 'right'),
  bodyType: fc.constantFrom('application/json', 'application/json', 'application/json; charset=utf-8', 'text/plain'),
})

t.test('the first location that holds a token decides, in any order and whatever stands in the others', async (t) => {
  const app = await build()
  t.teardown(() => app.close())
  const outcomes = new Map<string, number>()
  await fc.assert(fc.asyncProperty(anySent, async (sent) => {
    const expected = predict(sent)
    const actual = await send(app, sent)
    outcomes.set(`${actual.status} ${actual.where ?? ''}`, (outcomes.get(`${actual.status} ${actual.where ?? ''}`) ?? 0) + 1)
    assert.deepEqual(actual, expected)
  }), { numRuns: 1500 })
  // A run that never came near a location would prove nothing about it.
  for (const outcome of ['200 headers', '200 cookies', '200 query_string', '200 json', '200 ', '401 ', '422 ']) {
    t.ok((outcomes.get(outcome) ?? 0) > 10, `${outcome}: ${outcomes.get(outcome)} times`)
  }
})

t.test('each pair of places, each pair of contents: the second one counts only where the first holds nothing', async (t) => {
  const app = await build()
  t.teardown(() => app.close())
  for (const [first, second] of ordersOf(LOCATIONS).filter((order) => order.length === 2) as [TokenLocation, TokenLocation][]) {
    for (const inFirst of CONTENTS) {
      for (const inSecond of CONTENTS) {
        const places = { headers: 'nothing', cookies: 'nothing', query_string: 'nothing', json: 'nothing', [first]: inFirst, [second]: inSecond } as const
        const sent: Sent = {
          order: [first, second], from: 'tokenLocation', optional: false, refresh: false, method: 'POST', places, csrf: 'right', bodyType: 'application/json',
        }
        t.strictSame(await send(app, sent), predict(sent), `${first}: ${inFirst}, ${second}: ${inSecond}`)
      }
    }
  }
})

t.test('locations that are not asked for are not looked at', async (t) => {
  const app = await build()
  t.teardown(() => app.close())
  await fc.assert(fc.asyncProperty(anySent, anySent, async (sent, other) => {
    // The same request with anything else in the places that the guard does not name.
    const places = { ...other.places }
    for (const place of sent.order) places[place] = sent.places[place]
    assert.deepEqual(await send(app, { ...sent, places }), await send(app, sent))
  }), { numRuns: 400 })
})
