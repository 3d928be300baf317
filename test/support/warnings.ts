import { once } from 'node:events'
import type { Test } from 'tap'

/**
 * Collects the process warnings of one code until the test ends. They are told on a later tick: what comes back gives the
 * messages of those that there were since it was called last.
 */
export function collectWarnings (t: Test, code: string): () => Promise<string[]> {
  const messages: string[] = []
  const listen = (warning: Error & { code?: string }): void => {
    if (warning.code === code) messages.push(warning.message)
  }
  process.on('warning', listen)
  t.teardown(() => process.off('warning', listen))
  return async () => {
    const told = once(process, 'warning')
    process.emitWarning('that is all')
    await told
    await new Promise(setImmediate)
    return messages.splice(0)
  }
}
