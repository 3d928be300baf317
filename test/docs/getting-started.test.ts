import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { toSeconds } from '../../lib/durations.js'
import { buildApp } from '../support/app.js'
import { ownProcess } from '../support/own-process.js'
import { readBlocks, readProse, readRows, root, unquote } from '../support/pages.js'
import { answer, ENVIRONMENT, payloadOf, testPage } from '../support/snippets.js'

const PAGE = 'docs/getting-started.md'

await testPage(t, PAGE, {
  async 'Registering the plugin 2' (t, snippet, { printed }) {
    t.match(printed, [/accessTokenExpires must be a positive duration/])
  },

  async 'More than one configuration 1' (t, snippet) {
    const { app } = snippet
    const token = await app.createAccessToken('ada')
    await answer(t, snippet, '/inbox', token, 200, { inbox_of: 'ada' })
    await answer(t, snippet, '/staff/reports', token, 422, { msg: 'Signature verification failed' })
    const staff = await buildApp(t, { secretKey: ENVIRONMENT.STAFF_SECRET_KEY })
    const staffToken = await staff.createAccessToken('grace')
    await answer(t, snippet, '/staff/reports', staffToken, 200, { reader: 'grace' })
    await answer(t, snippet, '/inbox', staffToken, 422, { msg: 'Signature verification failed' })
  },

  async 'One scope for each tenant 1' (t, snippet) {
    const login = await answer(t, snippet, { method: 'POST', url: '/acme/login' }, undefined, 200)
    const { access_token: token } = login.json<{ access_token: string }>()
    await answer(t, snippet, '/acme/orders', token, 200, { tenant: 'acme', orders_of: 'ada' })
    await answer(t, snippet, '/globex/orders', token, 422, { msg: 'Signature verification failed' })
  },

  async 'Two in the same scope 1' (t, snippet) {
    const { app } = snippet
    const partner = await app.jwtManager('partner').createAccessToken('acme')
    const post = { method: 'POST', url: '/orders', headers: { 'x-partner-token': partner } } as const
    await answer(t, snippet, post, undefined, 200, { ordered_by: 'acme' })
    await answer(t, snippet, '/orders', await app.createAccessToken('ada'), 200, { seen_by: 'ada' })
    await answer(t, snippet, '/orders', partner, 422, { msg: 'Signature verification failed' })
    t.equal(app.jwtManager().createAccessToken, app.createAccessToken)
  },

  async 'TypeScript 1' (t, snippet) {
    await answer(t, snippet, '/who_am_i', String(snippet['token']), 200, { name: 'Ada', roles: ['admin'] })
  },

  async 'TypeScript 2' (t, snippet) {
    const token = await snippet.app.createRefreshToken(snippet['ada'], { additionalClaims: { roles: ['admin'] } })
    const refreshed = await answer(t, snippet, { method: 'POST', url: '/refresh' }, token, 200)
    t.match(payloadOf(refreshed.json<{ access_token: string }>().access_token), { sub: '1', type: 'access', roles: ['admin'] })
  },
})

t.test('the application in CommonJS works', async (t) => {
  const { code } = readBlocks(PAGE).find(({ name, language }) => name === 'CommonJS 1' && language === 'js')!
  const asking = `async (app) => {
    const { access_token } = (await app.inject({ method: 'POST', url: '/login' })).json()
    console.log((await app.inject({ url: '/protected', headers: { authorization: 'Bearer ' + access_token } })).body)
  }`
  const own = code.replace("'fastify-jwt-extended'", `'${root}/index.ts'`).replace('(app) => app.listen({ port: 3000 })', asking)
  const directory = t.testdir({ 'app.cjs': own })
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', `${directory}/app.cjs`], {
    cwd: root, env: { ...ownProcess(), ...ENVIRONMENT },
  })
  t.equal(stdout, '{"logged_in_as":"ada"}\n')
})

t.test('the durations are those that are taken', async (t) => {
  const rows = readRows(PAGE, 'unit').map(([unit, , example]) => [unquote(unit), unquote(example).replaceAll("'", '')] as const)
  t.same(rows.map(([, example]) => toSeconds(example)), [45, 15 * 60, 12 * 3600, 30 * 86_400, 2 * 7 * 86_400, 365.25 * 86_400])
  for (const [unit, example] of rows) t.ok(example.endsWith(unit), example)
  const refused = /^.*Upper case .*$/m.exec(readProse(PAGE))![0].matchAll(/\(`'(\w+)'`\)/g)
  const texts = [...refused].map((match) => match[1]!)
  t.equal(texts.length, 4)
  for (const text of texts) t.equal(toSeconds(text), undefined, text)
  t.equal(toSeconds('1M'), 60)
  t.same(['2 days', '90 minutes', '1.5h'].map(toSeconds), [2 * 86_400, 90 * 60, 90 * 60])
})
