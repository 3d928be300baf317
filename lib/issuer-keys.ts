import type { JwtHeader } from '../types/claims.js'
import { KeySetUnavailableError } from './errors.js'
import { thumbprintOf } from './key-id.js'
import { readPublicKey, type Key } from './keys.js'
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

/** Makes the keys of an issuer. Nothing is fetched yet. */
export function createIssuerKeys (settings: IssuerSettings): IssuerKeys {
  let keys: readonly IssuerKey[] | undefined
  let pending: Promise<void> | undefined
  let oldAt = 0
  let notBefore = 0
  let isFailing = false

  function lookUp ({ kid }: JwtHeader): readonly Verifier[] {
    return (keys ?? [])
      .map(({ verifier }) => verifier)
      .filter((verifier) => kid === undefined || verifier.kid === undefined || verifier.kid === kid)
  }

  // One request in flight, however many wait for it.
  function load (): Promise<void> {
    pending ??= fetchKeys(settings).then(replace).then(succeed, fail).finally(() => { pending = undefined })
    return pending
  }

  function replace (set: readonly Record<string, unknown>[]): void {
    const next = set.flatMap((jwk) => readIssuerKey(jwk, settings) ?? [])
    if (next.length === 0) throw new Error('The key set has no key that is fit for the algorithms')
    // A key that stays keeps its verifier, and with it the tokens that were verified.
    const before = keys ?? []
    keys = next.map((key) => before.find(({ id }) => id === key.id) ?? key)
    for (const key of before) if (!keys.includes(key)) key.verifier.until = 0
  }

  function succeed (): void {
    isFailing = false
    oldAt = Date.now() + OLD
    for (const { verifier } of keys!) verifier.until = oldAt
  }

  function fail (cause: Error): never {
    notBefore = Date.now() + COOL_DOWN
    if (keys !== undefined && !isFailing) {
      process.emitWarning(`The key set of ${settings.issuer} cannot be fetched; the last one goes on serving (${reasonOf(cause)})`, {
        code: 'FST_JWT_EXT_KEY_SET',
      })
    }
    isFailing = true
    throw new KeySetUnavailableError(undefined, { cause, hint: reasonOf(cause) })
  }

  async function fetchFor (header: JwtHeader): Promise<readonly Verifier[]> {
    try {
      await load()
    } catch (error) {
      if (keys === undefined) throw error
    }
    const found = lookUp(header)
    if (found.length === 0) notBefore = Date.now() + COOL_DOWN
    return found
  }

  return {
    find (header, now) {
      const found = lookUp(header)
      if (found.length > 0) {
        if (now >= oldAt && now >= notBefore) load().catch(() => {})
        return found
      }
      if (now < notBefore) {
        if (keys === undefined) throw new KeySetUnavailableError()
        return found
      }
      return fetchFor(header)
    },
  }
}

// What is for encryption, of an unknown type or too small is passed over, and the rest of the set works.
function readIssuerKey (jwk: Record<string, unknown>, { algorithms }: IssuerSettings): IssuerKey | undefined {
  const { key_ops: operations, kid } = jwk
  if (Array.isArray(operations) && !operations.includes('verify')) return undefined
  if (kid !== undefined && typeof kid !== 'string') return undefined
  let key: Key
  try {
    key = readPublicKey(jwk, 'A key of the set')
  } catch {
    return undefined
  }
  const fit = algorithms.filter((algorithm) => key.algorithms.includes(algorithm))
  if (fit.length === 0) return undefined
  const verifier = compileVerifier({ object: key.object, algorithms: fit, kid, until: 0 })
  return { id: JSON.stringify([kid, thumbprintOf(key.object), fit]), verifier }
}

function reasonOf (cause: Error): string {
  return cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message
}
