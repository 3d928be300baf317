import t from 'tap'
import { buildApp } from '../support/app.js'
import { answer, ENVIRONMENT, PRIVATE_KEY, testPage } from '../support/snippets.js'

await testPage(t, 'docs/keys.md', {
  async 'A key for an algorithm 1' (t, { app }) {
    const token = await app.createAccessToken('ada')
    t.equal(app.getUnverifiedJwtHeaders(token).alg, 'ES256')
    t.equal((await app.decodeToken(token))['sub'], 'ada', 'the public half was derived')
  },

  async 'A key for an algorithm 2' (t, { app }) {
    const issuer = await buildApp(t, { algorithm: 'ES256', privateKey: PRIVATE_KEY })
    t.equal((await app.decodeToken(await issuer.createAccessToken('ada')))['sub'], 'ada')
    await t.rejects(app.createAccessToken('ada'), { code: 'FST_JWT_EXT_USAGE', message: /no key to sign/ })
  },

  async 'Lists of keys 1' (t, { app }) {
    const old = await buildApp(t, { secretKey: ENVIRONMENT.OLD_JWT_SECRET_KEY })
    const current = await buildApp(t, { secretKey: ENVIRONMENT.JWT_SECRET_KEY })
    t.equal((await app.decodeToken(await old.createAccessToken('ada')))['sub'], 'ada')
    t.equal((await current.decodeToken(await app.createAccessToken('ada')))['sub'], 'ada')
  },

  async 'A key for each tenant 1' (t, snippet) {
    const { app } = snippet
    await answer(t, snippet, '/protected', String(snippet['token']), 200, { tenant: 'acme' })
    const acme = await buildApp(t, { secretKey: ENVIRONMENT.ACME_SECRET_KEY })
    for (const [tenant, message] of [['globex', 'Signature verification failed'], ['nobody', 'Unknown tenant']]) {
      const forged = await acme.createAccessToken('1', { additionalClaims: { tenant } })
      await answer(t, snippet, '/protected', forged, 422, { msg: message })
    }
    await answer(t, snippet, '/protected', await app.createAccessToken({ id: '2', tenant: 'globex' }), 200, { tenant: 'globex' })
  },
})
