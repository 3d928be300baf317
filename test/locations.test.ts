import { connect } from 'node:http2'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions, JwtRule, TokenLocation } from '../index.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { forge } from './support/forge.js'

const ALL: TokenLocation[] = ['headers', 'cookies', 'query_string', 'json']

/** An app with a guarded and an optional route for any method, both of which tell who came and from where. */
async function locationApp (t: Test, options: JwtExtendedOptions, rule: JwtRule = {}): Promise<FastifyInstance> {
  const app = await buildApp(t, { secretKey: SECRET, cookieCsrfProtect: false, ...options })
  const method = ['GET', 'POST', 'PUT', 'DELETE']
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => { done(null, body) })
  app.route({ method, url: '/', preHandler: app.jwtRequired(rule), handler: async (request) => `${request.jwtIdentity} by ${request.jwtLocation}` })
  app.route({ method, url: '/optional', preHandler: app.jwtRequired({ ...rule, optional: true }), handler: async (request) => `${request.jwtIdentity} by ${request.jwtLocation}` })
  return app
}

async function ask (app: FastifyInstance, options: InjectOptions): Promise<string> {
  const response = await app.inject({ url: '/', ...options })
  return response.statusCode === 200 ? response.body : `${response.statusCode} ${response.json().msg ?? response.json().message}`
}

/** A request that carries a token in one location. */
function carry (location: TokenLocation, token: string): InjectOptions {
  switch (location) {
    case 'headers': return { headers: bearer(token) }
    case 'cookies': return { cookies: { access_token_cookie: token } }
    case 'query_string': return { query: { jwt: token } }
    case 'json': return { method: 'POST', payload: { access_token: token } }
  }
}

t.test('a token is found in each location, and the request says which', async (t) => {
  for (const location of ALL) {
    const alone = await locationApp(t, { tokenLocation: location })
    const among = await locationApp(t, { tokenLocation: ALL })
    const token = await alone.createAccessToken('ada')
    t.equal(await ask(alone, carry(location, token)), `ada by ${location}`)
    t.equal(await ask(among, carry(location, token)), `ada by ${location}`)
  }
})

t.test('only the configured locations are looked at, and headers by default', async (t) => {
  for (const location of [undefined, ...ALL]) {
    const app = await locationApp(t, location === undefined ? {} : { tokenLocation: [location] })
    const token = await app.createAccessToken('ada')
    for (const other of ALL) {
      const expected = other === (location ?? 'headers')
      t.match(await ask(app, carry(other, token)), expected ? 'ada by' : '401', `${location}: ${other}`)
      t.match(await ask(app, { ...carry(other, token), url: '/optional' }), expected ? 'ada by' : 'null by null')
    }
  }
})

t.test('the order is the precedence, and a rule may have an order of its own', async (t) => {
  const orders: TokenLocation[][] = [['headers', 'cookies', 'query_string', 'json'], ['json', 'query_string', 'cookies', 'headers'], ['query_string', 'headers', 'json', 'cookies']]
  for (const order of orders) {
    for (const app of [await locationApp(t, { tokenLocation: order }), await locationApp(t, {}, { locations: order })]) {
      const tokens = await Promise.all(ALL.map((location) => app.createAccessToken(location)))
      const carried = ALL.map((location, index) => carry(location, tokens[index]!))
      for (let from = 0; from < order.length; from++) {
        const rest = order.slice(from)
        const merged = Object.assign({ method: 'POST' }, ...rest.map((location) => carried[ALL.indexOf(location)])) as InjectOptions
        t.equal(await ask(app, merged), `${rest[0]} by ${rest[0]}`)
      }
    }
  }
})

t.test('the first location that holds a token decides, also when it is a bad one', async (t) => {
  for (const first of ALL) {
    const others = ALL.filter((location) => location !== first)
    const app = await locationApp(t, { tokenLocation: [first, ...others] })
    const token = await app.createAccessToken('ada')
    for (const bad of ['x', forge({ sub: 'ada', exp: 1 }), forge({ sub: 'ada' }, { alg: 'HS256' }, 'another')]) {
      const request = Object.assign({ method: 'POST' }, ...others.map((location) => carry(location, token)), carry(first, bad)) as InjectOptions
      t.match(await ask(app, request), /^(422|401) (Not enough segments|Token has expired|Signature verification failed)$/, first)
      t.match(await ask(app, { ...request, url: '/optional' }), /^(422|401) /, first)
    }
  }
})

t.test('a location that holds nothing is passed over', async (t) => {
  const app = await locationApp(t, { tokenLocation: ALL })
  const token = await app.createAccessToken('ada')
  const payload = { access_token: token }
  t.equal(await ask(app, { method: 'POST', payload, headers: { authorization: 'Basic x' } }), 'ada by json')
  t.equal(await ask(app, { method: 'POST', payload, headers: { authorization: 'Bearer x, Bearer y' } }), 'ada by json')
  t.equal(await ask(app, { method: 'POST', payload, cookies: { access_token_cookie: '', other: 'x' } }), 'ada by json')
  t.equal(await ask(app, { method: 'POST', payload, query: { jwt: '', other: 'x' } }), 'ada by json')
})

t.test('what is malformed in a location stops the search there', async (t) => {
  const app = await locationApp(t, { tokenLocation: ALL })
  const token = await app.createAccessToken('ada')
  const payload = { access_token: token }
  t.match(await ask(app, { method: 'POST', payload, headers: { authorization: 'Bearer' } }), '422 Bad Authorization header')
  t.match(await ask(app, { method: 'POST', payload, url: '/?jwt=a&jwt=b' }), "422 Invalid value for query parameter 'jwt'")
})

t.test('the message of one location says what it misses', async (t) => {
  const rows: [JwtExtendedOptions, InjectOptions, string][] = [
    [{ tokenLocation: 'headers' }, {}, 'Missing Authorization Header'],
    [{ tokenLocation: 'headers' }, { headers: { authorization: 'Basic x' } }, "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'"],
    [{ tokenLocation: 'cookies' }, {}, 'Missing cookie "access_token_cookie"'],
    [{ tokenLocation: 'cookies', accessCookieName: 'mine' }, {}, 'Missing cookie "mine"'],
    [{ tokenLocation: 'query_string' }, {}, "Missing 'jwt' query parameter"],
    [{ tokenLocation: 'query_string', queryStringName: 'token' }, {}, "Missing 'token' query parameter"],
    [{ tokenLocation: 'json' }, {}, 'Invalid content-type. Must be application/json.'],
    [{ tokenLocation: 'json' }, { method: 'POST', payload: 'x', headers: { 'content-type': 'text/plain' } }, 'Invalid content-type. Must be application/json.'],
    [{ tokenLocation: 'json' }, { method: 'POST', payload: {} }, 'Missing "access_token" key in json data.'],
    [{ tokenLocation: 'json', jsonKey: 'mine' }, { method: 'POST', payload: {} }, 'Missing "mine" key in json data.'],
  ]
  for (const [options, request, message] of rows) t.equal(await ask(await locationApp(t, options), request), `401 ${message}`)
})

t.test('the names of a refresh token\'s places are its own', async (t) => {
  const cookies = await locationApp(t, { tokenLocation: 'cookies' }, { refresh: true })
  const token = await cookies.createRefreshToken('ada')
  t.equal(await ask(cookies, { cookies: { refresh_token_cookie: token } }), 'ada by cookies')
  t.equal(await ask(cookies, { cookies: { access_token_cookie: token } }), '401 Missing cookie "refresh_token_cookie"')
  const json = await locationApp(t, { tokenLocation: 'json' }, { refresh: true })
  t.equal(await ask(json, { method: 'POST', payload: { refresh_token: token } }), 'ada by json')
  t.equal(await ask(json, { method: 'POST', payload: { access_token: token } }), '401 Missing "refresh_token" key in json data.')
  const named = await locationApp(t, { tokenLocation: ['cookies', 'json'], refreshCookieName: 'r', refreshJsonKey: 'j' }, { refresh: true })
  t.equal(await ask(named, { cookies: { r: token } }), 'ada by cookies')
  t.equal(await ask(named, { method: 'POST', payload: { j: token } }), 'ada by json')
})

t.test('the message of several locations names them all, with the detail of each in order', async (t) => {
  const rows: [TokenLocation[], string][] = [
    [['cookies', 'headers'], 'Missing JWT in cookies or headers (Missing cookie "access_token_cookie"; Missing Authorization Header)'],
    [['cookies', 'json', 'headers'], 'Missing JWT in cookies, json or headers (Missing cookie "access_token_cookie"; Invalid content-type. Must be application/json.; Missing Authorization Header)'],
    [ALL, "Missing JWT in headers, cookies, query_string or json (Missing Authorization Header; Missing cookie \"access_token_cookie\"; Missing 'jwt' query parameter; Invalid content-type. Must be application/json.)"],
  ]
  for (const [tokenLocation, message] of rows) {
    t.equal(await ask(await locationApp(t, { tokenLocation }), {}), `401 ${message}`)
    t.equal(await ask(await locationApp(t, {}, { locations: tokenLocation }), {}), `401 ${message}`)
  }
})

t.test('a query parameter may carry a prefix, and must where one is configured', async (t) => {
  const app = await locationApp(t, { tokenLocation: 'query_string', queryStringName: 'token', queryStringValuePrefix: 'Bearer ' })
  const token = await app.createAccessToken('ada')
  const refused = "422 Invalid value for query parameter 'token'. Expected the value to start with 'Bearer '"
  t.equal(await ask(app, { query: { token: `Bearer ${token}` } }), 'ada by query_string')
  t.equal(await ask(app, { url: `/?token=Bearer+${token}` }), 'ada by query_string')
  t.equal(await ask(app, { url: `/?token=Bearer%20${token}` }), 'ada by query_string')
  for (const value of [token, `bearer ${token}`, `Bearer${token}`, ` Bearer ${token}`, 'Bearer']) {
    for (const url of ['/', '/optional']) t.equal(await ask(app, { url, query: { token: value } }), refused, value)
  }
  t.equal(await ask(app, { query: { token: 'Bearer ' } }), '422 Not enough segments')
  t.equal(await ask(app, { query: { token: '' } }), "401 Missing 'token' query parameter")
})

t.test('a query parameter that is given twice is refused, on optional routes too', async (t) => {
  const app = await locationApp(t, { tokenLocation: 'query_string' })
  const token = await app.createAccessToken('ada')
  for (const path of ['/', '/optional']) {
    for (const query of [`jwt=${token}&jwt=${token}`, `jwt=${token}&jwt=`, 'jwt=&jwt=']) {
      const response = await app.inject(`${path}?${query}`)
      t.equal(response.statusCode, 422, query)
      t.match(response.json().msg, /^Invalid value for query parameter 'jwt'\. Expected /)
    }
  }
  t.equal(await ask(app, { url: `/?jwt=${token}&other=1&other=2` }), 'ada by query_string')
})

t.test('names that every object inherits are no cookie and no member', async (t) => {
  for (const name of ['toString', 'constructor', '__proto__', 'hasOwnProperty']) {
    const app = await locationApp(t, {
      tokenLocation: ['json', 'cookies'], jsonKey: name, accessCookieName: name,
    })
    t.match(await ask(app, { method: 'POST', payload: {} }), '401 Missing JWT in', name)
    t.match(await ask(app, {}), '401 Missing JWT in', name)
  }
})

t.test('a query parameter is absent when it is empty', async (t) => {
  const app = await locationApp(t, { tokenLocation: 'query_string' })
  for (const url of ['/?jwt=', '/?jwt', '/?', '/', '/?JWT=x', '/?jwt%00=x']) {
    t.equal(await ask(app, { url }), "401 Missing 'jwt' query parameter", url)
  }
})

t.test('a cookie is read from the header itself, whatever stands around it', async (t) => {
  const app = await locationApp(t, { tokenLocation: 'cookies' })
  const token = await app.createAccessToken('ada')
  const send = async (cookie: string): Promise<string> => await ask(app, { headers: { cookie } })
  for (const cookie of [`access_token_cookie=${token}`, `a=1; access_token_cookie=${token}; b=2`, ` access_token_cookie = ${token} `, `%=%; access_token_cookie=${token}; =;;`]) {
    t.equal(await send(cookie), 'ada by cookies', cookie)
  }
  t.equal(await send(`access_token_cookie=${token}; access_token_cookie=x`), 'ada by cookies', 'the first counts')
  t.equal(await send(`access_token_cookie=x; access_token_cookie=${token}`), '422 Not enough segments')
  for (const cookie of ['', 'access_token_cookie', 'access_token_cookie=', 'ACCESS_TOKEN_COOKIE=x', 'xaccess_token_cookie=x', ';;;', '=x', '%']) {
    t.equal(await send(cookie), '401 Missing cookie "access_token_cookie"', cookie)
  }
  t.equal(await send('access_token_cookie=%'), '422 Not enough segments', 'what cannot be decoded stays as it is')
  t.equal(await send('access_token_cookie=%E0%A4%A'), '422 Not enough segments')
})

t.test('what another plugin shows as request.cookies is not looked at', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies' })
  app.addHook('onRequest', async (request) => { Object.assign(request, { cookies: { access_token_cookie: 'x' } }) })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  t.equal((await app.inject('/')).statusCode, 401)
  t.equal((await app.inject({ url: '/', cookies: { access_token_cookie: await app.createAccessToken('ada') } })).body, 'ada')
})

t.test('a JSON token is a text; null and the empty one are absent; any other kind is refused', async (t) => {
  const app = await locationApp(t, { tokenLocation: 'json' })
  const token = await app.createAccessToken('ada')
  const send = async (body: unknown, url = '/'): Promise<string> => await ask(app, { method: 'POST', url, payload: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
  t.equal(await send({ access_token: token }), 'ada by json')
  for (const access_token of [null, '']) {
    t.equal(await send({ access_token }), '401 Missing "access_token" key in json data.')
    t.equal(await send({ access_token }, '/optional'), 'null by null')
  }
  for (const access_token of [0, 5, true, false, [], [token], {}, { token }]) {
    for (const url of ['/', '/optional']) t.equal(await send({ access_token }, url), '422 The token must be a string', JSON.stringify(access_token))
  }
})

t.test('a JSON body that is no object holds no token', async (t) => {
  const app = await locationApp(t, { tokenLocation: 'json' })
  for (const payload of ['null', '[]', '"access_token"', '5', 'true', '[{"access_token":"x"}]', '{}', '{"Access_Token":"x"}']) {
    const request: InjectOptions = { method: 'POST', payload, headers: { 'content-type': 'application/json' } }
    t.equal(await ask(app, request), '401 Missing "access_token" key in json data.', payload)
    t.equal(await ask(app, { ...request, url: '/optional' }), 'null by null', payload)
  }
})

t.test('the content type is JSON with any parameter and in any case, and nothing that only looks like it', async (t) => {
  const app = await locationApp(t, { tokenLocation: 'json' })
  const payload = JSON.stringify({ access_token: await app.createAccessToken('ada') })
  for (const type of ['application/json', 'application/json; charset=utf-8', 'application/json;charset=UTF-8', 'Application/JSON', 'application/json ; x=y']) {
    t.equal(await ask(app, { method: 'POST', payload, headers: { 'content-type': type } }), 'ada by json', type)
  }
  for (const type of ['text/plain', 'application/jsonp', 'application/json-patch+json', 'application/vnd.api+json', 'text/json', 'x-application/json']) {
    t.equal(await ask(app, { method: 'POST', payload, headers: { 'content-type': type } }), '401 Invalid content-type. Must be application/json.', type)
  }
})

t.test('a body that cannot be parsed is answered by Fastify itself', async (t) => {
  const app = await locationApp(t, { tokenLocation: 'json' })
  for (const payload of ['', '{', 'access_token', '{"__proto__":{"access_token":"x"}}']) {
    const response = await app.inject({ method: 'POST', url: '/', payload, headers: { 'content-type': 'application/json' } })
    t.equal(response.statusCode, 400, payload)
  }
})

t.test('a request without a body, or whose method has none, holds no JSON token', async (t) => {
  const app = await locationApp(t, { tokenLocation: 'json' })
  const token = await app.createAccessToken('ada')
  t.equal(await ask(app, { method: 'POST' }), '401 Invalid content-type. Must be application/json.')
  t.equal(await ask(app, { method: 'GET', headers: { 'content-type': 'application/json' } }), '401 Missing "access_token" key in json data.')
  t.equal(await ask(app, { method: 'GET', payload: { access_token: token } }), '401 Missing "access_token" key in json data.', 'the body of a GET is never parsed')
  t.equal((await app.inject({ method: 'HEAD', url: '/', payload: { access_token: token } })).statusCode, 401)
  t.equal(await ask(app, { method: 'DELETE', payload: { access_token: token } }), 'ada by json')
})

t.test('a body of a method that Fastify parses none for holds no token', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['json', 'headers'] })
  app.addHttpMethod('PROPFIND')
  app.route({ method: 'PROPFIND', url: '/', preHandler: app.jwtRequired(), handler: async (request) => request.jwtLocation })
  const token = await app.createAccessToken('ada')
  const request = { method: 'PROPFIND' as 'POST', url: '/', payload: { access_token: token } }
  t.equal((await app.inject(request)).statusCode, 401)
  t.equal((await app.inject({ ...request, headers: bearer(token) })).body, 'headers')
})

t.test('a body that is not parsed yet is a 500 that says so, only where the guard needs it', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'json'] })
  const token = await app.createAccessToken('ada')
  await app.register(async (scope) => {
    scope.addHook('onRequest', scope.jwtRequired())
    scope.post('/', async (request) => request.jwtLocation)
    scope.get('/', async (request) => request.jwtLocation)
  })
  const message = 'This guard reads the body, which is not parsed yet here: use it as a preValidation or preHandler hook'
  const response = await app.inject({ method: 'POST', url: '/', payload: { access_token: token } })
  t.equal(response.statusCode, 500)
  t.match(response.json(), { code: 'FST_JWT_EXT_USAGE', message })
  const chunked = await app.inject({ method: 'POST', url: '/', payload: '{}', headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' } })
  t.equal(chunked.json().message, message)
  t.equal((await app.inject({ method: 'POST', url: '/', payload: { access_token: token }, headers: bearer(token) })).body, 'headers')
  t.equal((await app.inject({ method: 'POST', url: '/' })).statusCode, 401, 'no body')
  t.equal((await app.inject({ method: 'POST', url: '/', payload: 'x', headers: { 'content-type': 'text/plain' } })).statusCode, 401, 'no JSON body')
  t.equal((await app.inject({ method: 'GET', url: '/', headers: { 'content-type': 'application/json', 'content-length': '2' } })).statusCode, 401, 'a GET')
})

t.test('over HTTP/2, where no length is told, a body that is not parsed yet is noticed as well', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'json' }, { http2: true } as never)
  const token = await app.createAccessToken('ada')
  await app.register(async (scope) => {
    scope.addHook('onRequest', scope.jwtRequired())
    scope.post('/early', async (request) => request.jwtIdentity)
  })
  app.post('/', { preValidation: app.jwtRequired() }, async (request) => request.jwtIdentity)
  const client = connect(await app.listen({ port: 0, host: '127.0.0.1' }))
  t.teardown(() => { client.close() })
  const send = async (path: string, body?: string): Promise<string> => await new Promise((resolve, reject) => {
    const stream = client.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' }, { endStream: body === undefined })
    let status = 0
    let text = ''
    stream.setEncoding('utf8').on('response', (headers) => { status = Number(headers[':status']) }).on('data', (chunk: string) => { text += chunk })
    stream.on('end', () => { resolve(`${status} ${text}`) }).on('error', reject)
    if (body !== undefined) stream.end(body)
  })
  t.equal(await send('/', JSON.stringify({ access_token: token })), '200 ada')
  t.match(await send('/early', JSON.stringify({ access_token: token })), /^500 .*This guard reads the body/)
  t.match(await send('/early'), '401')
})

t.test('a form that is not parsed yet is a 500, only for a cookie that needs its field', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', csrfCheckForm: true })
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => { done(null, Object.fromEntries(new URLSearchParams(body as string))) })
  const token = await app.createAccessToken('ada')
  const csrf = await app.getCsrfToken(token)
  await app.register(async (scope) => {
    scope.addHook('preParsing', scope.jwtRequired())
    scope.post('/', async (request) => request.jwtIdentity)
  })
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const cookies = { access_token_cookie: token }
  const response = await app.inject({ method: 'POST', url: '/', payload: `csrf_token=${csrf}`, headers: form, cookies })
  t.equal(response.statusCode, 500)
  t.match(response.json().message, 'This guard reads the body, which is not parsed yet here')
  t.equal((await app.inject({ method: 'POST', url: '/', payload: 'x=1', headers: { ...form, 'x-csrf-token': csrf }, cookies })).body, 'ada')
  t.equal((await app.inject({ method: 'POST', url: '/', payload: 'x=1', headers: form })).statusCode, 401, 'no cookie')
  t.equal((await app.inject({ method: 'POST', url: '/', payload: {}, cookies })).statusCode, 401, 'no form')
})

t.test('where there is no route, no body is a 500, whichever hook the guard of the 404 handler is', async (t) => {
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
    for (const isOfScope of [false, true]) {
      const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['cookies', 'json'], csrfCheckForm: true })
      if (isOfScope) app.addHook(hook as 'onRequest', app.jwtRequired())
      app.setNotFoundHandler(isOfScope ? {} : { [hook]: app.jwtRequired() }, async (request, reply) => reply.code(404).send({ msg: request.jwtIdentity }))
      const token = await app.createAccessToken('ada')
      const send = async (type: string, payload: string, options: InjectOptions = {}): Promise<string> => {
        return await ask(app, { method: 'POST', url: '/nope', payload, ...options, headers: { 'content-type': type, ...options.headers } })
      }
      const cookies = { access_token_cookie: token }
      const csrf = await app.getCsrfToken(token)
      for (const type of ['application/x-www-form-urlencoded', 'multipart/form-data; boundary=b']) {
        t.equal(await send(type, `csrf_token=${csrf}`, { cookies }), '401 Missing CSRF token', `${hook}: ${type}`)
        t.equal(await send(type, 'x=1', { cookies, headers: { 'x-csrf-token': csrf } }), '404 ada')
        t.match(await send(type, 'x=1'), '401 Missing JWT in cookies or json')
      }
      const isParsed = hook === 'preValidation' || hook === 'preHandler'
      t.match(await send('application/json', JSON.stringify({ access_token: token })), isParsed ? '404 ada' : '401 Missing JWT in cookies or json')
    }
  }
})

t.test('a multipart body counts as unread only to those who parse it: its field is looked at where it is there', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', csrfCheckForm: true })
  const token = await app.createAccessToken('ada')
  const csrf = await app.getCsrfToken(token)
  let body: unknown
  app.addContentTypeParser('multipart/form-data', (_request, payload, done) => { payload.resume(); payload.on('end', () => { done(null, body) }) })
  app.post('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  app.register(async (scope) => {
    scope.addHook('onRequest', scope.jwtRequired())
    scope.post('/early', async (request) => request.jwtIdentity)
  })
  const request: InjectOptions = { method: 'POST', url: '/', payload: 'x', headers: { 'content-type': 'multipart/form-data; boundary=b' }, cookies: { access_token_cookie: token } }
  for (const [given, status] of [
    [{ csrf_token: csrf }, 200], [{ csrf_token: { value: csrf } }, 200], [{ csrf_token: { value: 'another' } }, 401], [{ csrf_token: { value: null } }, 401],
    [{ csrf_token: {} }, 401], [{ csrf_token: [csrf] }, 401], [{}, 401], [undefined, 401], [null, 401]
  ] as const) {
    body = given
    t.equal((await app.inject(request)).statusCode, status, JSON.stringify(given))
  }
  const early = await app.inject({ ...request, url: '/early' })
  t.equal(early.statusCode, 401)
  t.strictSame(early.json(), { msg: 'Missing CSRF token' })
})

t.test('a multipart body that a plugin has yet to look at is a 500, and one that it leaves to the route is not', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', csrfCheckForm: true })
  const token = await app.createAccessToken('ada')
  let isLeft = false
  app.decorateRequest('isMultipart' as never, (() => isLeft) as never)
  app.addContentTypeParser('multipart/form-data', (_request, payload, done) => { payload.resume(); payload.on('end', () => { done(null) }) })
  await app.register(async (scope) => {
    scope.addHook('onRequest', scope.jwtRequired())
    scope.post('/', async (request) => request.jwtIdentity)
  })
  const request: InjectOptions = { method: 'POST', url: '/', payload: 'x', headers: { 'content-type': 'multipart/form-data; boundary=b' }, cookies: { access_token_cookie: token } }
  t.match(await ask(app, request), '500 This guard reads the body')
  isLeft = true
  t.equal(await ask(app, request), '401 Missing CSRF token')
})

t.test('a token that no header could carry is refused by its length, before it is decoded', async (t) => {
  const app = await locationApp(t, { tokenLocation: ['query_string', 'json'] })
  const long = await app.createAccessToken('a'.repeat(12_500))
  t.ok(long.length > 16_384)
  for (const request of [{ query: { jwt: long } }, { method: 'POST', payload: { access_token: long } }] as InjectOptions[]) {
    t.equal(await ask(app, request), '422 The token is too long')
  }
  const fits = await app.createAccessToken('a'.repeat(11_000))
  t.match(await ask(app, { query: { jwt: fits } }), / by query_string$/)
  t.match(await ask(app, { method: 'POST', payload: { access_token: 'x'.repeat(16_384) } }), '422 Not enough segments')
  t.match(await ask(app, { method: 'POST', payload: { access_token: 'x'.repeat(16_385) } }), '422 The token is too long')
})
