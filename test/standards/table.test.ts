import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const TITLE = /^t\.test\('((?:[^'\\]|\\.)*)'/gm
const WORDS = ['yes', 'not offered', 'no', 'in part', "the application's"]

interface Row {
  /** What stands before the colon of its tests' titles. */
  clause: string
  holds: string
  titles: string[]
}

/** The titles of the tests here, each in its file. */
function readTitles (): string[] {
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.ts') && name !== 'table.test.ts')
  return files.flatMap((name) => Array.from(readFileSync(join(import.meta.dirname, name), 'utf8').matchAll(TITLE), ([, title]) => title!))
}

/** The rows of docs/standards.md, under the name that each heading gives its clauses. */
function readRows (): Row[] {
  const lines = readFileSync(join(import.meta.dirname, '../../docs/standards.md'), 'utf8').split('\n')
  const rows: Row[] = []
  let standard = ''
  for (const line of lines) {
    const heading = /^## (RFC \S+|ASVS)/.exec(line)
    if (heading !== null) standard = heading[1]!
    if (!/^\| (§|appendix|\d)/.test(line)) continue
    const [clause, , holds, tests] = line.slice(1, -1).split('|').map((cell) => cell.trim())
    rows.push({ clause: `${standard} ${clause}`, holds: holds!, titles: Array.from(tests!.matchAll(/`([^`]+)`/g), ([, title]) => title!) })
  }
  return rows
}

t.test('every test that the table names is there, and every test is in the table, once', async (t) => {
  const named = readRows().flatMap(({ clause, titles }) => titles.map((title) => `${clause}: ${title}`))
  t.ok(named.length > 100, `${named.length} tests`)
  t.strictSame(named.sort(), readTitles().sort())
})

t.test('every row says whether it holds, and what holds or does not has a test', async (t) => {
  for (const { clause, holds, titles } of readRows()) {
    const word = WORDS.find((one) => holds.startsWith(one))
    t.ok(word, `${clause}: ${holds}`)
    if (word === "the application's" || word === 'not offered') continue
    t.ok(titles.length > 0, `${clause} has a test`)
  }
})
