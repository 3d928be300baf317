import t from 'tap'
import { buildApp } from '../support/app.js'
import { readRows, unquote } from '../support/pages.js'
import { answer, ENVIRONMENT, payloadOf, testPage } from '../support/snippets.js'

const PAGE = 'docs/tokens.md'

await testPage(t, PAGE, {
  async 'Creating tokens 1' (t, snippet) {
    const said = payloadOf(snippet['accessToken'])
    const claims = readRows(PAGE, 'claim').flatMap(([names]) => names!.split(',').map((name) => unquote(name).trim()))
    t.same([...Object.keys(said), 'iss', 'aud', 'sid', 'gen', 'epoch'].sort(), claims.sort(), 'the table names every claim')
    t.match(said, { sub: 'ada', type: 'access', fresh: false })
    t.match(payloadOf(snippet['refreshToken']), { sub: 'ada', type: 'refresh', fresh: false })
    const hour = payloadOf(snippet['forOneHour'])
    t.equal(Number(hour['exp']) - Number(hour['iat']), 3600)
    t.equal(payloadOf(snippet['fresh'])['fresh'], true)
    t.equal(payloadOf(snippet['forAPartner'])['role'], 'guest')
    t.same(snippet.app.getUnverifiedJwtHeaders(String(snippet['forAPartner'])), { alg: 'HS256', typ: 'JWT', kid: 'key-1' })
    const { app } = snippet
    for (const options of [{ expiresDelta: -1 }, { fresh: -1 }] as const) {
      const token = await app.createAccessToken('ada', options)
      await t.rejects(app.decodeToken(token).then(({ fresh }) => { if (Number(fresh) < Date.now() / 1000) throw new Error('stale') }))
    }
    await t.rejects(app.createAccessToken({ id: 5 }), { code: 'FST_JWT_EXT_USAGE' })
    await t.rejects(app.createAccessToken('ada', { expires: 5 } as object), { code: 'FST_JWT_EXT_USAGE' })
    await t.rejects(app.createAccessToken('ada', { additionalClaims: { big: 5n } }), { code: 'FST_JWT_EXT_USAGE' })
    const plain = await buildApp(t, { secretKey: ENVIRONMENT.JWT_SECRET_KEY, cookieCsrfProtect: false })
    t.notHas(payloadOf(await plain.createAccessToken('ada')), { csrf: String })
  },

  async 'Identity 1' (t, snippet) {
    t.equal(payloadOf(snippet['token'])['sub'], '7')
    t.notHas(payloadOf(snippet['token']), { name: String })
  },

  async 'Additional claims and headers 1' (t, snippet) {
    const { app } = snippet
    await answer(t, snippet, '/role', String(snippet['token']), 200, { role: 'admin', device: 'phone' })
    await answer(t, snippet, '/role', await app.createAccessToken('grace'), 200, { role: 'reader' })
    const token = await app.createAccessToken('ada', { additionalClaims: { role: 'none', sub: 'other' } })
    t.match(payloadOf(token), { role: 'none', sub: 'other' })
    t.equal(app.getUnverifiedJwtHeaders(token).kid, 'key-1')
    await t.rejects(app.createAccessToken('ada', { additionalClaims: { type: 'refresh' } }))
    await t.rejects(app.createAccessToken('ada', { additionalHeaders: { alg: 'HS512' } }))
  },

  async 'Reading tokens 1' (t, snippet) {
    const said = payloadOf(snippet['token'])
    t.same(snippet['payload'], said)
    t.equal(snippet['jti'], said['jti'])
    t.equal(snippet['csrf'], said['csrf'])
    t.same(snippet['header'], { alg: 'HS256', typ: 'JWT' })
    const { app } = snippet
    const expired = await app.createRefreshToken('ada', { expiresDelta: -1 })
    await t.rejects(app.decodeToken(expired), { code: 'FST_JWT_EXT_EXPIRED' })
    t.equal((await app.decodeToken(expired, { allowExpired: true }))['type'], 'refresh')
    await t.rejects(app.decodeToken(String(snippet['token']), { csrfValue: 'another' }), { code: 'FST_JWT_EXT_CSRF' })
    t.throws(() => app.getUnverifiedJwtHeaders('nothing'), { code: 'FST_JWT_EXT_INVALID_TOKEN' })
  },
})
