import { constants, sign, type KeyObject } from 'node:crypto'
import type { JwtAlgorithm } from '../../index.js'

/** A segment of a token: base64url of JSON, or of the text or bytes as they are. */
export function segment (value: unknown): string {
  const bytes = typeof value === 'string' || value instanceof Uint8Array ? value : JSON.stringify(value)
  return Buffer.from(bytes as string).toString('base64url')
}

/** The three segments of a token. */
export function segmentsOf (token: string): [header: string, payload: string, signature: string] {
  return token.split('.') as [string, string, string]
}

/** The claims that stand in a token, with nothing verified. */
export function claimsOf (token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(segmentsOf(token)[1], 'base64url').toString()) as Record<string, unknown>
}

/** The bytes of a token's signature. */
export function signatureOf (token: string): Buffer {
  return Buffer.from(segmentsOf(token)[2], 'base64url')
}

/** The same token with another signature. */
export function resign (token: string, signature: string | Uint8Array): string {
  const [header, payload] = segmentsOf(token)
  return `${header}.${payload}.${typeof signature === 'string' ? signature : segment(signature)}`
}

/** The signature of an asymmetric algorithm by node:crypto, as RFC 7518 §3 and RFC 8037 write it. */
export function signatureBy (algorithm: JwtAlgorithm, key: KeyObject, input: string): Buffer {
  const hash = algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`
  switch (algorithm.slice(0, 2)) {
    case 'PS': return sign(hash, Buffer.from(input), {
      key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    })
    case 'ES': return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
    default: return sign(hash, Buffer.from(input), key)
  }
}

/** A token by hand, signed by one algorithm whatever its header says. */
export function signToken (algorithm: JwtAlgorithm, key: KeyObject, claims: unknown, header: unknown = { alg: algorithm, typ: 'JWT' }): string {
  const input = `${segment(header)}.${segment(claims)}`
  return `${input}.${segment(signatureBy(algorithm, key, input))}`
}
