import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path/posix'
import { promisify } from 'node:util'
import fastifySwagger from '@fastify/swagger'
import fastifyWebsocket from '@fastify/websocket'
import t from 'tap'
import { memoryStore } from '../../index.js'
import { buildApp, SECRET } from '../support/app.js'
import { PAGES, readBlocks, readPage, readProse, readRows, root } from '../support/pages.js'
import { testPage } from '../support/snippets.js'

const pkg = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { version: string, scripts: Record<string, string> }
const ALL = [...PAGES, 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md']

// Pages whose snippets have checks have a file of their own here; the snippets of the others run all the same.
for (const page of PAGES) {
  const own = page === 'README.md' ? 'readme.test.ts' : `${page.replace(/^docs\/|\.md$/g, '')}.test.ts`
  const file = `${root}/test/docs/${own}`
  if (!existsSync(file)) {
    await t.test(`the snippets of ${page}`, async (t) => { await testPage(t, page) })
  } else if (page !== 'docs/README.md') {
    t.match(readFileSync(file, 'utf8'), new RegExp(`'${page}'[^]*testPage\\(t, |testPage\\(t, '${page}'`), `${own} runs the snippets of ${page}`)
  }
}

// What is no `ts` has a test of its own.
const TESTED_ELSEWHERE: readonly string[] = ['docs/getting-started.md, CommonJS 1: js']

t.test('code is written so that it runs', async (t) => {
  const other = PAGES.flatMap((page) => readBlocks(page)
    .filter(({ language }) => /^(js|javascript|typescript|tsx|jsx|[cm][jt]s)$/.test(language))
    .map(({ name, language }) => `${page}, ${name}: ${language}`))
  t.same(other, TESTED_ELSEWHERE)
})

t.test('every npm script that is named exists', async (t) => {
  for (const page of ALL) {
    const named = [...readPage(page).matchAll(/npm (?:run )?(start|test|(?<=run )[\w:]+)/g)].map((match) => match[1]!)
    for (const script of new Set(named)) t.ok(pkg.scripts[script], `${page}: ${script}`)
  }
})

t.test('the commands of the README work', async (t) => {
  for (const { code } of readBlocks('README.md').filter(({ language }) => language === 'sh')) {
    for (const command of code.trim().split(/\n|&&/).map((line) => line.trim())) {
      t.match(command, /^(npm (install( [\w-]+)*|start|test|run [\w:]+( examples\/[\w-]+\.ts)?)|export JWT_SECRET_KEY=.*)$/, command)
    }
  }
  const secret = /\$\(node -p "(.+)"\)/.exec(readPage('README.md'))![1]!
  const { stdout } = await promisify(execFile)(process.execPath, ['-p', secret])
  t.match(stdout.trim(), /^[0-9a-f]{64}$/, 'the command makes a secret of 32 bytes')
})

/** What links can point at in a page. */
function anchorsOf (page: string): string[] {
  return [...readProse(page).matchAll(/^#+ (.+)$/gm)]
    .map((match) => match[1]!.toLowerCase().replaceAll(/[^\w\s-]/g, '').replaceAll(' ', '-'))
}

t.test('every link leads somewhere', async (t) => {
  const missing: string[] = []
  for (const page of ALL) {
    for (const target of [...readProse(page).matchAll(/\]\(([^)]+)\)/g)].map((match) => match[1]!)) {
      if (target.startsWith('https://')) continue
      const [path, anchor] = target.split('#') as [string, string?]
      const file = path === '' ? page : join(dirname(page), path)
      if (!existsSync(`${root}/${file}`)) missing.push(`${page}: there is no ${file}`)
      else if (anchor !== undefined && !anchorsOf(file).includes(anchor)) missing.push(`${page}: ${file} has no #${anchor}`)
    }
  }
  t.same([...new Set(missing)].sort(), [])
})

t.test('the index of the pages names each page once', async (t) => {
  const named = [...readPage('docs/README.md').matchAll(/\]\(([\w-]+\.md)\)/g)].map((match) => `docs/${match[1]!}`)
  t.same(named.filter((page, index) => named.indexOf(page) !== index), [], 'none twice')
  t.same(PAGES.filter((page) => page.startsWith('docs/') && page !== 'docs/README.md' && !named.includes(page)), [], 'none left out')
})

t.test('what is said to be on the instance, the request and the reply is there', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, store: memoryStore() })
  await app.register(fastifySwagger)
  await app.register(fastifyWebsocket)
  const found: Record<string, object> = { app }
  app.get('/', { onRequest: app.jwtRequired({ optional: true }) }, async (request, reply) => {
    Object.assign(found, { request, reply })
    return ''
  })
  await app.inject('/')
  const theirs = new Set(['request.jwtVerify', 'request.securityJwtVerify', 'request.jwtDecode', 'request.user', 'reply.jwtSign', 'reply.securityJwtSign', 'reply.setCookie'])
  const named = new Map<string, string>()
  for (const page of PAGES) {
    for (const [name] of readProse(page).matchAll(/(?<=`[^`]*)\b(?:app|request|reply)\.\w+(?=[^`]*`)/g)) {
      if (page !== 'docs/from-fastify-jwt.md' || !theirs.has(name)) named.set(name, page)
    }
  }
  t.ok(named.size > 20)
  for (const [name, page] of named) {
    const [owner, member] = name.split('.') as [string, string]
    t.ok(member in found[owner]!, `${page}: ${name}`)
  }
})

t.test('every example is in the table of examples', async (t) => {
  const listed = readRows('README.md', 'file').map(([cell]) => /\((.*)\)/.exec(cell!)![1]!)
  t.same(listed.sort(), readdirSync(`${root}/examples`).map((file) => `examples/${file}`).sort())
})

t.test('the changelog has a section for this version', async (t) => {
  t.match(readPage('CHANGELOG.md'), new RegExp(`^## ${pkg.version.replaceAll('.', '\\.')}\\b`, 'm'))
})
