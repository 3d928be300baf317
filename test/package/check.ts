/** Packs the package, installs it as a consumer would, and uses it there: in ESM, in CommonJS, under three compilers. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')
const work = mkdtempSync(join(tmpdir(), 'fastify-jwt-extended-'))
const consumer = join(work, 'consumer')
let failed = 0

function check (title: string, cwd: string, command: string, ...args: string[]): boolean {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (status === 0) {
    console.log(`PASS ${title}`)
    return true
  }
  failed++
  console.log(`FAIL ${title}\n${error === undefined ? `${stdout}${stderr}` : error.message}`)
  return false
}

function bin (name: string): string {
  return join(root, 'node_modules', '.bin', name)
}

function run (): void {
  if (!check('builds and packs', root, 'npm', 'pack', '--pack-destination', work)) return
  const tarball = join(work, readdirSync(work).find((name) => name.endsWith('.tgz'))!)
  check('publint finds nothing', root, bin('publint'), 'run', tarball, '--strict')
  check('the types resolve as the code does', root, bin('attw'), tarball, '--profile', 'esm-only')

  cpSync(join(import.meta.dirname, 'consumer'), consumer, { recursive: true })
  const install = ['install', '--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--prefer-offline', tarball]
  if (!check('installs', consumer, 'npm', ...install)) return
  check('a login and a guard work in ESM', consumer, process.execPath, 'esm.js')
  check('a login and a guard work with the oldest Fastify of the peer range', consumer, process.execPath, 'esm.js', 'fastify-floor')
  check('a login and a guard work in CommonJS', consumer, process.execPath, 'commonjs.cjs')
  for (const version of ['5.9', '6', '7']) {
    const compiler = join('node_modules', `typescript-${version}`, 'bin', 'tsc')
    check(`merged types compile under TypeScript ${version}`, consumer, process.execPath, compiler, '-p', '.')
  }
  // What a new project installs; it takes away names that older versions have.
  const types = join(consumer, 'node_modules', '@types')
  rmSync(join(types, 'node'), { recursive: true })
  renameSync(join(types, 'node-newest'), join(types, 'node'))
  check('merged types compile with the newest types of Node', consumer, process.execPath, join('node_modules', 'typescript-7', 'bin', 'tsc'), '-p', '.')
}

try {
  run()
} finally {
  rmSync(work, { recursive: true, force: true })
}
console.log(failed === 0 ? 'The package is fit to ship.' : `${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
