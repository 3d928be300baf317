import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { relative, sep } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { PAGES, root } from '../support/pages.js'
import { modulesOf, type Module } from '../support/snippets.js'

const run = promisify(execFile)
const modules = PAGES.flatMap((page) => modulesOf(page, t.testdirName))
const declaring = modules.filter(({ code }) => code.includes('declare module'))

/** A compilation of its own: a module that declares types declares them for all its files. */
function project (members: readonly Module[]): string {
  return JSON.stringify({
    extends: `${relative(t.testdirName, root).split(sep).join('/')}/tsconfig.json`,
    compilerOptions: { noEmit: true, declaration: false, rootDir: root },
    include: [],
    files: members.map(({ file }) => file),
  })
}

const directory = t.testdir({
  ...Object.fromEntries(modules.map(({ file, code }) => [file, code])),
  'tsconfig.snippets.json': project(modules.filter((module) => !declaring.includes(module))),
  ...Object.fromEntries(declaring.map((module, index) => [`tsconfig.declaring-${index}.json`, project([module])])),
})

t.test('no two snippets have the same name', async (t) => {
  const files = modules.map(({ file }) => file)
  t.same(files.filter((file, index) => files.indexOf(file) !== index), [])
})

t.test('every snippet has the right types', async (t) => {
  const projects = readdirSync(directory).filter((file) => file.startsWith('tsconfig.'))
  await Promise.all(projects.map(async (file) => {
    const tsc = [`${root}/node_modules/typescript/bin/tsc`, '--pretty', 'false', '-p', file]
    const env = { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' } // slow enough without it
    const output = await run(process.execPath, tsc, { cwd: directory, env })
      .then(() => '', (error: { stdout: string }) => error.stdout)
    // Our own sources are compiled here, too, which a reader's JwtTypes never reach: only what a snippet did counts.
    const errors = output.split('\n').filter((line) => /^[\w-]+\.ts\(|^error/.test(line))
    t.same(errors, [], file)
  }))
})
