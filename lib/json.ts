import { types } from 'node:util'
import { isPromise } from './awaitable.js'
import { JwtUsageError } from './errors.js'

/**
 * A value as JSON writes it: whatever it has of a `toJSON` has spoken then. `undefined` for what JSON has no word for.
 *
 * @param what what the value is, for the message
 * @throws {JwtUsageError} for what JSON would lose or change in silence: it must not look as if it had been signed.
 */
export function toJson (value: unknown, what: string): unknown {
  try {
    const json = JSON.stringify(value, refuseLoss) as string | undefined
    return json === undefined ? undefined : JSON.parse(json)
  } catch (cause) {
    throw new JwtUsageError(`${what} cannot be written as JSON: ${(cause as Error).message.split('\n', 1)[0]}`, cause)
  }
}

function refuseLoss (this: unknown, name: string, value: unknown): unknown {
  const lost = typeof value === 'function' || typeof value === 'symbol' ||
    (typeof value === 'number' && !Number.isFinite(value)) ||
    (value === undefined && Array.isArray(this)) ||
    types.isMap(value) || types.isSet(value) || isPromise(value)
  if (lost) throw new TypeError(`'${name}' holds what JSON cannot`)
  return value
}
