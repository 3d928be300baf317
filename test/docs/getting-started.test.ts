import t from 'tap'
import { buildApp } from '../support/app.js'
import { answer, ENVIRONMENT, testPage } from '../support/snippets.js'

await testPage(t, 'docs/getting-started.md', {
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

  async 'More than one configuration 2' (t, snippet) {
    const { app } = snippet
    const partner = await app.jwtManager('partner').createAccessToken('acme')
    const post = { method: 'POST', url: '/orders', headers: { 'x-partner-token': partner } } as const
    await answer(t, snippet, post, undefined, 200, { ordered_by: 'acme' })
    await answer(t, snippet, '/orders', await app.createAccessToken('ada'), 200, { seen_by: 'ada' })
    await answer(t, snippet, '/orders', partner, 422, { msg: 'Signature verification failed' })
    t.equal(app.jwtManager().createAccessToken, app.createAccessToken)
  },

  async 'TypeScript 1' (t, snippet) {
    await answer(t, snippet, '/who_am_i', String(snippet['token']), 200, { name: 'Ada', role: 'admin' })
  },
})
