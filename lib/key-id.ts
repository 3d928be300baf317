import { createHash, createHmac, type KeyObject } from 'node:crypto'

// The members that RFC 7638 §3.2 and RFC 8037 §2 hash, in the order of their names.
const THUMBPRINT_MEMBERS = { RSA: ['e', 'kty', 'n'], EC: ['crv', 'kty', 'x', 'y'], OKP: ['crv', 'kty', 'x'] } as const

/** The SHA-256 thumbprint of a key's public half (RFC 7638). */
export function thumbprintOf (key: KeyObject): string {
  const jwk = key.export({ format: 'jwk' })
  const members = THUMBPRINT_MEMBERS[jwk.kty as keyof typeof THUMBPRINT_MEMBERS]
  const canonical = JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]])))
  return createHash('sha256').update(canonical).digest('base64url')
}

const SHORT = 8

/** What tells one secret from another: keyed by the secret itself and cut short, it says no more of it than a token does. */
export function digestOf (secret: KeyObject): string {
  return createHmac('sha256', secret).update('fastify-jwt-extended kid').digest().subarray(0, SHORT).toString('base64url')
}
