import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { bearer, SECRET } from './app.js'
import { forge } from './forge.js'
import { ownProcess } from './own-process.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

const ENVIRONMENT = { ...ownProcess(), JWT_SECRET_KEY: '', PORT: '0' }

/** An example that runs. */
export interface Example {
  readonly address: string
  /** What it has printed until now. */
  printed (): string
  /** Waits until it has printed something like this. */
  until (pattern: RegExp): Promise<void>
  /** Ends it, and gives its exit code. */
  stop (signal?: NodeJS.Signals): Promise<number | null>
}

/** An answer of an example. */
export interface Answer<Body = Record<string, string>> {
  readonly status: number
  /** `{}` where there is none. */
  readonly body: Body
  readonly headers: Headers
}

/** The source of an example. */
export function sourceOf (name: string): string {
  return readFileSync(`${ROOT}/examples/${name}.ts`, 'utf8')
}

/** Starts an example as its reader would, on a free port, and stops it when the test ends. */
export async function start (t: Test, name: string, variables: Record<string, string> = {}): Promise<Example> {
  const child = spawn(process.execPath, ['--import', 'tsx', `examples/${name}.ts`], {
    cwd: ROOT, env: { ...ENVIRONMENT, ...variables }, stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => { errors += chunk })
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => { output += chunk })

  async function until (pattern: RegExp): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => { if (pattern.test(output)) resolve() }
      child.once('error', reject)
      child.once('close', (code) => { reject(new Error(`The example ended with ${code} too early:\n${output}${errors}`)) })
      child.stdout.on('data', look)
      look()
    })
  }

  async function stop (signal?: NodeJS.Signals): Promise<number | null> {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal)
      await once(child, 'close')
    }
    return child.exitCode
  }

  t.teardown(() => stop('SIGKILL'))
  // The examples with lines to try print those and this one by a single call.
  await until(/Listening on http:\/\/127\.0\.0\.1:\d+[^]*\n$/)
  const isRandom = sourceOf(name).includes('readSecret()') && !variables['JWT_SECRET_KEY']
  t.equal(output.includes('Note: JWT_SECRET_KEY is not set.'), isRandom, 'it says so where the secret is a random one')
  return { address: /http:\/\/127\.0\.0\.1:\d+/.exec(output)![0], printed: () => output, until, stop }
}

/** Sends a request without a body, and with a token if there is one. */
export async function send <Body = Record<string, string>> (url: string, token?: string, method = 'GET'): Promise<Answer<Body>> {
  return await readAnswer(await fetch(url, { method, headers: token === undefined ? {} : bearer(token) }))
}

/** Sends a JSON body. */
export async function post (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return await readAnswer(await fetch(url, {
    method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body),
  }))
}

async function readAnswer <Body> (response: Response): Promise<Answer<Body>> {
  const text = await response.text()
  return { status: response.status, body: JSON.parse(text === '' ? '{}' : text) as Body, headers: response.headers }
}

/** A token as another server with the same secret would make it. */
export function tokenOf (claims: Record<string, unknown>): string {
  const now = Math.floor(Date.now() / 1000)
  return forge({ type: 'access', fresh: false, jti: 'of-the-test', iat: now, nbf: now, exp: now + 900, ...claims }, undefined, SECRET)
}

const hasCurl = await run('sh', ['-c', 'curl --version']).then(() => true, () => false)

/** Why the lines that examples print cannot be tried here; never in CI, where it is a failure. */
export const skipWithoutCurl = !hasCurl && process.env.CI !== 'true' && 'NOT TRIED: this machine has no curl, or no POSIX shell'

/** The lines that an example prints to be tried: those that are indented. */
export function linesToTry (example: Example): string[] {
  return example.printed().split('\n').filter((line) => /^ {2}\S/.test(line)).map((line) => line.trim())
}

/** Runs lines in one shell, since some set variables for the next, and gives what each `curl` was answered. */
export async function tryLines (lines: readonly string[]): Promise<string[]> {
  const script = lines.map((line) => line.startsWith('curl') ? `${line}\necho` : line).join('\n')
  const { stdout } = await run('sh', ['-c', script], { env: ENVIRONMENT })
  return stdout.split('\n').slice(0, -1)
}
