import t from 'tap'
import { readBlocks, readPage } from '../support/pages.js'
import { answer, payloadOf, testPage } from '../support/snippets.js'

const PAGE = 'README.md'

await testPage(t, PAGE, {
  async 'Quick start 1' (t, { app }) {
    // The session that the chapter shows: each command, then the line that answers it.
    const session = readBlocks(PAGE).find(({ name, language }) => name === 'Quick start 1' && language === 'console')!
    const lines = session.code.trim().split('\n')
    let token = ''
    t.equal(lines.length, 6)
    for (let i = 0; i < lines.length; i += 2) {
      const command = lines[i]!
      const headers = [...command.matchAll(/-H ['"]([\w-]+): ([^'"]+)['"]/g)].map((match) => [match[1]!, match[2]!.replace(/eyJ\S*…/, token)])
      const data = /-d '([^']+)'/.exec(command)?.[1]
      const response = await app.inject({
        method: data === undefined ? 'GET' : 'POST',
        url: /^\$ curl (\S+)/.exec(command)![1]!,
        headers: Object.fromEntries(headers) as Record<string, string>,
        ...(data !== undefined && { payload: data }),
      })
      const [start, end] = lines[i + 1]!.split('…')
      if (end === undefined) {
        t.equal(response.body, start, command)
      } else {
        t.ok(response.body.startsWith(start!) && response.body.endsWith(end), command)
        token = (response.json() as { access_token: string }).access_token
      }
    }
    const wrong = { method: 'POST', url: '/login', payload: { username: 'test', password: 'x' } } as const
    t.equal((await app.inject(wrong)).statusCode, 401)
    t.equal((await app.inject({ ...wrong, payload: {} })).statusCode, 400)
  },

  async 'Access and refresh tokens 1' (t, snippet) {
    const { app } = snippet
    const login = (await app.inject({ method: 'POST', url: '/login' })).json<Record<string, string>>()
    const change = { method: 'POST', url: '/password' } as const
    await answer(t, snippet, change, login['access_token'], 200, { changed_for: 'ada' })
    const refreshed = await answer(t, snippet, { method: 'POST', url: '/refresh' }, login['refresh_token'], 200)
    await answer(t, snippet, change, refreshed.json<{ access_token: string }>().access_token, 401, { msg: 'Fresh token required' })
    await answer(t, snippet, change, login['refresh_token'], 422, { msg: 'Only non-refresh tokens are allowed' })
  },

  async 'Guards 1' (t, snippet) {
    const token = await snippet.app.createAccessToken('ada')
    await answer(t, snippet, '/greeting', undefined, 200, { greeting: 'Hello, whoever you are' })
    await answer(t, snippet, '/greeting', token, 200, { greeting: 'Hello, ada' })
    await answer(t, snippet, '/members/inbox', undefined, 401)
    await answer(t, snippet, '/members/inbox', token, 200, { inbox_of: 'ada', expires: payloadOf(token)['exp'] })
  },

  async 'Users 1' (t, snippet) {
    await answer(t, snippet, '/who_am_i', String(snippet['token']), 200, { id: 1, name: 'Ada' })
    await answer(t, snippet, '/who_am_i', await snippet.app.createAccessToken({ id: 3 }), 401, { msg: 'Error loading the user 3' })
  },

  async 'Cookies 1' (t, snippet) {
    const login = await answer(t, snippet, { method: 'POST', url: '/login' }, undefined, 200, { msg: 'Logged in' })
    const cookies = Object.fromEntries(login.cookies.map(({ name, value }) => [name, value]))
    t.ok(login.cookies.find(({ name }) => name === 'access_token_cookie')?.httpOnly)
    const order = { method: 'POST', url: '/orders', cookies } as const
    await answer(t, snippet, order, undefined, 401, { msg: 'Missing CSRF token' })
    const headers = { 'x-csrf-token': cookies['csrf_access_token']! }
    await answer(t, snippet, { ...order, headers }, undefined, 200, { ordered_by: 'ada', found_in: 'cookies' })
  },

  async 'Sessions 1' (t, snippet) {
    const login = (await snippet.app.inject({ method: 'POST', url: '/login' })).json<Record<string, string>>()
    await answer(t, snippet, '/sessions', login['accessToken'], 200)
    const refreshed = (await answer(t, snippet, { method: 'POST', url: '/refresh' }, login['refreshToken'], 200)).json<Record<string, string>>()
    await answer(t, snippet, { method: 'POST', url: '/logout' }, refreshed['refreshToken'], 204)
    for (const pair of [login, refreshed]) await answer(t, snippet, '/sessions', pair['accessToken'], 401, { msg: 'Token has been revoked' })
  },

  async 'Answers 1' (t, snippet) {
    await answer(t, snippet, '/protected', await snippet.app.createAccessToken('ada', { expiresDelta: -1 }), 401, { error: 'expired', user: 'ada' })
    await answer(t, snippet, '/protected', undefined, 401, { message: 'Missing Authorization Header' })
  },
})

t.test('the figures are those of the benchmark', async (t) => {
  const measured = new Set(readPage('bench/results.md').split('\n'))
  const rows = readPage(PAGE).split('\n').filter((line) => / \(\d\.\d\d – \d\.\d\d\) \|/.test(line))
  t.ok(rows.length > 4)
  t.same(rows.filter((row) => !measured.has(row)), [])
})
