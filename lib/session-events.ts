import type { SessionEvent } from '../types/sessions.js'
import { isPromise } from './awaitable.js'
import { messageOf } from './errors.js'

/** Tells the application what happened. */
export type Emit = (event: SessionEvent) => void

/** Makes the way to the application's listener: what that throws must not end a request or the process. */
export function createEmit (listener: Emit | undefined): Emit {
  if (listener === undefined) return () => {}
  return function emit (event) {
    try {
      const result: unknown = listener(Object.freeze(event))
      if (isPromise(result)) Promise.resolve(result).then(undefined, warn)
    } catch (error) {
      warn(error)
    }
  }
}

function warn (error: unknown): void {
  process.emitWarning(`onSessionEvent failed: ${messageOf(error)}`, { code: 'FST_JWT_EXT_EVENT' })
}
