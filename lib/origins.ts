import type { FastifyRequest } from 'fastify'
import { CsrfError } from './errors.js'
import { oneOrMore, type Kind } from './kinds.js'

const origin: Kind<string> = {
  takes: "the origin of a page, such as 'https://app.example.com', without a path",
  read: (value) => typeof value === 'string' && isOrigin(value) ? value : undefined,
}

/** The pages that may do what others must not. */
export const originNames = oneOrMore(origin)

// Compared as text, so that only what a browser would write can ever match.
function isOrigin (text: string): boolean {
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text
}

/**
 * Refuses a WebSocket that a page opens with the user's cookies without being one of those allowed, or of the same
 * origin where none are named. No other rule of browsers stops such a page (RFC 6455 §10.2).
 *
 * @throws {CsrfError} also without an `Origin`, which every browser sends.
 */
export function assertOrigin (request: FastifyRequest, allowed: readonly string[] | undefined): void {
  const { upgrade, origin } = request.headers
  if (upgrade === undefined || !upgrade.toLowerCase().includes('websocket')) return
  if (origin !== undefined && (allowed === undefined ? isSameOrigin(origin, request) : allowed.includes(origin))) return
  throw new CsrfError('Origin is not allowed', { hint: `the origin is ${origin ?? 'not given'}` })
}

// Behind a proxy that ends TLS, and without `trustProxy`, a server takes https for http, but never http for https.
function isSameOrigin (origin: string, { host, protocol }: FastifyRequest): boolean {
  return origin === `https://${host}` || (protocol === 'http' && origin === `http://${host}`)
}
