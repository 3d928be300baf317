import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'

/** A new value for the double submit. */
export function createCsrfValue (): string {
  return randomUUID()
}

/** Whether two values are the same, in a time that says nothing about where or whether they differ. */
export function isSameCsrfValue (expected: string, given: string): boolean {
  return timingSafeEqual(digest(expected), digest(given))
}

// Equal lengths are what timingSafeEqual needs; a hash gives them without telling the length of either.
function digest (value: string): Buffer {
  return createHash('sha256').update(value).digest()
}
