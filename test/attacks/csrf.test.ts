// Guesses at the CSRF value, and what a comparison may give away of it.
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import formbody from '@fastify/formbody'
import t, { type Test } from 'tap'
import { isSameCsrfValue } from '../../lib/csrf.js'
import { buildApp, SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'

const VALUE = '3f2504e0-4f89-41d3-9a0c-0305e82c3301'

/** Answers to a POST with a cookie whose token holds a CSRF value, given another. */
async function asker (t: Test, csrf: unknown = VALUE): Promise<(given: string | undefined, how?: 'header' | 'form') => Promise<string>> {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', csrfCheckForm: true })
  await app.register(formbody)
  app.post('/', { preHandler: app.jwtRequired() }, async () => 'in')
  const cookies = { access_token_cookie: forge({ sub: 'ada', csrf }) }
  return async (given, how = 'header') => {
    const response = await app.inject(how === 'header'
      ? { method: 'POST', url: '/', cookies, headers: given === undefined ? {} : { 'x-csrf-token': given } }
      : { method: 'POST', url: '/', cookies, headers: { 'content-type': 'application/x-www-form-urlencoded' }, payload: given ?? '' })
    return response.statusCode === 200 ? 'in' : `${response.statusCode} ${response.json<{ msg: string }>().msg}`
  }
}

const WRONG = '401 CSRF double submit tokens do not match'
const MISSING = '401 Missing CSRF token'

t.test('only the value itself passes, whichever byte of another one differs', async (t) => {
  const ask = await asker(t)
  t.equal(await ask(VALUE), 'in')
  for (let at = 0; at < VALUE.length; at++) t.equal(await ask(`${VALUE.slice(0, at)}${VALUE[at] === 'x' ? 'y' : 'x'}${VALUE.slice(at + 1)}`), WRONG, `byte ${at}`)
  for (const given of [VALUE.slice(0, -1), VALUE.slice(1), `${VALUE}0`, `0${VALUE}`, VALUE + VALUE, VALUE.toUpperCase(), `${VALUE}, ${VALUE}`, `"${VALUE}"`, `${VALUE};`, 'null', 'undefined', 'true', '[object Object]', '0', 'x'.repeat(10_000)]) {
    t.equal(await ask(given), WRONG, given.slice(0, 40))
  }
  for (const given of [undefined, '']) t.equal(await ask(given), MISSING)
})

t.test('a form gives the value as one text, and nothing else passes for it', async (t) => {
  const ask = await asker(t)
  t.equal(await ask(`csrf_token=${VALUE}`, 'form'), 'in')
  for (const form of [`csrf_token=${VALUE}&csrf_token=${VALUE}`, `csrf_token=&csrf_token=${VALUE}`, `csrf_token[]=${VALUE}`, `csrf_token[value]=${VALUE}`, `__proto__[csrf_token]=${VALUE}`, `CSRF_TOKEN=${VALUE}`, '', 'csrf_token', 'csrf_token=']) {
    t.equal(await ask(form, 'form'), MISSING, form)
  }
  for (const form of [`csrf_token=x&csrf=${VALUE}`, 'csrf_token=%00', `csrf_token=${VALUE}%00`]) t.equal(await ask(form, 'form'), WRONG, form)
})

t.test('values of the same length in characters that differ in bytes are told apart without an error', async (t) => {
  for (const [own, given] of [['café', 'cafe'], ['é', 'e'], ['\ud800', '\ufffd'.slice(0, 1)], ['a\u0301', 'á'], ['😀', 'xx'], ['ﬀ', 'f'], ['ſ', 's']] as const) {
    t.equal(isSameCsrfValue(own, own), true, own)
    if (Buffer.from(own).equals(Buffer.from(given))) continue
    t.equal(isSameCsrfValue(own, given), false, `${own} ${given}`)
    t.equal(isSameCsrfValue(given, own), false, `${given} ${own}`)
  }
  const ask = await asker(t, 'é')
  for (const given of ['e', '\xe9\xe9', '?']) t.equal(await ask(given), WRONG)
})

t.test('a token whose claim is no text lets nothing through', async (t) => {
  for (const csrf of [null, 5, true, [VALUE], { value: VALUE }, '']) {
    const ask = await asker(t, csrf)
    for (const given of [VALUE, 'null', '5', 'true', '[object Object]', '']) t.match(await ask(given), /^4\d\d /, `${JSON.stringify(csrf)} ${given}`)
  }
})

t.test('for values of one length the verdict is that of timingSafeEqual, and of nothing before it, in guards and in decodeToken', async (t) => {
  const own = crypto.timingSafeEqual
  const compared: string[][] = []
  let answer = true
  Object.assign(crypto, {
    timingSafeEqual (one: Buffer, other: Buffer) {
      compared.push([one.toString(), other.toString()])
      return answer
    },
  })
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(crypto, { timingSafeEqual: own })
    syncBuiltinESMExports()
  })
  t.equal(isSameCsrfValue('aaaa', 'zzzz'), true, 'it says yes')
  answer = false
  t.equal(isSameCsrfValue('same', 'same'), false, 'it says no')
  t.equal(isSameCsrfValue('same', 'samezzz'), false)
  t.strictSame(compared, [['aaaa', 'zzzz'], ['same', 'same']], 'values of two lengths are not compared')

  const ask = await asker(t)
  const app = await buildApp(t)
  const token = forge({ sub: 'ada', csrf: VALUE })
  const decode = async (csrfValue: string) => await app.decodeToken(token, { csrfValue }).then(() => 'in', ({ message }: Error) => `401 ${message}`)
  const other = VALUE.replaceAll(/\w/g, 'x')
  // fast-jwt took its own for the signatures when it was loaded.
  for (const [given, verdict, expected] of [[other, true, 'in'], [VALUE, false, WRONG], [`${VALUE}0`, true, WRONG]] as const) {
    compared.length = 0
    answer = verdict
    t.strictSame([await ask(given), await ask(`csrf_token=${given}`, 'form'), await decode(given)], [expected, expected, expected])
    t.strictSame(compared, given.length === VALUE.length ? Array(3).fill([VALUE, given]) : [])
  }
})
