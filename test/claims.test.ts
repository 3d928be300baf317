import t, { type Test } from 'tap'
import type { JwtExtendedOptions } from '../index.js'
import { createClaimsPolicy, isExpired, judgeBeginning, judgeHeader } from '../lib/claims.js'
import { readSettings } from '../lib/settings.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { moveClock, stopClock } from './support/clock.js'
import { forge } from './support/forge.js'

const NOW = 1_750_000_000

/** What decoding a token of these claims comes to: `'good'` or the message of the refusal. */
async function judge (t: Test, claims: unknown, options: JwtExtendedOptions = {}): Promise<string> {
  const app = await buildApp(t, { secretKey: SECRET, ...options })
  return await app.decodeToken(forge(claims)).then(() => 'good', (error: Error & { code: string }) => {
    if (error.code !== 'FST_JWT_EXT_INVALID_TOKEN' && error.code !== 'FST_JWT_EXT_EXPIRED') throw error
    return error.message
  })
}

const NOT_NUMBERS = [null, '', '0', String(NOW), true, false, [], [NOW], {}, { n: 1 }]
const NOT_STRINGS = [null, 0, 5, true, false, [], ['x'], {}]

t.test('the times of a token are finite numbers, fractions included', async (t) => {
  stopClock(t, NOW)
  const names = { nbf: 'Not Before claim (nbf)', iat: 'Issued At claim (iat)', exp: 'Expiration Time claim (exp)' }
  for (const [claim, name] of Object.entries(names)) {
    for (const value of NOT_NUMBERS) {
      t.equal(await judge(t, { sub: 'ada', [claim]: value }), `${name} must be a number`, `${claim}: ${JSON.stringify(value)}`)
    }
    for (const value of ['1e999', '-1e999']) t.equal(await judge(t, `{"sub":"ada","${claim}":${value}}`), `${name} must be a number`, value)
  }
  t.equal(await judge(t, { sub: 'ada', nbf: NOW - 0.5, iat: NOW - 0.5, exp: NOW + 0.5 }), 'good')
  t.equal(await judge(t, { sub: 'ada', nbf: 0, iat: -5, exp: 9e15 }), 'good')
})

t.test('a token is not valid before its nbf and its iat; a time equal to now is good', async (t) => {
  stopClock(t, NOW)
  t.equal(await judge(t, { sub: 'ada', nbf: NOW }), 'good')
  t.equal(await judge(t, { sub: 'ada', nbf: NOW + 0.001 }), 'The token is not yet valid (nbf)')
  t.equal(await judge(t, { sub: 'ada', nbf: NOW + 1 }), 'The token is not yet valid (nbf)')
  t.equal(await judge(t, { sub: 'ada', iat: NOW }), 'good')
  t.equal(await judge(t, { sub: 'ada', iat: NOW + 1 }), 'The token is not yet valid (iat)')
})

t.test('a token has expired at its exp: a time equal to now is too late', async (t) => {
  stopClock(t, NOW)
  t.equal(await judge(t, { sub: 'ada', exp: NOW + 1 }), 'good')
  t.equal(await judge(t, { sub: 'ada', exp: NOW + 0.001 }), 'good')
  t.equal(await judge(t, { sub: 'ada', exp: NOW }), 'Token has expired')
  t.equal(await judge(t, { sub: 'ada', exp: NOW - 1 }), 'Token has expired')
  t.equal(await judge(t, { sub: 'ada', exp: 0 }), 'Token has expired')
  t.equal(await judge(t, { sub: 'ada', exp: -1 }), 'Token has expired')
})

t.test('the leeway is granted to exp, nbf and iat', async (t) => {
  stopClock(t, NOW)
  const options = { decodeLeeway: 10 }
  t.equal(await judge(t, { sub: 'ada', nbf: NOW + 10 }, options), 'good')
  t.equal(await judge(t, { sub: 'ada', nbf: NOW + 11 }, options), 'The token is not yet valid (nbf)')
  t.equal(await judge(t, { sub: 'ada', iat: NOW + 10 }, options), 'good')
  t.equal(await judge(t, { sub: 'ada', iat: NOW + 11 }, options), 'The token is not yet valid (iat)')
  t.equal(await judge(t, { sub: 'ada', exp: NOW - 9 }, options), 'good')
  t.equal(await judge(t, { sub: 'ada', exp: NOW - 10 }, options), 'Token has expired')
})

t.test('a token without times is good', async (t) => {
  t.equal(await judge(t, { sub: 'ada' }), 'good')
})

t.test('an issuer is a string, and one of those that are accepted where some are named', async (t) => {
  t.equal(await judge(t, { sub: 'ada', iss: 'anyone' }), 'good')
  for (const iss of NOT_STRINGS) t.equal(await judge(t, { sub: 'ada', iss }), 'Issuer must be a string', JSON.stringify(iss))
  for (const decodeIssuer of ['us', ['them', 'us']]) {
    t.equal(await judge(t, { sub: 'ada', iss: 'us' }, { decodeIssuer }), 'good')
    t.equal(await judge(t, { sub: 'ada' }, { decodeIssuer }), 'Token is missing the "iss" claim')
    for (const iss of ['others', '', 'US', 'us ', 'u']) t.equal(await judge(t, { sub: 'ada', iss }, { decodeIssuer }), 'Invalid issuer', iss)
    t.equal(await judge(t, { sub: 'ada', iss: ['us'] }, { decodeIssuer }), 'Issuer must be a string')
  }
})

t.test('an audience is a string or a list of strings, and names one that is accepted where some are named', async (t) => {
  for (const aud of ['anyone', ['any', 'one'], []]) t.equal(await judge(t, { sub: 'ada', aud }), 'good', JSON.stringify(aud))
  for (const aud of [null, 0, 5, true, {}, [5], ['a', null], [['a']]]) {
    t.equal(await judge(t, { sub: 'ada', aud }), 'Audience must be a string or a list of strings', JSON.stringify(aud))
  }
  for (const decodeAudience of ['api', ['web', 'api']]) {
    for (const aud of ['api', ['api'], ['x', 'api']]) t.equal(await judge(t, { sub: 'ada', aud }, { decodeAudience }), 'good')
    t.equal(await judge(t, { sub: 'ada' }, { decodeAudience }), 'Token is missing the "aud" claim')
    for (const aud of ['other', '', [], ['x', 'y'], 'API', 'ap']) {
      t.equal(await judge(t, { sub: 'ada', aud }, { decodeAudience }), "Audience doesn't match", JSON.stringify(aud))
    }
    t.equal(await judge(t, { sub: 'ada', aud: ['api', 5] }, { decodeAudience }), 'Audience must be a string or a list of strings')
  }
})

t.test('a subject is a string, unless verifySub is off', async (t) => {
  for (const sub of [null, 0, 5, true, [], {}]) {
    t.equal(await judge(t, { sub }), 'Subject must be a string', JSON.stringify(sub))
    t.equal(await judge(t, { sub }, { verifySub: false }), 'good', JSON.stringify(sub))
  }
  t.equal(await judge(t, { sub: '' }), 'good')
})

t.test('an id is a string or null', async (t) => {
  for (const jti of ['x', '', null]) t.equal(await judge(t, { sub: 'ada', jti }), 'good')
  for (const jti of [0, 5, true, false, [], {}]) t.equal(await judge(t, { sub: 'ada', jti }), 'JWT ID must be a string', JSON.stringify(jti))
})

t.test('the identity claim must be there, whatever its value is', async (t) => {
  t.equal(await judge(t, {}), 'Missing claim: sub')
  t.equal(await judge(t, { sub: 'ada' }, { identityClaim: 'user' }), 'Missing claim: user')
  t.equal(await judge(t, { user: 'ada' }, { identityClaim: 'user' }), 'good')
  for (const user of [null, 0, '', false, { id: 1 }, [1]]) t.equal(await judge(t, { user }, { identityClaim: 'user' }), 'good', JSON.stringify(user))
  t.equal(await judge(t, { user: 'ada', sub: 5 }, { identityClaim: 'user' }), 'Subject must be a string')
  for (const identityClaim of ['toString', 'constructor', '__proto__', 'hasOwnProperty']) {
    t.equal(await judge(t, { sub: 'ada' }, { identityClaim }), `Missing claim: ${identityClaim}`, 'an inherited member is no claim')
  }
})

t.test('type, fresh and jti are filled in where they are absent', async (t) => {
  const app = await buildApp(t)
  app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwt)
  const token = forge({ sub: 'ada' })
  t.strictSame(await app.decodeToken(token), { sub: 'ada', type: 'access', fresh: false, jti: null })
  t.strictSame((await app.inject({ url: '/', headers: bearer(token) })).json(), { sub: 'ada', type: 'access', fresh: false, jti: null })
  t.equal(await app.getJti(token), null)
})

t.test('type, fresh and jti that are there stay as they are, null included', async (t) => {
  const app = await buildApp(t)
  const claims = { sub: 'ada', type: 'mine', fresh: 17, jti: 'x' }
  t.strictSame(await app.decodeToken(forge(claims)), claims)
  const nulls = { sub: 'ada', type: null, fresh: null, jti: null }
  t.strictSame(await app.decodeToken(forge(nulls)), nulls)
})

t.test('the claims are judged in order: nbf, iat, times, iss, aud, sub, jti, identity, and exp last of all', async (t) => {
  stopClock(t, NOW)
  const steps: [claims: Record<string, unknown>, message: string][] = [
    [{ nbf: NOW + 60 }, 'The token is not yet valid (nbf)'],
    [{ iat: NOW + 60 }, 'The token is not yet valid (iat)'],
    [{ exp: 'soon' }, 'Expiration Time claim (exp) must be a number'],
    [{ iss: 'others' }, 'Invalid issuer'],
    [{ aud: 'others' }, "Audience doesn't match"],
    [{ sub: 5 }, 'Subject must be a string'],
    [{ jti: 5 }, 'JWT ID must be a string'],
    [{ user: undefined }, 'Missing claim: user'],
    [{ exp: NOW - 60 }, 'Token has expired'],
  ]
  const options = { decodeIssuer: 'us', decodeAudience: 'api', identityClaim: 'user' }
  const good = { user: 'ada', sub: 'ada', iss: 'us', aud: 'api' }
  t.equal(await judge(t, good, options), 'good')
  for (const [first, [earlier, message]] of steps.entries()) {
    t.equal(await judge(t, { ...good, ...earlier }, options), message)
    for (const [later] of steps.slice(first + 1)) {
      t.equal(await judge(t, { ...good, ...later, ...earlier }, options), message, `${JSON.stringify(earlier)} before ${JSON.stringify(later)}`)
    }
  }
  const allBad = Object.assign({ ...good }, ...steps.map(([claims]) => claims).reverse()) as Record<string, unknown>
  t.equal(await judge(t, allBad, options), steps[0]![1])
})

t.test('each claim is of its kind before its value is looked at, and the signature comes before any claim', async (t) => {
  stopClock(t, NOW)
  t.equal(await judge(t, { sub: 'ada', nbf: 'x', iat: 'x', exp: 'x' }), 'Not Before claim (nbf) must be a number')
  t.equal(await judge(t, { sub: 'ada', iat: 'x', exp: NOW - 60 }), 'Issued At claim (iat) must be a number')
  const app = await buildApp(t)
  await t.rejects(app.decodeToken(forge({ exp: 0, nbf: NOW + 60 }, { alg: 'HS256' }, 'another secret')), { message: 'Signature verification failed' })
})

t.test('the times are the clock\'s own: what was good expires, what was early becomes good', async (t) => {
  const app = await buildApp(t)
  const token = await app.createAccessToken('ada', { expiresDelta: 60 })
  const early = await app.createAccessToken('ada', { additionalClaims: { nbf: Math.floor(Date.now() / 1000) + 30 } })
  t.equal((await app.decodeToken(token)).sub, 'ada')
  await t.rejects(app.decodeToken(early), { message: 'The token is not yet valid (nbf)' })
  moveClock(t, 31)
  t.equal((await app.decodeToken(early)).sub, 'ada')
  moveClock(t, 30)
  await t.rejects(app.decodeToken(token), { code: 'FST_JWT_EXT_EXPIRED' })
})

t.test('no header parameter that cannot be understood is let pass', async (t) => {
  const app = await buildApp(t)
  for (const crit of [[], ['exp'], ['b64'], 'b64', null, 0, false, {}]) {
    await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', crit, b64: false })), {
      code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Critical header extensions are not supported',
    }, JSON.stringify(crit))
  }
  for (const kid of [null, 0, 5, true, [], {}]) {
    await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: 'HS256', kid })), { code: 'FST_JWT_EXT_INVALID_TOKEN', message: 'Key ID must be a string' }, JSON.stringify(kid))
  }
  for (const header of [{ alg: 'HS256' }, { alg: 'HS256', kid: '' }, { alg: 'HS256', kid: 'x', typ: 'at+jwt', x: [1] }]) {
    t.equal((await app.decodeToken(forge({ sub: 'ada' }, header))).sub, 'ada')
  }
  t.throws(() => { judgeHeader({ crit: undefined, kid: 5 as never }) }, { message: 'Key ID must be a string' })
})

t.test('no message repeats a claim\'s value', async (t) => {
  const value = 'top-secret-value'
  const options = { decodeIssuer: 'us', decodeAudience: 'api', identityClaim: 'user' }
  const good = { user: 'ada', sub: 'ada', iss: 'us', aud: 'api' }
  const rows = [{ nbf: value }, { iat: value }, { exp: value }, { iss: value }, { iss: [value] }, { aud: value }, { aud: [value, 5] }, { sub: [value] }, { jti: [value] }]
  for (const claims of rows) {
    const message = await judge(t, { ...good, ...claims }, options)
    t.not(message, 'good')
    t.notMatch(message, value)
  }
})

t.test('a policy fills a payload in and says nothing about its expiry', async (t) => {
  const judgeClaims = createClaimsPolicy(readSettings({ secretKey: SECRET, decodeLeeway: 5 }))
  const payload: Record<string, unknown> = { sub: 'ada', exp: 1 }
  judgeClaims(payload, NOW * 1000)
  t.strictSame(payload, { sub: 'ada', exp: 1, type: 'access', fresh: false, jti: null })
  t.ok(isExpired({ exp: 1 }, NOW * 1000, 5))
  t.notOk(isExpired({}, NOW * 1000, 5))
  for (const claim of ['nbf', 'iat']) {
    t.throws(() => { judgeBeginning({ [claim]: NOW + 6 }, NOW * 1000, 5) }, { code: 'FST_JWT_EXT_INVALID_TOKEN', message: `The token is not yet valid (${claim})` })
    t.doesNotThrow(() => { judgeBeginning({ [claim]: NOW + 5 }, NOW * 1000, 5) })
  }
  t.doesNotThrow(() => { judgeBeginning({}, NOW * 1000, 5) })
})
