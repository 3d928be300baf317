import t from 'tap'
import { compile, errorsOf } from '../support/compiler.js'
import { PAGES } from '../support/pages.js'
import { modulesOf, type Module } from '../support/snippets.js'

const modules = PAGES.flatMap((page) => modulesOf(page, t.testdirName))
const directory = t.testdir(Object.fromEntries(modules.map(({ file, code }) => [file, code])))

/** What is wrong with the types of some modules. Our own sources are for `test/merged-types.test.ts`. */
function errorsOfModules (members: readonly Module[]): string[] {
  const files = members.map(({ file }) => `${directory}/${file}`)
  const program = compile(files)
  return errorsOf(program, files.map((file) => program.getSourceFile(file)!))
}

t.test('no two snippets have the same name', async (t) => {
  const files = modules.map(({ file }) => file)
  t.same(files.filter((file, index) => files.indexOf(file) !== index), [])
})

t.test('every snippet has the right types', async (t) => {
  const isDeclaring = ({ code }: Module): boolean => code.includes('declare module')
  t.same(errorsOfModules(modules.filter((module) => !isDeclaring(module))), [])
  // A module that declares types declares them for all its compilation.
  for (const module of modules.filter(isDeclaring)) t.same(errorsOfModules([module]), [], module.file)
})
