import { createHash } from 'node:crypto'
import type { RotationResult, StoredSession, TokenStore } from '../../types/store.js'
import { JwtUsageError } from '../errors.js'
import { assertKnownNames } from '../names.js'
import { adaptClient, type RedisClient } from './redis-client.js'
import { END, END_ALL, KEEP_EPOCH, LIST, ROTATE, START, type Script } from './redis-scripts.js'
import { createServerClock } from './server-clock.js'

/** What `redisStore` takes besides the client. */
export interface RedisStoreOptions {
  /** What every key begins with. @default 'jwt:' */
  prefix?: string | undefined
}

const DAY = 24 * 60 * 60 * 1000

// Tokens without a session may live forever, and a mark that ends before its token does would revive it.
const HUNDRED_YEARS = 100 * 365 * DAY

// More than the year for which no token is announced, by more than leeways and clocks may differ.
const KEEP_EPOCH_FOR = 400 * DAY

// As the scripts write it.
interface SessionText {
  at: number
  st: number
  u: number
  e: number
  p: number
  x?: string
  l?: string
}

// Where a server does not say how it evicts, as one whose users may not ask.
const ASK_AGAIN_AFTER = 60 * 1000

/**
 * A store on Redis 6.2 or newer, or Valkey, that all instances of an application share. It uses the application's own
 * client and makes no connection. All keys of an identity are of one hash slot, named by a digest of the identity; each
 * has a time to live, and none is ever searched for.
 */
export function redisStore (client: RedisClient, options: RedisStoreOptions = {}): TokenStore {
  assertKnownNames(options, ['prefix'], 'redisStore')
  const { prefix = 'jwt:' } = options
  if (typeof prefix !== 'string' || /[{}]/.test(prefix)) throw new JwtUsageError('redisStore: prefix must be a string without braces')
  const commands = adaptClient(client)
  const clock = createServerClock()
  let isPolicyKnown = false
  let policyAskedAt = -Infinity

  // An evicted mark would bring a revoked token back to life.
  function warnOfEviction (): void {
    const now = Date.now()
    if (isPolicyKnown || Math.abs(now - policyAskedAt) < ASK_AGAIN_AFTER) return
    policyAskedAt = now
    commands.memoryInfos().then((infos) => {
      // The nodes of a cluster are known when it has answered.
      isPolicyKnown = infos.length > 0
      const policies = infos.map((info) => /maxmemory_policy:(\S+)/.exec(info)?.[1])
      const policy = policies.find((policy) => policy !== undefined && policy !== 'noeviction')
      if (policy === undefined) return
      process.emitWarning(
        `The Redis server may evict keys (maxmemory-policy ${policy}), and with them the marks that keep revoked tokens dead; set it to noeviction`,
        { code: 'FST_JWT_EXT_EVICTION' }
      )
    }, () => {})
  }

  function assertConnected (): void {
    if (!commands.isReady()) throw new Error('The Redis client is not connected')
  }

  function tagOf (identity: string): string {
    // What is no text in UTF-8 must not share the digest of another such.
    const bytes = Buffer.from(identity, /\p{Surrogate}/u.test(identity) ? 'utf16le' : 'utf8')
    return `${prefix}{${createHash('sha256').update(bytes).digest('base64url').slice(0, 24)}}:`
  }

  function sessionKeys (identity: string, sessionId: string): string[] {
    const tag = tagOf(identity)
    return [`${tag}session:${sessionId}`, `${tag}sessions`, `${tag}epoch`]
  }

  // A command may wait in a stalled server, or for a connection, until long after its caller was told that it failed:
  // a rotation that ran then would make the caller's next try look like a theft. The script refuses by the server's own
  // clock. An estimate of that clock that is too early makes it refuse in time, and is then put right for a second try.
  async function runInTime (script: Script, keys: string[], args: (string | number)[], timeout: number | undefined): Promise<unknown[]> {
    const deadline = performance.now() + (timeout ?? Infinity)

    async function attempt (): Promise<unknown[]> {
      const askedAt = performance.now()
      const by = timeout === undefined ? '' : clock.at(deadline)
      const [serverTime, ...answer] = await commands.run(script, keys, [by, ...args]) as unknown[]
      clock.learn(Number(serverTime), askedAt, performance.now())
      return answer
    }

    let answer = await attempt()
    if (answer.length === 0 && performance.now() < deadline) answer = await attempt()
    if (answer.length === 0) throw new Error('The command reached the Redis server after its deadline')
    return answer
  }

  async function runKeepEpoch (keys: string[], keepEpoch: number): Promise<(string | null)[]> {
    return await commands.run(KEEP_EPOCH, keys, [toMilliseconds(keepEpoch)]) as (string | null)[]
  }

  return {
    async isRevoked ({ identity, sessionId, tokenId, epoch, issuedAt, keepEpoch }) {
      warnOfEviction()
      const tag = tagOf(identity)
      // One that is not there stands in for what a token does not have.
      const keys = [`${tag}epoch`, `${tag}token:${tokenId ?? ''}`, `${tag}session:${sessionId ?? ''}`]
      const [current, mark, state] = sessionId === undefined && keepEpoch !== undefined
        ? await runKeepEpoch(keys, keepEpoch)
        : await commands.mget(keys)
      if (tokenId !== undefined && typeof mark === 'string') return true
      if (sessionId === undefined) return Number(current ?? 0) > (epoch ?? issuedAt)
      if (typeof state !== 'string') return true
      const { x, p } = JSON.parse(state) as SessionText
      return x !== undefined || Number(current ?? 0) > p
    },

    async epochOf (identity, keepEpoch) {
      const keys = [`${tagOf(identity)}epoch`]
      const [epoch] = keepEpoch === undefined ? await commands.mget(keys) : await runKeepEpoch(keys, keepEpoch)
      return Number(epoch ?? 0)
    },

    async revokeToken (identity, tokenId, keepFor) {
      await commands.set(`${tagOf(identity)}token:${tokenId}`, '1', toMilliseconds(keepFor))
    },

    async consumeToken (identity, tokenId, keepFor) {
      warnOfEviction()
      // One that waits for a connection would use the token up when its request has been refused already.
      assertConnected()
      return await commands.setNew(`${tagOf(identity)}token:${tokenId}`, '1', toMilliseconds(keepFor))
    },

    async startSession ({ identity, sessionId, label, lifetime, keepFor, timeout }) {
      warnOfEviction()
      await runInTime(START, sessionKeys(identity, sessionId), [sessionId, lifetime, keepFor, label ?? ''], timeout)
    },

    async rotate ({ identity, sessionId, generation, grace, keepFor, endAllOnReuse, timeout }): Promise<RotationResult> {
      // A client may know that it would wait in vain.
      assertConnected()
      const args = [sessionId, generation, grace, keepFor, endAllOnReuse ? '1' : '0', KEEP_EPOCH_FOR]
      const [outcome, second, third] = await runInTime(ROTATE, sessionKeys(identity, sessionId), args, timeout)
      if (outcome === 'refused') return { outcome }
      if (outcome === 'reuse') return { outcome, isFirst: Number(second) === 1, ended: (third as unknown[]).map(String) }
      return { outcome: outcome as 'rotated' | 'replayed' | 'adopted', generation: Number(second), remaining: Number(third) }
    },

    async endSession (identity, sessionId) {
      return Number(await commands.run(END, sessionKeys(identity, sessionId), [sessionId])) === 1
    },

    async endAll (identity, exceptSession, timeout) {
      const [spared, index, epoch] = sessionKeys(identity, exceptSession ?? '') as [string, string, string]
      const keys = exceptSession === undefined ? [epoch, index] : [epoch, index, spared]
      const [ended] = await runInTime(END_ALL, keys, [exceptSession ?? '', KEEP_EPOCH_FOR], timeout)
      return (ended as unknown[]).map(String)
    },

    async listSessions (identity) {
      const found = await commands.run(LIST, [`${tagOf(identity)}sessions`], []) as string[]
      const sessions: (SessionText & { sessionId: string })[] = []
      for (let i = 0; i < found.length; i += 2) sessions.push({ sessionId: found[i]!, ...JSON.parse(found[i + 1]!) as SessionText })
      return sessions
        .filter(({ x }) => x === undefined)
        .sort((a, b) => b.st - a.st || b.u - a.u)
        .map(({ sessionId, at, st, e, l }): StoredSession => ({ sessionId, label: l, startedAt: st, refreshedAt: at, expiresAt: e }))
    },
  }
}

function toMilliseconds (duration: number): number {
  return Math.min(Math.ceil(duration), HUNDRED_YEARS)
}
