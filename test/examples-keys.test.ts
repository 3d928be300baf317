import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose'
import t from 'tap'
import { linesToTry, send, skipWithoutCurl, start, tryLines } from './support/examples.js'
import { forge } from './support/forge.js'

t.test('examples/oidc.ts does what it says', async (t) => {
  const example = await start(t, 'oidc')
  const { address, printed } = example
  const programs = [...printed().matchAll(/-u (\S+):(\S+) (\S+)\/token .*?resource=(\S+)/g)].map((match) => match.slice(1))
  t.equal(programs.length, 2)
  const [[report, , issuer, audience]] = programs as [[string, string, string, string]]

  /** Asks the provider for a token, as one of the programs that it knows. */
  async function tokenOf (program: string, resource = audience): Promise<string> {
    const [id, secret] = programs.find(([id]) => id === program)!
    const response = await fetch(`${issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', ...(resource !== '' && { resource }) }),
    })
    return (await response.json() as { access_token: string }).access_token
  }

  t.test('knows who has a token of the provider', async (t) => {
    t.equal(report, 'nightly-report')
    const { status, body } = await send(`${address}/who_am_i`, await tokenOf('nightly-report'))
    t.equal(status, 200)
    t.same(body, { name: 'The nightly report', id: 'nightly-report' })
    t.same((await send(`${address}/who_am_i`, await tokenOf('status-page'))).body, { name: 'The status page', id: 'status-page' })
  })

  t.test('lets the group in, and nobody else', async (t) => {
    const reports = await send(`${address}/reports`, await tokenOf('nightly-report'))
    t.equal(reports.status, 200)
    t.same(reports.body, { reports: ['Sunday', 'Monday'] })
    const refused = await send(`${address}/reports`, await tokenOf('status-page'))
    t.equal(refused.status, 403)
    t.same(refused.body, { msg: 'Reporters only' })
    for (const path of ['/who_am_i', '/reports']) {
      const anonymous = await send(`${address}${path}`)
      t.equal(anonymous.status, 401)
      t.equal(anonymous.headers.get('www-authenticate'), 'Bearer')
    }
  })

  t.test('refuses every other token', async (t) => {
    const good = await tokenOf('nightly-report')
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: issuer, aud: audience, sub: report, groups: ['reporters'], iat: now, exp: now + 600 }
    const refused: [string, string][] = [
      [await tokenOf('nightly-report', 'https://another.example.com'), "Audience doesn't match"],
      [await tokenOf('nightly-report', ''), 'Not enough segments'],
      [forge(claims), 'The specified alg value is not allowed'],
      [forge({ ...claims, iss: 'https://another.example.com' }), 'Invalid issuer'],
      [`${good.slice(0, good.lastIndexOf('.'))}.${'A'.repeat(342)}`, 'Signature verification failed'],
    ]
    for (const [token, msg] of refused) {
      const { status, body } = await send(`${address}/reports`, token)
      t.equal(status, 422, msg)
      t.same(body, { msg })
    }
  })

  t.test('the lines that it prints work as they are printed', { skip: skipWithoutCurl }, async (t) => {
    const lines = linesToTry(example)
    t.equal(lines.length, 5)
    t.same((await tryLines(lines)).map((line) => JSON.parse(line) as unknown), [
      { name: 'The nightly report', id: 'nightly-report' }, { reports: ['Sunday', 'Monday'] }, { msg: 'Reporters only' },
    ])
  })
})

t.test('examples/key-rotation.ts changes its key, and no call fails', async (t) => {
  const example = await start(t, 'key-rotation', { ROTATE_EVERY: '1' })
  const { address, until } = example
  const login = async (): Promise<string> => (await send(`${address}/login`, undefined, 'POST')).body['access_token']!
  const readSet = async (): Promise<JSONWebKeySet> => (await send<JSONWebKeySet>(`${address}/.well-known/jwks.json`)).body
  const keyOf = (token: string): unknown => (JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()) as { kid: string }).kid

  const early = await login()
  const rotations = (count: number): RegExp => new RegExp(`(New key [^]*){${count}}`)
  await until(rotations(1))
  // Whichever key signed the early token, another signs now.
  await until(rotations((example.printed().match(/New key/g) ?? []).length + 1))
  const late = await login()
  t.not(keyOf(early), keyOf(late))

  const { headers } = await send(`${address}/.well-known/jwks.json`)
  t.match(headers.get('content-type'), /^application\/jwk-set\+json\b/)
  t.equal(headers.get('cache-control'), 'public, max-age=1')
  const set = await readSet()
  t.ok(set.keys.some(({ kid }) => kid === keyOf(early)), 'the retired key is in the set')
  for (const { d, alg, use, kty } of set.keys) t.same([d, alg, use, kty], [undefined, 'ES256', 'sig', 'EC'])
  for (const token of [early, late]) {
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(set))
    t.equal(payload.sub, 'ada')
    t.same((await send(`${address}/protected`, token)).body, { logged_in_as: 'ada', key: protectedHeader.kid })
  }

  await until(rotations(8))
  const left = await readSet()
  t.notOk(left.keys.some(({ kid }) => kid === keyOf(early)), 'a key goes with the last of its tokens')
  t.ok(left.keys.length >= 2 && left.keys.length <= 7, `${left.keys.length} keys`)

  t.equal(await example.stop('SIGTERM'), 0, 'it ends by itself')
  const [, calls, failed] = /Ended\. Calls: (\d+), failed: (\d+)\n$/.exec(example.printed())!
  t.ok(Number(calls) > 20, `${calls} calls`)
  t.equal(failed, '0')
})
