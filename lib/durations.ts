import { parse } from '@lukeed/ms'

// One number and one unit. The parser would take a bare number ('15') for milliseconds, and several units in a row, the
// last of which counts ('2msy'); and it takes its time over long texts.
const TEXT = /^-?\d*\.?\d+ *(?:m(?:illiseconds?|s|secs?)|s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:ours?|rs?)?|d(?:ays?)?|w(?:eeks?|ks?)?|y(?:ears?|rs?)?)$/i
const LONGEST_TEXT = 32

// A thousand years: no token is meant to live longer, and sums with a time remain times.
const LONGEST = 1000 * 365.25 * 24 * 60 * 60

/**
 * The whole seconds of a duration: a number of seconds, or text with a unit. `undefined` for what is none: 0,
 * fractions of a second, NaN, Infinity, over a thousand years, text without a unit.
 */
export function toSeconds (duration: unknown): number | undefined {
  let seconds: number | undefined
  if (typeof duration === 'number') {
    seconds = duration
  } else if (typeof duration === 'string' && duration.length <= LONGEST_TEXT && TEXT.test(duration)) {
    const milliseconds = parse(duration)
    if (milliseconds !== undefined) seconds = milliseconds / 1000
  }
  return Number.isInteger(seconds) && seconds !== 0 && Math.abs(seconds!) <= LONGEST ? seconds : undefined
}
