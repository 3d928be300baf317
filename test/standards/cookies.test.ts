// RFC 6265bis (draft-ietf-httpbis-rfc6265bis) and ASVS 5.0, V3.3: docs/standards.md has the table.
import t, { type Test } from 'tap'
import type { JwtExtendedOptions } from '../../index.js'
import { buildApp, registrationError, SECRET } from '../support/app.js'

interface Cookie {
  name: string
  value: string
  attributes: Map<string, string>
}

/** A Set-Cookie line, read as RFC 6265bis §5.6 tells a browser to. */
function readCookie (line: string): Cookie {
  const [pair, ...rest] = line.split(';')
  const cut = pair!.indexOf('=')
  const attributes = new Map(rest.map((part) => {
    const [name, ...value] = part.trim().split('=')
    return [name!.toLowerCase(), value.join('=')]
  }))
  return { name: pair!.slice(0, cut), value: pair!.slice(cut + 1), attributes }
}

/** The cookies that a configuration sets and clears, by name. */
async function cookiesOf (t: Test, options: JwtExtendedOptions = {}): Promise<{ set: Map<string, Cookie>, unset: Map<string, Cookie>, lines: string[] }> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  const [access, refresh] = [await app.createAccessToken('ada'), await app.createRefreshToken('ada')]
  app.get('/set', (_request, reply) => { reply.setAccessCookies(access).setRefreshCookies(refresh).send('in') })
  app.get('/unset', (_request, reply) => { reply.unsetJwtCookies().send('out') })
  const linesOf = async (url: string): Promise<string[]> => [(await app.inject(url)).headers['set-cookie'] ?? []].flat()
  const byName = (lines: string[]): Map<string, Cookie> => new Map(lines.map((line) => [readCookie(line).name, readCookie(line)]))
  const lines = await linesOf('/set')
  return { lines, set: byName(lines), unset: byName(await linesOf('/unset')) }
}

const TOKENS = ['access_token_cookie', 'refresh_token_cookie']
const CSRF = ['csrf_access_token', 'csrf_refresh_token']
const NAMES = [
  ['accessCookieName', 'accessCookiePath'], ['refreshCookieName', 'refreshCookiePath'], ['accessCsrfCookieName', 'accessCsrfCookiePath'], ['refreshCsrfCookieName', 'refreshCsrfCookiePath']
] as const

t.test('RFC 6265bis §4.1.1: each cookie is a line of its own in the characters that are allowed, each attribute once', async (t) => {
  const { lines } = await cookiesOf(t, { cookieDomain: 'example.com', sessionCookie: false })
  t.equal(lines.length, 4)
  for (const line of lines) {
    t.match(line, /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+=[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*(; [-A-Za-z]+(=[^;\p{Cc}]*)?)*$/u)
    const names = line.split('; ').slice(1).map((attribute) => attribute.split('=')[0]!.toLowerCase())
    t.equal(new Set(names).size, names.length)
  }
})

t.test('RFC 6265bis §4.1.1: a name that a cookie cannot have is an error', async (t) => {
  for (const accessCookieName of ['a b', 'a;b', 'a=b', 'a,b', 'é', '', 'a\r\nb']) {
    t.match(await registrationError(t, { secretKey: SECRET, accessCookieName }), { code: 'FST_JWT_EXT_USAGE' }, JSON.stringify(accessCookieName))
  }
})

t.test('RFC 6265bis §4.1.1: a cookie that the application sets and clears in one answer has two lines, the last one last', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, csrfInCookies: false })
  const token = await app.createAccessToken('ada')
  app.get('/', (_request, reply) => { reply.setAccessCookies(token).unsetAccessCookies().send('in') })
  const lines = [(await app.inject('/')).headers['set-cookie'] ?? []].flat().map(readCookie)
  t.strictSame(lines.map(({ name, value }) => [name, value]), [['access_token_cookie', token], ['access_token_cookie', '']])
})

t.test('RFC 6265bis §4.1.2: a cookie is cleared under the name, path and domain that it was set with', async (t) => {
  const { set, unset } = await cookiesOf(t, { cookieDomain: 'example.com', accessCookiePath: '/api', refreshCookiePath: '/api/refresh' })
  t.strictSame([...unset.keys()].sort(), [...set.keys()].sort())
  for (const [name, cookie] of unset) {
    t.equal(cookie.value, '')
    t.equal(cookie.attributes.get('max-age'), '0')
    for (const attribute of ['path', 'domain', 'secure', 'samesite']) t.equal(cookie.attributes.get(attribute), set.get(name)!.attributes.get(attribute), `${name} ${attribute}`)
  }
})

t.test('RFC 6265bis §4.1.2.3: without cookieDomain a cookie goes back to the host that set it, and to no other', async (t) => {
  const { set } = await cookiesOf(t)
  for (const { attributes } of set.values()) t.notOk(attributes.has('domain'))
})

t.test('RFC 6265bis §4.1.2.5: every cookie is Secure by default', async (t) => {
  const { set } = await cookiesOf(t)
  t.equal(set.size, 4)
  for (const { attributes } of set.values()) t.ok(attributes.has('secure'))
})

t.test('RFC 6265bis §4.1.2.6: a token cookie is HttpOnly, and the CSRF value is not, since the page has to read it', async (t) => {
  const { set } = await cookiesOf(t)
  for (const name of TOKENS) t.ok(set.get(name)!.attributes.has('httponly'), name)
  for (const name of CSRF) t.notOk(set.get(name)!.attributes.has('httponly'), name)
})

t.test('RFC 6265bis §4.1.2.7: every cookie is SameSite=Lax by default, and None only with Secure', async (t) => {
  const { set } = await cookiesOf(t)
  for (const { attributes } of set.values()) t.equal(attributes.get('samesite'), 'Lax')
  t.match(await registrationError(t, { secretKey: SECRET, cookieSameSite: 'None', cookieSecure: false }), { code: 'FST_JWT_EXT_USAGE' })
})

t.test('RFC 6265bis §4.1.3.1: a __Secure- name without Secure is an error, in any case', async (t) => {
  for (const name of ['__Secure-at', '__secure-at', '__SECURE-at']) {
    for (const [option] of NAMES) {
      t.match(await registrationError(t, { secretKey: SECRET, [option]: name, cookieSecure: false }), { code: 'FST_JWT_EXT_USAGE' }, `${option} ${name}`)
      t.ok((await cookiesOf(t, { [option]: name })).set.has(name))
    }
  }
})

t.test('RFC 6265bis §4.1.3.2: a __Host- name without Secure, with a domain or with another path is an error, in any case', async (t) => {
  for (const name of ['__Host-at', '__host-at', '__HOST-at']) {
    for (const [option, path] of NAMES) {
      for (const more of [{ cookieSecure: false }, { cookieDomain: 'example.com' }, { [path]: '/api' }]) {
        t.match(await registrationError(t, { secretKey: SECRET, [option]: name, ...more }), { code: 'FST_JWT_EXT_USAGE' }, `${option} ${name} ${Object.keys(more).join()}`)
      }
      t.ok((await cookiesOf(t, { [option]: name })).set.has(name))
    }
  }
})

t.test('RFC 6265bis §5.5: a cookie that outlives the browser lives for less than the 400 days that browsers allow', async (t) => {
  const { set } = await cookiesOf(t, { sessionCookie: false })
  for (const { attributes } of set.values()) {
    const age = Number(attributes.get('max-age'))
    t.ok(age > 0 && age <= 34_560_000, String(age))
  }
})

t.test('RFC 6265bis §5.5: a maxAge is sent as it is given, beyond the 400 days too', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  app.get('/', (_request, reply) => { reply.setAccessCookies(token, { maxAge: '1000d' }).send('in') })
  const lines = [(await app.inject('/')).headers['set-cookie'] ?? []].flat().map(readCookie)
  t.strictSame(lines.map(({ attributes }) => attributes.get('max-age')), ['86400000', '86400000'])
})

t.test('RFC 6265bis §5.6: a path of more than 1024 bytes is sent as it is given, though browsers pass over it', async (t) => {
  const accessCookiePath = `/${'x'.repeat(2000)}`
  t.equal((await cookiesOf(t, { accessCookiePath })).set.get('access_token_cookie')!.attributes.get('path'), accessCookiePath)
})

t.test('RFC 6265bis §5.6: a cookie of more than 4096 bytes is an error, since browsers drop it in silence', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada', { additionalClaims: { pad: 'x'.repeat(4000) } })
  app.get('/', (_request, reply) => { reply.setAccessCookies(token).send('in') })
  const response = await app.inject('/')
  t.equal(response.statusCode, 500)
  t.equal(response.headers['set-cookie'], undefined)
})

t.test('RFC 6265bis §4.2.2: of two cookies of one name the first one sent counts', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies' })
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
  const [ada, bob] = [await app.createAccessToken('ada'), await app.createAccessToken('bob')]
  t.equal((await app.inject({ url: '/', headers: { cookie: `access_token_cookie=${ada}; access_token_cookie=${bob}` } })).body, 'ada')
})

t.test('ASVS 3.3.1: every cookie is Secure, and __Secure- or __Host- stands before its name only where the application says so', async (t) => {
  const { set } = await cookiesOf(t)
  for (const { name, attributes } of set.values()) {
    t.ok(attributes.has('secure'))
    t.notMatch(name, /^__(Secure|Host)-/)
  }
})

t.test('ASVS 3.3.2: SameSite is set on every cookie, and may be Strict', async (t) => {
  for (const cookieSameSite of ['Lax', 'Strict'] as const) {
    for (const { attributes } of (await cookiesOf(t, { cookieSameSite })).set.values()) t.equal(attributes.get('samesite'), cookieSameSite)
  }
})

t.test('ASVS 3.3.3: all four cookies may have a __Host- name, and guards read them', async (t) => {
  const names = {
    accessCookieName: '__Host-access', refreshCookieName: '__Host-refresh', accessCsrfCookieName: '__Host-csrf-access', refreshCsrfCookieName: '__Host-csrf-refresh',
  }
  const { set } = await cookiesOf(t, names)
  t.strictSame([...set.keys()].sort(), Object.values(names).sort())
  for (const { attributes } of set.values()) t.ok(attributes.has('secure') && attributes.get('path') === '/' && !attributes.has('domain'))
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', ...names })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  t.equal((await app.inject({ url: '/', cookies: { '__Host-access': await app.createAccessToken('ada') } })).statusCode, 200)
})

t.test('ASVS 3.3.4: a token cookie is HttpOnly, and the plugin puts its token nowhere else in the answer', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada')
  app.get('/', (_request, reply) => { reply.setAccessCookies(token).send({ msg: 'in' }) })
  const response = await app.inject('/')
  const lines = [response.headers['set-cookie'] ?? []].flat()
  t.equal(lines.filter((line) => line.includes(token)).length, 1)
  t.match(lines.find((line) => line.includes(token)), 'HttpOnly')
  const signature = token.split('.')[2]!
  const { 'set-cookie': _lines, ...others } = response.headers
  t.notOk((JSON.stringify(others) + response.body).includes(signature))
})

t.test('ASVS 3.3.5: name and value together are 4096 bytes at most', async (t) => {
  const app = await buildApp(t)
  const length = async (pad: number): Promise<number> => `access_token_cookie${await app.createAccessToken('ada', { additionalClaims: { pad: 'x'.repeat(pad) } })}`.length
  let pad = 2500
  while (await length(pad) < 4094) pad++
  app.get<{ Params: { pad: string } }>('/:pad', async (request, reply) => {
    const token = await app.createAccessToken('ada', { additionalClaims: { pad: 'x'.repeat(Number(request.params.pad)) } })
    reply.setAccessCookies(token)
    return 'in'
  })
  t.ok(await length(pad) <= 4096)
  t.equal((await app.inject(`/${pad}`)).statusCode, 200)
  t.equal((await app.inject(`/${pad + 4}`)).statusCode, 500)
})

t.test('ASVS 3.5.1: a request that changes something needs the CSRF value of its token, whatever its content type', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies' })
  app.addContentTypeParser(['application/x-www-form-urlencoded', 'multipart/form-data'], { parseAs: 'string' }, (_request, body, done) => { done(null, body) })
  app.route({ method: ['POST', 'PUT', 'PATCH', 'DELETE'], url: '/', preHandler: app.jwtRequired(), handler: async () => 'in' })
  const token = await app.createAccessToken('ada')
  const csrf = await app.getCsrfToken(token)
  const cookies = { access_token_cookie: token, csrf_access_token: csrf }
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      const forged = await app.inject({ method, url: '/', cookies, headers: { 'content-type': type }, payload: `csrf_token=${csrf}` })
      t.equal(forged.statusCode, 401, `${method} ${type}`)
      const own = await app.inject({ method, url: '/', cookies, headers: { 'content-type': type, 'x-csrf-token': csrf }, payload: 'x' })
      t.equal(own.statusCode, 200, `${method} ${type}`)
    }
  }
})
