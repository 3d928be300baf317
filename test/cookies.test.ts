import cookie, { type FastifyCookieOptions } from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import jwtExtended, { memoryStore, type JwtExtendedOptions, type SetCookiesOptions, type UnsetCookiesOptions } from '../index.js'
import { buildApp, registrationError, SECRET } from './support/app.js'
import { forge } from './support/forge.js'

interface Tokens {
  access: string
  accessCsrf: string
  refresh: string
  refreshCsrf: string
}

interface Sent extends Tokens {
  statusCode: number
  lines: string[]
  cacheControl: unknown
  message: unknown
}

type Run = (reply: FastifyReply, tokens: Tokens, app: FastifyInstance) => void

function linesOf (headers: { 'set-cookie'?: string | string[] | undefined }): string[] {
  return [headers['set-cookie'] ?? []].flat()
}

function csrfOf (token: string): string {
  const { csrf } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { csrf?: string }
  return csrf ?? ''
}

/** What a route answers that does `run`, and the tokens that it was given. */
async function answer (t: Test, options: JwtExtendedOptions, run: Run, prepare?: (app: FastifyInstance) => unknown): Promise<Sent> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  await prepare?.(app)
  const manager = app.jwtManager(options.namespace)
  const access = await manager.createAccessToken('ada')
  const refresh = await manager.createRefreshToken('ada')
  const tokens = { access, accessCsrf: csrfOf(access), refresh, refreshCsrf: csrfOf(refresh) }
  app.get('/', (request, reply) => {
    run(reply, tokens, app)
    reply.send({ message: 'sent' })
  })
  const response = await app.inject('/')
  return {
    ...tokens,
    statusCode: response.statusCode,
    lines: linesOf(response.headers),
    cacheControl: response.headers['cache-control'],
    message: response.json<{ message: unknown }>().message,
  }
}

const CLEAR = 'Max-Age=0'
const PAST = 'Expires=Thu, 01 Jan 1970 00:00:00 GMT'

t.test('sets the access cookie for the server and its CSRF value for scripts', async (t) => {
  const { lines, access, accessCsrf } = await answer(t, {}, (reply, { access }) => { reply.setAccessCookies(access) })
  t.match(accessCsrf, /^[0-9a-f-]{36}$/)
  t.same(lines, [
    `access_token_cookie=${access}; Path=/; HttpOnly; Secure; SameSite=Lax`,
    `csrf_access_token=${accessCsrf}; Path=/; Secure; SameSite=Lax`,
  ])
})

t.test('sets the refresh cookie and its CSRF value', async (t) => {
  const { lines, refresh, refreshCsrf } = await answer(t, {}, (reply, { refresh }) => { reply.setRefreshCookies(refresh) })
  t.same(lines, [
    `refresh_token_cookie=${refresh}; Path=/; HttpOnly; Secure; SameSite=Lax`,
    `csrf_refresh_token=${refreshCsrf}; Path=/; Secure; SameSite=Lax`,
  ])
})

t.test('clears with the names, paths and attributes that it set with', async (t) => {
  const cleared = {
    access: [
      `access_token_cookie=; ${CLEAR}; Path=/; ${PAST}; HttpOnly; Secure; SameSite=Lax`,
      `csrf_access_token=; ${CLEAR}; Path=/; ${PAST}; Secure; SameSite=Lax`,
    ],
    refresh: [
      `refresh_token_cookie=; ${CLEAR}; Path=/; ${PAST}; HttpOnly; Secure; SameSite=Lax`,
      `csrf_refresh_token=; ${CLEAR}; Path=/; ${PAST}; Secure; SameSite=Lax`,
    ],
  }
  t.same((await answer(t, {}, (reply) => { reply.unsetJwtCookies() })).lines, [...cleared.access, ...cleared.refresh])
  t.same((await answer(t, {}, (reply) => { reply.unsetAccessCookies() })).lines, cleared.access)
  t.same((await answer(t, {}, (reply) => { reply.unsetRefreshCookies() })).lines, cleared.refresh)
})

interface OptionCase {
  title: string
  options: JwtExtendedOptions
  set: (tokens: Tokens) => string[]
  unset: string[]
}

const NAMES_AND_PATHS: JwtExtendedOptions = {
  accessCookieName: 'at',
  accessCookiePath: '/api',
  accessCsrfCookieName: 'at_csrf',
  accessCsrfCookiePath: '/app',
  refreshCookieName: 'rt',
  refreshCookiePath: '/auth/refresh',
  refreshCsrfCookieName: 'rt_csrf',
  refreshCsrfCookiePath: '/app/login',
}

/** Both pairs of lines with these attributes, each of the four cookies under its default name and path. */
function withAttributes (attributes: string, before = ''): Pick<OptionCase, 'set' | 'unset'> {
  return {
    set: ({ access, accessCsrf, refresh, refreshCsrf }) => [
      `access_token_cookie=${access}; ${before}Path=/; HttpOnly${attributes}`,
      `csrf_access_token=${accessCsrf}; ${before}Path=/${attributes}`,
      `refresh_token_cookie=${refresh}; ${before}Path=/; HttpOnly${attributes}`,
      `csrf_refresh_token=${refreshCsrf}; ${before}Path=/${attributes}`,
    ],
    unset: [
      `access_token_cookie=; ${CLEAR}; ${before}Path=/; ${PAST}; HttpOnly${attributes}`,
      `csrf_access_token=; ${CLEAR}; ${before}Path=/; ${PAST}${attributes}`,
      `refresh_token_cookie=; ${CLEAR}; ${before}Path=/; ${PAST}; HttpOnly${attributes}`,
      `csrf_refresh_token=; ${CLEAR}; ${before}Path=/; ${PAST}${attributes}`,
    ],
  }
}

const OPTION_CASES: OptionCase[] = [
  {
    title: 'names and paths are each cookie\'s own',
    options: NAMES_AND_PATHS,
    set: ({ access, accessCsrf, refresh, refreshCsrf }) => [
      `at=${access}; Path=/api; HttpOnly; Secure; SameSite=Lax`,
      `at_csrf=${accessCsrf}; Path=/app; Secure; SameSite=Lax`,
      `rt=${refresh}; Path=/auth/refresh; HttpOnly; Secure; SameSite=Lax`,
      `rt_csrf=${refreshCsrf}; Path=/app/login; Secure; SameSite=Lax`,
    ],
    unset: [
      `at=; ${CLEAR}; Path=/api; ${PAST}; HttpOnly; Secure; SameSite=Lax`,
      `at_csrf=; ${CLEAR}; Path=/app; ${PAST}; Secure; SameSite=Lax`,
      `rt=; ${CLEAR}; Path=/auth/refresh; ${PAST}; HttpOnly; Secure; SameSite=Lax`,
      `rt_csrf=; ${CLEAR}; Path=/app/login; ${PAST}; Secure; SameSite=Lax`,
    ],
  },
  { title: 'cookieDomain is on all of them', options: { cookieDomain: 'example.com' }, ...withAttributes('; Secure; SameSite=Lax', 'Domain=example.com; ') },
  { title: 'cookieSecure: false leaves Secure out', options: { cookieSecure: false }, ...withAttributes('; SameSite=Lax') },
  { title: "cookieSameSite: 'Strict'", options: { cookieSameSite: 'Strict' }, ...withAttributes('; Secure; SameSite=Strict') },
  { title: "cookieSameSite: 'Lax'", options: { cookieSameSite: 'Lax' }, ...withAttributes('; Secure; SameSite=Lax') },
  { title: "cookieSameSite: 'None'", options: { cookieSameSite: 'None' }, ...withAttributes('; Secure; SameSite=None') },
  { title: 'cookieSameSite: false leaves the attribute out', options: { cookieSameSite: false }, ...withAttributes('; Secure') },
  {
    title: 'cookiePartitioned is on all of them',
    options: { cookiePartitioned: true, cookieSameSite: 'None' },
    ...withAttributes('; Secure; Partitioned; SameSite=None'),
  },
  {
    title: 'sessionCookie: false lets them last a year',
    options: { sessionCookie: false },
    set: withAttributes('; Secure; SameSite=Lax', 'Max-Age=31540000; ').set,
    unset: withAttributes('; Secure; SameSite=Lax').unset,
  },
  {
    title: 'csrfInCookies: false leaves the CSRF cookies out',
    options: { csrfInCookies: false },
    set: (tokens) => withAttributes('; Secure; SameSite=Lax').set(tokens).filter((line) => !line.startsWith('csrf')),
    unset: withAttributes('; Secure; SameSite=Lax').unset.filter((line) => !line.startsWith('csrf')),
  },
  {
    title: 'cookieCsrfProtect: false leaves the CSRF cookies out',
    options: { cookieCsrfProtect: false },
    set: (tokens) => withAttributes('; Secure; SameSite=Lax').set(tokens).filter((line) => !line.startsWith('csrf')),
    unset: withAttributes('; Secure; SameSite=Lax').unset.filter((line) => !line.startsWith('csrf')),
  },
  {
    title: 'everything at once',
    options: { ...NAMES_AND_PATHS, cookieDomain: '.example.com', cookiePartitioned: true, cookieSameSite: 'None', sessionCookie: false },
    set: ({ access, accessCsrf, refresh, refreshCsrf }) => [
      `at=${access}; Max-Age=31540000; Domain=.example.com; Path=/api; HttpOnly; Secure; Partitioned; SameSite=None`,
      `at_csrf=${accessCsrf}; Max-Age=31540000; Domain=.example.com; Path=/app; Secure; Partitioned; SameSite=None`,
      `rt=${refresh}; Max-Age=31540000; Domain=.example.com; Path=/auth/refresh; HttpOnly; Secure; Partitioned; SameSite=None`,
      `rt_csrf=${refreshCsrf}; Max-Age=31540000; Domain=.example.com; Path=/app/login; Secure; Partitioned; SameSite=None`,
    ],
    unset: [
      `at=; ${CLEAR}; Domain=.example.com; Path=/api; ${PAST}; HttpOnly; Secure; Partitioned; SameSite=None`,
      `at_csrf=; ${CLEAR}; Domain=.example.com; Path=/app; ${PAST}; Secure; Partitioned; SameSite=None`,
      `rt=; ${CLEAR}; Domain=.example.com; Path=/auth/refresh; ${PAST}; HttpOnly; Secure; Partitioned; SameSite=None`,
      `rt_csrf=; ${CLEAR}; Domain=.example.com; Path=/app/login; ${PAST}; Secure; Partitioned; SameSite=None`,
    ],
  },
]

for (const { title, options, set, unset } of OPTION_CASES) {
  t.test(`cookie options, set and cleared: ${title}`, async (t) => {
    const sent = await answer(t, options, (reply, { access, refresh }) => {
      reply.setAccessCookies(access).setRefreshCookies(refresh)
    })
    t.same(sent.lines, set(sent))
    t.same((await answer(t, options, (reply) => { reply.unsetJwtCookies() })).lines, unset)
  })

  t.test(`cookie options, by the manager of a namespace: ${title}`, async (t) => {
    const named = { ...options, namespace: 'partner' }
    const sent = await answer(t, named, (reply, { access, refresh }, app) => {
      const partner = app.jwtManager('partner')
      partner.setRefreshCookies(partner.setAccessCookies(reply, access), refresh)
    })
    t.same(sent.lines, set(sent))
    t.same((await answer(t, named, (reply, _tokens, app) => { app.jwtManager('partner').unsetJwtCookies(reply) })).lines, unset)
    const apart = await answer(t, named, (reply, _tokens, app) => {
      const partner = app.jwtManager('partner')
      partner.unsetRefreshCookies(partner.unsetAccessCookies(reply))
    })
    t.same(apart.lines, unset)
  })
}

t.test('a namespace and the unnamed manager set cookies of their own on one reply', async (t) => {
  const sent = await answer(t, {}, (reply, { access }, app) => {
    app.jwtManager('partner').setAccessCookies(reply.setAccessCookies(access), access)
  }, (app) => app.register(jwtExtended, {
    secretKey: SECRET, namespace: 'partner', accessCookieName: 'partner', accessCsrfCookieName: 'partner_csrf', cookieSameSite: 'Strict',
  }))
  t.same(sent.lines, [
    `access_token_cookie=${sent.access}; Path=/; HttpOnly; Secure; SameSite=Lax`,
    `csrf_access_token=${sent.accessCsrf}; Path=/; Secure; SameSite=Lax`,
    `partner=${sent.access}; Path=/; HttpOnly; Secure; SameSite=Strict`,
    `partner_csrf=${sent.accessCsrf}; Path=/; Secure; SameSite=Strict`,
  ])
})

t.test('a child scope with a configuration of its own sets its own cookies', async (t) => {
  const app = await buildApp(t)
  await app.register(async (child) => {
    await child.register(jwtExtended, { secretKey: SECRET, accessCookieName: 'child', cookieCsrfProtect: false })
    child.get('/child', async (request, reply) => {
      reply.setAccessCookies(await child.createAccessToken('ada'))
      return {}
    })
  })
  app.get('/parent', async (request, reply) => {
    reply.setAccessCookies(await app.createAccessToken('ada'))
    return {}
  })
  const names = async (url: string): Promise<string[]> => linesOf((await app.inject(url)).headers).map((line) => line.split('=', 1)[0]!)
  t.same(await names('/child'), ['child'])
  t.same(await names('/parent'), ['access_token_cookie', 'csrf_access_token'])
})

for (const [maxAge, seconds] of [[0, 0], [1, 1], [3600, 3600], ['15m', 900], ['30d', 2_592_000], ['1s', 1]] as const) {
  t.test(`maxAge ${JSON.stringify(maxAge)} of a call makes both cookies last ${seconds} seconds`, async (t) => {
    for (const sessionCookie of [true, false]) {
      const sent = await answer(t, { sessionCookie }, (reply, { access }) => { reply.setAccessCookies(access, { maxAge }) })
      t.same(sent.lines, [
        `access_token_cookie=${sent.access}; Max-Age=${seconds}; Path=/; HttpOnly; Secure; SameSite=Lax`,
        `csrf_access_token=${sent.accessCsrf}; Max-Age=${seconds}; Path=/; Secure; SameSite=Lax`,
      ])
    }
  })
}

t.test('an option of a call that is undefined counts as not given', async (t) => {
  const sent = await answer(t, { cookieDomain: 'example.com', sessionCookie: false }, (reply, { access }) => {
    reply.setAccessCookies(access, { maxAge: undefined, domain: undefined }).unsetAccessCookies({ domain: undefined })
  })
  t.same(sent.lines.map((line) => line.split('; ').slice(1, 3)), [
    ['Max-Age=31540000', 'Domain=example.com'], ['Max-Age=31540000', 'Domain=example.com'],
    ['Max-Age=0', 'Domain=example.com'], ['Max-Age=0', 'Domain=example.com'],
  ])
})

t.test('domain of a call wins over cookieDomain, for setting and for clearing', async (t) => {
  for (const options of [{}, { cookieDomain: 'example.com' }]) {
    const set = await answer(t, options, (reply, { access }) => { reply.setAccessCookies(access, { domain: 'shop.example.com' }) })
    t.same(set.lines, [
      `access_token_cookie=${set.access}; Domain=shop.example.com; Path=/; HttpOnly; Secure; SameSite=Lax`,
      `csrf_access_token=${set.accessCsrf}; Domain=shop.example.com; Path=/; Secure; SameSite=Lax`,
    ])
    const cleared = await answer(t, options, (reply) => { reply.unsetAccessCookies({ domain: 'shop.example.com' }) })
    t.same(cleared.lines, [
      `access_token_cookie=; ${CLEAR}; Domain=shop.example.com; Path=/; ${PAST}; HttpOnly; Secure; SameSite=Lax`,
      `csrf_access_token=; ${CLEAR}; Domain=shop.example.com; Path=/; ${PAST}; Secure; SameSite=Lax`,
    ])
  }
})

// The calls of a JavaScript application: what its compiler would have refused has to be refused when it runs.
const refusedCalls: [title: string, run: (reply: FastifyReply, token: string) => void, message: RegExp][] = [
  ...[1.5, -1, -0.5, Number.NaN, Number.POSITIVE_INFINITY, '', '15', 'soon', '-1s', '1ms', null, true, {}].map((maxAge): typeof refusedCalls[number] => [
    `maxAge ${typeof maxAge === 'number' ? maxAge : JSON.stringify(maxAge)}`,
    (reply, token) => { reply.setAccessCookies(token, { maxAge } as SetCookiesOptions) },
    /maxAge must be whole seconds/,
  ]),
  ...['', 'exa mple.com', 'example.com; HttpOnly', 'example.com\r\nX-Evil: 1', 'https://example.com', 'example.com/', '-a.com', 'a..b', '..a', 42, null].flatMap((domain): typeof refusedCalls => [
    [
      `domain ${JSON.stringify(domain)} for setting`,
      (reply, token) => { reply.setRefreshCookies(token, { domain } as SetCookiesOptions) },
      /domain must be a host name/,
    ], [
      `domain ${JSON.stringify(domain)} for clearing`,
      (reply) => { reply.unsetJwtCookies({ domain } as UnsetCookiesOptions) },
      /domain must be a host name/,
    ],
  ]),
  ['an unknown option for setting', (reply, token) => { reply.setAccessCookies(token, { max_age: 5 } as SetCookiesOptions) }, /Unknown option 'max_age' of access cookies; did you mean 'maxAge'\?/],
  ['an unknown option for clearing', (reply) => { reply.unsetJwtCookies({ maxAge: 5 } as UnsetCookiesOptions) }, /Unknown option 'maxAge'/],
  ['options that are no object', (reply, token) => { reply.setAccessCookies(token, 5 as SetCookiesOptions) }, /must be an object/],
  ['options that are null', (reply) => { reply.unsetAccessCookies(null as unknown as UnsetCookiesOptions) }, /must be an object/],
  ['a token that is empty', (reply) => { reply.setAccessCookies('') }, /needs a token/],
  ['a token that was not awaited', (reply) => { reply.setAccessCookies(reply.server.createAccessToken('ada') as unknown as string) }, /needs a token/],
  ['a token that is undefined', (reply) => { reply.setRefreshCookies(undefined as unknown as string) }, /needs a token/],
  ['a token without a csrf claim', (reply) => { reply.setAccessCookies(forge({ sub: 'ada', type: 'access' })) }, /no csrf claim/],
  ['a token whose csrf claim is no string', (reply) => { reply.setAccessCookies(forge({ sub: 'ada', csrf: 7 })) }, /no csrf claim/],
  ['a token that is none', (reply) => { reply.setAccessCookies('not.a.token') }, /token/i],
]

for (const [title, run, message] of refusedCalls) {
  t.test(`refuses, as the application's fault and with no cookie set: ${title}`, async (t) => {
    const sent = await answer(t, {}, (reply, { access }) => { run(reply, access) })
    t.equal(sent.statusCode, 500)
    t.match(sent.message, message)
    t.same(sent.lines, [])
  })
}

t.test('a token without a csrf claim may go into a cookie where nothing protects cookies', async (t) => {
  const token = forge({ sub: 'ada' })
  const sent = await answer(t, { cookieCsrfProtect: false }, (reply) => { reply.setAccessCookies(token) })
  t.same(sent.lines, [`access_token_cookie=${token}; Path=/; HttpOnly; Secure; SameSite=Lax`])
})

t.test('the CSRF value is read from the token as it is, an expired one too', async (t) => {
  const token = forge({ sub: 'ada', csrf: 'of an expired token', exp: 1 })
  const sent = await answer(t, {}, (reply) => { reply.setAccessCookies(token) })
  t.equal(sent.lines[1], 'csrf_access_token=of%20an%20expired%20token; Path=/; Secure; SameSite=Lax')
})

t.test('a cookie may have 4,096 bytes of name and value, and not one more', async (t) => {
  const most = 4096 - 'access_token_cookie'.length
  const options = { cookieCsrfProtect: false }
  const longest = await answer(t, options, (reply) => { reply.setAccessCookies('x'.repeat(most)) })
  t.equal(longest.statusCode, 200)
  t.equal(longest.lines[0], `access_token_cookie=${'x'.repeat(most)}; Path=/; HttpOnly; Secure; SameSite=Lax`)
  const longer = await answer(t, options, (reply) => { reply.setAccessCookies('x'.repeat(most + 1)) })
  t.equal(longer.statusCode, 500)
  t.match(longer.message, /The cookie access_token_cookie would have 4097 bytes, and browsers keep 4096; put fewer claims into the token/)
  t.same(longer.lines, [])
})

t.test('a CSRF cookie that is too long is refused together with its token', async (t) => {
  const token = forge({ sub: 'ada', csrf: '€'.repeat(600) })
  const sent = await answer(t, {}, (reply) => { reply.setAccessCookies(token) })
  t.equal(sent.statusCode, 500)
  t.match(sent.message, /The cookie csrf_access_token would have \d+ bytes/)
  t.same(sent.lines, [], 'the answer of a failed call sets no half of a pair')
})

t.test('a __Host- name with a domain of a call is refused, and nothing is set or cleared', async (t) => {
  for (const options of [{ accessCookieName: '__Host-at' }, { accessCsrfCookieName: '__Host-csrf' }, { refreshCsrfCookieName: '__HOST-rt_csrf' }]) {
    const name = Object.values(options)[0]!
    const runs: Run[] = [
      (reply, { access, refresh }) => {
        if (name.includes('rt')) reply.setRefreshCookies(refresh, { domain: 'example.com' })
        else reply.setAccessCookies(access, { domain: 'example.com' })
      },
      (reply) => { reply.unsetJwtCookies({ domain: 'example.com' }) },
    ]
    for (const run of runs) {
      const sent = await answer(t, options, run)
      t.equal(sent.statusCode, 500)
      t.match(sent.message, `The cookie ${name} allows no domain`)
      t.same(sent.lines, [])
    }
  }
})

t.test('__Host- and __Secure- names are sent where their rules are kept', async (t) => {
  const options = {
    accessCookieName: '__Host-at', accessCsrfCookieName: '__Host-at_csrf', refreshCookieName: '__Secure-rt', refreshCookiePath: '/refresh', refreshCsrfCookieName: '__Secure-rt_csrf',
  }
  const sent = await answer(t, options, (reply, { access, refresh }) => {
    reply.setAccessCookies(access).setRefreshCookies(refresh, { domain: 'example.com' })
  })
  t.same(sent.lines, [
    `__Host-at=${sent.access}; Path=/; HttpOnly; Secure; SameSite=Lax`,
    `__Host-at_csrf=${sent.accessCsrf}; Path=/; Secure; SameSite=Lax`,
    `__Secure-rt=${sent.refresh}; Domain=example.com; Path=/refresh; HttpOnly; Secure; SameSite=Lax`,
    `__Secure-rt_csrf=${sent.refreshCsrf}; Domain=example.com; Path=/; Secure; SameSite=Lax`,
  ])
})

const refusedOptions: [title: string, options: object, message: RegExp][] = [
  ['a __Host- name with cookieDomain', { accessCookieName: '__Host-at', cookieDomain: 'example.com' }, /__Host- name in accessCookieName allows no cookieDomain/],
  ['a __Host- name with a path', { refreshCookieName: '__Host-rt', refreshCookiePath: '/refresh' }, /__Host- name in refreshCookieName needs refreshCookiePath: '\/'/],
  ['a __Host- CSRF name with a path', { accessCsrfCookieName: '__Host-c', accessCsrfCookiePath: '/a' }, /accessCsrfCookieName needs accessCsrfCookiePath: '\/'/],
  ['a __Host- name without Secure', { refreshCsrfCookieName: '__Host-c', cookieSecure: false }, /__Host- name in refreshCsrfCookieName needs cookieSecure: true/],
  ['a __Secure- name without Secure', { accessCookieName: '__Secure-at', cookieSecure: false }, /__Secure- name in accessCookieName needs cookieSecure: true/],
  ['a __host- name in other letters, as browsers read it', { accessCookieName: '__hOsT-at', cookieDomain: 'example.com' }, /allows no cookieDomain/],
  ['SameSite None without Secure', { cookieSameSite: 'None', cookieSecure: false }, /cookieSameSite: 'None' needs cookieSecure: true/],
  ['partitioned cookies without Secure', { cookiePartitioned: true, cookieSecure: false }, /cookiePartitioned needs cookieSecure: true/],
  ['a SameSite value in small letters', { cookieSameSite: 'lax' }, /cookieSameSite must be one of 'Strict', 'Lax', 'None', false/],
  ['a cookie name with a space', { accessCookieName: 'a b' }, /accessCookieName must be/],
  ['a cookie name with a semicolon', { refreshCookieName: 'a;b' }, /refreshCookieName must be/],
  ['an empty cookie name', { accessCsrfCookieName: '' }, /accessCsrfCookieName must be/],
  ['a path without a slash', { accessCookiePath: 'api' }, /accessCookiePath must be a path/],
  ['a path with a semicolon', { refreshCookiePath: '/;Domain=x' }, /refreshCookiePath must be a path/],
  ['a path with a line break', { accessCsrfCookiePath: '/\r\nX: 1' }, /accessCsrfCookiePath must be a path/],
  ['a path that cannot be written', { accessCookiePath: '/<' }, /accessCookiePath must be a path/],
  ['a domain with a port', { cookieDomain: 'example.com:3000' }, /cookieDomain must be a host name/],
  ['a domain of one endless label', { cookieDomain: `${'a'.repeat(64)}.com` }, /cookieDomain must be a host name/],
  ['an empty domain', { cookieDomain: '' }, /cookieDomain must be a host name/],
  ['one name for the access and the refresh cookie', { accessCookieName: 'jwt', refreshCookieName: 'jwt' }, /accessCookieName and refreshCookieName name the same cookie/],
  ['one name for a token and a CSRF value', { accessCookieName: 'jwt', accessCsrfCookieName: 'jwt' }, /accessCookieName and accessCsrfCookieName name the same cookie/],
]

for (const [title, options, message] of refusedOptions) {
  t.test(`fails to register: ${title}`, async (t) => {
    t.match((await registrationError(t, { secretKey: SECRET, ...options })).message, message)
  })
}

t.test('a line carries nothing that could end it, whatever stands in a claim', async (t) => {
  const token = forge({ sub: 'ada', csrf: 'a;Domain=evil\r\nSet-Cookie: b=1,"\\ ü' })
  const sent = await answer(t, {}, (reply) => { reply.setAccessCookies(token) })
  t.equal(sent.lines.length, 2)
  t.equal(sent.lines[1], `csrf_access_token=${encodeURIComponent('a;Domain=evil\r\nSet-Cookie: b=1,"\\ ü')}; Path=/; Secure; SameSite=Lax`)
})

t.test('each method gives the reply back at once, so that calls chain', async (t) => {
  const sent = await answer(t, {}, (reply, { access, refresh }, app) => {
    t.equal(reply.setAccessCookies(access), reply)
    t.equal(reply.setRefreshCookies(refresh), reply)
    t.equal(reply.unsetJwtCookies(), reply)
    t.equal(reply.unsetAccessCookies(), reply)
    t.equal(reply.unsetRefreshCookies(), reply)
    const manager = app.jwtManager()
    t.equal(manager.setAccessCookies(reply, access), reply)
    t.equal(manager.setRefreshCookies(reply, refresh), reply)
    t.equal(manager.unsetJwtCookies(reply), reply)
    t.equal(manager.unsetAccessCookies(reply), reply)
    t.equal(manager.unsetRefreshCookies(reply), reply)
    reply.unsetJwtCookies().setAccessCookies(access, { maxAge: 60 }).code(201)
  })
  t.equal(sent.statusCode, 201)
  t.equal(sent.lines.length, 2 + 2 + 4 + 2 + 2 + 2 + 2 + 4 + 2 + 2 + 4 + 2, 'and each call adds its own lines')
})

t.test('an answer with a token cookie is not to be stored', async (t) => {
  t.equal((await answer(t, {}, (reply, { access }) => { reply.setAccessCookies(access) })).cacheControl, 'no-store')
  t.equal((await answer(t, {}, (reply, { refresh }) => { reply.setRefreshCookies(refresh) })).cacheControl, 'no-store')
  t.equal((await answer(t, { csrfInCookies: false }, (reply, { access }) => { reply.setAccessCookies(access) })).cacheControl, 'no-store')
  t.equal((await answer(t, {}, () => {})).cacheControl, undefined, 'one without a cookie is none of our business')
})

t.test("the application's own Cache-Control stays, whether set before the cookies or after", async (t) => {
  const own = 'private, no-cache'
  t.equal((await answer(t, {}, (reply, { access }) => { reply.header('Cache-Control', own).setAccessCookies(access) })).cacheControl, own)
  t.equal((await answer(t, {}, (reply, { access }) => { reply.setAccessCookies(access).header('cache-control', own) })).cacheControl, own)
  t.equal((await answer(t, {}, (reply, { access }) => { reply.header('cache-control', 'private').setAccessCookies(access) })).cacheControl, 'private')
})

t.test('a token cookie turns the private answer to a token in the URL into one not to be stored', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'query_string' })
  app.get('/plain', { onRequest: app.jwtRequired() }, async () => ({}))
  app.get('/moved', { onRequest: app.jwtRequired() }, async (request, reply) => {
    reply.setAccessCookies(String(new URLSearchParams(request.url.split('?')[1]).get('jwt')))
    return {}
  })
  app.get('/own', { onRequest: app.jwtRequired() }, async (request, reply) => {
    reply.header('Cache-Control', 'private, max-age=5').setAccessCookies(String(new URLSearchParams(request.url.split('?')[1]).get('jwt')))
    return {}
  })
  const token = await app.createAccessToken('ada')
  const cacheControl = async (path: string): Promise<unknown> => (await app.inject(`${path}?jwt=${token}`)).headers['cache-control']
  t.equal(await cacheControl('/plain'), 'private')
  t.equal(await cacheControl('/moved'), 'no-store')
  t.equal(await cacheControl('/own'), 'private, max-age=5')
})

type Presence = 'without' | 'before' | 'after'

/** An application with @fastify/cookie somewhere, or not at all. */
async function buildBeside (t: Test, presence: Presence, options: FastifyCookieOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  if (presence === 'before') await app.register(cookie, options)
  await app.register(jwtExtended, { secretKey: SECRET, tokenLocation: 'cookies' })
  if (presence === 'after') await app.register(cookie, options)
  return app
}

const presences: [title: string, presence: Presence, options: FastifyCookieOptions][] = [
  ['without @fastify/cookie', 'without', {}],
  ...(['before', 'after'] as const).flatMap((presence): typeof presences => [
    [`with @fastify/cookie ${presence} us`, presence, {}],
    [`with @fastify/cookie ${presence} us, with a secret`, presence, { secret: 'a secret of the cookies' }],
    ...(['onRequest', 'preParsing', 'preValidation', 'preHandler', false] as const).map((hook): typeof presences[number] =>
      [`with @fastify/cookie ${presence} us, hook ${hook}`, presence, { hook }]),
  ]),
]

for (const [title, presence, options] of presences) {
  t.test(`reads a token cookie in every hook ${title}`, async (t) => {
    const app = await buildBeside(t, presence, options)
    const guard = app.jwtRequired()
    for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
      app.get(`/${hook}`, { [hook]: guard }, async (request) => ({ who: request.jwtIdentity, where: request.jwtLocation }))
    }
    const token = await app.createAccessToken('ada')
    for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
      const response = await app.inject({ url: `/${hook}`, headers: { cookie: `theme=dark; access_token_cookie=${token}; a=%` } })
      t.same(response.json(), { who: 'ada', where: 'cookies' }, hook)
      t.same((await app.inject({ url: `/${hook}`, headers: { cookie: 'theme=dark' } })).json(), { msg: 'Missing cookie "access_token_cookie"' })
    }
  })

  t.test(`sets token cookies ${title}`, async (t) => {
    const app = await buildBeside(t, presence, options)
    app.get('/', async (request, reply) => {
      reply.setAccessCookies(await app.createAccessToken('ada', { additionalClaims: { csrf: 'c' } }))
      return {}
    })
    const lines = linesOf((await app.inject('/')).headers)
    t.match(lines, [/^access_token_cookie=ey[\w.-]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/, 'csrf_access_token=c; Path=/; Secure; SameSite=Lax'])
    t.equal(lines.length, 2)
  })

  if (presence === 'without') continue
  t.test(`leaves the other cookies of a reply alone ${title}`, async (t) => {
    const app = await buildBeside(t, presence, options)
    const token = await app.createAccessToken('ada', { additionalClaims: { csrf: 'c' } })
    const runs: Record<string, (reply: FastifyReply) => FastifyReply> = {
      theirs_first: (reply) => reply.setCookie('theme', 'dark').setAccessCookies(token).clearCookie('old'),
      ours_first: (reply) => reply.setAccessCookies(token).setCookie('theme', 'dark').clearCookie('old'),
      by_header: (reply) => reply.header('Set-Cookie', 'theme=dark').setAccessCookies(token).clearCookie('old'),
    }
    for (const [name, run] of Object.entries(runs)) {
      app.get(`/${name}`, async (request, reply) => {
        run(reply)
        return {}
      })
    }
    for (const name of Object.keys(runs)) {
      const response = await app.inject(`/${name}`)
      t.equal(response.statusCode, 200)
      const lines = linesOf(response.headers).map((line) => line.replace(/; .*/, '')).sort()
      t.same(lines, [`access_token_cookie=${token}`, 'csrf_access_token=c', 'old=', 'theme=dark'], name)
    }
  })
}

t.test('a cookie set in an onSend hook is sent, behind @fastify/cookie too', async (t) => {
  for (const presence of ['without', 'before', 'after'] as const) {
    const app = await buildBeside(t, presence, {})
    const token = await app.createAccessToken('ada')
    app.addHook('onSend', async (request, reply, payload) => {
      reply.setAccessCookies(token)
      return payload
    })
    app.get('/', async (request, reply) => {
      if (presence !== 'without') reply.setCookie('theme', 'dark')
      return {}
    })
    const names = linesOf((await app.inject('/')).headers).map((line) => line.split('=', 1)[0]!).sort()
    t.same(names, ['access_token_cookie', 'csrf_access_token', ...(presence === 'without' ? [] : ['theme'])])
  }
})

t.test('of two cookies of one name the first counts', async (t) => {
  const app = await buildBeside(t, 'without', {})
  app.get('/', { onRequest: app.jwtRequired() }, async (request) => ({ who: request.jwtIdentity }))
  const [ada, bob] = [await app.createAccessToken('ada'), await app.createAccessToken('bob')]
  const response = await app.inject({ url: '/', headers: { cookie: `access_token_cookie=${ada}; access_token_cookie=${bob}` } })
  t.same(response.json(), { who: 'ada' })
})

t.test('a refresh guard reads the refresh cookie, and only that', async (t) => {
  const app = await buildBeside(t, 'without', {})
  app.get('/', { onRequest: app.jwtRequired({ refresh: true }) }, async (request) => ({ who: request.jwtIdentity }))
  const token = await app.createRefreshToken('ada')
  t.same((await app.inject({ url: '/', headers: { cookie: `refresh_token_cookie=${token}` } })).json(), { who: 'ada' })
  t.same((await app.inject({ url: '/', headers: { cookie: `access_token_cookie=${token}` } })).json(), { msg: 'Missing cookie "refresh_token_cookie"' })
})

t.test('the cookies of a pair are set both or not at all', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, store: memoryStore(), tokenLocation: 'cookies' })
  app.get('/', async (_request, reply) => {
    const pair = await app.createTokenPair('ada')
    return reply.setTokenCookies({ ...pair, refreshToken: `${pair.refreshToken}${'x'.repeat(4000)}` })
  })
  const response = await app.inject('/')
  t.equal(response.statusCode, 500)
  t.equal(response.headers['set-cookie'], undefined)
  t.equal(response.headers['cache-control'], undefined)
})

t.test('a promise of a token is no token, and the error says what is missing', async (t) => {
  const app = await buildApp(t)
  app.get('/', async (_request, reply) => reply.setAccessCookies(app.createAccessToken('ada') as never))
  t.match((await app.inject('/')).json(), { statusCode: 500, message: 'A token cookie needs a token, not the promise of one: await createAccessToken(…)' })
})
