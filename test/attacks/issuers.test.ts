// Tokens of issuers that are trusted, with keys, names and claims that are not theirs.
import { createSecretKey, type KeyObject } from 'node:crypto'
import t, { type Test } from 'tap'
import { memoryStore, type JwtExtendedOptions } from '../../index.js'
import { SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { certificateDer, ecPair, edPair, pem, rsaPair } from '../support/keys.js'
import { listen } from '../support/listener.js'
import { claimsOf, segment, segmentsOf, signToken } from '../support/sign.js'
import { buildTarget, carriersOf, type Target } from '../support/target.js'

const [A, B] = ['https://a.example', 'https://b.example']
// Both issuers call a key of theirs the same.
const ONE = { rsa: rsaPair('a'), ec: ecPair('P-256', 'a'), odd: edPair('a') }
const TWO = { rsa: rsaPair('b') }
const OCT = 'a-secret-that-an-issuer-has-published-by-mistake-and-is-long-enough-for-all'

const jwk = (key: KeyObject, more: object): object => ({ ...key.export({ format: 'jwk' }), ...more })

const SETS = {
  a: {
    keys: [
      jwk(ONE.rsa.publicKey, { kid: 'shared', alg: 'RS256', use: 'sig' }), jwk(ONE.ec.publicKey, { kid: 'ec' }), jwk(ONE.odd.publicKey, { kid: '__proto__' }),
      jwk(createSecretKey(Buffer.from(OCT)), { kid: 'oct', alg: 'HS256' }), jwk(createSecretKey(Buffer.from(OCT)), { kid: 'shared', alg: 'HS256' })
    ],
  },
  b: { keys: [jwk(TWO.rsa.publicKey, { kid: 'shared' })] },
}

/** An application with a secret of its own that trusts two issuers, and one address that it does not trust. */
async function site (t: Test, options: JwtExtendedOptions = {}): Promise<Target & { asked: string[], stranger: string }> {
  const asked: string[] = []
  const serve = async (name: string, body: string): Promise<string> => {
    const { origin } = await listen(t, (_request, response) => {
      asked.push(name)
      response.end(body)
    })
    return origin
  }
  const [one, two, stranger] = [await serve('a', JSON.stringify(SETS.a)), await serve('b', JSON.stringify(SETS.b)), await serve('stranger', JSON.stringify(SETS.b))]
  const target = await buildTarget(t, {
    secretKey: SECRET, tokenTypes: { invite: { expires: 60 } }, issuers: [{ issuer: A, audience: 'api-a', jwksUri: one }, { issuer: B, audience: 'api-b', jwksUri: two }], ...options,
  })
  return { ...target, asked, stranger }
}

const EVE = { sub: 'eve', iss: A, aud: 'api-a' }
const BY_A = { iss: A, aud: 'api-a' }
const BY_B = { iss: B, aud: 'api-b' }

function byRsa ({ privateKey }: { privateKey: KeyObject }, claims: unknown, header: object = { kid: 'shared' }): string {
  return signToken('RS256', privateKey, claims, { alg: 'RS256', ...header })
}

t.test('nothing that an issuer publishes, nor our own secret, is the secret of an HMAC of theirs', async (t) => {
  const target = await site(t)
  const { publicKey } = ONE.rsa
  const modulus = publicKey.export({ format: 'jwk' }).n!
  const der = publicKey.export({ format: 'der', type: 'spki' })
  const secrets: [string, string | Buffer][] = [
    ['the key set', JSON.stringify(SETS.a)], ['the key set, indented', JSON.stringify(SETS.a, null, 2)], ['its list', JSON.stringify(SETS.a.keys)], ['a JWK', JSON.stringify(SETS.a.keys[0])], ['PEM', pem(publicKey)], ['PEM without its last newline', pem(publicKey).trim()],
    ['DER', der], ['DER in base64', der.toString('base64')], ['PKCS#1', publicKey.export({ format: 'pem', type: 'pkcs1' })], ['a certificate', certificateDer(ONE.rsa)], ['the modulus', modulus], ['its bytes', Buffer.from(modulus, 'base64url')],
    ['the symmetric key', OCT], ['the symmetric key as it is written', Buffer.from(OCT).toString('base64url')], ['our own secret', SECRET], ['nothing', ''], ['the name', A]
  ]
  for (const alg of ['HS256', 'HS384', 'HS512']) {
    for (const [name, secret] of secrets) {
      for (const kid of ['shared', 'oct', undefined]) await target.refuses(t, forge(EVE, { alg, kid }, secret), `${alg} by ${name}, ${kid}`)
    }
  }
  for (const alg of ['none', 'None', '']) await target.refuses(t, `${segment({ alg, kid: 'shared' })}.${segment(EVE)}.`, `the algorithm '${alg}'`)
  t.strictSame(target.asked, [], 'no key could save them')
  await target.passes(t, byRsa(ONE.rsa, { sub: 'ada', ...BY_A }), 'by the key of the issuer')
  for (const [name, secret] of secrets) await target.refuses(t, forge(EVE, { alg: 'HS256', kid: 'shared' }, secret), `${name}, once the keys are there`)
  await target.refuses(t, forge({ sub: 'eve' }, { alg: 'HS256', kid: 'oct' }, OCT), 'the symmetric key, as ours')
})

t.test('each key signs for its own issuer, under its own name and by its own algorithm', async (t) => {
  const target = await site(t)
  // Twice, for what may be remembered of the first time.
  for (let time = 0; time < 2; time++) {
    for (const kid of ['shared', undefined]) {
      await target.refuses(t, byRsa(ONE.rsa, { sub: 'eve', ...BY_B }, { kid }), 'the key of A in a token of B')
      await target.refuses(t, byRsa(TWO.rsa, { sub: 'eve', ...BY_A }, { kid }), 'the key of B in a token of A')
      t.equal((await target.passes(t, byRsa(ONE.rsa, { sub: 'ada', ...BY_A }, { kid }), 'A'))['iss'], A)
      t.equal((await target.passes(t, byRsa(TWO.rsa, { sub: 'ada', ...BY_B }, { kid }), 'B'))['iss'], B)
    }
    await target.refuses(t, byRsa(ONE.rsa, { sub: 'eve', iss: A, aud: 'api-b' }), 'the audience of B')
    await target.refuses(t, byRsa(ONE.rsa, EVE, { kid: 'ec' }), 'an RSA key under the name of an EC key')
    await target.refuses(t, signToken('ES256', ONE.ec.privateKey, EVE, { alg: 'ES256', kid: 'shared' }), 'an EC key under the name of an RSA key')
    await target.refuses(t, signToken('ES256', ONE.ec.privateKey, EVE, { alg: 'RS256', kid: 'ec' }), 'an EC key by the algorithm of RSA')
    await target.refuses(t, signToken('PS256', ONE.rsa.privateKey, EVE, { alg: 'PS256', kid: 'shared' }), 'a key for RS256 by PS256')
    await target.passes(t, signToken('ES256', ONE.ec.privateKey, { sub: 'ada', ...BY_A }, { alg: 'ES256', kid: 'ec' }), 'an EC key')
  }
  const [, , signature] = segmentsOf(byRsa(ONE.rsa, EVE))
  await target.refuses(t, `${segment({ alg: 'RS256', kid: 'shared' })}.${segment({ sub: 'eve', ...BY_B })}.${signature}`, 'a signature of another token')
})

t.test('our own keys sign for no issuer, and the keys of issuers not for us', async (t) => {
  const target = await site(t)
  await target.refuses(t, forge(EVE), 'our secret')
  await target.refuses(t, await target.app.createAccessToken('eve', { additionalClaims: BY_A }), 'a token that we made')
  for (const iss of [undefined, 'https://ourselves.example', target.stranger]) {
    for (const kid of ['shared', undefined]) await target.refuses(t, byRsa(ONE.rsa, { sub: 'eve', iss, aud: 'api-a' }, { kid }), `the key of A, by ${iss}`)
  }
  const own = rsaPair('ours')
  const beside = await site(t, { secretKey: undefined, algorithm: 'RS256', ...own })
  const { kid } = beside.app.jwks().keys[0]!
  for (const name of [kid, 'shared', undefined]) {
    await beside.refuses(t, byRsa(own, EVE, { kid: name }), `our own key in a token of A, ${name}`)
    await beside.refuses(t, byRsa(ONE.rsa, { sub: 'eve' }, { kid: name }), `the key of A in a token of ours, ${name}`)
    await beside.passes(t, byRsa(own, { sub: 'ada' }, { kid: name }), `our own, ${name}`)
  }
  await beside.passes(t, byRsa(ONE.rsa, { sub: 'ada', ...BY_A }), 'A')
  t.notOk([...target.asked, ...beside.asked].includes('stranger'), 'nobody is asked who was not named')
})

t.test('an issuer is known by one text, to the letter', async (t) => {
  const target = await site(t)
  const claims = (iss: string): string => `{"sub":"eve","aud":"api-a","iss":${iss}}`
  for (const iss of [[A], [A, B], { toString: A }, { [A]: A }, 5, null, true, '', `${A}/`, ` ${A}`, `${A} `, `${A}\0`, `${A}#`, `${A}:443`, A.toUpperCase(), A.replace('https', 'http'), A.slice('https://'.length), '\uff41', '__proto__', 'constructor', 'toString', target.stranger]) {
    await target.refuses(t, byRsa(ONE.rsa, claims(JSON.stringify(iss))), JSON.stringify(iss))
  }
  const twice = (first: string, second: string): string => `{"sub":"ada","aud":["api-a","api-b"],"iss":"${first}","iss":"${second}"}`
  for (const [first, second] of [[A, B], [B, A]] as const) {
    await target.refuses(t, byRsa(second === A ? TWO.rsa : ONE.rsa, twice(first, second)), 'the first of two names signs')
    t.equal((await target.passes(t, byRsa(second === A ? ONE.rsa : TWO.rsa, twice(first, second)), 'the last one does'))['iss'], second)
  }
  await target.refuses(t, byRsa(ONE.rsa, twice(A, 'https://other.example')), 'the last name is not known')
  await target.refuses(t, forge(twice('https://other.example', A)), 'the last name is not ours')
  await target.refuses(t, byRsa(ONE.rsa, '{"sub":"eve","aud":"api-a","__proto__":{"iss":"https://a.example"}}'), 'the name of a prototype')
  await target.refuses(t, byRsa(ONE.rsa, { sub: 'eve', aud: 'api-a' }, { kid: 'shared', iss: A }), 'a name in the header')
  await target.passes(t, byRsa(ONE.rsa, claims(`"${A}"`).replace('"iss"', '"\\u0069ss"').replace('eve', 'ada')), 'an escaped name is the same name')
  t.notOk(target.asked.includes('stranger'))
})

t.test('a kid is compared with the names of the keys, and with nothing that every object has', async (t) => {
  const target = await site(t)
  const odd = { sub: 'ada', ...BY_A }
  await target.passes(t, signToken('EdDSA', ONE.odd.privateKey, odd, { alg: 'EdDSA', kid: '__proto__' }), 'a key with the name of a prototype')
  for (const kid of ['constructor', 'prototype', 'toString', 'hasOwnProperty', 'length', '0', '', ' shared', 'SHARED', 'shared\0', 'shared,ec', '../shared', '*', 'k'.repeat(10_000), `shared${' '.repeat(10_000)}`, target.stranger, '\ud800']) {
    await target.refuses(t, byRsa(ONE.rsa, EVE, { kid }), `the kid ${kid.slice(0, 20)}`)
    await target.refuses(t, signToken('EdDSA', ONE.odd.privateKey, EVE, { alg: 'EdDSA', kid }), `the kid ${kid.slice(0, 20)}, by EdDSA`)
  }
  for (const kid of [5, null, true, ['shared'], { shared: 1 }]) await target.refuses(t, byRsa(ONE.rsa, EVE, { kid }), `the kid ${JSON.stringify(kid)}`)
  await target.refuses(t, byRsa(ONE.rsa, EVE, { kid: '__proto__' }), 'an RSA key under the name of a prototype')
  await target.passes(t, byRsa(ONE.rsa, odd), 'the kid shared')
  t.ok(target.asked.length < 10, `the issuer was asked ${target.asked.length} times`)
  t.notOk(target.asked.includes('stranger'))
})

t.test('a foreign token is an access token that is not fresh, and nothing more, whatever it claims', async (t) => {
  const target = await site(t, { store: memoryStore(), storeTimeout: 20 })
  const { app } = target
  const rules = { '/fresh': { fresh: true }, '/refresh': { refresh: true }, '/invite': { type: 'invite' }, '/any/fresh': { fresh: true, verifyType: false } } as const
  for (const [url, rule] of Object.entries(rules)) app.route({ method: ['GET', 'POST'], url, preHandler: app.jwtRequired(rule), handler: async () => 'in' })
  const own = await app.createTokenPair('ada', { fresh: true })
  const { sid, gen } = claimsOf(own.refreshToken)
  const claims = { ...BY_A, sub: 'ada', sid, gen, epoch: 9e15, csrf: 'csrf' }
  const later = Math.floor(Date.now() / 1000) + 600
  for (const type of [undefined, 'access', 'refresh', 'invite']) {
    for (const fresh of [true, later]) {
      const token = byRsa(ONE.rsa, { ...claims, type, fresh, jti: `${type} ${fresh}` })
      for (const url of Object.keys(rules)) {
        for (const { method, query, headers, payload } of carriersOf(token)) {
          const named = { ...headers, ...(headers['cookie'] !== undefined && { cookie: `${headers['cookie']}; refresh_token_cookie=${token}` }) }
          const body = payload?.replace('access_token', url === '/refresh' ? 'refresh_token' : 'access_token')
          const response = await app.inject({ method, url: url + query, headers: named, ...(body !== undefined && { payload: body }) })
          if (![401, 422].includes(response.statusCode) || response.body.includes('Missing JWT')) t.fail(`${type} ${fresh} ${url}: ${response.statusCode} ${response.body}`)
        }
      }
      await t.rejects(app.refreshTokens(token), { code: 'FST_JWT_EXT_WRONG_TYPE' }, `${type} ${fresh}`)
    }
  }
  await target.passes(t, byRsa(ONE.rsa, { ...claims, fresh: true, jti: 'plain' }), 'as an access token')
  t.equal((await app.inject({ url: '/fresh', headers: { authorization: `Bearer ${own.accessToken}` } })).statusCode, 200, 'our own is fresh')
  t.type((await app.refreshTokens(own.refreshToken)).accessToken, 'string', 'and its session goes on')
})
