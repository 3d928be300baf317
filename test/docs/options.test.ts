import t from 'tap'
import { readMembers, readRows, unquote } from '../support/pages.js'
import { testPage } from '../support/snippets.js'

const PAGE = 'docs/options.md'

await testPage(t, PAGE)

/** The names and the defaults of the tables whose first column has this title. */
function readTable (title: string): string[][] {
  return readRows(PAGE, title).map(([name, fallback]) => [unquote(name), unquote(fallback)]).sort()
}

t.test('the tables of options name every option, with its default', async (t) => {
  t.same(readTable('option'), readMembers('options', 'JwtExtendedOptions').sort())
})

t.test('the table of rules names every field, with its default', async (t) => {
  // tokenLocation is not a value but the name of one, in the code as in the table.
  const fields = readTable('field').map(([name, fallback]) => [name, fallback!.replace('tokenLocation', '–')])
  t.same(fields, readMembers('options', 'JwtRule').sort())
})

t.test('the tables of calls name every option, with its default', async (t) => {
  const calls: readonly [title: string, file: string, ...interfaces: string[]][] = [
    ['option of a token', 'options', 'CreateTokenOptions', 'CreateAccessTokenOptions'],
    ['option of a pair', 'sessions', 'CreateTokenPairOptions'],
    ['option of decoding', 'options', 'DecodeTokenOptions'],
    ['option of cookies', 'options', 'SetCookiesOptions'],
  ]
  for (const [title, file, ...interfaces] of calls) {
    t.same(readTable(title), interfaces.flatMap((name) => readMembers(file, name)).sort(), title)
  }
})
