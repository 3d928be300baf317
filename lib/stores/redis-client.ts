import { JwtUsageError } from '../errors.js'
import type { Script } from './redis-scripts.js'

/** The part of an ioredis client, or an ioredis cluster, that the store uses. */
export interface IoredisClient {
  readonly status: string
  mget (keys: string[]): Promise<(string | null)[]>
  set (key: string, value: string, px: 'PX', milliseconds: number, nx?: 'NX'): Promise<unknown>
  evalsha (sha: string, keyCount: number, ...keysAndArguments: string[]): Promise<unknown>
  eval (source: string, keyCount: number, ...keysAndArguments: string[]): Promise<unknown>
  info (section: 'memory'): Promise<string>
  /** Of a cluster. */
  nodes?(role: 'master'): { info (section: 'memory'): Promise<string> }[]
}

/** The part of a node-redis client that the store uses. */
export interface NodeRedisClient {
  readonly isReady?: boolean
  mGet (keys: string[]): Promise<unknown[]>
  set (key: string, value: string, options: { PX: number, condition?: 'NX' }): Promise<unknown>
  evalSha (sha: string, options: { keys: string[], arguments: string[] }): Promise<unknown>
  eval (source: string, options: { keys: string[], arguments: string[] }): Promise<unknown>
  info?(section: 'memory'): Promise<unknown>
  /** Of a cluster. */
  readonly masters?: readonly unknown[]
  /** Of a cluster. */
  nodeClient?(node: never): Promise<{ info (section: 'memory'): Promise<unknown> }>
}

/** A client of either kind, or a cluster client of either. */
export type RedisClient = IoredisClient | NodeRedisClient

/** What the store asks of a server, whichever client talks to it. */
export interface Commands {
  mget (keys: string[]): Promise<(string | null)[]>
  set (key: string, value: string, milliseconds: number): Promise<void>
  /** Sets a key that there is not, and tells whether it did. */
  setNew (key: string, value: string, milliseconds: number): Promise<boolean>
  run (script: Script, keys: string[], args: (string | number)[]): Promise<unknown>
  /** Whether a command would be sent now, instead of waiting for a connection. */
  isReady (): boolean
  /** What each master says of its memory. */
  memoryInfos (): Promise<string[]>
}

// A client keeps what it cannot send yet, some kilobytes a command, and nobody may be waiting for it any more.
const MOST_WAITING = 10_000

/** @throws {JwtUsageError} for what is no Redis client. */
export function adaptClient (client: RedisClient): Commands {
  if (typeof client === 'object' && client !== null) {
    if ('evalsha' in client && typeof client.evalsha === 'function') return bound(adaptIoredis(client))
    if ('evalSha' in client && typeof client.evalSha === 'function') return bound(adaptNodeRedis(client))
  }
  throw new JwtUsageError("redisStore takes a client of 'ioredis' or of 'redis' (node-redis), or a cluster client of either")
}

// Lets only so many commands wait for their answers. More of them show a server that does not answer.
function bound (commands: Commands): Commands {
  let waiting = 0
  async function send<T> (command: () => Promise<T>): Promise<T> {
    if (waiting >= MOST_WAITING) throw new Error(`${MOST_WAITING} commands wait for the Redis server already`)
    waiting++
    try {
      return await command()
    } finally {
      waiting--
    }
  }
  return {
    mget: (keys) => send(() => commands.mget(keys)),
    set: (key, value, milliseconds) => send(() => commands.set(key, value, milliseconds)),
    setNew: (key, value, milliseconds) => send(() => commands.setNew(key, value, milliseconds)),
    run: (script, keys, args) => send(() => commands.run(script, keys, args)),
    isReady: commands.isReady,
    memoryInfos: () => send(commands.memoryInfos),
  }
}

function adaptIoredis (client: IoredisClient): Commands {
  return {
    mget: async (keys) => (await client.mget(keys)).map(asText),
    async set (key, value, milliseconds) { await client.set(key, value, 'PX', milliseconds) },
    setNew: async (key, value, milliseconds) => asText(await client.set(key, value, 'PX', milliseconds, 'NX')) === 'OK',
    run: async (script, keys, args) => withoutBytes(await runScript(
      () => client.evalsha(script.sha, keys.length, ...keys, ...args.map(String)),
      () => client.eval(script.source, keys.length, ...keys, ...args.map(String))
    )),
    // A client that connects lazily does so with its first command.
    isReady: () => client.status === 'ready' || client.status === 'wait',
    memoryInfos: () => Promise.all((client.nodes?.('master') ?? [client]).map((node) => node.info('memory'))),
  }
}

function adaptNodeRedis (client: NodeRedisClient): Commands {
  return {
    mget: async (keys) => (await client.mGet(keys)).map(asText),
    async set (key, value, milliseconds) { await client.set(key, value, { PX: milliseconds }) },
    setNew: async (key, value, milliseconds) => asText(await client.set(key, value, { PX: milliseconds, condition: 'NX' })) === 'OK',
    async run (script, keys, args) {
      const options = { keys, arguments: args.map(String) }
      return withoutBytes(await runScript(() => client.evalSha(script.sha, options), () => client.eval(script.source, options)))
    },
    // A cluster client has no such member; its nodes' own time limit is what bounds a command.
    isReady: () => client.isReady !== false,
    async memoryInfos () {
      const nodes = client.masters === undefined ? [client] : await Promise.all(client.masters.map((node) => client.nodeClient!(node as never)))
      return await Promise.all(nodes.map(async (node) => String(await node.info?.('memory') ?? '')))
    },
  }
}

// A client may be set to give bytes.
function asText (value: unknown): string | null {
  return value === null || value === undefined ? null : String(value)
}

function withoutBytes (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutBytes)
  return value instanceof Uint8Array ? String(value) : value
}

// A server forgets its scripts when it restarts; the digest alone is sent until then.
async function runScript (bySha: () => Promise<unknown>, bySource: () => Promise<unknown>): Promise<unknown> {
  try {
    return await bySha()
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
    return await bySource()
  }
}
