import { readFileSync } from 'node:fs'
import t from 'tap'
import { readRows, root, unquote } from '../support/pages.js'
import { testPage } from '../support/snippets.js'

const PAGE = 'docs/architecture.md'

await testPage(t, PAGE)

t.test('the table of floors is that of the house', async (t) => {
  const source = readFileSync(`${root}/test/architecture.test.ts`, 'utf8')
  const literal = /^const FLOORS = (\[$[^]*?^\])$/m.exec(source)![1]!
  const floors = JSON.parse(literal.replaceAll("'", '"').replaceAll(/,(?=\s*\])/g, '')) as string[][]
  const rows = readRows(PAGE, 'floor').map(([floor, file]) => `${floor} ${unquote(file)}`)
  t.same([...rows].sort(), floors.flatMap((files, floor) => files.map((file) => `${floor} ${file}`)).sort())
  t.same(rows.map((row) => Number(row.split(' ')[0])), floors.flatMap((files, floor) => files.map(() => floor)), 'from the ground up')
})
