import { ok, strictEqual } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NewSession, Rotation, RotationResult, TokenQuery, TokenStore } from '../../types/store.js'

/** One behaviour that every store must have. */
export interface StoreCase {
  /** What the store does, as the title of a test. */
  readonly name: string
  /** Rejects with an `AssertionError` where the store does something else. */
  run (store: TokenStore): Promise<void>
}

// Long enough that nothing ends by itself while a case runs.
export const LONG = 60_000

// The lifetime of what is to end while a case runs, and how long a store with a coarse clock may take to notice.
export const SHORT = 60
const PATIENCE = 3_000

export const RACERS = 200

/** A user whom no other case knows, so that one store can serve them all. */
export function newIdentity (): string {
  return `suite:${randomUUID()}`
}

export async function start (store: TokenStore, identity: string, more: Partial<NewSession> = {}): Promise<string> {
  const sessionId = randomUUID()
  await store.startSession({ identity, sessionId, label: undefined, lifetime: LONG, keepFor: LONG, timeout: LONG, ...more })
  return sessionId
}

export async function rotate (
  store: TokenStore, identity: string, sessionId: string, generation: number, more: Partial<Rotation> = {}
): Promise<RotationResult> {
  return await store.rotate({ identity, sessionId, generation, grace: LONG, keepFor: LONG, timeout: LONG, ...more })
}

/** Rotates, and expects a successor of a generation. Gives the milliseconds until the session's absolute end. */
export async function expectSuccessor (
  outcome: 'rotated' | 'replayed' | 'adopted', generation: number, pending: Promise<RotationResult>
): Promise<number> {
  const result = await pending
  strictEqual(result.outcome, outcome)
  ok('generation' in result)
  strictEqual(result.generation, generation)
  strictEqual(typeof result.remaining, 'number')
  return result.remaining
}

export async function expectNoSuccessor (outcome: 'reuse' | 'refused', pending: Promise<RotationResult>): Promise<void> {
  strictEqual((await pending).outcome, outcome)
}

/** What a guard asks about a token of a session. */
export async function isSessionRevoked (store: TokenStore, identity: string, sessionId: string): Promise<boolean> {
  return await isRevoked(store, { identity, sessionId, tokenId: randomUUID() })
}

/** What a guard asks about a token; without anything else, one without a session that carries no `jti` and no `epoch`. */
export async function isRevoked (store: TokenStore, query: Partial<TokenQuery> & { identity: string }): Promise<boolean> {
  const answer = await store.isRevoked({ sessionId: undefined, tokenId: undefined, epoch: undefined, issuedAt: Date.now(), ...query })
  strictEqual(typeof answer, 'boolean', 'isRevoked must give true or false')
  return answer
}

export async function expectInTime (what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const start = performance.now(); performance.now() - start < PATIENCE;) {
    if (await holds()) return
    await sleep(SHORT / 2)
  }
  ok(false, what)
}
