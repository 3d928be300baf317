import { LRUCache } from 'lru-cache'

// A tenant's key needs a few kilobytes once it is compiled.
const MOST_KEYS = 5000

/**
 * Compiles what loaders return for a key once per key, however often they return it: text and bytes are told apart by
 * their content, a `KeyObject` by itself. Bounded, least recently used out first; what throws is not kept.
 */
export function compilePerKey<T extends object> (compile: (value: unknown) => T): (value: unknown) => T {
  const compiled = new LRUCache<string | object, T>({ max: MOST_KEYS })
  return function compileOnce (value) {
    const id = identify(value)
    if (id === undefined) return compile(value)
    const known = compiled.get(id)
    if (known !== undefined) return known
    const fresh = compile(value)
    compiled.set(id, fresh)
    return fresh
  }
}

// A string stands for itself, since its hash is kept with it. The other forms begin with a NUL and a letter of their own.
function identify (value: unknown): string | object | undefined {
  if (typeof value === 'string') return value.startsWith('\0') ? `\0s${value}` : value
  if (typeof value !== 'object' || value === null) return undefined
  if (value instanceof Uint8Array) return `\0b${Buffer.from(value).toString('latin1')}`
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null ? `\0j${JSON.stringify(value)}` : value
}
