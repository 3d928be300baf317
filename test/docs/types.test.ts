import t from 'tap'
import ts from 'typescript'
import { PAGES, root } from '../support/pages.js'
import { modulesOf, type Module } from '../support/snippets.js'

const modules = PAGES.flatMap((page) => modulesOf(page, t.testdirName))
const directory = t.testdir(Object.fromEntries(modules.map(({ file, code }) => [file, code])))

const { config } = ts.readConfigFile(`${root}/tsconfig.json`, ts.sys.readFile) as { config: { compilerOptions: object } }
const { options } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, noEmit: true, rootDir: '.' }, root)

// What all compilations read is read once.
const host = ts.createCompilerHost(options)
const readSource = host.getSourceFile.bind(host)
const sources = new Map<string, ts.SourceFile | undefined>()
host.getSourceFile = (name, ...rest) => {
  if (!sources.has(name)) sources.set(name, readSource(name, ...rest))
  return sources.get(name)
}

/** What is wrong with the types of some modules. Our own sources are not looked at: they never see a reader's JwtTypes. */
function errorsOf (members: readonly Module[]): string[] {
  const files = members.map(({ file }) => `${directory}/${file}`.replaceAll('\\', '/'))
  const program = ts.createProgram({ rootNames: files, options, host })
  const found = [...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics(), ...files.flatMap((file) => {
    const source = program.getSourceFile(file)
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
  })]
  return found.map((diagnostic) => ts.formatDiagnostic(diagnostic, {
    getCurrentDirectory: () => directory, getCanonicalFileName: (name) => name, getNewLine: () => '\n',
  }))
}

t.test('no two snippets have the same name', async (t) => {
  const files = modules.map(({ file }) => file)
  t.same(files.filter((file, index) => files.indexOf(file) !== index), [])
})

t.test('every snippet has the right types', async (t) => {
  const isDeclaring = ({ code }: Module): boolean => code.includes('declare module')
  t.same(errorsOf(modules.filter((module) => !isDeclaring(module))), [])
  // A module that declares types declares them for all its compilation.
  for (const module of modules.filter(isDeclaring)) t.same(errorsOf([module]), [], module.file)
})
