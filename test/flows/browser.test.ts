import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { SECRET } from '../support/app.js'
import { skipWithoutBrowser, startBrowser } from '../support/browser.js'
import { start } from '../support/examples.js'

/** Starts the example as its reader would, and says where it is, in both names of this machine. */
async function startExample (t: Test): Promise<{ localhost: string, byAddress: string }> {
  const { printed, until } = await start(t, 'token-locations', { JWT_SECRET_KEY: SECRET })
  const invitation = /Open (http:\/\/localhost:(\d+)) in a browser/
  await until(invitation)
  const [, localhost, port] = invitation.exec(printed())!
  return { localhost: localhost!, byAddress: `http://127.0.0.1:${port}` }
}

/** Starts a site that means no good: its pages hold a form that sends itself to somebody else's server. */
async function startEvil (t: Test): Promise<number> {
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url!, 'http://evil')
    response.setHeader('content-type', 'text/html').end(`<!doctype html><title>A prize</title>
      <form method="post" action="${searchParams.get('target')}" enctype="${searchParams.get('enctype')}">
        <input name="csrf_token" value="guessed"><button>Win</button>
      </form>`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

/** Presses a button of the page and gives back what the page then shows as the answer. */
async function press (page: Page, selector: string): Promise<{ status: string | null, title: string | null, body: unknown }> {
  await page.evaluate("document.getElementById('answers').replaceChildren()")
  await page.click(selector)
  const answer = page.locator('#answers li')
  return {
    status: await answer.locator('.status').textContent(),
    title: await answer.locator('span').nth(1).textContent(),
    body: JSON.parse((await answer.locator('code').textContent())!),
  }
}

/** Waits until the page says so about its user. */
async function waitForUser (page: Page, words: string): Promise<void> {
  await page.locator('#who', { hasText: words }).waitFor()
}

async function names (context: BrowserContext): Promise<string[]> {
  return (await context.cookies()).map(({ name }) => name).sort()
}

async function visibleNames (page: Page): Promise<string[]> {
  const cookies = await page.evaluate('document.cookie') as string
  return cookies.split('; ').filter((pair) => pair !== '').map((pair) => pair.split('=', 1)[0]!).sort()
}

const FOUR = ['access_token_cookie', 'csrf_access_token', 'csrf_refresh_token', 'refresh_token_cookie']

t.test('a browser keeps the tokens from scripts and other sites from the routes', { skip: skipWithoutBrowser() }, async (t) => {
  const { localhost, byAddress } = await startExample(t)
  const evil = await startEvil(t)
  const context = await startBrowser(t)

  for (const address of [localhost, byAddress]) {
    const other = address === localhost ? `http://127.0.0.1:${evil}` : `http://localhost:${evil}`
    const neighbour = address === localhost ? `http://localhost:${evil}` : `http://127.0.0.1:${evil}`
    await t.test(`the page at ${address.replace(/\d+$/, 'PORT')}`, async (t) => {
      const page = await context.newPage()
      const complaints: string[] = []
      page.on('pageerror', (error) => { complaints.push(error.message) })
      page.on('console', (message) => {
        // An answer that refuses a request is what some of the buttons are for.
        if (message.type() === 'error' && !message.text().includes('the server responded with a status of 4')) complaints.push(message.text())
      })
      await page.goto(address)
      await waitForUser(page, 'Not logged in')

      const login = await press(page, 'button[value=cookies]')
      t.same(login, { status: '200', title: 'Log in with cookies: POST /login_with_cookies', body: { msg: 'Logged in with cookies' } })
      await waitForUser(page, 'Logged in as test')

      t.same(await names(context), FOUR, 'the browser took all four cookies, Secure as they are')
      t.same(await visibleNames(page), ['csrf_access_token', 'csrf_refresh_token'], 'and shows its scripts the CSRF values only')
      for (const { name, secure, httpOnly, sameSite, path } of await context.cookies()) {
        t.same({ secure, httpOnly, sameSite, path }, {
          secure: true, httpOnly: !name.startsWith('csrf'), sameSite: 'Lax', path: name === 'refresh_token_cookie' ? '/refresh_with_cookies' : '/',
        }, name)
      }

      const found = { logged_in_as: 'test', found_in: 'cookies' }
      t.match(await press(page, '[data-send=cookie-get]'), { status: '200', body: found })
      t.match(await press(page, '[data-send=cookie-post]'), { status: '200', body: found }, 'a POST with the header passes')
      t.match(await press(page, '[data-send=cookie-bare]'), { status: '401', body: { msg: 'Missing CSRF token' } })
      t.match(await press(page, '[data-send=cookie-refresh]'), { status: '200' })
      t.match(await press(page, '[data-send=cookie-post]'), { status: '200', body: found }, 'and so does one after refreshing')
      t.match(await press(page, '[data-send=none]'), { status: '401' })

      t.equal(await page.isDisabled('[data-send=header]'), true)
      t.match(await press(page, 'button[value=token]'), { status: '200' })
      for (const [button, place] of [['header', 'headers'], ['json', 'json'], ['query', 'query_string']]) {
        t.match(await press(page, `[data-send=${button}]`), { status: '200', body: { logged_in_as: 'test', found_in: place } })
      }
      t.same(complaints, [], 'nothing went wrong in the page')

      const [complaint, injected] = await Promise.all([
        page.waitForEvent('console'),
        page.evaluate(`{
          const script = document.createElement('script')
          script.textContent = 'window.injected = true'
          document.head.append(script)
          window.injected
        }`),
      ])
      t.equal(injected, undefined, 'a script that was smuggled in does not run')
      t.match(complaint.text(), /Content Security Policy/)
      await page.close()
    })

    await t.test(`a form of another origin is refused, at ${address.replace(/\d+$/, 'PORT')}`, async (t) => {
      const page = await context.newPage()
      const submit = async (from: string, enctype: string): Promise<{ status: number, body: { msg?: string, code?: string }, sentCookie: boolean }> => {
        await page.goto(`${from}/?${new URLSearchParams({ target: `${address}/protected`, enctype })}`)
        const [response] = await Promise.all([
          page.waitForResponse((response) => response.url() === `${address}/protected`),
          page.click('button'),
        ])
        const { cookie = '' } = await response.request().allHeaders()
        return {
          status: response.status(), body: await response.json() as { msg?: string, code?: string }, sentCookie: cookie.includes('access_token_cookie='),
        }
      }
      t.same(await names(context), FOUR, 'the user is logged in')

      // Another port of the same host is the same site: the browser sends the cookies, and the CSRF value is what is missing.
      t.same(await submit(neighbour, 'text/plain'), { status: 401, body: { msg: 'Missing CSRF token' }, sentCookie: true })
      // Another host is another site: SameSite=Lax keeps the cookies at home.
      const crossSite = await submit(other, 'text/plain')
      t.match(crossSite, { status: 401, body: { msg: /Missing cookie "access_token_cookie"/ }, sentCookie: false })
      for (const from of [neighbour, other]) {
        t.match(await submit(from, 'application/x-www-form-urlencoded'), { status: 415, body: { code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' } }, 'this server reads no such forms')
      }

      // A page on another port reads the CSRF cookie of this host; a header is what the browser does not let it send.
      await page.goto(neighbour)
      const outcome = await page.evaluate(`fetch('${address}/protected', {
        method: 'POST', credentials: 'include',
        headers: { 'X-CSRF-TOKEN': document.cookie.match(/csrf_access_token=([^;]+)/)[1] }
      }).then((response) => 'answered with ' + response.status, () => 'stopped by the browser')`)
      t.equal(outcome, 'stopped by the browser')
      await page.close()
    })

    await t.test(`logging out clears all four cookies, at ${address.replace(/\d+$/, 'PORT')}`, async (t) => {
      const page = await context.newPage()
      await page.goto(address)
      await page.waitForSelector('#logout:visible')
      t.same(await names(context), FOUR)
      t.match(await press(page, '#logout'), { status: '200', body: { msg: 'Logged out' } })
      t.same(await names(context), [])
      t.equal(await page.evaluate('document.cookie'), '')
      await waitForUser(page, 'Not logged in')
      t.match(await press(page, '[data-send=cookie-get]'), { status: '401' })
    })
  }
})
