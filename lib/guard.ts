import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, RequestPayload } from 'fastify'
import type { JwtGuard } from '../types/manager.js'
import type { Answer } from './answer.js'
import { isPromise } from './awaitable.js'
import { JwtUsageError } from './errors.js'
import type { Judge, Verdict } from './judge.js'
import { markPrivate } from './query-answer.js'

/** Makes the hook that lets a request in or answers it. With synchronous parts only, no promise is made. */
export function createGuard ({ judge, readsQuery }: Judge, answer: Answer): JwtGuard {
  function guard (
    request: FastifyRequest, reply: FastifyReply, third: HookHandlerDoneFunction | RequestPayload, fourth?: HookHandlerDoneFunction
  ): void {
    // preParsing hooks get the payload in front of `done`.
    const done = typeof third === 'function' ? third : fourth
    if (done === undefined) throw new JwtUsageError('A guard is a hook, and no function to call; in a hook of your own: await request.verifyJwt(rule)')
    let verdict: Verdict | PromiseLike<Verdict>
    try {
      verdict = judge(request, reply)
    } catch (error) {
      answer(error, request, reply, done)
      return
    }
    // `done` runs the rest of the request: it must not be called inside the `try`.
    if (isPromise(verdict)) {
      verdict.then(
        (settled) => { admit(settled, reply, done) },
        (error: unknown) => { answer(error, request, reply, done) }
      )
    } else {
      admit(verdict, reply, done)
    }
  }

  function admit (verdict: Verdict, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    if (readsQuery && verdict !== null && verdict.location === 'query_string') markPrivate(reply)
    done()
  }

  Object.defineProperty(guard, 'then', { value: refuseToWait })
  return guard as JwtGuard
}

// A hook that makes a guard, `async () => app.jwtRequired()`, would let everybody in: Fastify waits for what a hook
// returns, and goes on. Whoever waits for a guard is told so instead, and the route stays closed.
function refuseToWait (_resolve: unknown, reject: (error: Error) => void): void {
  reject(new JwtUsageError(
    'A guard is a hook, and nothing to wait for or to return from one: give it to Fastify as it is, onRequest: app.jwtRequired(); ' +
    'in a hook of your own: await request.verifyJwt(rule)'
  ))
}
