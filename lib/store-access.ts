import type { DeepReadonly, TokenPayload } from '../types/claims.js'
import type { TokenStore } from '../types/store.js'
import { isPromise } from './awaitable.js'
import { messageOf, StoreUnavailableError } from './errors.js'
import type { Emit } from './session-events.js'

/**
 * Asks the store within its time limit. What a store answers at once is given at once; a store that throws, rejects
 * or is late is a {@link StoreUnavailableError}. A late answer is dropped.
 */
export type AskStore = <T>(question: (store: TokenStore) => T | PromiseLike<T>) => T | PromiseLike<T>

/** Makes the one way to a store. @param timeout in seconds */
export function createStoreAccess (store: TokenStore, timeout: number, emit: Emit): AskStore {
  function unavailable (cause: unknown): StoreUnavailableError {
    const error = cause instanceof Error ? cause : new Error(messageOf(cause))
    emit({ type: 'store_unavailable', error })
    return new StoreUnavailableError(undefined, { cause: error })
  }

  return function askStore<T> (question: (store: TokenStore) => T | PromiseLike<T>) {
    let answer: T | PromiseLike<T>
    try {
      answer = question(store)
    } catch (error) {
      throw unavailable(error)
    }
    return isPromise(answer) ? within(answer) : answer
  }

  function within<T> (answer: PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let isOver = false
      function giveUp (): void {
        if (isOver) return
        isOver = true
        reject(unavailable(new Error('The store was late')))
      }
      // Where the process itself stood still, the answer may be there already: timers come before what was received.
      const timer = setTimeout(() => { setImmediate(giveUp) }, timeout * 1000)
      Promise.resolve(answer).then(
        (value) => {
          isOver = true
          clearTimeout(timer)
          resolve(value)
        },
        (error: unknown) => {
          clearTimeout(timer)
          if (isOver) return
          isOver = true
          reject(unavailable(error))
        }
      )
    })
  }
}

const YEAR = 365 * 24 * 60 * 60 * 1000

// Milliseconds that stand for forever: nobody will ask after them.
const FOREVER = 100 * YEAR

/**
 * For how many milliseconds a store must be told to keep the epoch on account of a token without a session. `undefined`
 * for one that dies within a year of its making: a store keeps each epoch for longer than that untold.
 */
export function keepEpochFor ({ iat, exp }: DeepReadonly<TokenPayload>, leeway: number, now: number): number | undefined {
  if (exp === undefined) return FOREVER
  const end = (exp + leeway) * 1000
  const isBrief = iat !== undefined && end - Math.min(iat * 1000, now) <= YEAR
  return isBrief || end <= now ? undefined : Math.min(Math.ceil(end - now), FOREVER)
}

// A mark must not end before its token does by the clock of another instance, which may be behind.
const CLOCK_MARGIN = 60_000

/** For how many milliseconds a store must remember that a token is good for nothing any more. */
export function keepMarkFor ({ exp }: DeepReadonly<TokenPayload>, leeway: number): number {
  const left = exp === undefined ? FOREVER : (exp + leeway) * 1000 - Date.now()
  return Math.max(Math.ceil(left), 0) + CLOCK_MARGIN
}
