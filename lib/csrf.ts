import { randomUUID, timingSafeEqual } from 'node:crypto'

/** A new value for the double submit. */
export function createCsrfValue (): string {
  return randomUUID()
}

/** Whether two values are the same, in a time that says nothing about where they differ. Their length is no secret. */
export function isSameCsrfValue (expected: string, given: string): boolean {
  const [one, other] = [Buffer.from(expected), Buffer.from(given)]
  return one.length === other.length && timingSafeEqual(one, other)
}
