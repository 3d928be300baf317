import t from 'tap'
import { answer, payloadOf, testPage } from '../support/snippets.js'

await testPage(t, 'docs/guarding-routes.md', {
  async 'A guard 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    const expires = payloadOf(token)['exp']
    await answer(t, snippet, '/account', token, 200, { identity: 'ada', expires, algorithm: 'HS256', location: 'headers' })
    await answer(t, snippet, '/account', undefined, 401, { msg: 'Missing Authorization Header' })
  },

  async 'All routes of a scope 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    await answer(t, snippet, '/members/inbox', token, 200, { inbox_of: 'ada' })
    await answer(t, snippet, '/members/outbox', token, 200, { outbox_of: 'ada' })
    await answer(t, snippet, '/members/outbox', undefined, 401, undefined)
    await answer(t, snippet, '/about', undefined, 200, undefined)
  },

  async 'Optional routes 1' (t, snippet) {
    const { app } = snippet
    await answer(t, snippet, '/greeting', undefined, 200, { greeting: 'Hello, whoever you are' })
    await answer(t, snippet, '/greeting', await app.createAccessToken('ada'), 200, { greeting: 'Hello, ada' })
    await answer(t, snippet, '/greeting', await app.createAccessToken('ada', { expiresDelta: -1 }), 401, undefined)
    await answer(t, snippet, { url: '/greeting', headers: { authorization: 'Bearer' } }, undefined, 422, undefined)
  },

  async 'Freshness 1' (t, snippet) {
    const login = await snippet.app.inject({ method: 'POST', url: '/login' })
    const change = { method: 'POST', url: '/password' } as const
    await answer(t, snippet, change, (login.json() as { access_token: string }).access_token, 200, { changed_for: 'ada' })
    await answer(t, snippet, change, await snippet.app.createAccessToken('ada'), 401, { msg: 'Fresh token required' })
  },

  async 'Refresh tokens, and any token 1' (t, snippet) {
    await answer(t, snippet, '/token', await snippet.app.createRefreshToken('ada'), 200, { type: 'refresh', of: 'ada' })
    await answer(t, snippet, '/token', await snippet.app.createAccessToken('ada'), 200, { type: 'access', of: 'ada' })
  },

  async 'Judging claims 1' (t, snippet) {
    const { app } = snippet
    const token = await app.createAccessToken('ada', { additionalClaims: { tenant: 'acme' } })
    await answer(t, snippet, '/protected', token, 200, { tenant: 'acme' })
    await answer(t, snippet, '/protected', await app.createAccessToken('ada'), 400, { msg: 'User claims verification failed' })
  },

  async 'Guards of your own 1' (t, snippet) {
    const { app } = snippet
    const admin = await app.createAccessToken('ada', { additionalClaims: { is_administrator: true } })
    await answer(t, snippet, '/settings', admin, 200, { administrator: 'ada' })
    await answer(t, snippet, '/settings', await app.createAccessToken('grace'), 403, { msg: 'Administrators only' })
    const refused = await answer(t, snippet, '/settings', undefined, 401, { msg: 'Missing Authorization Header' })
    t.equal(refused.headers['www-authenticate'], 'Bearer')
  },

  async 'Deciding whether to ask for a token 1' (t, snippet) {
    const { app } = snippet
    const editor = await app.createAccessToken('ada', { additionalClaims: { roles: ['editor'] } })
    await answer(t, snippet, '/reports/january', undefined, 200, { report: 'january' })
    await answer(t, snippet, '/reports/february', editor, 200, { report: 'february' })
    await answer(t, snippet, '/reports/february', await app.createAccessToken('grace'), 403, undefined)
    const refused = await answer(t, snippet, '/reports/february', undefined, 401, undefined)
    t.equal(refused.headers['www-authenticate'], 'Bearer')
    t.match(refused.json(), { code: 'FST_JWT_EXT_NO_AUTHORIZATION', message: 'Missing Authorization Header' })
  },
})
