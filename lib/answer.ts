import type { FastifyReply, FastifyRequest } from 'fastify'
import { isPromise } from './awaitable.js'
import { applyProfile, isRefusal, JwtUsageError } from './errors.js'
import type { Settings } from './settings.js'

/** Answers the request that an error refuses, or hands the error on to `next`. */
export type Answer = (error: unknown, request: FastifyRequest, reply: FastifyReply, next: (error: Error) => void) => void

/** Makes the answers of a configuration: the body from the failure's loader or the message, the status, the challenge. */
export function createAnswer (settings: Settings, clearCookies: (reply: FastifyReply) => void): Answer {
  const { errorProfile, errorMessageKey, throwErrors } = settings

  return function answer (error, request, reply, next) {
    if (!isRefusal(error)) {
      next(asError(error))
      return
    }
    const { message } = error
    const { statusCode, headers } = applyProfile(error, errorProfile)
    request.log.info({ code: error.code, hint: error.hint }, message)
    reply.headers(headers)
    if (error.endedCookieSession === true) clearCookies(reply)
    if (throwErrors) {
      next(error)
      return
    }
    // Only on the response itself: to the reply, that is no status yet, so that a loader's redirect() finds its own.
    reply.raw.statusCode = statusCode
    // A hook before this one may have said what type the route's own answer has.
    reply.removeHeader('Content-Type')
    try {
      const body = error.loader && settings[error.loader]?.(error, request, reply)
      if (body !== reply && isPromise(body)) Promise.resolve(body).then(send).then(undefined, fail)
      else send(body)
    } catch (thrown) {
      fail(thrown)
    }

    function send (given: unknown): void {
      if (given === reply || reply.sent) return
      reply.code(reply.statusCode).send(given === undefined ? { [errorMessageKey]: message } : given)
    }

    // The refusal's own status and challenge must not stand over the answer to the loader's mistake.
    function fail (thrown: unknown): void {
      reply.code(200)
      reply.removeHeader('WWW-Authenticate')
      next(asError(thrown))
    }
  }
}

// A hook that ends with nothing lets the request in, so that what was thrown must be something.
function asError (thrown: unknown): Error {
  if (thrown instanceof Error) return thrown
  const error = new JwtUsageError('A loader threw something that is no Error', thrown)
  const status = typeof thrown === 'object' && thrown !== null && 'statusCode' in thrown ? thrown.statusCode : undefined
  if (typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599) error.statusCode = status
  return error
}
