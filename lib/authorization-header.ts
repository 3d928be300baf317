import { InvalidHeaderError } from './errors.js'

/** Reads tokens out of a header's value, as `<scheme> <token>` in a comma-separated list (RFC 9110 §11.6.2). */
export interface HeaderReader {
  /** The token, or `undefined` where the header holds none. */
  read (value: string | string[] | undefined): string | undefined
  /** Why it holds none. */
  absence (value: string | string[] | undefined): string
}

const SPACES = /\s+/

/** Compiles the reader for a header's name and scheme; the scheme `''` stands for the bare token. */
export function createHeaderReader (name: string, scheme: string): HeaderReader {
  const missing = `Missing ${name} Header`
  if (scheme === '') {
    return {
      absence: () => missing,
      read (value) {
        const words = trim(value).split(SPACES)
        if (words[0] === '') return undefined
        if (words.length > 1) throw new InvalidHeaderError(`Bad ${name} header. Expected '${name}: <JWT>'`)
        return words[0]
      },
    }
  }

  const start = `${scheme} `
  const wanted = scheme.toLowerCase()
  const bad = `Bad ${name} header. Expected '${name}: ${scheme} <JWT>'`

  function readFields (value: string | string[] | undefined): string | undefined {
    // Exactly one field of the scheme: where there are two, nobody can say which one was meant.
    let found: string[] | undefined
    for (const field of trim(value).split(',')) {
      const words = field.trim().split(SPACES)
      if (words[0]!.toLowerCase() !== wanted) continue
      if (found !== undefined) return undefined
      found = words
    }
    if (found === undefined) return undefined
    if (found.length !== 2) throw new InvalidHeaderError(bad)
    return found[1]
  }

  return {
    absence: (value) => trim(value) === ''
      ? missing
      : `Missing '${scheme}' type in '${name}' header. Expected '${name}: ${scheme} <JWT>'`,
    read (value) {
      if (value === undefined) return undefined
      // The common header is recognised by position; anything else about it goes the long way.
      if (typeof value === 'string' && value.startsWith(start) && isOneWord(value, start.length)) {
        return value.slice(start.length)
      }
      return readFields(value)
    },
  }
}

function isOneWord (value: string, from: number): boolean {
  return value.length > from && value.indexOf(' ', from) === -1 && value.indexOf(',', from) === -1 && value.indexOf('\t', from) === -1
}

function trim (value: string | string[] | undefined): string {
  // A header may have a name that every object has a member of, such as `constructor`: that member is no header.
  if (typeof value !== 'string' && !Array.isArray(value)) return ''
  const text = (typeof value === 'string' ? value : value.join(',')).trim()
  let start = 0
  let end = text.length
  while (start < end && text[start] === ',') start++
  while (end > start && text[end - 1] === ',') end--
  return text.slice(start, end).trim()
}
