import { createSecretKey } from 'node:crypto'
import { jwtVerify } from 'jose'
import t from 'tap'
import { CsrfError, ExpiredTokenError, JwtDecodeError } from '../../index.js'
import { bearer, buildApp, SECRET } from '../support/app.js'
import { stopClock } from '../support/clock.js'
import { forge } from '../support/forge.js'

const NOON = 1_700_000_000
const OTHER_SECRET = SECRET.split('').reverse().join('')
const CLAIMS = { jti: '1234', sub: 'ada', type: 'access', fresh: true, csrf: 'abcd' }

function without (...names: string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(CLAIMS).filter(([name]) => !names.includes(name)))
}

async function isSignedWith (token: string, secret: string): Promise<boolean> {
  return await jwtVerify(token, createSecretKey(Buffer.from(secret))).then(() => true, () => false)
}

t.test('refuses a token without the identity, or without the CSRF value it is asked for', async (t) => {
  const app = await buildApp(t)
  for (const claim of ['sub', 'csrf']) {
    const decoding = app.decodeToken(forge(without(claim)), { csrfValue: 'abcd' })
    await t.rejects(decoding, new JwtDecodeError(`Missing claim: ${claim}`))
  }
  await t.resolves(app.decodeToken(forge(CLAIMS), { csrfValue: 'abcd' }), 'both are there')
  await t.resolves(app.decodeToken(forge(without('csrf'))), 'no CSRF value is asked for')
  await t.rejects(app.decodeToken(forge(CLAIMS), { csrfValue: 'dcba' }), CsrfError, 'another CSRF value')
})

t.test('fills in type, freshness and id where a token lacks them', async (t) => {
  const app = await buildApp(t)
  const payload = await app.decodeToken(forge(without('type', 'jti', 'fresh')))
  t.strictSame(payload, { sub: 'ada', csrf: 'abcd', type: 'access', fresh: false, jti: null })
})

t.test('decodes a token of a type of somebody else', async (t) => {
  const app = await buildApp(t)
  const payload = await app.decodeToken(forge({ ...CLAIMS, type: 'app' }))
  t.equal(payload['type'], 'app')
})

t.test('issues and asks for the audiences that are configured', async (t) => {
  const plain = await buildApp(t)
  t.notOk('aud' in await plain.decodeToken(await plain.createAccessToken('ada')), 'none by default')

  const both = await buildApp(t, { secretKey: SECRET, encodeAudience: 'shop', decodeAudience: 'shop' })
  t.equal((await both.decodeToken(await both.createAccessToken('ada')))['aud'], 'shop', 'issued and asked for')

  const apart = await buildApp(t, { secretKey: SECRET, encodeAudience: 'shop', decodeAudience: 'bank' })
  await t.rejects(apart.decodeToken(await apart.createAccessToken('ada')), new JwtDecodeError("Audience doesn't match"))

  const asking = await buildApp(t, { secretKey: SECRET, decodeAudience: 'shop' })
  await t.rejects(asking.decodeToken(await asking.createAccessToken('ada')), new JwtDecodeError('Token is missing the "aud" claim'))

  const issuing = await buildApp(t, { secretKey: SECRET, encodeAudience: 'shop' })
  t.equal((await issuing.decodeToken(await issuing.createAccessToken('ada')))['aud'], 'shop', 'issued and not asked for')
})

t.test('refuses expired tokens of either kind', async (t) => {
  const app = await buildApp(t)
  for (const expiresDelta of [-300, '-5m']) {
    for (const token of [await app.createAccessToken('ada', { expiresDelta }), await app.createRefreshToken('ada', { expiresDelta })]) {
      await t.rejects(app.decodeToken(token), ExpiredTokenError)
    }
  }
})

t.test('decodes expired tokens of either kind where it is told to', async (t) => {
  const app = await buildApp(t)
  for (const expiresDelta of [-300, '-5m']) {
    for (const token of [await app.createAccessToken('ada', { expiresDelta }), await app.createRefreshToken('ada', { expiresDelta })]) {
      const payload = await app.decodeToken(token, { allowExpired: true })
      t.match(payload, { sub: 'ada', exp: Number })
    }
  }
})

t.test('makes tokens without an end where expiresDelta is false', async (t) => {
  const app = await buildApp(t)
  for (const token of [await app.createAccessToken('ada', { expiresDelta: false }), await app.createRefreshToken('ada', { expiresDelta: false })]) {
    t.notOk('exp' in await app.decodeToken(token))
  }
})

t.test('refuses a token before its time, but for the leeway', async (t) => {
  stopClock(t, NOON)
  const strict = await buildApp(t)
  const early = await strict.createAccessToken('ada', { additionalClaims: { nbf: NOON + 30 } })
  await t.rejects(strict.decodeToken(early), JwtDecodeError)

  const lenient = await buildApp(t, { secretKey: SECRET, decodeLeeway: 30 })
  await t.resolves(lenient.decodeToken(await lenient.createAccessToken('ada')))
  await t.resolves(lenient.decodeToken(early), 'as early as the leeway')
  const earlier = await lenient.createAccessToken('ada', { additionalClaims: { nbf: NOON + 31 } })
  await t.rejects(lenient.decodeToken(earlier), JwtDecodeError)
})

t.test('keeps the identity in the claim that identityClaim names', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, identityClaim: 'login' })
  await t.rejects(app.decodeToken(forge(CLAIMS)), new JwtDecodeError('Missing claim: login'))

  const foreign = await app.decodeToken(forge({ ...without('sub'), login: 'ada' }))
  t.equal(foreign['login'], 'ada')
  t.notOk('sub' in foreign)

  const own = await app.decodeToken(await app.createAccessToken('ada'))
  t.equal(own['login'], 'ada')
  t.notOk('sub' in own)
})

t.test('getJti gives the id of a token', async (t) => {
  const app = await buildApp(t)
  t.equal(await app.getJti(forge(CLAIMS)), '1234')
})

t.test('signs and verifies with the configured secret unless a loader gives another', async (t) => {
  const plain = await buildApp(t)
  const ours = await plain.createAccessToken('ada')
  t.ok(await isSignedWith(ours, SECRET), 'signed with the configured secret')
  await t.resolves(plain.decodeToken(ours), 'verified with the configured secret')

  const app = await buildApp(t, { secretKey: SECRET, encodeKeyLoader: () => OTHER_SECRET, decodeKeyLoader: async () => OTHER_SECRET })
  const theirs = await app.createAccessToken('ada')
  t.ok(await isSignedWith(theirs, OTHER_SECRET), 'signed with the loaded secret')
  t.notOk(await isSignedWith(theirs, SECRET))
  await t.resolves(app.decodeToken(theirs), 'verified with the loaded secret')
  await t.rejects(app.decodeToken(ours), JwtDecodeError)
})

t.test('asks the key loaders with the identity, and with what the token says of itself', async (t) => {
  const identities: unknown[] = []
  const encodeKeyLoader = (identity: unknown): string => {
    identities.push(identity)
    return OTHER_SECRET
  }
  const signing = await buildApp(t, { secretKey: SECRET, encodeKeyLoader })
  for (const token of [await signing.createAccessToken('ada'), await signing.createRefreshToken('ada')]) {
    await t.rejects(signing.decodeToken(token), new JwtDecodeError('Signature verification failed'), 'only the signing side has the other key')
  }
  t.strictSame(identities, ['ada', 'ada'])

  const seen: unknown[] = []
  const both = await buildApp(t, {
    secretKey: SECRET,
    encodeKeyLoader,
    decodeKeyLoader: (header, payload) => {
      seen.push([header.alg, payload['sub']])
      return OTHER_SECRET
    },
  })
  await t.resolves(both.decodeToken(await both.createAccessToken('ada')))
  await t.resolves(both.decodeToken(await both.createRefreshToken('ada')))
  t.strictSame(seen, [['HS256', 'ada'], ['HS256', 'ada']])
})

t.test('takes a token that names one of the audiences asked for', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeAudience: ['shop', 'bank'] })
  for (const aud of ['shop', ['bank'], ['shop', 'bank', 'zoo']]) {
    t.strictSame((await app.decodeToken(forge({ ...CLAIMS, aud })))['aud'], aud)
  }
})

t.test('refuses a token that names none of the audiences asked for', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeAudience: 'shop' })
  for (const aud of ['bank', ['bank'], ['bank', 'zoo']]) {
    await t.rejects(app.decodeToken(forge({ ...CLAIMS, aud })), new JwtDecodeError("Audience doesn't match"), JSON.stringify(aud))
  }
})

t.test('takes a token whatever its audience where none is asked for', async (t) => {
  const app = await buildApp(t)
  for (const aud of ['bank', ['bank'], ['bank', 'zoo']]) {
    t.strictSame((await app.decodeToken(forge({ ...CLAIMS, aud })))['aud'], aud)
  }
})

const NO_SUBJECTS = [123, {}, [], false]

t.test('refuses a subject that is no string', async (t) => {
  const app = await buildApp(t)
  for (const sub of NO_SUBJECTS) {
    await t.rejects(app.decodeToken(forge({ ...CLAIMS, sub })), new JwtDecodeError('Subject must be a string'), JSON.stringify(sub))
  }
})

t.test('takes and makes a subject of any kind where verifySub is off', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, verifySub: false })
  for (const sub of NO_SUBJECTS) {
    t.strictSame((await app.decodeToken(forge({ ...CLAIMS, sub })))['sub'], sub, 'taken')
    t.strictSame((await app.decodeToken(await app.createAccessToken(sub)))['sub'], sub, 'made')
  }
})

t.test('issues tokens in the name of encodeIssuer', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, encodeIssuer: 'us' })
  t.equal((await app.decodeToken(await app.createAccessToken('ada')))['iss'], 'us')
})

t.test('refuses its own tokens where it issues in another name than it asks for', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, encodeIssuer: 'us', decodeIssuer: 'them' })
  await t.rejects(app.decodeToken(await app.createAccessToken('ada')), new JwtDecodeError('Invalid issuer'))
})

t.test('takes a token of the issuer asked for', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeIssuer: 'us' })
  t.equal((await app.decodeToken(forge({ ...CLAIMS, iss: 'us' })))['iss'], 'us')
})

t.test('refuses a token of another issuer than the one asked for', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, decodeIssuer: 'them' })
  await t.rejects(app.decodeToken(forge({ ...CLAIMS, iss: 'us' })), new JwtDecodeError('Invalid issuer'))
})

t.test('refuses a word that is no token', async (t) => {
  const app = await buildApp(t)
  await t.rejects(app.decodeToken('one-word'), new JwtDecodeError('Not enough segments'))
})

t.test('additional headers stand in tokens of either kind', async (t) => {
  const app = await buildApp(t)
  const additionalHeaders = { tenant: 'north' }
  t.match(app.getUnverifiedJwtHeaders(await app.createAccessToken('ada', { additionalHeaders })), { alg: 'HS256', tenant: 'north' })
  t.match(app.getUnverifiedJwtHeaders(await app.createRefreshToken('ada', { additionalHeaders })), { alg: 'HS256', tenant: 'north' })
})

t.test('tokens end when the configured lifetimes say', async (t) => {
  stopClock(t, NOON)
  const app = await buildApp(t, { secretKey: SECRET, accessTokenExpires: '1h', refreshTokenExpires: 7200 })
  t.equal((await app.decodeToken(await app.createAccessToken('ada')))['exp'], NOON + 3600)
  t.equal((await app.decodeToken(await app.createRefreshToken('ada')))['exp'], NOON + 7200)
})

t.test('tokens carry the time from which they are valid', async (t) => {
  stopClock(t, NOON)
  const app = await buildApp(t)
  t.equal((await app.decodeToken(await app.createAccessToken('ada', { fresh: true })))['nbf'], NOON)
})

t.test('tokens carry no such time where encodeNbf is off', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, encodeNbf: false })
  t.notOk('nbf' in await app.decodeToken(await app.createAccessToken('ada', { fresh: true })))
})

t.test('a token made with additional headers and claims passes a guard', async (t) => {
  const app = await buildApp(t)
  app.get('/', { onRequest: app.jwtRequired() }, async (request) => ({ tenant: request.jwtHeader['tenant'], role: request.jwt['role'] }))
  const token = await app.createAccessToken('ada', { additionalHeaders: { tenant: 'north' }, additionalClaims: { role: 'admin' } })
  t.strictSame((await app.inject({ url: '/', headers: bearer(token) })).json(), { tenant: 'north', role: 'admin' })
})
