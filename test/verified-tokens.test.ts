import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createVerifiedTokens } from '../lib/verified-tokens.js'

interface Entry {
  readonly text: string
}

const make = (): Entry => ({ text: `header.payload.${randomBytes(32).toString('base64url')}` })

t.test('an entry is found by its exact text only', async (t) => {
  const tokens = createVerifiedTokens<Entry>(10)
  const entry = make()
  tokens.set(entry)
  t.equal(tokens.get(entry.text), entry)
  t.equal(tokens.get(`x${entry.text}`), undefined, 'the same end after another beginning')
  t.equal(tokens.get(entry.text.slice(1)), undefined)
  t.equal(tokens.get(entry.text.slice(-32)), undefined)
  t.equal(tokens.get(entry.text.slice(0, -1)), undefined)
  t.equal(tokens.get(''), undefined)
  tokens.delete(entry.text)
  t.equal(tokens.get(entry.text), undefined)
})

t.test('where there is room a token is kept at once; where there is none, from its second time on', async (t) => {
  for (const size of [1, 2, 3, 500]) {
    const tokens = createVerifiedTokens<Entry>(size)
    const first = Array.from({ length: size }, make)
    for (const entry of first) tokens.set(entry)
    t.ok(first.every((entry) => tokens.get(entry.text) === entry))
    const newcomer = make()
    tokens.set(newcomer)
    t.equal(tokens.get(newcomer.text), undefined, 'not yet')
    t.ok(first.every((entry) => tokens.get(entry.text) === entry), 'and it drove nothing out')
    tokens.set(newcomer)
    t.equal(tokens.get(newcomer.text), newcomer)
    t.equal(tokens.get(first[0]!.text), undefined, 'the least recently used went')
    t.ok(first.slice(1).every((entry) => tokens.get(entry.text) === entry))
  }
})

t.test('tokens that come once leave those in use where they are', async (t) => {
  const tokens = createVerifiedTokens<Entry>(100)
  const used = Array.from({ length: 100 }, make)
  for (const entry of used) tokens.set(entry)
  for (let i = 0; i < 50_000; i++) tokens.set(make())
  const left = used.filter((entry) => tokens.get(entry.text) === entry).length
  t.equal(left, 100)
})

t.test('of tokens that come in turn, more than there is room for, some are found', async (t) => {
  const tokens = createVerifiedTokens<Entry>(500)
  const all = Array.from({ length: 2000 }, make)
  let found = 0
  for (let round = 0; round < 10; round++) {
    for (const entry of all) {
      if (tokens.get(entry.text) === undefined) tokens.set(entry)
      else if (round > 4) found++
    }
  }
  t.ok(found > 1000, `${found} of 10,000; without the rule there would be none`)
})
