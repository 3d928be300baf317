import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, RequestPayload } from 'fastify'
import type { JwtGuard } from '../types/manager.js'
import type { Answer } from './answer.js'
import { isPromise } from './awaitable.js'
import { JwtUsageError } from './errors.js'
import type { Judge, Verdict } from './judge.js'
import { markPrivate } from './query-answer.js'

const bodyReaders = new WeakSet<object>()

/** Makes the hook that lets a request in or answers it. With synchronous parts only, no promise is made. */
export function createGuard ({ judge, needBody, readsQuery }: Judge, answer: Answer): JwtGuard {
  function guard (
    request: FastifyRequest, reply: FastifyReply, third: HookHandlerDoneFunction | RequestPayload, fourth?: HookHandlerDoneFunction
  ): void {
    // preParsing hooks get the payload in front of `done`.
    const done = typeof third === 'function' ? third : fourth!
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

  if (needBody) bodyReaders.add(guard)
  return guard as JwtGuard
}

/** The hooks of a route, as Fastify's `onRoute` shows them. */
export interface RouteHooks {
  method: string | string[]
  url: string
  onRequest?: unknown
  preParsing?: unknown
}

/** @throws {JwtUsageError} for a route whose guard reads the body in a hook that has none yet. */
export function assertBodyIsThere (route: RouteHooks): void {
  for (const hook of ['onRequest', 'preParsing'] as const) {
    const hooks: unknown[] = [route[hook]].flat()
    if (!hooks.some((one) => typeof one === 'function' && bodyReaders.has(one))) continue
    throw new JwtUsageError(
      `The ${hook} guard of ${[route.method].flat().join(', ')} ${route.url} reads the body, which is not parsed yet there; ` +
      'use it as a preValidation or preHandler hook'
    )
  }
}
