import { readFileSync } from 'node:fs'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import t from 'tap'
import { bearer } from '../support/app.js'
import { forge } from '../support/forge.js'
import { readRows, root } from '../support/pages.js'
import { answer, ENVIRONMENT, testPage } from '../support/snippets.js'

const PAGE = 'docs/from-fastify-jwt.md'

await testPage(t, PAGE, {
  async 'The same application 1' (t, snippet) {
    const { token } = (await snippet.app.inject({ method: 'POST', url: '/signup' })).json<{ token: string }>()
    await answer(t, snippet, '/', token, 200, { user: 'ada', role: 'admin' })
    await answer(t, snippet, '/', undefined, 401)
  },

  async 'The same application 2' (t, snippet) {
    const { token } = (await snippet.app.inject({ method: 'POST', url: '/signup' })).json<{ token: string }>()
    await answer(t, snippet, '/', token, 200, { user: 'ada', role: 'admin' })
  },

  async 'Tokens that are out already 1' (t, snippet) {
    // As @fastify/jwt signs { id: 5 }: that payload and `iat`, and nothing else.
    const token = forge({ id: 5, iat: 1_700_000_000 }, undefined, ENVIRONMENT.JWT_SECRET_KEY)
    await answer(t, snippet, '/protected', token, 200, { logged_in_as: 5 })
  },

  async 'Both at once 1' (t, snippet) {
    const theirs = forge({ id: 5, iat: 1_700_000_000 }, undefined, ENVIRONMENT.JWT_SECRET_KEY)
    for (const token of [theirs, await snippet.app.createAccessToken('ada')]) {
      await answer(t, snippet, '/old', token, 200)
      await answer(t, snippet, '/new', token, 200)
    }
    const refresh = await snippet.app.createRefreshToken('ada')
    await answer(t, snippet, '/new', refresh, 422, { msg: 'Only non-refresh tokens are allowed' })
    const refused = await answer(t, snippet, '/old', refresh, 401)
    t.match(refused.json(), { code: 'FST_JWT_AUTHORIZATION_TOKEN_UNTRUSTED' })
    // Without `trusted` it lets it in.
    const trusting = Fastify()
    await trusting.register(fastifyJwt, { secret: ENVIRONMENT.JWT_SECRET_KEY })
    trusting.get('/old', { onRequest: async (request) => { await request.jwtVerify() } }, async () => '')
    t.equal((await trusting.inject({ url: '/old', headers: bearer(refresh) })).statusCode, 200)
  },
})

/** The members of an interface in the types of a package. */
function membersOf (file: string, name: string): string[] {
  const body = new RegExp(`^( *)export interface ${name} [^]*?\\{$([^]*?)^\\1\\}$`, 'm').exec(readFileSync(`${root}/node_modules/${file}`, 'utf8'))!
  return [...body[2]!.matchAll(new RegExp(`^${body[1]!}  (\\w+)[?:(<]`, 'gm'))].map((match) => match[1]!)
}

t.test('every option and every member has its row', async (t) => {
  const words = new Set(readRows(PAGE, 'there').flatMap(([there]) => there!.match(/\w+/g) ?? []))
  for (const [file, ...names] of [
    ['@fastify/jwt/types/index.d.ts', 'FastifyJWTOptions', 'JWT'],
    ['fast-jwt/src/index.d.ts', 'SignerOptions', 'VerifierOptions', 'DecoderOptions'],
  ] as [string, ...string[]][]) {
    for (const name of names) {
      const members = membersOf(file, name)
      t.ok(members.length > 1, name)
      t.same(members.filter((member) => !words.has(member)), [], name)
    }
  }
  const codes = readFileSync(`${root}/node_modules/@fastify/jwt/index.js`, 'utf8').matchAll(/createError\('(\w+)'/g)
  t.same([...codes].map((match) => match[1]!).filter((code) => !words.has(code)), [], 'codes')
})
