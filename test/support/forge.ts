import { createHmac } from 'node:crypto'
import { SECRET } from './app.js'

function encode (value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
}

/**
 * A token written by hand with node:crypto, whatever stands in it: claims and header may be objects or raw text.
 * HMAC only; `alg` decides the hash, and the signature is HS256 where `alg` is something else.
 */
export function forge (claims: unknown, header: unknown = { alg: 'HS256', typ: 'JWT' }, secret: string | Buffer = SECRET): string {
  const alg = typeof header === 'object' && header !== null && 'alg' in header ? String(header.alg) : 'HS256'
  const hash = /^HS(256|384|512)$/.test(alg) ? `sha${alg.slice(2)}` : 'sha256'
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`
}
