import t from 'tap'
import { registrationError } from '../support/app.js'
import { readMembers, readRows, unquote } from '../support/pages.js'
import { answer, testPage } from '../support/snippets.js'

const PAGE = 'docs/from-flask-jwt-extended.md'

/** What `from flask_jwt_extended import …` can name, in version 4.7.1. */
const FUNCTIONS = [
  'JWTManager', 'create_access_token', 'create_refresh_token', 'current_user', 'decode_token', 'get_csrf_token', 'get_current_user',
  'get_jti', 'get_jwt', 'get_jwt_header', 'get_jwt_identity', 'get_jwt_request_location', 'get_unverified_jwt_headers',
  'set_access_cookies', 'set_refresh_cookies', 'unset_access_cookies', 'unset_jwt_cookies', 'unset_refresh_cookies', 'jwt_required',
  'verify_jwt_in_request',
]

/** How many settings and loaders it has. */
const SETTINGS = 43
const LOADERS = 15

await testPage(t, PAGE, {
  async 'The same application 1' (t, snippet) {
    const { access_token: token } = (await snippet.app.inject({ method: 'POST', url: '/login' })).json<{ access_token: string }>()
    await answer(t, snippet, '/protected', token, 200, { logged_in_as: 'ada' })
  },

  async 'A decorator of your own 1' (t, snippet) {
    const admin = await snippet.app.createAccessToken('ada', { additionalClaims: { is_administrator: true } })
    await answer(t, snippet, '/protected', admin, 200, { foo: 'bar' })
    await answer(t, snippet, '/protected', await snippet.app.createAccessToken('grace'), 403, { msg: 'Admins only!' })
    await answer(t, snippet, '/protected', undefined, 401, { msg: 'Missing Authorization Header' })
  },

  async 'A whole blueprint 1' (t, snippet) {
    await answer(t, snippet, '/members/inbox', await snippet.app.createAccessToken('ada'), 200, { inbox_of: 'ada' })
    await answer(t, snippet, '/members/inbox', undefined, 401)
  },

  async 'A loader with a status 1' (t, snippet) {
    await answer(t, snippet, '/protected', 'x.y', 401, { error: 'Not enough segments' })
  },
})

const there = readRows(PAGE, 'there').map(([first = '', second = '', third = '', fourth = '']) => [first, second, third, fourth] as const)
const options = new Set(readMembers('options', 'JwtExtendedOptions').map(([name]) => name!))

t.test('every function has its row', async (t) => {
  const words = new Set(there.flatMap(([first]) => first.match(/\w+/g) ?? []))
  t.same(FUNCTIONS.filter((name) => !words.has(name)), [])
})

t.test('every setting has its row, under the name that can be guessed', async (t) => {
  const rows = there.filter(([first]) => /^`JWT_\w+`$/.test(first))
  t.equal(new Set(rows.map(([first]) => first)).size, SETTINGS)
  for (const [flask, ours] of rows) {
    t.ok(options.has(unquote(ours)), ours)
    t.equal(unquote(ours).toLowerCase(), unquote(flask).replace('JWT_', '').replaceAll('_', '').toLowerCase())
  }
  t.match(await registrationError(t, { JWT_COOKIE_SAMESITE: 'Lax' }), { message: /did you mean 'cookieSameSite'\?/ })
})

t.test('every loader has its row, under the name that can be guessed', async (t) => {
  const rows = there.filter(([first]) => first.startsWith('`@jwt.'))
  t.equal(new Set(rows.map(([first]) => first)).size, LOADERS)
  for (const [flask, , ours] of rows) {
    t.ok(options.has(unquote(ours)), ours)
    t.equal(unquote(ours).toLowerCase(), unquote(flask).replace('@jwt.', '').replaceAll('_', '').toLowerCase())
  }
})
