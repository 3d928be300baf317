import { parse } from '@lukeed/ms'

// A bare number of text ('15') would be milliseconds to the parser and seconds to the reader.
const UNIT = /[a-z]$/i

/**
 * The whole seconds of a duration: a number of seconds, or text with a unit. `undefined` for what is none: 0,
 * fractions of a second, NaN, Infinity, text without a unit.
 */
export function toSeconds (duration: unknown): number | undefined {
  let seconds: number | undefined
  if (typeof duration === 'number') {
    seconds = duration
  } else if (typeof duration === 'string' && UNIT.test(duration)) {
    const milliseconds = parse(duration)
    if (milliseconds !== undefined) seconds = milliseconds / 1000
  }
  return Number.isSafeInteger(seconds) && seconds !== 0 ? seconds : undefined
}
