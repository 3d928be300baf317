import type { JwtHeader } from '../types/claims.js'
import { KeySetUnavailableError } from './errors.js'
import { thumbprintOf } from './key-id.js'
import { readPublicKey } from './keys.js'
import { fetchKeys } from './remote-keys.js'
import { compileVerifier, type Verifier } from './signatures.js'
import type { IssuerSettings } from './trusted-issuers.js'

// In milliseconds. A set is fetched anew in the background once it is old; after a fetch that failed, or that brought
// no key for the token it was made for, there is none for a while.
const OLD = 10 * 60 * 1000
const COOL_DOWN = 10 * 1000

/** The keys of one issuer, fetched when they are needed. */
export interface IssuerKeys {
  /**
   * The verifiers of the keys that may have signed a token with this header; none where the issuer has no such key. A
   * promise where the set has to be fetched: throws, or rejects with, {@link KeySetUnavailableError} where it never was.
   */
  find (header: JwtHeader, now: number): readonly Verifier[] | Promise<readonly Verifier[]>
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

  function lookUp ({ kid }: JwtHeader): readonly Verifier[] {
    return (set?.keys ?? [])
      .map(({ verifier }) => verifier)
      .filter((verifier) => kid === undefined || verifier.kid === undefined || verifier.kid === kid)
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

  async function fetchFor (header: JwtHeader): Promise<readonly Verifier[]> {
    await (pending ??= refresh())
    if (set === undefined) {
      const cause = setback!.cause!
      throw new KeySetUnavailableError(undefined, { cause, hint: reasonOf(cause) })
    }
    const found = lookUp(header)
    if (found.length === 0) setback ??= { at: Date.now() }
    return found
  }

  return {
    find (header, now) {
      const found = lookUp(header)
      const isCoolingDown = setback !== undefined && isWithin(COOL_DOWN, setback.at, now)
      if (found.length > 0) {
        if (!isCoolingDown && !isWithin(OLD, set!.at, now)) pending ??= refresh()
        return found
      }
      if (!isCoolingDown) return fetchFor(header)
      if (set === undefined) throw new KeySetUnavailableError()
      return found
    },
  }
}

// A key that stays keeps its verifier, and with it the tokens that were verified.
function replace (before: readonly IssuerKey[], answered: readonly IssuerKey[]): KeySet {
  const keys = answered.map((key) => before.find(({ id }) => id === key.id) ?? key)
  const at = Date.now()
  for (const { verifier } of before) verifier.until = 0
  for (const { verifier } of keys) verifier.until = at + OLD
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
