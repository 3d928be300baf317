import type { FastifyReply } from 'fastify'

// The replies whose `Cache-Control` is ours and not the application's.
const marked = new WeakSet<object>()

/** The answer to a token in a URL is for one client only (RFC 6750 §2.3); what the application set stays. */
export function markPrivate (reply: FastifyReply): void {
  if (reply.hasHeader('Cache-Control')) return
  reply.header('Cache-Control', 'private')
  marked.add(reply)
}

/** Whether a reply still carries the header that `markPrivate` gave it. */
export function isMarkedPrivate (reply: FastifyReply): boolean {
  return marked.has(reply) && reply.getHeader('Cache-Control') === 'private'
}
