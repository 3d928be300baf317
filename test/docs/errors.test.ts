import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import * as plugin from '../../index.js'
import { REASONS } from '../../lib/signatures.js'
import { buildApp } from '../support/app.js'
import { readProse, readRows, root, unquote } from '../support/pages.js'
import { answer, ENVIRONMENT, testPage } from '../support/snippets.js'

const PAGE = 'docs/errors.md'

await testPage(t, PAGE, {
  async 'Changing the answers 1' (t, snippet) {
    const { app } = snippet
    const expired = await app.createAccessToken('ada', { expiresDelta: -1 })
    await answer(t, snippet, '/protected', expired, 401, { error: 'expired', user: 'ada' })
    await answer(t, snippet, '/protected', 'x.y.z', 400, { error: 'FST_JWT_EXT_INVALID_TOKEN', path: '/protected' })
    const login = await answer(t, snippet, '/protected', undefined, 302, undefined)
    t.equal(login.headers.location, '/login')
    const refresh = await buildApp(t, { secretKey: ENVIRONMENT.JWT_SECRET_KEY, errorMessageKey: 'message' })
    refresh.get('/protected', { onRequest: refresh.jwtRequired() }, async () => 'secret')
    t.same((await refresh.inject('/protected')).json(), { message: 'Missing Authorization Header' })
  },

  async 'One error handler for all 1' (t, snippet) {
    const refused = await answer(t, snippet, '/protected', undefined, 401, {
      problem: 'FST_JWT_EXT_NO_AUTHORIZATION', detail: 'Missing Authorization Header',
    })
    t.equal(refused.headers['www-authenticate'], 'Bearer', 'the challenge is there all the same')
  },

  async 'Statuses 1' (t, snippet) {
    const forged = await answer(t, snippet, '/protected', 'x.y.z', 401, undefined)
    t.match(forged.headers['www-authenticate'], /^Bearer error="invalid_token"/)
    const malformed = await answer(t, snippet, { url: '/protected', headers: { authorization: 'Bearer' } }, undefined, 400, undefined)
    t.match(malformed.headers['www-authenticate'], /^Bearer error="invalid_request"/)
  },
})

const sources = readdirSync(`${root}/lib`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(`${root}/lib/${name}`, 'utf8')).join('\n')

t.test('the table of errors is that of the code', async (t) => {
  const classes = Object.entries(plugin).filter(([, value]) => {
    return typeof value === 'function' && value.prototype instanceof plugin.JwtError
  }) as [string, typeof plugin.NoAuthorizationError][]
  const rows = readRows(PAGE, 'class')
  const coded = classes.map(([name, Class]) => {
    const { code, statuses, loader, challengeError } = new Class()
    return [name, code.replace('FST_JWT_EXT_', ''), String(statuses.flask), String(statuses.rfc6750), loader ?? '–', challengeError ?? '–']
  })
  const written = rows.map(([name, code, flask, rfc6750, , loader, challenge]) => [name, code, flask, rfc6750, loader, challenge].map(unquote))
  t.same(written.sort(), coded.sort())
  for (const [name, Class] of classes) {
    const row = rows.find(([cell]) => cell === `\`${name}\``)
    if (name !== 'JwtDecodeError') t.ok(row?.[4]?.includes(new Class().message), `${name}: ${row?.[4]}`)
  }
})

t.test('the table of messages has every message of the code', async (t) => {
  const literals = [...sources.matchAll(/new (?!JwtUsage|Type)\w+Error\((?:'([^']+)'|"([^"]+)"|`([^`$]+))/g)]
    .map(([, single, double, template]) => single ?? double ?? template!)
  t.ok(literals.length > 15)
  const prose = readProse(PAGE)
  for (const message of new Set([...literals, ...Object.values(REASONS)])) {
    if (message !== undefined) t.ok(prose.includes(message), message)
  }
})

t.test('what is explained can be seen', async (t) => {
  const messages = readRows(PAGE, 'message').map(([cell]) => cell!).join('\n')
  const seen = readRows(PAGE, 'what you see').map(([cell]) => /^`([^`]+)`/.exec(cell!)![1]!)
  const theirs = ['app.jwtRequired is not a function', '{"access_token":{}}', "Body cannot be empty when content-type is set to 'application/json'"]
  t.same(seen.filter((text) => !messages.includes(text)), theirs)
})

t.test('the table of warnings has every warning of the code', async (t) => {
  const codes = [...sources.matchAll(/code: '(FST_JWT_EXT_\w+)'/g)].map((match) => match[1]!)
  t.same(readRows(PAGE, 'warning').map(([cell]) => unquote(cell)).sort(), [...new Set(codes)].sort())
})
