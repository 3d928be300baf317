import createError from '@fastify/error'
import type { DeepReadonly, JwtHeader, JwtPayload, TokenPayload } from '../types/claims.js'
import type { JwtFailure } from '../types/failure.js'

/** Whose statuses an answer carries: Flask-JWT-Extended's or RFC 6750's. */
export type ErrorProfile = 'flask' | 'rfc6750'

/** The loader that may word the answer to a failure. */
export type AnswerLoaderName =
  | 'expiredTokenLoader' | 'insufficientScopeLoader' | 'invalidTokenLoader' | 'needsFreshTokenLoader' | 'revokedTokenLoader'
  | 'tokenVerificationFailedLoader' | 'unauthorizedLoader' | 'userLookupErrorLoader'

/** What an error may be given about the token it refuses. */
export interface ErrorContext {
  jwtHeader?: DeepReadonly<JwtHeader>
  /** As it was handed out, or as it came: what is refused may hold other claims than were declared. */
  jwtPayload?: DeepReadonly<JwtPayload> | DeepReadonly<TokenPayload>
  /** A word for the log that the client does not get. */
  hint?: string
  /** The session of a token that came by cookie has ended: its cookies are good for nothing any more. */
  endedCookieSession?: boolean
  /** The scopes that the request needs, separated by spaces, for the challenge. */
  neededScope?: string
  cause?: unknown
}

/** The base of every error that refuses a request. */
export class JwtError extends Error implements JwtFailure {
  declare code: string
  declare statusCode: number
  declare readonly challenge: string | undefined
  /** What the answer, or Fastify's default error handler, sends along. */
  declare readonly headers: Readonly<Record<string, string>>
  declare readonly jwtHeader: DeepReadonly<JwtHeader> | undefined
  declare readonly jwtPayload: DeepReadonly<JwtPayload> | undefined
  /** A word for the log that the client does not get. */
  declare readonly hint: string | undefined
  declare readonly endedCookieSession: boolean | undefined
  /** The `scope` of the challenge (RFC 6750 §3). */
  declare readonly neededScope: string | undefined
  /** The loader that may word the answer. */
  declare readonly loader: AnswerLoaderName | undefined
  /** The status in either profile. */
  declare readonly statuses: Readonly<Record<ErrorProfile, number>>
  /** The `error` of the challenge; absent where no credentials came (RFC 6750 §3.1). */
  declare readonly challengeError: string | undefined
  /** Whether the challenge belongs to the answer in either profile, though the status is no 401. */
  declare readonly alwaysChallenges: boolean | undefined
  /** Seconds after which it is worth trying again. */
  declare readonly retryAfter: number | undefined
}

interface ErrorKind {
  code: string
  flask: number
  rfc6750: number
  challengeError?: string
  alwaysChallenges?: boolean
  retryAfter?: number
  loader?: AnswerLoaderName
  message: string
}

// A property that loggers do not serialise: the payload holds the CSRF value and personal data.
function defineHidden (error: JwtError, name: keyof JwtError, value: unknown): void {
  Reflect.defineProperty(error, name, { value, enumerable: false, configurable: true, writable: true })
}

interface JwtErrorConstructor {
  new (message?: string, context?: ErrorContext): JwtError
}

function defineError (kind: ErrorKind): JwtErrorConstructor {
  const Base = createError<[string]>(`FST_JWT_EXT_${kind.code}`, '%s', kind.flask, JwtError as unknown as ErrorConstructor)
  class RefusedRequest extends Base {
    constructor (message = kind.message, context: ErrorContext = {}) {
      super(message)
      this.name = new.target.name
      const error = this as unknown as JwtError
      defineHidden(error, 'jwtHeader', context.jwtHeader)
      defineHidden(error, 'jwtPayload', context.jwtPayload)
      defineHidden(error, 'hint', context.hint)
      defineHidden(error, 'endedCookieSession', context.endedCookieSession)
      defineHidden(error, 'neededScope', context.neededScope)
      if (context.cause !== undefined) defineHidden(error, 'cause', context.cause)
      applyProfile(error, 'flask')
    }
  }
  Object.defineProperties(RefusedRequest.prototype, {
    loader: { value: kind.loader },
    statuses: { value: Object.freeze({ flask: kind.flask, rfc6750: kind.rfc6750 }) },
    challengeError: { value: kind.challengeError },
    alwaysChallenges: { value: kind.alwaysChallenges },
    retryAfter: { value: kind.retryAfter },
  })
  return RefusedRequest as unknown as JwtErrorConstructor
}

/** No location holds a token. */
export class NoAuthorizationError extends defineError({
  code: 'NO_AUTHORIZATION', flask: 401, rfc6750: 401,
  loader: 'unauthorizedLoader', message: 'Missing Authorization Header',
}) {}

/** The header names the scheme, but what follows is not one token. */
export class InvalidHeaderError extends defineError({
  code: 'INVALID_HEADER', flask: 422, rfc6750: 400, challengeError: 'invalid_request',
  loader: 'invalidTokenLoader', message: "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'",
}) {}

/** The query parameter is there, but it is not one value with the configured prefix. */
export class InvalidQueryParamError extends defineError({
  code: 'INVALID_QUERY_PARAM', flask: 422, rfc6750: 400, challengeError: 'invalid_request',
  loader: 'invalidTokenLoader', message: 'Invalid value for query parameter',
}) {}

/** The token came by cookie, and the CSRF value is missing or another one, or a page that may not opens a WebSocket. */
export class CsrfError extends defineError({
  code: 'CSRF', flask: 401, rfc6750: 403, challengeError: 'invalid_token',
  loader: 'unauthorizedLoader', message: 'CSRF double submit tokens do not match',
}) {}

/** The token is malformed, forged, not for us, or not valid yet. */
export class JwtDecodeError extends defineError({
  code: 'INVALID_TOKEN', flask: 422, rfc6750: 401, challengeError: 'invalid_token',
  loader: 'invalidTokenLoader', message: 'Invalid token',
}) {}

/** A token of another type than the route takes. */
export class WrongTokenError extends defineError({
  code: 'WRONG_TYPE', flask: 422, rfc6750: 401, challengeError: 'invalid_token',
  loader: 'invalidTokenLoader', message: 'Only access tokens are allowed',
}) {}

/** The token has expired. */
export class ExpiredTokenError extends defineError({
  code: 'EXPIRED', flask: 401, rfc6750: 401, challengeError: 'invalid_token',
  loader: 'expiredTokenLoader', message: 'Token has expired',
}) {}

/** The token is not fresh, and a fresh one is needed (RFC 9470 §3). */
export class FreshTokenRequiredError extends defineError({
  code: 'FRESH_REQUIRED', flask: 401, rfc6750: 401, challengeError: 'insufficient_user_authentication',
  loader: 'needsFreshTokenLoader', message: 'Fresh token required',
}) {}

/** The token lacks a scope or a role that the route needs (RFC 6750 §3.1). */
export class InsufficientScopeError extends defineError({
  code: 'INSUFFICIENT_SCOPE', flask: 403, rfc6750: 403, challengeError: 'insufficient_scope', alwaysChallenges: true,
  loader: 'insufficientScopeLoader', message: 'Missing scope',
}) {}

/** The token has been revoked. */
export class RevokedTokenError extends defineError({
  code: 'REVOKED', flask: 401, rfc6750: 401, challengeError: 'invalid_token',
  loader: 'revokedTokenLoader', message: 'Token has been revoked',
}) {}

/** `userLookupLoader` found no user for the token. */
export class UserLookupError extends defineError({
  code: 'USER_LOOKUP', flask: 401, rfc6750: 401, challengeError: 'invalid_token',
  loader: 'userLookupErrorLoader', message: 'Error loading the user',
}) {}

/** `tokenVerificationLoader` refused the token's claims. */
export class UserClaimsVerificationError extends defineError({
  code: 'CLAIMS_REFUSED', flask: 400, rfc6750: 403, challengeError: 'insufficient_scope',
  loader: 'tokenVerificationFailedLoader', message: 'User claims verification failed',
}) {}

/** The store of sessions and revoked tokens failed or was late. */
export class StoreUnavailableError extends defineError({
  code: 'STORE_UNAVAILABLE', flask: 503, rfc6750: 503, retryAfter: 1, message: 'Token store unavailable',
}) {}

/** The key set of the token's issuer could not be fetched yet. */
export class KeySetUnavailableError extends defineError({
  code: 'KEY_SET_UNAVAILABLE', flask: 503, rfc6750: 503, retryAfter: 10, message: 'Key set of the issuer unavailable',
}) {}

/** Whether an error is one of the classes above. Their base class alone says nothing of an answer. */
export function isRefusal (error: unknown): error is JwtError {
  return error instanceof JwtError && 'statuses' in error
}

/** The application uses the plugin wrongly: an option, a key, a call or what a loader returned. */
export class JwtUsageError extends createError<[string]>('FST_JWT_EXT_USAGE', '%s', 500) {
  constructor (message: string, cause?: unknown) {
    super(message)
    this.name = 'JwtUsageError'
    if (cause !== undefined) Object.defineProperty(this, 'cause', { value: cause, enumerable: false })
  }
}

/** Only a literal yes or no counts: a truthy something is a mistake, and a mistake is no permission. @throws {JwtUsageError} */
export function assertBoolean (answer: unknown, source: string): asserts answer is boolean {
  if (typeof answer === 'boolean') return
  throw new JwtUsageError(`${source} must return true or false, not ${answer === null ? 'null' : typeof answer}`)
}

/** What was thrown, in words: it need not be an error, nor have a text. */
export function messageOf (thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message
  return typeof thrown === 'string' ? thrown : 'something that is no Error was thrown'
}

/** Tells an error which verified token it is about. */
export function addToken<E extends JwtError> (error: E, jwtHeader: DeepReadonly<JwtHeader>, jwtPayload: DeepReadonly<TokenPayload>): E {
  defineHidden(error, 'jwtHeader', jwtHeader)
  defineHidden(error, 'jwtPayload', jwtPayload)
  return error
}

const LONGEST_DESCRIPTION = 200

// RFC 6750 §3: error_description and scope are %x20-21 / %x23-5B / %x5D-7E. Anything else could end the quoted string or the
// header, and some of it comes from the client.
function quotable (text: string): string {
  return text.replaceAll('"', "'").replaceAll(/[^\x20-\x5b\x5d-\x7e]/g, '?')
}

function challengeOf (error: JwtError, profile: ErrorProfile): string | undefined {
  const status = error.statuses[profile]
  if (status !== 401 && error.alwaysChallenges !== true && (profile === 'flask' || status > 403)) return undefined
  if (error.challengeError === undefined) return 'Bearer'
  const scope = error.neededScope === undefined ? '' : `scope="${quotable(error.neededScope)}", `
  return `Bearer error="${error.challengeError}", ${scope}error_description="${quotable(error.message.slice(0, LONGEST_DESCRIPTION))}"`
}

/** What an error is in a profile: the status, the challenge, and the headers of the answer. */
export function describeFailure (error: JwtError, profile: ErrorProfile): Pick<JwtError, 'statusCode' | 'challenge' | 'headers'> {
  const challenge = challengeOf(error, profile)
  return {
    statusCode: error.statuses[profile],
    challenge,
    headers: {
      ...(challenge !== undefined && { 'www-authenticate': challenge }),
      ...(error.retryAfter !== undefined && { 'retry-after': String(error.retryAfter) }),
    },
  }
}

/** Gives an error what it is in a profile, and says what that is. One that an application throws may be frozen, and stays as it is. */
export function applyProfile (error: JwtError, profile: ErrorProfile): ReturnType<typeof describeFailure> {
  const description = describeFailure(error, profile)
  Reflect.set(error, 'statusCode', description.statusCode)
  defineHidden(error, 'challenge', description.challenge)
  defineHidden(error, 'headers', description.headers)
  return description
}
