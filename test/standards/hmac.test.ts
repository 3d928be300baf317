// RFC 7518 §3.2, apart from the rest: fast-jwt takes timingSafeEqual when it is loaded. docs/standards.md has the table.
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import t from 'tap'

const own = crypto.timingSafeEqual
const compared: number[] = []
let verdict: boolean | undefined
Object.assign(crypto, {
  timingSafeEqual (one: Buffer, other: Buffer) {
    compared.push(one.length)
    return verdict ?? own(one, other)
  },
})
syncBuiltinESMExports()

const { buildApp, SECRET } = await import('../support/app.js')
const { forge } = await import('../support/forge.js')

t.test('RFC 7518 §3.2: an HMAC is compared in constant time, and by nothing else', async (t) => {
  for (const [algorithm, length] of [['HS256', 32], ['HS384', 48], ['HS512', 64]] as const) {
    const app = await buildApp(t, { secretKey: SECRET, algorithm })
    compared.length = 0
    verdict = false
    await t.rejects(app.decodeToken(forge({ sub: 'ada' }, { alg: algorithm })), { code: 'FST_JWT_EXT_INVALID_TOKEN' }, 'it says no')
    verdict = true
    t.equal((await app.decodeToken(forge({ sub: 'eve' }, { alg: algorithm }, 'k'.repeat(64)))).sub, 'eve', 'it says yes')
    verdict = undefined
    t.equal((await app.decodeToken(forge({ sub: 'bob' }, { alg: algorithm }))).sub, 'bob')
    t.strictSame(compared, [length, length, length])
  }
})
