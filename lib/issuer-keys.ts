import type { JwtHeader } from '../types/claims.js'
import { KeySetUnavailableError } from './errors.js'
import { thumbprintOf } from './key-id.js'
import { readPublicKey } from './keys.js'
import { fetchKeys } from './remote-keys.js'
import { compileVerifier, type Verifier } from './signatures.js'
import type { IssuerSettings } from './trusted-issuers.js'

// In milliseconds. A set is fetched anew in the background once it is old, and before it is used once it is out of date;
// after a fetch that failed, or that brought no key for the token it was made for, there is none for a while.
const OLD = 10 * 60 * 1000
const OUT_OF_DATE = 2 * OLD
const COOL_DOWN = 10 * 1000

/** The keys of one issuer, fetched when they are needed. */
export interface IssuerKeys {
  /**
   * The verifiers of the keys that may have signed a token with this header; none where the issuer has no such key. A
   * promise where the set has to be fetched: throws, or rejects with, {@link KeySetUnavailableError} where it never was.
   */
  find (header: JwtHeader, now: number): readonly Verifier[] | Promise<readonly Verifier[]>
  /**
   * The verifiers that may come with another fetch, for a token that none of those tried has verified. Nothing where it
   * names one of them, or where the issuer was asked in vain just now.
   */
  findMore (header: JwtHeader, tried: readonly Verifier[], now: number): Promise<readonly Verifier[]> | undefined
}

interface IssuerKey {
  readonly id: string
  readonly verifier: Verifier
}

/** What the issuer answered last. */
interface KeySet {
  readonly keys: readonly IssuerKey[]
  readonly at: number
}

/** A fetch since then that was of no use: it failed, or it did not bring the key that it was made for. */
interface Setback {
  readonly at: number
  readonly cause?: Error
}

/** Makes the keys of an issuer. Nothing is fetched yet. */
export function createIssuerKeys (settings: IssuerSettings): IssuerKeys {
  let set: KeySet | undefined
  let setback: Setback | undefined
  // One request in flight, however many wait for it.
  let pending: Promise<void> | undefined

  function lookUp ({ kid }: JwtHeader, tried: readonly Verifier[] = []): readonly Verifier[] {
    return (set?.keys ?? [])
      .map(({ verifier }) => verifier)
      .filter((verifier) => (kid === undefined || verifier.kid === undefined || verifier.kid === kid) && !tried.includes(verifier))
  }

  function isCoolingDown (now: number): boolean {
    return setback !== undefined && isWithin(COOL_DOWN, setback.at, now)
  }

  function isDown (now: number): boolean {
    return setback?.cause !== undefined && isWithin(OLD, setback.at, now)
  }

  // Does not reject: nobody may be waiting, and those who are look at what there is then.
  async function refresh (): Promise<void> {
    try {
      const answered = await fetchKeys(settings)
      const keys = answered.flatMap((jwk) => readIssuerKey(jwk, settings) ?? [])
      // What was answered counts, also where it is nothing: its last keys may have been withdrawn since they leaked.
      if (keys.length === 0 && set?.keys.length !== 0) {
        warn(`The key set of ${settings.issuer} has no key that is fit for the algorithms; its tokens are refused`)
      }
      set = replace(set?.keys ?? [], keys)
      setback = undefined
    } catch (error) {
      const cause = error as Error
      if (set !== undefined && setback?.cause === undefined) {
        warn(`The key set of ${settings.issuer} cannot be fetched; the last one goes on serving (${reasonOf(cause)})`)
      }
      setback = { at: Date.now(), cause }
    } finally {
      pending = undefined
    }
  }

  async function fetchFor (header: JwtHeader, tried: readonly Verifier[] = []): Promise<readonly Verifier[]> {
    const hasJoined = pending !== undefined
    await (pending ??= refresh())
    let found = lookUp(header, tried)
    // What was asked before this token came may have been answered before its key was there. Who asked goes on first:
    // where it was in vain for them, there is a setback by now.
    if (found.length === 0 && hasJoined && setback === undefined) {
      await (pending ??= refresh())
      found = lookUp(header, tried)
    }
    if (set === undefined) {
      const cause = setback!.cause!
      throw new KeySetUnavailableError(undefined, { cause, hint: reasonOf(cause) })
    }
    if (found.length === 0) setback ??= { at: Date.now() }
    return found
  }

  return {
    find (header, now) {
      const found = lookUp(header)
      if (found.length === 0) {
        if (!isCoolingDown(now)) return fetchFor(header)
        if (set === undefined) throw new KeySetUnavailableError()
        return found
      }
      if (isCoolingDown(now) || isWithin(OLD, set!.at, now)) return found
      // While nobody came, a key may have been withdrawn. Where the issuer does not answer, waiting would be of no use.
      if (!isWithin(OUT_OF_DATE, set!.at, now) && !isDown(now)) return fetchFor(header)
      pending ??= refresh()
      return found
    },
    findMore (header, tried, now) {
      const isNamed = tried.some(({ kid }) => kid !== undefined && kid === header.kid)
      return isNamed || isCoolingDown(now) ? undefined : fetchFor(header, tried)
    },
  }
}

// A key that stays keeps its verifier, and with it the tokens that were verified.
function replace (before: readonly IssuerKey[], answered: readonly IssuerKey[]): KeySet {
  const keys = answered.map((key) => before.find(({ id }) => id === key.id) ?? key)
  const at = Date.now()
  for (const { verifier } of before) verifier.until = 0
  for (const { verifier } of keys) {
    verifier.from = at
    verifier.until = at + OLD
  }
  return { keys, at }
}

// A clock that was put back would make it last for as long: what has not begun yet is over.
function isWithin (duration: number, since: number, now: number): boolean {
  return now >= since && now < since + duration
}

// What is for encryption, of an unknown type or too small is passed over, and the rest of the set works.
function readIssuerKey (jwk: Record<string, unknown>, { algorithms }: IssuerSettings): IssuerKey | undefined {
  const { key_ops: operations, kid } = jwk
  if (Array.isArray(operations) && !operations.includes('verify')) return undefined
  if (kid !== undefined && typeof kid !== 'string') return undefined
  try {
    const { object, algorithms: possible } = readPublicKey(jwk, 'A key of the set')
    const fit = algorithms.filter((algorithm) => possible.includes(algorithm))
    if (fit.length === 0) return undefined
    return { id: JSON.stringify([kid, thumbprintOf(object), fit]), verifier: compileVerifier({ object, algorithms: fit, kid, until: 0 }) }
  } catch {
    return undefined
  }
}

function warn (message: string): void {
  process.emitWarning(message, { code: 'FST_JWT_EXT_KEY_SET' })
}

function reasonOf (cause: Error): string {
  return cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message
}
