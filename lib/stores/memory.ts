import type { NewSession, Rotation, RotationResult, StoredSession, TokenQuery, TokenStore } from '../../types/store.js'
import { JwtUsageError } from '../errors.js'
import { assertKnownNames } from '../names.js'
import { judgeRotation } from '../rotation.js'

/** What `memoryStore` takes. */
export interface MemoryStoreOptions {
  /** How many sessions, revoked or used-up tokens and revoked identities it keeps; one more is an error. @default 100000 */
  maxEntries?: number | undefined
}

interface Session {
  generation: number
  rotatedAt: number
  startedAt: number
  endsAt: number
  /** When its last token is dead. */
  keepUntil: number
  ended: false | 'ended' | 'reuse'
  /** Whether a first reuse has still to end what else it ends: there was no room for it. */
  isReuseOpen: boolean
  label: string | undefined
}

interface Identity {
  sessions: Map<string, Session>
  /** Revoked token ids, and until when that has to be known. */
  tokens: Map<string, number>
  /** 0: none of its tokens was revoked by it that may still be alive. */
  epoch: number
  keepEpochUntil: number
}

const DEFAULT_ENTRIES = 100_000

// More than the year for which no token is announced, by more than leeways may differ.
const KEEP_EPOCH_FOR = 400 * 24 * 60 * 60 * 1000

/**
 * A store in the memory of one process: for development, for tests, and for an application that runs only once. It
 * forgets everything when the process ends, and other instances know nothing of it. Bounded: when it is full, new
 * sessions and revocations fail; nothing that keeps a token dead is ever dropped before the token is.
 */
export function memoryStore (options: MemoryStoreOptions = {}): TokenStore {
  assertKnownNames(options, ['maxEntries'], 'memoryStore')
  const { maxEntries = DEFAULT_ENTRIES } = options
  if (!Number.isSafeInteger(maxEntries) || maxEntries < 1) throw new JwtUsageError('memoryStore: maxEntries must be a whole number, 1 or more')
  if (process.env['NODE_ENV'] === 'production') {
    process.emitWarning(
      'memoryStore() forgets every session when the process ends and is not shared between instances; in production use redisStore()',
      { code: 'FST_JWT_EXT_MEMORY_STORE' }
    )
  }
  const identities = new Map<string, Identity>()
  let entries = 0
  // Before that there is nothing to forget, and no need to look at all of it.
  let nextEnd = Infinity
  // When the last token is dead that was announced: one number for all, so that tokens that are made take no entries.
  let keepEpochsUntil = 0

  function identityOf (name: string): Identity {
    let identity = identities.get(name)
    if (identity === undefined) {
      identity = { sessions: new Map(), tokens: new Map(), epoch: 0, keepEpochUntil: 0 }
      identities.set(name, identity)
    }
    return identity
  }

  function isOver (end: number, now: number): boolean {
    if (end > now) nextEnd = Math.min(nextEnd, end)
    return end <= now
  }

  function prune (now: number): void {
    nextEnd = Infinity
    for (const [name, identity] of identities) {
      const { sessions, tokens } = identity
      for (const [id, session] of sessions) if (isOver(session.keepUntil, now) && sessions.delete(id)) entries--
      for (const [id, keepUntil] of tokens) if (isOver(keepUntil, now) && tokens.delete(id)) entries--
      if (identity.epoch !== 0 && isOver(Math.max(identity.keepEpochUntil, keepEpochsUntil), now)) {
        identity.epoch = 0
        entries--
      }
      if (sessions.size + tokens.size === 0 && identity.epoch === 0) identities.delete(name)
    }
  }

  function announce (keepEpoch: number | undefined, now: number): void {
    if (keepEpoch !== undefined) keepEpochsUntil = Math.max(keepEpochsUntil, now + keepEpoch)
  }

  // Before an identity is looked up: making room forgets those of which nothing is kept.
  function takeEntry (now: number, keepFor: number): void {
    if (entries >= maxEntries && nextEnd <= now) prune(now)
    if (entries >= maxEntries) throw new Error(`memoryStore is full: it keeps ${maxEntries} entries`)
    entries++
    nextEnd = Math.min(nextEnd, now + keepFor)
  }

  function isTokenMarked (name: string, tokenId: string, now: number): boolean {
    return (identities.get(name)?.tokens.get(tokenId) ?? 0) > now
  }

  function markToken (name: string, tokenId: string, keepFor: number, now: number): void {
    if (identities.get(name)?.tokens.has(tokenId) !== true) takeEntry(now, keepFor)
    identityOf(name).tokens.set(tokenId, now + keepFor)
  }

  function sessionOf (name: string, id: string, now: number): Session | undefined {
    const session = identities.get(name)?.sessions.get(id)
    return session === undefined || session.keepUntil <= now ? undefined : session
  }

  function isAlive (session: Session | undefined, now: number): session is Session {
    return session !== undefined && session.ended === false && session.endsAt > now
  }

  function endEvery (name: string, exceptSession: string | undefined, now: number): string[] {
    const ended: string[] = []
    for (const [id, session] of identities.get(name)?.sessions ?? []) {
      if (id === exceptSession || session.keepUntil <= now || !isAlive(session, now)) continue
      session.ended = 'ended'
      ended.push(id)
    }
    // The epoch last: it needs room, and to end sessions needs none.
    if ((identities.get(name)?.epoch ?? 0) === 0) takeEntry(now, KEEP_EPOCH_FOR)
    const identity = identityOf(name)
    identity.epoch = Math.max(identity.epoch + 1, now)
    identity.keepEpochUntil = now + KEEP_EPOCH_FOR
    return ended
  }

  return {
    isRevoked ({ identity: name, sessionId, tokenId, epoch, issuedAt, keepEpoch }: TokenQuery) {
      const now = Date.now()
      announce(keepEpoch, now)
      const identity = identities.get(name)
      if (tokenId !== undefined && isTokenMarked(name, tokenId, now)) return true
      if (sessionId !== undefined) return !isAlive(sessionOf(name, sessionId, now), now)
      return identity !== undefined && identity.epoch > (epoch ?? issuedAt)
    },

    epochOf (name, keepEpoch) {
      announce(keepEpoch, Date.now())
      return identities.get(name)?.epoch ?? 0
    },

    revokeToken: (name, tokenId, keepFor) => { markToken(name, tokenId, keepFor, Date.now()) },

    consumeToken (name, tokenId, keepFor) {
      const now = Date.now()
      if (isTokenMarked(name, tokenId, now)) return false
      markToken(name, tokenId, keepFor, now)
      return true
    },

    startSession ({ identity, sessionId, label, lifetime, keepFor }: NewSession) {
      const now = Date.now()
      takeEntry(now, keepFor)
      identityOf(identity).sessions.set(sessionId, {
        generation: 1, rotatedAt: now, startedAt: now, endsAt: now + lifetime, keepUntil: now + keepFor, ended: false, isReuseOpen: false, label,
      })
    },

    rotate ({ identity, sessionId, generation, grace, keepFor, endAllOnReuse = false }: Rotation): RotationResult {
      const now = Date.now()
      const session = sessionOf(identity, sessionId, now)
      if (session === undefined) return { outcome: 'refused' }
      const outcome = judgeRotation(session, generation, grace, now)
      switch (outcome) {
        case 'rotated':
        case 'adopted':
          session.generation = generation + 1
          session.rotatedAt = now
          session.keepUntil = Math.max(session.keepUntil, Math.min(now + keepFor, session.endsAt))
          break
        case 'reuse': {
          const isFirst = session.ended === false || session.isReuseOpen
          session.ended = 'reuse'
          session.isReuseOpen = isFirst
          const ended = isFirst && endAllOnReuse ? endEvery(identity, sessionId, now) : []
          session.isReuseOpen = false
          return { outcome, isFirst, ended }
        }
        case 'refused':
          return { outcome }
      }
      return { outcome, generation: session.generation, remaining: session.endsAt - now }
    },

    endSession (name, id) {
      const now = Date.now()
      const session = sessionOf(name, id, now)
      if (!isAlive(session, now)) return false
      session.ended = 'ended'
      return true
    },

    endAll: (name, exceptSession) => endEvery(name, exceptSession, Date.now()),

    listSessions (name) {
      const now = Date.now()
      const alive: StoredSession[] = []
      for (const [sessionId, session] of identities.get(name)?.sessions ?? []) {
        if (!isAlive(session, now) || session.keepUntil <= now) continue
        const { label, startedAt, rotatedAt, endsAt } = session
        alive.push({ sessionId, label, startedAt, refreshedAt: rotatedAt, expiresAt: endsAt })
      }
      return alive.reverse().sort((a, b) => b.startedAt - a.startedAt)
    },
  }
}
