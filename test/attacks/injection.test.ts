// Text of a token, or of its sender, that ends up in answers, headers and log lines.
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { JwtDecodeError, type JwtExtendedOptions } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { head, listen, sendRaw } from '../support/raw-http.js'

const HOSTILE: Record<string, string> = {
  'a line and a header': 'ada\r\nSet-Cookie: admin=1\r\n\r\n<script>alert(1)</script>',
  'a bare line feed': 'ada\nX-Evil: 1',
  'a bare carriage return': 'ada\rX-Evil: 1',
  'folded lines': 'ada\r\n X-Evil: 1',
  'an end of the quoted string': 'ada", error="none", realm="x',
  backslashes: 'ada\\", x="\\',
  'another challenge': 'ada, Basic realm="log in again", Bearer',
  'a log line': 'ada"}\n{"level":30,"msg":"root logged in"}',
  'escapes of a terminal': '\u001b[2J\u001b[1;31mroot\u001b]0;title\u0007\u001bP1000p\u001b\\',
  'C1 controls': '\u009b31m\u0085\u0090',
  'NUL and DEL': 'ada\0root\u007f',
  'separators of Unicode': 'ada\u2028root\u2029',
  'an override of the direction': 'ada\u202etoor\u2066',
  'a lone surrogate': 'ada\ud800',
  'full width': 'ａｄａ＂，\uff0d',
  'a format': '%s %d %j %o %% {{sub}} $sub %c',
  markup: '</script><img src=x onerror=alert(1)>',
  'very long': 'a'.repeat(5000),
}

interface Site {
  app: FastifyInstance
  port: number
  lines: string[]
}

async function site (t: Test, options: JwtExtendedOptions): Promise<Site> {
  const lines: string[] = []
  const app = await buildApp(t, { secretKey: SECRET, errorProfile: 'rfc6750', ...options }, {
    logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } },
  })
  app.get('/', { preHandler: app.jwtRequired() }, async () => 'in')
  return { app, port: await listen(app), lines }
}

/** Holds that an answer is one answer with one challenge, its body JSON, and each line of the log one object. */
function assertClean (t: Test, name: string, text: string, lines: string[]): { msg: string } {
  const [top, body] = [text.slice(0, text.indexOf('\r\n\r\n')), text.slice(text.indexOf('\r\n\r\n') + 4)]
  t.match(top, /^HTTP\/1\.1 4\d\d /, name)
  t.notMatch(top, /^(set-cookie|x-evil)/im, `${name}: no header of the attacker`)
  t.notOk(/[^\x20-\x7e\r\n]/.test(top), `${name}: nothing but ASCII in the head`)
  const challenges = top.split('\r\n').filter((line) => /^www-authenticate/i.test(line))
  t.equal(challenges.length, 1)
  t.match(challenges[0], /^www-authenticate: Bearer error="[a-z_]+", error_description="[\x20\x21\x23-\x5b\x5d-\x7e]*"$/, `${name}: one challenge`)
  t.match(top, /^content-type: application\/json/im)
  for (const line of lines) {
    t.match(line, /^\{[^\n]*\}\n$/, `${name}: one line`)
    t.notOk([...line.slice(0, -1)].some((sign) => sign < ' '), `${name}: no control character`)
    t.type(JSON.parse(line), Object)
  }
  return JSON.parse(Buffer.from(body, 'latin1').toString()) as { msg: string }
}

t.test('an identity that ends up in a message breaks out of neither answer nor header nor log', async (t) => {
  const { app, port, lines } = await site(t, { userLookupLoader: () => null })
  for (const [name, identity] of Object.entries(HOSTILE)) {
    lines.length = 0
    const { text, statuses } = await sendRaw(port, head('GET', '/', bearer(await app.createAccessToken(identity))))
    t.strictSame(statuses, [401], name)
    const { msg } = assertClean(t, name, text, lines)
    t.equal(msg, `Error loading the user ${identity}`)
    t.ok(lines.some((line) => JSON.parse(line).msg === msg), `${name}: the log says the same`)
  }
})

t.test('a message that an application makes of an unverified kid does so neither', async (t) => {
  const { port, lines } = await site(t, { decodeKeyLoader: ({ kid }) => { throw new JwtDecodeError(`Unknown key ${kid}`) } })
  for (const [name, kid] of Object.entries(HOSTILE)) {
    lines.length = 0
    const { text, statuses } = await sendRaw(port, head('GET', '/', bearer(forge({ sub: 'ada' }, { alg: 'HS256', kid }))))
    t.strictSame(statuses, [401], name)
    t.equal(assertClean(t, name, text, lines).msg, `Unknown key ${kid}`)
  }
})

t.test('hostile text in places that no message repeats is in no answer and no line', async (t) => {
  const { port, lines } = await site(t, {})
  const marked = 'MARK\u001b[2J\r\nX-Evil: 1'
  const tokens = [
    forge({ sub: 'ada', type: marked }), forge({ sub: 'ada', iss: marked, exp: 1 }), forge({ sub: 'ada', exp: marked }), forge({ sub: 'ada', aud: 5, [marked]: marked }),
    forge({ sub: 'ada' }, { alg: marked }), forge({ sub: 'ada' }, { alg: 'HS256', crit: [marked] }), forge({ sub: 'ada' }, { alg: 'HS256', kid: [marked] }), forge(`{"sub":${JSON.stringify(marked)},}`), forge(marked), forge({ sub: 'ada' }, marked)
  ]
  for (const [i, token] of tokens.entries()) {
    lines.length = 0
    const { text } = await sendRaw(port, head('GET', '/', bearer(token)))
    assertClean(t, `token ${i}`, text, lines)
    t.notMatch(text + lines.join(''), 'MARK', `token ${i}`)
  }
})

t.test('bytes that no header may hold are refused by Node, and others reach no line', async (t) => {
  const { app, port, lines } = await site(t, {})
  const token = await app.createAccessToken('ada')
  for (const value of ['Bearer \0', 'Bearer a\0b', `Bearer ${token}\0`, 'Bearer \u007f', 'Bearer a\rb']) {
    t.strictSame((await sendRaw(port, head('GET', '/', { authorization: value }))).statuses, [400], JSON.stringify(value))
  }
  for (const value of ['Bearer \x80\xff', 'Bearer \xc0\xae', 'Bearer é.é.é']) {
    lines.length = 0
    const { text, statuses } = await sendRaw(port, head('GET', '/', { authorization: value }))
    t.strictSame(statuses, [401], JSON.stringify(value))
    assertClean(t, JSON.stringify(value), text, lines)
  }
  t.strictSame((await sendRaw(port, head('GET', '/', { authorization: `Bearer ${token}` }))).statuses, [200])
})
