// Tokens in headers, cookies, JSON bodies and query strings, and a page to try all four in a browser.
//
//   npx tsx examples/token-locations.ts

import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

interface Credentials { username?: unknown, password?: unknown }

export async function buildApp (secretKey: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(jwtExtended, {
    secretKey,
    // The first of these places that holds a token decides, also when that token is a bad one.
    tokenLocation: ['headers', 'cookies', 'json', 'query_string'],
    // The refresh token travels to the one route that takes it, and not along with every request.
    refreshCookiePath: '/refresh_with_cookies',
    // cookieSecure stays true: Chrome and Firefox take such cookies on http://localhost, Safari does not.
  })

  function isRightPassword ({ username, password }: Credentials): boolean {
    // A real application looks the user up and compares hashes: see automatic-user-loading.ts.
    return username === 'test' && password === 'test'
  }

  // For a page in a browser: the tokens go into cookies that its scripts cannot read. What they can read, and have
  // to send back with every request that changes something, is the CSRF value in a cookie of its own.
  app.post<{ Body: Credentials | null | undefined }>('/login_with_cookies', async (request, reply) => {
    if (!isRightPassword(request.body ?? {})) return reply.code(401).send({ msg: 'Bad username or password' })
    reply
      .setAccessCookies(await app.createAccessToken('test'))
      .setRefreshCookies(await app.createRefreshToken('test'))
    return { msg: 'Logged in with cookies' }
  })

  app.post('/refresh_with_cookies', {
    onRequest: app.jwtRequired({ refresh: true, locations: 'cookies' }),
  }, async (request, reply) => {
    reply.setAccessCookies(await app.createAccessToken(request.jwtIdentity))
    return { msg: 'A new access token' }
  })

  // No guard: who wants to leave may leave, also when the token has expired meanwhile.
  app.post('/logout_with_cookies', async (request, reply) => {
    reply.unsetJwtCookies()
    return { msg: 'Logged out' }
  })

  // For programs: the token itself, to be sent back in a header, a JSON body or a query string.
  app.post<{ Body: Credentials | null | undefined }>('/login', async (request, reply) => {
    if (!isRightPassword(request.body ?? {})) return reply.code(401).send({ msg: 'Bad username or password' })
    return { access_token: await app.createAccessToken('test') }
  })

  // All four places. A token in the body can be found once the body is parsed, so this guard is a preHandler hook.
  app.route({
    method: ['GET', 'POST'],
    url: '/protected',
    preHandler: app.jwtRequired(),
    handler: async (request) => ({ logged_in_as: request.jwtIdentity, found_in: request.jwtLocation }),
  })

  // A guard may look in fewer places than the rest of the application.
  app.get('/only_headers', { onRequest: app.jwtRequired({ locations: 'headers' }) }, async (request) => {
    return { logged_in_as: request.jwtIdentity, found_in: request.jwtLocation }
  })

  // Tells the page whether its cookies are good.
  app.get('/whoami', { onRequest: app.jwtRequired({ optional: true, locations: 'cookies' }) }, async (request) => {
    return { logged_in_as: request.jwtIdentity }
  })

  app.get('/', async (request, reply) => {
    // Nothing runs in this page but the script that carries this answer's nonce, and it talks to this server only.
    const nonce = randomBytes(16).toString('base64')
    return reply
      .type('text/html; charset=utf-8')
      .header('Content-Security-Policy', [
        "default-src 'none'", `script-src 'nonce-${nonce}'`, `style-src 'nonce-${nonce}'`, 'img-src data:',
        "connect-src 'self'", "form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'",
      ].join('; '))
      .header('Referrer-Policy', 'no-referrer')
      .header('X-Content-Type-Options', 'nosniff')
      .header('Cache-Control', 'no-store')
      .send(renderPage(nonce))
  })

  return app
}

function renderPage (nonce: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Four places for a token</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%234f46e5'/%3E%3Ccircle cx='8' cy='8' r='3' fill='white'/%3E%3C/svg%3E">
<style nonce="${nonce}">${STYLE}</style>
</head>
<body>
<header>
  <h1>Four places for a token</h1>
  <p>Log in, then send the token from each of the places where a server may look for it.</p>
  <div class="session">
    <span id="who" class="badge" role="status">Not logged in</span>
    <button id="logout" hidden>Log out</button>
  </div>
</header>
<main>
  <section aria-labelledby="login-title">
    <h2 id="login-title">Log in</h2>
    <form id="login">
      <label>User name <input name="username" value="test" autocomplete="username" required></label>
      <label>Password <input name="password" type="password" value="test" autocomplete="current-password" required></label>
      <div class="row">
        <button class="main" name="way" value="cookies">With cookies</button>
        <button name="way" value="token">For a token</button>
      </div>
    </form>
    <h3>What this page&rsquo;s scripts can see</h3>
    <dl>
      <div><dt>Cookies</dt><dd id="visible">none</dd></div>
      <div><dt>Token in memory</dt><dd id="memory">none</dd></div>
    </dl>
    <p class="hint">The token cookies are HttpOnly. The browser sends them, and no script can read them.</p>
  </section>
  <section aria-labelledby="send-title">
    <h2 id="send-title">Send the token</h2>
    <div class="places">
      <div><h3>Cookie</h3>
        <button data-send="cookie-get"><b>GET</b> reads only</button>
        <button data-send="cookie-post"><b>POST</b> with the CSRF header</button>
        <button data-send="cookie-bare"><b>POST</b> without it</button>
        <button data-send="cookie-refresh"><b>POST</b> refresh</button>
      </div>
      <div><h3>Elsewhere</h3>
        <button data-send="header"><b>GET</b> in the header</button>
        <button data-send="json"><b>POST</b> in a JSON body</button>
        <button data-send="query"><b>GET</b> in the query string</button>
        <button data-send="none"><b>GET</b> without any</button>
      </div>
    </div>
    <h3>Answers</h3>
    <ol id="answers" aria-live="polite"><li class="empty">Nothing was asked yet.</li></ol>
  </section>
</main>
<script nonce="${nonce}">${SCRIPT}</script>
</body>
</html>
`
}

const STYLE = `
  :root {
    color-scheme: light dark; --ink: #1b1d28; --dim: #61657a; --page: #f3f4fa; --card: #fff; --line: #dcdeea; --main: #4f46e5;
    --good: #0b6b45; --good-bg: #dcf5e8; --bad: #a3202f; --bad-bg: #fde6e8;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --ink: #eceef8; --dim: #9da2ba; --page: #12131b; --card: #1c1e2a; --line: #323548; --main: #6d66f0;
      --good: #74dfac; --good-bg: #123626; --bad: #ff9ca6; --bad-bg: #43181f;
    }
  }
  * { box-sizing: border-box }
  body { margin: 0 auto; padding: 2.5rem 1.25rem; max-width: 62rem; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
  header { display: grid; grid-template-columns: 1fr auto; align-items: center; gap: 0 1rem; margin-bottom: 1.75rem }
  h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; letter-spacing: -.02em }
  header p { margin: .35rem 0 0; color: var(--dim) }
  .session { grid-column: 2; grid-row: 1 / 3; display: flex; align-items: center; gap: .6rem }
  .badge { padding: .35rem .9rem; border-radius: 2rem; background: var(--line); font-weight: 600; font-size: .9rem }
  .badge.in { background: var(--good-bg); color: var(--good) }
  main { display: grid; grid-template-columns: minmax(18rem, 5fr) 8fr; gap: 1.25rem; align-items: start }
  section { padding: 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: .9rem; box-shadow: 0 1px 2px #0000000d, 0 8px 24px #0000000a }
  h2 { margin: 0 0 1rem; font-size: 1.15rem }
  h3 { margin: 0 0 .5rem; font-size: .78rem; letter-spacing: .06em; text-transform: uppercase; color: var(--dim) }
  form, label { display: grid; gap: .3rem }
  form { gap: .9rem; margin-bottom: 1.75rem }
  label { font-size: .9rem; font-weight: 500 }
  input { padding: .55rem .7rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--page); color: inherit; font: inherit }
  button { padding: .5rem .9rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--card); color: inherit; font: inherit; font-size: .9rem; cursor: pointer }
  button:hover:not(:disabled) { border-color: var(--main) }
  button:disabled { opacity: .45; cursor: not-allowed }
  button.main { background: var(--main); border-color: var(--main); color: #fff; font-weight: 600 }
  :focus-visible { outline: 2px solid var(--main); outline-offset: 2px }
  .row { display: flex; flex-wrap: wrap; gap: .5rem }
  .places { display: grid; grid-template-columns: 1fr 1fr; gap: 1.25rem; margin-bottom: 1.75rem }
  .places button { display: block; width: 100%; margin-bottom: .4rem; text-align: left }
  .places b { display: inline-block; width: 3.1rem; color: var(--dim); font: 600 .75rem ui-monospace, monospace }
  dl { margin: 0; font-size: .88rem }
  dl div { padding: .45rem 0; border-top: 1px solid var(--line) }
  dt { color: var(--dim) }
  dd { margin: 0; font: .82rem/1.5 ui-monospace, monospace; white-space: pre-line; overflow-wrap: anywhere }
  .hint { margin: .6rem 0 0; color: var(--dim); font-size: .85rem }
  ol { margin: 0; padding: 0; list-style: none }
  li { display: grid; grid-template-columns: auto 1fr; gap: .1rem .75rem; padding: .6rem 0; border-top: 1px solid var(--line); font-size: .9rem }
  li.empty { display: block; color: var(--dim) }
  li code { grid-column: 2; color: var(--dim); font: .82rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere }
  .status { align-self: start; padding: .05rem .5rem; border-radius: .35rem; background: var(--bad-bg); color: var(--bad); font: 600 .82rem/1.6 ui-monospace, monospace }
  .status.good { background: var(--good-bg); color: var(--good) }
  @media (max-width: 48rem) { main { grid-template-columns: 1fr } header { grid-template-columns: 1fr } .session { grid-column: 1; grid-row: auto; margin-top: .9rem } }
  @media (max-width: 28rem) { .places { grid-template-columns: 1fr } }
`

// What runs in the browser.
const SCRIPT = `
  const find = (id) => document.getElementById(id)
  let token = null

  // The double submit: the browser adds the cookies to a request by itself, whichever page made it. The header can
  // only come from a script that may read this page's cookies.
  function readCookie (name) {
    const pair = document.cookie.split('; ').find((pair) => pair.startsWith(name + '='))
    return pair && decodeURIComponent(pair.slice(name.length + 1))
  }

  const json = (body) => ({ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
  const csrf = (name) => ({ 'X-CSRF-TOKEN': readCookie(name) ?? '' })
  const noCookies = { credentials: 'omit' }

  const requests = {
    'cookie-get': () => ask('Cookie', '/protected'),
    'cookie-post': () => ask('Cookie and CSRF header', '/protected', { method: 'POST', headers: csrf('csrf_access_token') }),
    'cookie-bare': () => ask('Cookie, no CSRF header', '/protected', { method: 'POST' }),
    'cookie-refresh': () => ask('Refresh cookie and CSRF header', '/refresh_with_cookies', { method: 'POST', headers: csrf('csrf_refresh_token') }),
    header: () => ask('Authorization header', '/protected', { ...noCookies, headers: { Authorization: 'Bearer ' + token } }),
    json: () => ask('JSON body', '/protected', { ...noCookies, ...json({ access_token: token }) }),
    query: () => ask('Query string', '/protected?jwt=' + token, noCookies),
    none: () => ask('No token', '/protected', noCookies),
  }

  async function ask (title, url, options = {}) {
    const response = await fetch(url, options)
    const body = await response.json()
    const line = document.createElement('li')
    const status = Object.assign(document.createElement('span'), { className: 'status', textContent: response.status })
    status.classList.toggle('good', response.ok)
    const path = url.replace(/=.*/, '=…')
    const text = Object.assign(document.createElement('span'), { textContent: title + ': ' + (options.method ?? 'GET') + ' ' + path })
    const { access_token: made, ...shown } = body
    const code = Object.assign(document.createElement('code'), { textContent: made ? '{"access_token":"' + made.slice(0, 12) + '…"}' : JSON.stringify(shown) })
    line.append(status, text, code)
    find('answers').querySelector('.empty')?.remove()
    find('answers').prepend(line)
    while (find('answers').children.length > 6) find('answers').lastChild.remove()
    await show()
    return body
  }

  async function show () {
    const { logged_in_as: user = null } = await (await fetch('/whoami')).json()
    find('who').textContent = user === null ? 'Not logged in' : 'Logged in as ' + user
    find('who').classList.toggle('in', user !== null)
    find('logout').hidden = user === null && token === null
    find('visible').textContent = document.cookie.split('; ').filter(Boolean)
      .map((pair) => pair.replace(/(=.{8}).*/, '$1…')).join('\\n') || 'none'
    find('memory').textContent = token === null ? 'none' : token.slice(0, 12) + '…'
    for (const name of ['header', 'json', 'query']) document.querySelector('[data-send=' + name + ']').disabled = token === null
  }

  find('login').addEventListener('submit', async (event) => {
    event.preventDefault()
    const { username, password } = Object.fromEntries(new FormData(event.target))
    if (event.submitter?.value === 'token') {
      token = (await ask('Log in for a token', '/login', json({ username, password }))).access_token ?? null
      await show()
    } else {
      await ask('Log in with cookies', '/login_with_cookies', json({ username, password }))
    }
  })
  find('logout').addEventListener('click', () => {
    token = null
    return ask('Log out', '/logout_with_cookies', { method: 'POST' })
  })
  for (const button of document.querySelectorAll('[data-send]')) button.addEventListener('click', () => requests[button.dataset.send]())
  show()
`

function readSecret (): string {
  if (process.env.JWT_SECRET_KEY) return process.env.JWT_SECRET_KEY
  console.log('Note: JWT_SECRET_KEY is not set. A random secret is in use, and its tokens end with this process.')
  return randomBytes(32).toString('hex')
}

// Started as a program, not imported by a test.
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) {
  const app = await buildApp(readSecret())
  const address = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  console.log(`Listening on ${address}`)
  console.log(`Open ${address.replace('127.0.0.1', 'localhost')} in a browser, and log in as test with the password test`)
}
