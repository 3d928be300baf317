import { STATUS_CODES } from 'node:http'
import {
  CsrfError, describeFailure, ExpiredTokenError, FreshTokenRequiredError, InsufficientScopeError, InvalidHeaderError,
  InvalidQueryParamError, JwtDecodeError, NoAuthorizationError, RevokedTokenError, UserClaimsVerificationError, UserLookupError, WrongTokenError
} from './errors.js'
import { needsCsrfValue, type GuardDescription } from './route-guards.js'

/** Why a guard may refuse: the failure, in words, and whether this guard ever does. */
const FAILURES: [typeof NoAuthorizationError, string | ((guard: GuardDescription) => string), (guard: GuardDescription, methods: string[]) => boolean][] = [
  [NoAuthorizationError, 'no token', ({ rule }) => !rule.optional],
  [InvalidHeaderError, 'a malformed header', ({ rule }) => rule.locations.includes('headers')],
  [InvalidQueryParamError, 'a malformed query parameter', ({ rule }) => rule.locations.includes('query_string')],
  [CsrfError, 'no CSRF value, or another one', ({ rule, settings }, methods) => rule.locations.includes('cookies') && needsCsrfValue(settings, methods)],
  [JwtDecodeError, 'an invalid token', () => true],
  [WrongTokenError, 'a token of another type', ({ rule }) => rule.verifyType],
  [ExpiredTokenError, 'an expired token', () => true],
  [FreshTokenRequiredError, 'a token that is not fresh', ({ rule }) => rule.fresh],
  [RevokedTokenError, 'a revoked token', ({ rule, settings }) =>
    !rule.skipRevocationCheck && (settings.store !== undefined || settings.tokenInBlocklistLoader !== undefined)],
  [InsufficientScopeError, ({ rule }) => `a token without ${rule.scopes.join(', ')}`, ({ rule }) => rule.scopes.length > 0],
  [InsufficientScopeError, ({ rule }) => `a token without one of the roles ${rule.roles.join(', ')}`, ({ rule }) => rule.roles.length > 0],
  [UserClaimsVerificationError, 'refused claims', ({ settings }) => settings.tokenVerificationLoader !== undefined],
  [UserLookupError, 'an unknown user', ({ settings }) => settings.userLookupLoader !== undefined],
]

/** The refusals of one status. */
interface Refusals {
  readonly reasons: Set<string>
  /** The members that hold the message; `undefined` among them where the application words a body. */
  readonly messageKeys: Set<string | undefined>
  hasChallenge: boolean
}

/**
 * The `response` of a route: the application's own, and how the guards refuse where that says nothing of it. Seen by
 * @fastify/swagger only: as a real schema it would take members out of what loaders and handlers send.
 */
export function describeAnswers (guards: GuardDescription[], methods: string[], own: Record<string, unknown> | undefined): Record<string, unknown> {
  const declared = Object.keys(own ?? {}).map((status) => status.toLowerCase())
  // Fastify serializes our answers by these, too, so that they describe them.
  const isDeclared = (status: number): boolean => [String(status), `${String(status)[0]}xx`, 'default'].some((key) => declared.includes(key))
  const answers: Record<string, unknown> = declared.length === 0 ? { 200: { type: 'null', description: 'Default Response' } } : { ...own }
  for (const [status, refusals] of collectRefusals(guards, methods)) {
    if (!isDeclared(status)) answers[status] = describeAnswer(status, refusals)
  }
  return answers
}

function collectRefusals (guards: GuardDescription[], methods: string[]): Map<number, Refusals> {
  const byStatus = new Map<number, Refusals>()
  function add (status: number, reason: string, messageKey: string | undefined, hasChallenge: boolean): void {
    const refusals = byStatus.get(status) ?? { reasons: new Set(), messageKeys: new Set(), hasChallenge }
    refusals.reasons.add(reason)
    refusals.messageKeys.add(messageKey)
    refusals.hasChallenge ||= hasChallenge
    byStatus.set(status, refusals)
  }
  for (const guard of guards) {
    const { errorProfile, errorMessageKey, throwErrors } = guard.settings
    for (const [Failure, reason, happens] of FAILURES) {
      if (!happens(guard, methods)) continue
      const error = new Failure()
      const { statusCode, challenge } = describeFailure(error, errorProfile)
      const isWorded = throwErrors || (error.loader !== undefined && guard.settings[error.loader] !== undefined)
      add(statusCode, typeof reason === 'string' ? reason : reason(guard), isWorded ? undefined : errorMessageKey, challenge !== undefined)
    }
  }
  return byStatus
}

function describeAnswer (status: number, { reasons, messageKeys, hasChallenge }: Refusals): Record<string, unknown> {
  // Fastify has a body of its own for its 400.
  const keys = status === 400 ? [undefined] : [...messageKeys]
  const bodies = keys.map((key) => key !== undefined && describeBody(key))
  return {
    description: `${STATUS_CODES[status]}: ${[...reasons].join(', ')}`,
    ...(bodies.includes(false) ? { type: 'null' } : { content: { 'application/json': { schema: bodies.length === 1 ? bodies[0] : { anyOf: bodies } } } }),
    ...(hasChallenge && { headers: { 'WWW-Authenticate': { type: 'string', description: 'The challenge (RFC 6750 §3)' } } }),
  }
}

function describeBody (messageKey: string): object {
  return { type: 'object', properties: { [messageKey]: { type: 'string' } }, required: [messageKey] }
}
