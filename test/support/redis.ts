import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { createClient, createCluster } from 'redis'
import type { Test } from 'tap'
import type { NodeRedisClient } from '../../index.js'

const BINARY = 'redis-server'
const PATIENCE = 20_000

const isMissing = spawnSync(BINARY, ['--version']).error !== undefined

/**
 * Why a test that needs a Redis server cannot run here, or `false`. A continuous build without one fails instead: it
 * would look as if the stores had been tested.
 */
export function skipWithoutRedis (): string | false {
  if (!isMissing) return false
  if (process.env['CI'] === 'true') throw new Error(`${BINARY} is not installed, and a continuous build needs it`)
  return `${BINARY} is not installed: nothing of the Redis store was tested`
}

/** A Redis server of one test. It keeps nothing on disk, so that a restart loses all. */
export interface RedisServer {
  readonly port: number
  /** Ends it at once, as a crash does. */
  kill (): Promise<void>
  /** Starts it again, empty, after `kill` or in its stead. */
  restart (): Promise<void>
  /** Stops it from answering while its connections stay open, as a stalled machine does. */
  pause (): void
  resume (): void
  /** Calls of each command so far, by the server's own statistics. */
  commandCounts (): Promise<Map<string, number>>
  /** A connection for the test's own questions. */
  readonly admin: Redis
}

const ignore = (): void => {}

async function isFree (port: number): Promise<boolean> {
  const probe = createServer()
  try {
    probe.listen(port, '127.0.0.1')
    await once(probe, 'listening')
    return true
  } catch {
    return false
  } finally {
    probe.close(ignore)
  }
}

// A cluster's node listens on a second port, 10,000 above the first.
async function sparePort (): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (await isFree(port) && await isFree(port + 10_000)) return port
  }
}

async function until (what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const start = performance.now(); performance.now() - start < PATIENCE;) {
    if (await holds().catch(() => false)) return
    await sleep(20)
  }
  throw new Error(`waited too long: ${what}`)
}

/** Starts a server, and stops it when the test ends. */
export async function startRedis (t: Test, more: readonly string[] = []): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), 'jwt-redis-'))
  const port = await sparePort()
  let running: ChildProcess | undefined
  const admin = new Redis({ port, host: '127.0.0.1', lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => 20 })
  admin.on('error', ignore)

  async function start (): Promise<void> {
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', directory, ...more]
    running = spawn(BINARY, args, { stdio: 'ignore' })
    await until('the Redis server answers', async () => await admin.ping() === 'PONG')
  }

  async function kill (): Promise<void> {
    if (running === undefined) return
    const ended = once(running, 'exit')
    running.kill('SIGKILL')
    running = undefined
    await ended
  }

  t.teardown(async () => {
    admin.disconnect()
    await kill()
    await rm(directory, { recursive: true, force: true })
  })
  await start()

  return {
    port,
    admin,
    kill,
    async restart () {
      await kill()
      await start()
    },
    pause () { running?.kill('SIGSTOP') },
    resume () { running?.kill('SIGCONT') },
    async commandCounts () {
      const stats = await admin.info('commandstats')
      const lines = stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)
      return new Map(Array.from(lines, ([, name, calls]) => [name!, Number(calls)]))
    },
  }
}

/** What a server was asked while something ran: the commands and how often, without the question itself. */
export async function countCommands (server: RedisServer, work: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await server.commandCounts()
  await work()
  const after = await server.commandCounts()
  const counts: Record<string, number> = {}
  for (const [name, calls] of after) {
    const more = calls - (before.get(name) ?? 0)
    if (more > 0 && name !== 'info') counts[name] = more
  }
  return counts
}

/** Starts a cluster of three masters that share the slots, and stops it when the test ends. */
export async function startCluster (t: Test): Promise<readonly RedisServer[]> {
  const options = ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-node-timeout', '5000']
  const servers = await Promise.all([1, 2, 3].map(() => startRedis(t, options)))
  const [first] = servers
  const share = Math.ceil(16_384 / servers.length)
  for (const [i, { admin }] of servers.entries()) {
    const from = i * share
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', String(from), String(Math.min(from + share, 16_384) - 1))
    await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1))
    if (i > 0) await admin.call('CLUSTER', 'MEET', '127.0.0.1', String(first!.port))
  }
  for (const { admin } of servers) {
    await until('the cluster is complete', async () => {
      const info = String(await admin.call('CLUSTER', 'INFO'))
      return info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3') && info.includes('cluster_slots_ok:16384')
    })
  }
  return servers
}

/** A client of ioredis, closed when the test ends. */
export async function connectIoredis (t: Test, { port }: RedisServer, options: RedisOptions = {}): Promise<Redis> {
  const client = new Redis({ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => 50, ...options })
  client.on('error', ignore)
  t.teardown(() => { client.disconnect() })
  await client.connect()
  return client
}

/** A client of node-redis, closed when the test ends. */
export async function connectNodeRedis (t: Test, { port }: RedisServer): Promise<NodeRedisClient> {
  const client = createClient({ socket: { port, host: '127.0.0.1', reconnectStrategy: () => 50 } })
  client.on('error', ignore)
  t.teardown(() => { client.destroy() })
  await client.connect()
  return client
}

/** A cluster client of ioredis, closed when the test ends. */
export async function connectIoredisCluster (t: Test, servers: readonly RedisServer[]): Promise<Cluster> {
  const client = new Cluster(servers.map(({ port }) => ({ port, host: '127.0.0.1' })), { lazyConnect: true })
  client.on('error', ignore)
  t.teardown(() => { client.disconnect() })
  await client.connect()
  return client
}

/** A cluster client of node-redis, closed when the test ends. */
export async function connectNodeRedisCluster (t: Test, servers: readonly RedisServer[]): Promise<NodeRedisClient> {
  const client = createCluster({ rootNodes: servers.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })) })
  client.on('error', ignore)
  t.teardown(() => { client.destroy() })
  await client.connect()
  return client
}
