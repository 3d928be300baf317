import t from 'tap'
import { JwtUsageError } from '../lib/errors.js'
import { toJson } from '../lib/json.js'

t.test('a value becomes what JSON makes of it, and nothing of it is shared', async (t) => {
  const given = { a: [1, { b: null }], at: new Date(0), left: undefined, id: { toJSON: () => '507f' } }
  const written = toJson(given, 'It') as typeof given
  t.strictSame(written, { a: [1, { b: null }], at: '1970-01-01T00:00:00.000Z', id: '507f' } as never)
  t.not(written.a, given.a)
  for (const value of ['text', 5, true, null]) t.equal(toJson(value, 'It'), value)
  for (const value of [undefined, { toJSON: () => undefined }]) t.equal(toJson(value, 'It'), undefined)
})

t.test('what JSON would lose or change in silence is refused, and named', async (t) => {
  const circular: { me?: unknown } = {}
  circular.me = circular
  for (const value of [NaN, Infinity, Symbol('s'), () => {}, 5n, new Map(), new Set(), Promise.resolve(), [undefined], circular]) {
    for (const within of [value, { member: value }, [[value]]]) {
      t.throws(() => toJson(within, 'The claims'), { name: 'JwtUsageError', message: /^The claims cannot be written as JSON: / })
    }
  }
  t.throws(() => toJson({ when: NaN }, 'It'), new JwtUsageError("It cannot be written as JSON: 'when' holds what JSON cannot"))
  t.throws(() => toJson({ get a () { throw new Error('two\nlines') } }, 'It'), { message: 'It cannot be written as JSON: two' })
})

t.test('a member named __proto__ is a member', async (t) => {
  const written = toJson(JSON.parse('{"__proto__":{"admin":true}}'), 'It') as { admin?: boolean }
  t.ok(Object.hasOwn(written, '__proto__'))
  t.equal(written.admin, undefined)
})
