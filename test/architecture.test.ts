import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import ts from 'typescript'

// From the ground up: a file imports only from lower floors, so that files of one floor do not know each other. The
// types on the ground may name each other.
const FLOORS = [
  [
    'types/claims.ts', 'types/failure.ts', 'types/fastify.ts', 'types/manager.ts', 'types/openapi.ts', 'types/options.ts',
    'types/sessions.ts', 'types/store.ts',
  ],
  [
    'lib/awaitable.ts', 'lib/csrf.ts', 'lib/durations.ts', 'lib/errors.ts', 'lib/per-key.ts', 'lib/query-answer.ts',
    'lib/rotation.ts', 'lib/store-suite/case.ts', 'lib/stores/redis-scripts.ts', 'lib/stores/server-clock.ts', 'lib/verified-tokens.ts',
    'lib/written-keys.ts',
  ],
  [
    'lib/authorization-header.ts', 'lib/grants.ts', 'lib/identity.ts', 'lib/json.ts', 'lib/key-id.ts', 'lib/keys.ts', 'lib/kinds.ts', 'lib/names.ts', 'lib/session-events.ts',
    'lib/store-suite/consumption.ts', 'lib/store-suite/listing.ts', 'lib/store-suite/revocation.ts', 'lib/store-suite/rotation.ts', 'lib/stores/redis-client.ts',
  ],
  ['lib/store-access.ts', 'lib/store-suite.ts', 'lib/stores/memory.ts', 'lib/stores/redis.ts', 'lib/token-types.ts', 'lib/trusted-issuers.ts'],
  ['lib/origins.ts', 'lib/remote-keys.ts', 'lib/settings.ts'],
  ['lib/answer.ts', 'lib/claims.ts', 'lib/keyring.ts', 'lib/locations.ts', 'lib/rule.ts', 'lib/single-use.ts'],
  ['lib/route-guards.ts', 'lib/signatures.ts'],
  ['lib/issuer-keys.ts', 'lib/openapi-answers.ts', 'lib/openapi-security.ts'],
  ['lib/codec.ts', 'lib/openapi.ts'],
  ['lib/cookies.ts', 'lib/issue.ts'],
  ['lib/sessions.ts'],
  ['lib/request-state.ts'],
  ['lib/judge.ts'],
  ['lib/guard.ts'],
  ['lib/manager.ts'],
  ['lib/scope.ts'],
  ['index.ts'],
]

const MOST_LINES = 220

const root = join(import.meta.dirname, '..')
const files = ['index.ts', ...filesOf('lib'), ...filesOf('types')]
const texts = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))

function filesOf (folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .filter((file) => file.endsWith('.ts'))
}

function textOf (file: string): string {
  return texts.get(file)!
}

/** What a file imports, for its types or for itself: files by their path from the root, packages by their name. */
function importsOf (file: string): string[] {
  return ts.preProcessFile(textOf(file), true, true).importedFiles.map(({ fileName }) => fileName.startsWith('.')
    ? normalize(join(dirname(file), fileName)).replaceAll('\\', '/').replace(/\.js$/, '.ts')
    : fileName)
}

function floorOf (file: string): number {
  return FLOORS.findIndex((floor) => floor.includes(file))
}

function treeOf (file: string): ts.SourceFile {
  return ts.createSourceFile(file, textOf(file), ts.ScriptTarget.Latest, true)
}

/** The lines of a file that hold more than comment and space. */
function linesOfCode (file: string): number {
  const tree = treeOf(file)
  const lines = new Set<number>()
  function visit (node: ts.Node): void {
    if (ts.isJSDoc(node)) return
    const children = node.getChildren(tree)
    for (const child of children) visit(child)
    if (children.length > 0 || node.getWidth(tree) === 0) return
    const last = tree.getLineAndCharacterOfPosition(node.getEnd()).line
    for (let line = tree.getLineAndCharacterOfPosition(node.getStart(tree)).line; line <= last; line++) lines.add(line)
  }
  visit(tree)
  return lines.size
}

t.test('every file has its floor', (t) => {
  const homeless = files.filter((file) => floorOf(file) === -1)
  t.same(homeless, [], `add to FLOORS in test/architecture.test.ts, above all that it imports: ${homeless.join(', ')}`)
  const gone = FLOORS.flat().filter((file) => !files.includes(file))
  t.same(gone, [], `take out of FLOORS in test/architecture.test.ts, for there is no such file: ${gone.join(', ')}`)
  t.end()
})

t.test('imports run down only', (t) => {
  const breaches = files.flatMap((file) => importsOf(file)
    .filter((imported) => texts.has(imported) && floorOf(file) > 0 && floorOf(imported) >= floorOf(file))
    .map((imported) => `${file} (floor ${floorOf(file)}) imports ${imported} (floor ${floorOf(imported)})`))
  t.same(breaches, [])
  t.end()
})

t.test('imports stay in the house', (t) => {
  const breaches = files.flatMap((file) => importsOf(file)
    .filter((imported) => imported.endsWith('.ts') && !texts.has(imported))
    .map((imported) => `${file} imports ${imported}`))
  t.same(breaches, [])
  t.end()
})

t.test('types know only types', (t) => {
  const breaches = files.filter((file) => file.startsWith('types/')).flatMap((file) => importsOf(file)
    .filter((imported) => texts.has(imported) && !imported.startsWith('types/'))
    .map((imported) => `${file} imports ${imported}`))
  t.same(breaches, [])
  t.end()
})

t.test('types have no run-time code', (t) => {
  const compilerOptions = {
    module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: true, removeComments: true
  }
  for (const file of files.filter((file) => file.startsWith('types/'))) {
    const { outputText } = ts.transpileModule(textOf(file), { compilerOptions })
    t.equal(outputText.replace('export {};', '').trim(), '', file)
  }
  t.end()
})

t.test('only one file knows fast-jwt', (t) => {
  t.same(files.filter((file) => importsOf(file).some((name) => /^fast-jwt(\/|$)/.test(name))), ['lib/signatures.ts'])
  t.end()
})

t.test('only the entry re-exports', (t) => {
  const barrels = files.filter((file) => treeOf(file).statements
    .some((statement) => ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined))
  t.same(barrels, ['index.ts'])
  t.end()
})

t.test('no file is named after nothing in particular', (t) => {
  t.same(files.filter((file) => /(^|[/-])(utils?|helpers?|common|core|misc)([/.-]|$)/.test(file)), [])
  t.end()
})

t.test(`no file of lib has more than ${MOST_LINES} lines of code`, (t) => {
  const long = files.filter((file) => file.startsWith('lib/')).map((file) => ({ file, lines: linesOfCode(file) }))
    .filter(({ lines }) => lines > MOST_LINES)
  t.same(long, [])
  t.end()
})

t.test('nothing that ships hides from the coverage or the compiler', (t) => {
  const hiding = /\b(c8|v8|istanbul|node:coverage)\s+(ignore|disable|enable)|@ts-(ignore|expect-error|nocheck)|\bas any\b|<any>/
  t.same(files.filter((file) => !file.startsWith('types/') && hiding.test(textOf(file))), [])
  t.end()
})
