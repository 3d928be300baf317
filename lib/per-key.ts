import { KeyObject } from 'node:crypto'
import { LRUCache } from 'lru-cache'

// A tenant's key needs a few kilobytes once it is compiled.
const MOST_KEYS = 5000

/**
 * Compiles what loaders return for a key once per key, however often they return it: a `KeyObject` is told apart by
 * itself, and everything else by its content. Bounded, least recently used out first; what throws is not kept.
 */
export function compilePerKey<T extends object> (compile: (value: unknown) => T): (value: unknown) => T {
  const compiled = new LRUCache<string | KeyObject, T>({ max: MOST_KEYS })
  return function compileOnce (value) {
    const key = isRecord(value) ? copyMembers(value) : value
    const id = identify(key)
    if (id === undefined) return compile(key)
    const known = compiled.get(id)
    if (known !== undefined) return known
    const fresh = compile(key)
    compiled.set(id, fresh)
    return fresh
  }
}

// A string stands for itself, since its hash is kept with it. The other forms begin with a NUL and a letter of their own.
function identify (key: unknown): string | KeyObject | undefined {
  if (typeof key === 'string') return key.startsWith('\0') ? `\0s${key}` : key
  if (key instanceof KeyObject) return key
  if (key instanceof Uint8Array) return `\0b${Buffer.from(key).toString('latin1')}`
  return isRecord(key) && Object.values(key).every(isTextOrBytes) ? `\0j${JSON.stringify(key)}` : undefined
}

// All that is read of a JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2), and of { key, passphrase }.
const MEMBERS = ['kty', 'use', 'alg', 'crv', 'n', 'e', 'x', 'y', 'd', 'p', 'q', 'dp', 'dq', 'qi', 'key', 'passphrase'] as const

// The JSON of the object itself would not do: a class may hide members from it, and two keys would be one. Since the
// copy is also what is compiled, two keys with the same copy are the same key.
function copyMembers (value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(MEMBERS.filter((name) => name in value).map((name) => [name, value[name]]))
}

function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof KeyObject) && !(value instanceof Uint8Array)
}

function isTextOrBytes (value: unknown): boolean {
  return typeof value === 'string' || value instanceof Uint8Array
}
