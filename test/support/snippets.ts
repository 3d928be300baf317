import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { relative, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { bearer } from './app.js'
import { ownProcess } from './own-process.js'
import { readBlocks, root } from './pages.js'
import { skipWithoutRedis, startRedis, type RedisServer } from './redis.js'

// The lines that the pages say their snippets go on from.
const IMPORTS = "import Fastify from 'fastify'\nimport jwtExtended from 'fastify-jwt-extended'\n"
const APP = 'const app = Fastify()\n'
const REGISTER = 'await app.register(jwtExtended, { secretKey: process.env.JWT_SECRET_KEY })\n'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** The private key of `JWT_PRIVATE_KEY`. */
export const PRIVATE_KEY = privateKey

/** What snippets find in `process.env`; `REDIS_URL` is a server that is started for the pages that name it. */
export const ENVIRONMENT = {
  JWT_SECRET_KEY: 'the secret of the snippets, which is long enough for HS512, as it happens',
  OLD_JWT_SECRET_KEY: 'the secret before that, which was no shorter',
  STAFF_SECRET_KEY: 'the secret of the staff, which nobody else knows',
  PARTNER_SECRET_KEY: 'the secret of the partners, which they do know',
  ACME_SECRET_KEY: 'the secret of the first tenant, whoever that is',
  GLOBEX_SECRET_KEY: 'the secret of the second tenant, whoever that is',
  JWT_PRIVATE_KEY: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
  JWT_PUBLIC_KEY: publicKey.export({ format: 'pem', type: 'spki' }) as string,
} as const

/** A snippet as a module of its own. */
export interface Module {
  readonly name: string
  readonly file: string
  readonly code: string
  /** Whether the next one goes on from it, and so has all of it. */
  readonly isContinued: boolean
}

/** What a snippet exports: its application, and whatever else it declares. */
export type Snippet = Record<string, unknown> & { app: FastifyInstance }

/** What a check may look at besides. */
export interface Run {
  /** What the snippet has printed by `console.error`. */
  readonly printed: string[]
  /** The server at `REDIS_URL`, where the snippet names it. */
  readonly redis: RedisServer | undefined
}

/** Holds what a page says of a snippet, where running it does not show it. */
export type Check = (t: Test, snippet: Snippet, run: Run) => Promise<void>

/**
 * The snippets of a page, completed: what was there before where one goes on, and else the lines that the pages state,
 * as far as the snippet does not have them itself. What it declares is exported.
 *
 * @param directory where they are going to stand
 */
export function modulesOf (page: string, directory: string): Module[] {
  const modules: Module[] = []
  const toRoot = relative(directory, root).split(sep).join('/')
  let before = ''
  const blocks = readBlocks(page).filter(({ language }) => language === 'ts')
  for (const [index, { name, code, goesOn }] of blocks.entries()) {
    const own = goesOn ? `${before}\n${code}` : code
    before = own
    let module = own
    if (!own.includes('Fastify(')) {
      module = `${IMPORTS}${APP}${own.includes('.register(jwtExtended') ? '' : REGISTER}${own}`
    }
    // The tests ask the application without a port.
    module = module.replaceAll(/^await app\.listen\(.*\)$/gm, '')
    const names = [...module.matchAll(/^(?:const|function|async function) (\w+)/gm)].map((match) => match[1]!)
    modules.push({
      name,
      isContinued: blocks[index + 1]?.goesOn === true,
      file: `${`${page} ${name}`.replaceAll(/^docs\/|\.md/g, '').toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.ts`,
      code: `${module}\nexport { ${[...new Set(names)].join(', ')} }\n`
        .replaceAll("'fastify-jwt-extended'", `'${toRoot}/index.js'`)
        .replaceAll("'fastify-jwt-extended/store-suite'", `'${toRoot}/lib/store-suite.js'`),
    })
  }
  return modules
}

/**
 * Runs every snippet of a page, and then its check, where it has one. A check is named as its snippet is: by the heading
 * and the number of the snippet under it, such as `Quick start 1`.
 */
export async function testPage (t: Test, page: string, checks: Readonly<Record<string, Check>> = {}): Promise<void> {
  const modules = modulesOf(page, t.testdirName)
  const directory = t.testdir(Object.fromEntries(modules.map(({ file, code }) => [file, code])))
  const noRedis = modules.some(needsRedis) ? skipWithoutRedis() : false
  const redis = noRedis === false && modules.some(needsRedis) ? await startRedis(t) : undefined
  const before = process.env
  process.env = { ...before, ...ENVIRONMENT, REDIS_URL: `redis://127.0.0.1:${redis?.port ?? 0}` }
  t.teardown(() => { process.env = before })

  const names = modules.map(({ name }) => name)
  t.same(Object.keys(checks).filter((name) => !names.includes(name)), [], 'no check is left over from a snippet that is gone')
  for (const module of modules) {
    const path = `${directory}/${module.file}`
    await t.test(module.name, { skip: needsRedis(module) && noRedis }, async (t) => {
      if (/^import .* from 'node:test'$/m.test(module.code)) {
        if (!module.isContinued) await runByItself(t, path)
        return
      }
      const capture = t.capture(console, 'error', () => {})
      const snippet = await import(pathToFileURL(path).href) as Snippet
      const app = snippet.app as FastifyInstance | undefined
      t.teardown(() => app?.close())
      const printed = capture().map(({ args }) => String(args[0]))
      // Nobody can wait for an application whose registration failed, as one snippet shows.
      if (printed.length === 0) await app?.ready()
      await checks[module.name]?.(t, snippet, { printed, redis })
    })
  }
}

function needsRedis ({ code }: Module): boolean {
  return code.includes('REDIS_URL')
}

// What node:test reports would stand among what this process reports.
async function runByItself (t: Test, path: string): Promise<void> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--test-reporter', 'tap', path], { cwd: root, env: ownProcess() })
    .catch((error: { stdout: string, stderr: string }) => {
      t.fail(`${error.stdout}${error.stderr}`)
      return error
    })
  t.match(stdout, /^# pass [1-9]/m, 'there were tests, and they passed')
}

/** Asks a snippet's application, and compares the answer; a body that is `undefined` is not looked at. */
export async function answer (
  t: Test, { app }: Snippet, request: InjectOptions | string, token: string | undefined, status: number, body?: unknown
): Promise<LightMyRequestResponse> {
  const options = typeof request === 'string' ? { url: request } : request
  const headers = { ...options.headers, ...(token !== undefined && bearer(token)) }
  const response = await app.inject({ ...options, headers })
  const what = `${options.method ?? 'GET'} ${String(options.url)}`
  t.equal(response.statusCode, status, `${what} is answered with ${status}`)
  if (body !== undefined) {
    const isJson = response.headers['content-type']?.toString().includes('json') === true
    t.same(isJson ? response.json() : response.body, body, `${what} has the body`)
  }
  return response
}

/** The payload of a token, with nothing verified. */
export function payloadOf (token: unknown): Record<string, unknown> {
  return JSON.parse(Buffer.from(String(token).split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
}
