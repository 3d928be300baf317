import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'

const TABLE = new URL('../flask-parity.md', import.meta.url)
const FLOWS = new URL('.', import.meta.url)

/** How many test functions each file of Flask-JWT-Extended 4.7.1 has; the one for Jinja's templates is left out. */
const FUNCTIONS: Readonly<Record<string, number>> = {
  'test_additional_claims_loader.py': 8,
  'test_asymmetric_crypto.py': 1,
  'test_blocklist.py': 7,
  'test_claims_verification.py': 3,
  'test_config.py': 12,
  'test_cookies.py': 15,
  'test_decode_tokens.py': 26,
  'test_get_jwt_in_non_protected_contexts.py': 5,
  'test_get_methods_in_optional_endpoint.py': 1,
  'test_headers.py': 7,
  'test_json.py': 5,
  'test_jwt_header_loader.py': 7,
  'test_multiple_token_locations.py': 7,
  'test_options_method.py': 3,
  'test_query_string.py': 4,
  'test_user_lookup.py': 4,
  'test_view_decorators.py': 18,
}

interface Row {
  file: string
  name: string
  ours: { file: string, title: string }[]
}

function readTable (): Row[] {
  const rows: Row[] = []
  for (const line of readFileSync(TABLE, 'utf8').split('\n')) {
    if (!line.startsWith('| `')) continue
    const cells = line.split('|').map((cell) => cell.trim())
    const [, file, name, ours] = cells
    if (cells.length !== 6 || file === undefined || name === undefined || ours === undefined) throw new Error(`not a row: ${line}`)
    rows.push({ file: file.replaceAll('`', ''), name: name.replaceAll('`', ''), ours: ours.split('<br>').map(readTest) })
  }
  return rows
}

function readTest (text: string): { file: string, title: string } {
  const [, file, title] = /^`([\w-]+\.test\.ts)` (.+)$/.exec(text) ?? []
  if (file === undefined || title === undefined) throw new Error(`names no test: ${text}`)
  return { file, title }
}

function readTitles (file: string): Set<string> {
  const source = readFileSync(new URL(file, FLOWS), 'utf8')
  return new Set(Array.from(source.matchAll(/^t\.test\((['"])(.+)\1, /gm), (match) => match[2]!))
}

const table = readTable()

t.test('every test that the table names exists', async (t) => {
  const titles = new Map<string, Set<string>>()
  const flows = readdirSync(FLOWS)
  for (const { name, ours } of table) {
    for (const { file, title } of ours) {
      if (!flows.includes(file)) {
        t.fail(`${name}: there is no file ${file}`)
        continue
      }
      if (!titles.has(file)) titles.set(file, readTitles(file))
      t.ok(titles.get(file)?.has(title), `${name}: ${file} has "${title}"`)
    }
  }
})

t.test('the table has a row for every test function, each once, sorted by file', async (t) => {
  const counts: Record<string, number> = {}
  for (const { file } of table) counts[file] = (counts[file] ?? 0) + 1
  t.strictSame(counts, FUNCTIONS)
  const names = table.map(({ file, name }) => `${file} ${name}`)
  t.equal(new Set(names).size, names.length, 'no row twice')
  const files = table.map(({ file }) => file)
  t.strictSame(files, [...files].sort())
})
