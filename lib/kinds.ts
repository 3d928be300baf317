import { toSeconds } from './durations.js'

/** A kind of value that an option may have. */
export interface Kind<T> {
  /** What it takes, to finish the sentence "option must be …". */
  readonly takes: string
  /** The value as the rest of the code wants it, or `undefined` for a value that is not of this kind. */
  read (value: unknown): T | undefined
}

// RFC 9110 §5.6.2: what a header's name, a scheme, a method and a cookie's name are made of.
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// RFC 6749 §3.3: scope-token, which may stand in a challenge as it is.
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/
// RFC 6265bis §4.1.1: path-value (without '<', which the serializer refuses) and domain-value.
const COOKIE_PATH = /^\/[\x20-\x3a\x3d-\x7e]*$/
const COOKIE_DOMAIN = /^\.?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i

function kind<T> (takes: string, read: (value: unknown) => T | undefined): Kind<T> {
  return { takes, read }
}

function matching (takes: string, pattern: RegExp): Kind<string> {
  return kind(takes, (value) => typeof value === 'string' && pattern.test(value) ? value : undefined)
}

export const flag = kind('true or false', (value) => typeof value === 'boolean' ? value : undefined)

export const text = kind('a string that is not empty', (value) => typeof value === 'string' && value !== '' ? value : undefined)

export const anyText = kind('a string', (value) => typeof value === 'string' ? value : undefined)

export const token = matching('a name of letters, digits and !#$%&\'*+-.^_`|~', TOKEN)

export const scopeToken = matching('one scope: printable ASCII without spaces, double quotes and backslashes', SCOPE_TOKEN)

export const cookiePath = matching("a path that begins with '/'", COOKIE_PATH)

export const cookieDomain = matching("a host name such as 'example.com'", COOKIE_DOMAIN)

export const method = kind('a method such as \'POST\'', (value) => typeof value === 'string' && TOKEN.test(value) ? value.toUpperCase() : undefined)

export const lifetime = kind<number | false>(
  "a positive duration: a number of whole seconds, or text with a unit such as '15m' or '30d'; or false: never",
  (value) => value === false ? false : positiveSeconds(value)
)

export const duration = kind("a positive duration: a number of whole seconds, or text with a unit such as '15m' or '30d'", positiveSeconds)

// Nobody waits for a minute; whoever says more has counted milliseconds.
const LONGEST_WAIT = 60

export const secondsToWait = kind('a positive number of seconds, up to 60, such as 0.25 for 250 milliseconds', (value) =>
  typeof value === 'number' && value > 0 && value <= LONGEST_WAIT ? value : undefined)

export const leeway = kind(
  "a number of seconds, 0 or more, or a duration such as '30s'",
  (value) => typeof value === 'number' ? (Number.isFinite(value) && value >= 0 ? value : undefined) : positiveSeconds(value)
)

export const cacheSize = kind('a whole number of entries, 1 or more, or false', (value) =>
  value === false || (Number.isSafeInteger(value) && (value as number) > 0) ? value as number | false : undefined)

export const callback = kind('a function', (value) => typeof value === 'function' ? value : undefined)

/** Anything but nothing; what it has to be is for others to say. */
export const something = (takes: string): Kind<unknown> => kind(takes, (value) => value === null ? undefined : value)

/** One of a few words. */
export function oneOf<const T extends readonly (string | boolean)[]> (...values: T): Kind<T[number]> {
  const spelled = values.map((value) => typeof value === 'string' ? `'${value}'` : String(value))
  return kind(`one of ${spelled.join(', ')}`, (value) => values.find((known) => known === value))
}

/** A list that is not empty, each value once. */
export function listOf<T> (item: Kind<T>): Kind<readonly T[]> {
  return kind(`a list, not empty, of ${item.takes}`, (value) => readList(item, value))
}

/** One, or a list of them; always read as a list. */
export function oneOrMore<T> (item: Kind<T>): Kind<readonly T[]> {
  return kind(`${item.takes}, or a list of such, not empty`, (value) => readList(item, Array.isArray(value) ? value : [value]))
}

/** One, or a list of them, kept as it was given. */
export function oneOrList<T> (item: Kind<T>): Kind<T | readonly T[]> {
  return kind(oneOrMore(item).takes, (value) => Array.isArray(value) ? readList(item, value) : item.read(value))
}

function readList<T> (item: Kind<T>, value: unknown): readonly T[] | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined
  const items = new Set<T>()
  for (const one of value) {
    const read = item.read(one)
    if (read === undefined) return undefined
    items.add(read)
  }
  return Object.freeze([...items])
}

function positiveSeconds (value: unknown): number | undefined {
  const seconds = toSeconds(value)
  return seconds !== undefined && seconds > 0 ? seconds : undefined
}
