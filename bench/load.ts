import { execFile, execFileSync, fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import autocannon from 'autocannon'
import type { CaseName, LoadRequest } from './cases.js'

const run = promisify(execFile)
const CONNECTIONS = 50

function has (command: string): boolean {
  try {
    execFileSync('which', [command], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const hasWrk = has('wrk')
const pins = has('taskset') && availableParallelism() > 1

/** What makes the load, for the report. */
export const tool = `${hasWrk ? 'wrk' : 'autocannon'}, ${CONNECTIONS} connections, ${pins ? 'server and client on a core each' : 'not pinned'}`

/** A server in a process of its own, on a core of its own. */
export interface Server {
  readonly load: Load
  /** Under its own load, or under another server's. */
  requestsPerSecond (seconds: number, load?: Load): Promise<number>
  heap (): Promise<number>
  stop (): Promise<void>
}

/** The requests that are sent in turn: as a list, and as a script for wrk. */
export interface Load {
  readonly requests: readonly LoadRequest[]
  readonly script: string
}

/** Starts the server of a case. */
export async function startServer (name: CaseName): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  const file = join(folder, 'requests.json')
  const server = fileURLToPath(new URL('server.ts', import.meta.url))
  const child = fork(server, [name, file], { execArgv: ['--import', 'tsx', '--expose-gc'], stdio: 'inherit' })
  const { port } = await answerOf<{ port: number }>(child)
  if (pins) execFileSync('taskset', ['-a', '-p', '-c', '0', String(child.pid)], { stdio: 'ignore' })
  const requests = JSON.parse(readFileSync(file, 'utf8')) as LoadRequest[]
  const load = { requests, script: join(folder, 'load.lua') }
  writeFileSync(load.script, luaOf(requests))
  return {
    load,
    requestsPerSecond: (seconds, { requests, script } = load) => hasWrk ? byWrk(port, script, seconds) : byAutocannon(port, requests, seconds),
    async heap () {
      child.send('heap')
      return (await answerOf<{ heap: number }>(child)).heap
    },
    async stop () {
      const gone = once(child, 'exit')
      child.disconnect()
      await gone
      rmSync(folder, { recursive: true })
    },
  }
}

async function answerOf<T> (child: ChildProcess): Promise<T> {
  const [answer] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => { throw new Error(`the server ended with ${String(code)}`) }),
  ])
  return answer as T
}

async function byWrk (port: number, script: string, seconds: number): Promise<number> {
  const command = ['wrk', '-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '-s', script, `http://127.0.0.1:${port}`]
  const [file, ...args] = pins ? ['taskset', '-c', '1', ...command] : command
  const { stdout } = await run(file!, args)
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`not every request was answered well:\n${stdout}`)
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1])
}

function luaOf (requests: LoadRequest[]): string {
  const lines = requests.map(({ method, path, headers }) => {
    const members = Object.entries(headers).map(([name, value]) => `[${JSON.stringify(name)}]=${JSON.stringify(value)}`)
    return `wrk.format(${JSON.stringify(method)}, ${JSON.stringify(path)}, {${members.join()}}),`
  })
  // Lua allows no more constants in one function than some 2^18 bytes of code can name, so the list is built in parts.
  const parts = []
  for (let i = 0; i < lines.length; i += 500) parts.push(`(function() for _, r in ipairs({${lines.slice(i, i + 500).join('\n')}}) do all[#all + 1] = r end end)()`)
  return `local all = {}\nfunction init()\n${parts.join(';\n')}\nend\nlocal i = 0\nfunction request() i = i % #all + 1; return all[i] end\n`
}

async function byAutocannon (port: number, requests: readonly LoadRequest[], seconds: number): Promise<number> {
  // One request that changes each time: autocannon would render a whole list for every connection before it starts.
  let i = 0
  const next: autocannon.Request = { setupRequest: (request) => ({ ...request, ...requests[i++ % requests.length]! }) }
  const result = await autocannon({ url: `http://127.0.0.1:${port}`, connections: CONNECTIONS, duration: seconds, requests: [next] })
  if (result.non2xx > 0 || result.errors > 0) throw new Error(`not every request was answered well: ${result.non2xx} refused, ${result.errors} failed`)
  return result.requests.average
}
