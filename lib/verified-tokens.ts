import { LRUCache } from 'lru-cache'

/** What is kept of a token: at least its text. */
interface Entry {
  readonly text: string
}

/** Tokens that were found good, by their exact text; bounded, least recently used out first. */
export interface VerifiedTokens<E extends Entry> {
  get (text: string): E | undefined
  /** Keeps it where there is room, and where there is none, from the second time on. */
  set (entry: E): void
  delete (text: string): void
}

// A map hashes its keys whole, at a nanosecond or two a character; to compare two texts costs a tenth of that. The end
// of a token is its signature's, so that no two good tokens share it.
const KEY_LENGTH = 32

/** Makes the memory of up to `size` tokens. */
export function createVerifiedTokens<E extends Entry> (size: number): VerifiedTokens<E> {
  const entries = new LRUCache<string, E>({ max: size })
  // Once there is no room, a token must have been seen before to drive another one out. So those that come once do not
  // turn the memory over, at a price higher than that of verifying them without one. A mark may be overwritten or
  // mistaken for another's: it decides what is worth keeping, never what is good.
  const seen = new Uint32Array(2 ** Math.ceil(Math.log2(size)))

  function wasSeen (key: string): boolean {
    let mark = 0
    for (let i = 0; i < key.length; i++) mark = Math.imul(mark, 31) + key.charCodeAt(i)
    const slot = mark & (seen.length - 1)
    mark >>>= 0
    if (seen[slot] === mark) return true
    seen[slot] = mark
    return false
  }

  return {
    get (text) {
      const entry = entries.get(text.slice(-KEY_LENGTH))
      return entry !== undefined && entry.text === text ? entry : undefined
    },
    set (entry) {
      const key = entry.text.slice(-KEY_LENGTH)
      if (entries.size < size || wasSeen(key)) entries.set(key, entry)
    },
    delete (text) {
      entries.delete(text.slice(-KEY_LENGTH))
    },
  }
}
