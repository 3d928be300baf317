import type { FastifyReply, FastifyRequest } from 'fastify'
import { isPromise } from './awaitable.js'
import { applyProfile, describeFailure, isRefusal, JwtUsageError } from './errors.js'
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
    applyProfile(error, errorProfile)
    const { message } = error
    // Not what stands on the error: one that an application throws may be frozen.
    const { statusCode, headers } = describeFailure(error, errorProfile)
    request.log.info({ code: error.code, hint: error.hint }, message)
    reply.headers(headers)
    if (error.endedCookieSession === true) clearCookies(reply)
    if (throwErrors) {
      next(error)
      return
    }
    // A hook before this one may have said what type the route's own answer has.
    reply.code(statusCode).removeHeader('Content-Type')
    try {
      const body = error.loader && settings[error.loader]?.(error, request, reply)
      if (body !== reply && isPromise(body)) Promise.resolve(body).then(send).then(undefined, fail)
      else send(body)
    } catch (thrown) {
      fail(thrown)
    }

    function send (given: unknown): void {
      if (given === reply || reply.sent) return
      reply.send(given === undefined ? { [errorMessageKey]: message } : given)
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
  return thrown instanceof Error ? thrown : new JwtUsageError('A loader threw something that is no Error', thrown)
}
