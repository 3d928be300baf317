import t from 'tap'
import { answer, payloadOf, testPage } from '../support/snippets.js'

await testPage(t, 'docs/users.md', {
  async 'Loading users 1' (t, snippet) {
    const { app } = snippet
    t.equal(payloadOf(snippet['token'])['sub'], '1')
    await answer(t, snippet, '/who_am_i', String(snippet['token']), 200, { id: 1, name: 'Ada' })
    const nobody = await app.createAccessToken({ id: 3 })
    await answer(t, snippet, '/who_am_i', nobody, 401, { msg: 'Error loading the user 3' })
  },

  async 'What the lookup may decide 1' (t, snippet) {
    const { app } = snippet
    await answer(t, snippet, '/orders', await app.createAccessToken('ada'), 200, { orders_of: 'ada' })
    await answer(t, snippet, '/orders', await app.createAccessToken('mallory'), 403, { msg: 'This account is closed' })
  },
})
