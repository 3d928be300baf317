import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { bearer, registrationError } from '../support/app.js'
import { skipWithoutBrowser, startBrowser } from '../support/browser.js'
import { readBlocks, readRows, unquote } from '../support/pages.js'
import { answer, ENVIRONMENT, payloadOf, testPage } from '../support/snippets.js'

const PAGE = 'docs/locations.md'

await testPage(t, PAGE, {
  async 'The Authorization header 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    await answer(t, snippet, { url: '/protected', headers: { 'x-access-token': token } }, undefined, 200, { logged_in_as: 'ada' })
    await answer(t, snippet, '/protected', token, 401, { msg: 'Missing X-Access-Token Header' })
  },

  async 'Tokens in cookies 1' (t, snippet) {
    const { cookies, headers } = await answer(t, snippet, { method: 'POST', url: '/login' }, undefined, 200, { msg: 'Logged in' })
    t.same(cookies.map(({ name, httpOnly = false }) => [name, httpOnly ? 'no' : 'yes']), readRows(PAGE, 'cookie').map(([name, , readable]) => [unquote(name!), readable]))
    t.equal(headers['cache-control'], 'no-store')
    const jar = Object.fromEntries(cookies.map(({ name, value }) => [name, value]))
    const cookie = Object.entries(jar).map(([name, value]) => `${name}=${value}`).join('; ')
    const post = (url: string, csrf?: string): InjectOptions => ({ method: 'POST', url, headers: { cookie, ...(csrf !== undefined && { 'x-csrf-token': csrf }) } })
    await answer(t, snippet, post('/orders'), undefined, 401, { msg: 'Missing CSRF token' })
    await answer(t, snippet, post('/orders', jar['csrf_access_token']), undefined, 200, { ordered_by: 'ada' })
    await answer(t, snippet, post('/refresh', jar['csrf_access_token']), undefined, 401, { msg: 'CSRF double submit tokens do not match' })
    await answer(t, snippet, post('/refresh', jar['csrf_refresh_token']), undefined, 200, { msg: 'Refreshed' })
    const logout = await answer(t, snippet, { method: 'POST', url: '/logout' }, undefined, 200, { msg: 'Logged out' })
    t.same(logout.cookies.map(({ name, maxAge }) => [name, maxAge]), cookies.map(({ name }) => [name, 0]))
  },

  async 'Forms without scripts 1' (t, snippet) {
    const login = await answer(t, snippet, { method: 'POST', url: '/login' }, undefined, 200, undefined)
    t.same(login.cookies.map(({ name }) => name), ['access_token_cookie'])
    const csrf = /name="csrf_token" value="([^"]+)"/.exec(login.body)![1]!
    const form = (field: string): InjectOptions => ({
      method: 'POST', url: '/orders', payload: `csrf_token=${field}`,
      headers: { cookie: `access_token_cookie=${login.cookies[0]!.value}`, 'content-type': 'application/x-www-form-urlencoded' },
    })
    await answer(t, snippet, form(csrf), undefined, 200, { ordered_by: 'ada' })
    await answer(t, snippet, form('guessed'), undefined, 401, { msg: 'CSRF double submit tokens do not match' })
  },

  async 'Secure, SameSite, prefixes 1' (t, snippet) {
    const { cookies } = await answer(t, snippet, { method: 'POST', url: '/login' }, undefined, 200, undefined)
    t.same(cookies.map(({ name, path, maxAge, sameSite }) => [name, path, maxAge, sameSite]), [
      ['__Host-access', '/', 2_592_000, 'Strict'], ['__Host-access_csrf', '/', 2_592_000, 'Strict'],
      ['__Secure-refresh', '/refresh', 2_592_000, 'Strict'], ['csrf_refresh_token', '/', 2_592_000, 'Strict'],
    ])
    t.match((await registrationError(t, { secretKey: ENVIRONMENT.JWT_SECRET_KEY, accessCookieName: '__Host-access', cookieDomain: 'example.com' })).message, /__Host-/)
  },

  async 'A single-page application, from login to logout 1' (t, { app }) {
    await t.test('in a browser', { skip: skipWithoutBrowser() }, async (t) => {
      const origin = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('127.0.0.1', 'localhost')
      const [html] = readBlocks(PAGE).filter(({ name, language }) => name.startsWith('A single-page application') && language === 'html')
      const context = await startBrowser(t)
      const page = await context.newPage()
      await page.route('**/page', (route) => route.fulfill({
        contentType: 'text/html', body: html!.code.replace('</script>', 'Object.assign(window, { api, logout })</script>'),
      }))
      await page.goto(`${origin}/page`)
      const refreshes: string[] = []
      page.on('request', (request) => { if (request.url().endsWith('/auth/refresh')) refreshes.push(request.method()) })
      const order = "api('/orders', { method: 'POST' }).then((response) => response.status)"
      const expire = async (): Promise<void> => {
        const token = await app.createAccessToken('ada', { expiresDelta: -1 })
        const { csrf } = payloadOf(token)
        await context.addCookies([['access_token_cookie', token], ['csrf_access_token', String(csrf)]]
          .map(([name, value]) => ({ name: name!, value: value!, url: origin })))
      }

      t.equal(await page.evaluate(order), 401, 'nobody is logged in')
      t.equal(await page.evaluate("fetch('/auth/login', { method: 'POST' }).then((response) => response.status)"), 200)
      t.same((await context.cookies()).map(({ name, path }) => [name, path]).sort(), [
        ['access_token_cookie', '/'], ['csrf_access_token', '/'], ['csrf_refresh_token', '/'], ['refresh_token_cookie', '/auth'],
      ])
      t.equal(await page.evaluate(order), 200)
      refreshes.length = 0
      await expire()
      t.same(await page.evaluate(`Promise.all([${order}, ${order}, ${order}])`), [200, 200, 200], 'after a quarter of an hour')
      t.same(refreshes, ['POST'], 'one refresh for all of them')
      await expire()
      t.equal(await page.evaluate('logout().then((response) => response.status)'), 200, 'long after the access token has expired')
      t.same(await context.cookies(), [])
      t.equal(await page.evaluate(order), 401)
    })
  },

  async 'A page on another host 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    const { csrf } = payloadOf(token)
    await answer(t, snippet, { url: '/csrf', headers: { cookie: `access_token_cookie=${token}` } }, undefined, 200, { csrf })
    const refresh = await snippet.app.createRefreshToken('ada')
    await answer(t, snippet, { url: '/auth/csrf', headers: { cookie: `refresh_token_cookie=${refresh}` } }, undefined, 200, { csrf: payloadOf(refresh)['csrf'] })
    await answer(t, snippet, '/csrf', undefined, 401)
  },

  async 'Query string 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    const link = await answer(t, snippet, { method: 'POST', url: '/reports/link' }, token, 200, undefined)
    const url = link.json<{ link: string }>().link
    const report = await answer(t, snippet, url, undefined, 200, { report_for: 'ada' })
    t.equal(report.headers['cache-control'], 'private')
    await answer(t, snippet, `${url}&jwt=x`, undefined, 422, undefined)
    await answer(t, snippet, url.replace('latest', 'gone'), undefined, 404, { msg: 'Not found' })
  },

  async 'JSON body 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    await answer(t, snippet, { method: 'POST', url: '/orders', payload: { access_token: token } }, undefined, 200, { ordered_by: 'ada' })
    await answer(t, snippet, { method: 'POST', url: '/orders', payload: {} }, undefined, 401, { msg: 'Missing "access_token" key in json data.' })
  },

  async 'Several locations 1' (t, snippet) {
    const [token, expired] = [await snippet.app.createAccessToken('ada'), await snippet.app.createAccessToken('ada', { expiresDelta: -1 })]
    const cookie = `access_token_cookie=${token}`
    await answer(t, snippet, '/orders', token, 200, { orders_of: 'ada', found_in: 'headers' })
    await answer(t, snippet, { url: '/orders', headers: { cookie } }, undefined, 200, { orders_of: 'ada', found_in: 'cookies' })
    await answer(t, snippet, { url: '/orders', headers: { cookie } }, expired, 401, { msg: 'Token has expired' })
    await answer(t, snippet, { url: '/orders', headers: { cookie, authorization: 'Basic eA==' } }, undefined, 200, undefined)
    await answer(t, snippet, { url: '/export', headers: { cookie } }, undefined, 401, { msg: 'Missing Authorization Header' })
  },

  async 'Implicit refreshing 1' (t, snippet) {
    const { app } = snippet
    const now = Math.floor(Date.now() / 1000)
    const tokenOf = (minutes: number): Promise<string> => app.createAccessToken('ada', { expiresDelta: minutes * 60, additionalClaims: { fresh: now + 5 } })
    const send = async (token: string, url = '/orders', method: 'GET' | 'POST' = 'GET'): Promise<LightMyRequestResponse> =>
      await app.inject({ method, url, headers: { cookie: `access_token_cookie=${token}`, 'x-csrf-token': await app.getCsrfToken(token) } })
    t.same((await send(await tokenOf(16))).cookies, [])
    const renewed = await send(await tokenOf(14))
    t.equal(renewed.cookies.length, 2)
    t.equal(payloadOf(renewed.cookies[0]!.value)['fresh'], now + 5)
    t.equal(renewed.headers['cache-control'], 'no-store')
    t.ok((await send(await tokenOf(14), '/logout', 'POST')).cookies.every(({ maxAge }) => maxAge === 0))
    t.same((await app.inject({ url: '/orders', headers: bearer(await tokenOf(14)) })).cookies, [])
    t.same((await app.inject('/orders')).cookies, [])
  },
})
