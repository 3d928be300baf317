import t from 'tap'
import type { JwtExtendedOptions } from '../index.js'
import { toSeconds } from '../lib/durations.js'
import { buildApp, registrationError, SECRET } from './support/app.js'
import { stopClock } from './support/clock.js'

const NOW = 1_750_000_000

const GOOD: [duration: number | string, seconds: number][] = [
  [1, 1],
  [900, 900],
  [-60, -60],
  [31_557_600_000, 31_557_600_000],
  ['1s', 1],
  ['15m', 900],
  ['15M', 900],
  ['15 minutes', 900],
  ['1.5h', 5400],
  ['12h', 43_200],
  ['30d', 2_592_000],
  ['2w', 1_209_600],
  ['1y', 31_557_600],
  ['1000y', 31_557_600_000],
  ['2000ms', 2],
  ['2000 msecs', 2],
  ['45 seconds', 45],
  ['3 wks', 1_814_400],
  ['2 yrs', 63_115_200],
  ['-15m', -900]
]

const BAD: unknown[] = [
  0, -0, 0.5, 1.5, NaN, Infinity, -Infinity, 31_557_600_001, -31_557_600_001, '1001y', 2 ** 53, '', ' ', '0', '15', '1000', '60000', '-60000', '0s', '0m', '1500ms', '0.5s', 'm', 'never', 'tomorrow', '15m ', ' 15m',
  '15 parsecs', '1h30m', '5sm', '1sd', '2msy', '1hd', '1 day 2', `${'0'.repeat(31)}1s`, `${'1'.repeat(20_000)}!a`, '1e3s', 'Infinityd', '9007199254740993s', null, undefined, true, false, 15n, {}, [15], ['15m'], new Date(), () => 15
]

t.test('a duration is whole seconds, or text with a unit', async (t) => {
  for (const [duration, seconds] of GOOD) t.equal(toSeconds(duration), seconds, String(duration))
})

t.test('what is no duration is none: 0, fractions of a second, text without a unit, other kinds', async (t) => {
  for (const value of BAD) t.equal(toSeconds(value), undefined, `${typeof value} ${String(value)}`)
})

t.test('the lifetimes of new tokens are durations, in seconds or in text', async (t) => {
  stopClock(t, NOW)
  for (const [duration, seconds] of GOOD) {
    if (seconds < 0 || seconds > 1e12) continue
    const app = await buildApp(t, { secretKey: SECRET, accessTokenExpires: duration, refreshTokenExpires: duration })
    const access = await app.decodeToken(await app.createAccessToken('ada'))
    const refresh = await app.decodeToken(await app.createRefreshToken('ada'))
    t.equal(access.exp, NOW + seconds, `access ${duration}`)
    t.equal(refresh.exp, NOW + seconds, `refresh ${duration}`)
  }
})

t.test('without a lifetime an access token lives 15 minutes and a refresh token 30 days', async (t) => {
  stopClock(t, NOW)
  const app = await buildApp(t)
  t.equal((await app.decodeToken(await app.createAccessToken('ada'))).exp, NOW + 15 * 60)
  t.equal((await app.decodeToken(await app.createRefreshToken('ada'))).exp, NOW + 30 * 24 * 60 * 60)
})

t.test('a lifetime of false makes tokens without expiry', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, accessTokenExpires: false, refreshTokenExpires: false })
  t.notOk('exp' in await app.decodeToken(await app.createAccessToken('ada')))
  t.notOk('exp' in await app.decodeToken(await app.createRefreshToken('ada')))
})

t.test('a lifetime that is no duration, or a negative one, fails the registration by name', async (t) => {
  for (const option of ['accessTokenExpires', 'refreshTokenExpires'] as const) {
    for (const value of [...BAD, -1, -60, '-15m']) {
      if (value === undefined || value === false) continue
      const error = await registrationError(t, { secretKey: SECRET, [option]: value })
      t.match(error.message, `The option ${option} must be a positive duration`, `${option} ${typeof value} ${String(value)}`)
      t.equal(error.code, 'FST_JWT_EXT_USAGE')
    }
  }
})

t.test('the leeway is seconds, 0 and fractions included, or a duration', async (t) => {
  stopClock(t, NOW)
  const rows: [leeway: NonNullable<JwtExtendedOptions['decodeLeeway']>, seconds: number][] = [[0, 0], [0.5, 0.5], [10, 10], ['30s', 30], ['1m', 60]]
  for (const [decodeLeeway, seconds] of rows) {
    const app = await buildApp(t, { secretKey: SECRET, decodeLeeway })
    const lastGood = await app.createAccessToken('ada', { additionalClaims: { exp: NOW - Math.ceil(seconds) + 1 } })
    const firstBad = await app.createAccessToken('ada', { additionalClaims: { exp: NOW - Math.ceil(seconds) } })
    t.equal((await app.decodeToken(lastGood)).sub, 'ada', `${decodeLeeway} takes it`)
    t.equal(await app.decodeToken(firstBad).then(() => 'passed', (error: Error) => error.message), 'Token has expired', `${decodeLeeway} refuses it`)
  }
})

t.test('a leeway that is negative, not finite or no duration fails the registration', async (t) => {
  for (const value of [-1, -0.5, NaN, Infinity, '', '0', '15', '0s', '-1s', 'soon', null, true, [], {}]) {
    const error = await registrationError(t, { secretKey: SECRET, decodeLeeway: value })
    t.match(error.message, 'The option decodeLeeway must be a number of seconds, 0 or more', String(value))
  }
})
