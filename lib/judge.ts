import type { FastifyReply, FastifyRequest } from 'fastify'
import type { DeepReadonly, JwtHeader, TokenLocation, TokenPayload } from '../types/claims.js'
import type { TokenPredicate } from '../types/options.js'
import { isPromise } from './awaitable.js'
import { asDeclared, isExpired } from './claims.js'
import type { Codec, VerifiedToken } from './codec.js'
import { isSameCsrfValue } from './csrf.js'
import {
  assertBoolean, CsrfError, ExpiredTokenError, FreshTokenRequiredError, JwtDecodeError, RevokedTokenError, StoreUnavailableError,
  UserClaimsVerificationError, UserLookupError, WrongTokenError
} from './errors.js'
import { compileRoleCheck, compileScopeCheck } from './grants.js'
import { nameIdentity } from './identity.js'
import { compileLocations } from './locations.js'
import { anonymousState, setState, type Owner, type RequestState } from './request-state.js'
import type { Rule } from './rule.js'
import type { Settings } from './settings.js'
import type { SingleUse } from './single-use.js'
import { keepEpochFor, type AskStore } from './store-access.js'

/** The token of a request that passed, or `null` where there was none to judge. */
export type Verdict = {
  readonly jwtHeader: DeepReadonly<JwtHeader>
  readonly jwtPayload: DeepReadonly<TokenPayload>
  readonly location: TokenLocation
} | null

/** Judges requests by one rule. */
export interface Judge {
  /** Whether a token may come in the URL. */
  readonly readsQuery: boolean
  /** Throws, or rejects with, the error that refuses the request. A promise only where something had to be waited for. */
  judge (request: FastifyRequest, reply: FastifyReply | undefined): Verdict | PromiseLike<Verdict>
}

/** The case of one request: what the checks look at. */
class Case implements RequestState {
  user: unknown = null
  readonly jwtHeader: DeepReadonly<JwtHeader>
  readonly jwtPayload: DeepReadonly<TokenPayload>
  readonly identity: unknown
  readonly isForeign: boolean
  constructor (
    readonly request: FastifyRequest,
    readonly location: TokenLocation,
    readonly now: number,
    token: VerifiedToken,
    readonly owner: Owner,
    readonly reply: FastifyReply | undefined
  ) {
    this.jwtHeader = token.header
    this.jwtPayload = token.payload
    this.identity = token.identity
    this.isForeign = token.isForeign
  }
}

/** Returns nothing, throws, or promises either. */
type Check = (entry: Case) => void | PromiseLike<void>

/** Compiles a rule: the locations, and the checks that this rule and this configuration really need. */
export function compileJudge (
  settings: Settings, codec: Codec, rule: Rule, owner: Owner, ask: AskStore | undefined, singleUse: SingleUse | undefined
): Judge {
  const { decodeLeeway } = settings
  const locations = compileLocations(settings, rule.locations, rule.refresh, rule.allowedOrigins)
  const anonymous = anonymousState(owner)
  const checks = compileChecks(settings, rule, ask, singleUse)

  function judge (request: FastifyRequest, reply: FastifyReply | undefined): Verdict | PromiseLike<Verdict> {
    if (request.method === 'OPTIONS') return null
    for (const extractor of locations.extractors) {
      const token = extractor.read(request)
      if (token === undefined) continue
      const csrf = extractor.csrf?.(request)
      const now = Date.now()
      const verified = codec.verify(token, now)
      // Waiting for a key took time.
      return isPromise(verified)
        ? Promise.resolve(verified).then((token) => judgeToken(request, reply, extractor.location, csrf, Date.now(), token))
        : judgeToken(request, reply, extractor.location, csrf, now, verified)
    }
    if (!rule.optional) throw locations.absence(request)
    setState(request, anonymous)
    return null
  }

  function judgeToken (
    request: FastifyRequest, reply: FastifyReply | undefined, location: TokenLocation, csrf: string | undefined, now: number,
    token: VerifiedToken
  ): Verdict | PromiseLike<Verdict> {
    if (csrf !== undefined) assertCsrf(token, csrf)
    assertNotExpired(token, now, decodeLeeway, rule.refresh && ask !== undefined && isSessionCookie(location, token.payload, token.isForeign))
    const entry = new Case(request, location, now, token, owner, reply)
    const pending = runChecks(checks, 0, entry)
    return pending === undefined ? admit(entry) : pending.then(() => admit(entry))
  }

  return { readsQuery: rule.locations.includes('query_string'), judge }
}

// The state is written last, so that a request is let in as a whole or not at all.
function admit (entry: Case): Verdict {
  setState(entry.request, entry)
  return entry
}

function runChecks (checks: readonly Check[], from: number, entry: Case): undefined | PromiseLike<void> {
  for (let i = from; i < checks.length; i++) {
    const pending = checks[i]!(entry)
    if (pending !== undefined) return pending.then(() => runChecks(checks, i + 1, entry))
  }
  return undefined
}

/**
 * Checks the CSRF value of a double submit against the token's own.
 *
 * @throws {JwtDecodeError} where the token has none, {@link CsrfError} where it is another one.
 */
export function assertCsrf (token: VerifiedToken, given: string): void {
  const { csrf } = token.payload
  if (typeof csrf !== 'string') throw new JwtDecodeError('Missing claim: csrf', contextOf(token))
  if (!isSameCsrfValue(csrf, given)) throw new CsrfError('CSRF double submit tokens do not match', contextOf(token))
}

/**
 * @param endedCookieSession whether the session that the token came from by cookie has ended, if the token has
 * @throws {ExpiredTokenError} with the header and the payload of the token.
 */
export function assertNotExpired (token: VerifiedToken, now: number, leeway: number, endedCookieSession = false): void {
  if (isExpired(token.payload, now, leeway)) throw new ExpiredTokenError(undefined, { ...contextOf(token), endedCookieSession })
}

function isSessionCookie (location: TokenLocation, payload: DeepReadonly<TokenPayload>, isForeign: boolean): boolean {
  return location === 'cookies' && payload.sid !== undefined && !isForeign
}

function contextOf ({ header, payload }: VerifiedToken): { jwtHeader: DeepReadonly<JwtHeader>, jwtPayload: DeepReadonly<TokenPayload> } {
  return { jwtHeader: header, jwtPayload: payload }
}

// The order is the contract's: type, fresh, revocation, scopes and roles, claims, user; and when nothing else can refuse
// the request any more, the token is used up.
function compileChecks (settings: Settings, rule: Rule, ask: AskStore | undefined, single: SingleUse | undefined): Check[] {
  const { tokenInBlocklistLoader, tokenVerificationLoader, userLookupLoader } = settings
  const takesSingleUse = [...settings.tokenTypes].some(([name, { singleUse }]) => singleUse && (rule.type === name || !rule.verifyType))
  const singleUse = takesSingleUse ? single : undefined
  const checks: Check[] = []
  if (rule.type !== undefined) checks.push(compileTypeCheck(rule.type))
  else if (rule.verifyType) checks.push(rule.refresh ? assertRefresh : assertAccess)
  if (rule.fresh) checks.push(assertFresh)
  if (ask !== undefined && !rule.skipRevocationCheck) {
    checks.push(compileStoreCheck(ask, rule.storeFailure, settings.decodeLeeway, singleUse))
  }
  if (tokenInBlocklistLoader !== undefined && !rule.skipRevocationCheck) {
    checks.push(askPredicate(tokenInBlocklistLoader, 'tokenInBlocklistLoader', false, (entry) => new RevokedTokenError(undefined, entry)))
  }
  if (rule.scopes.length > 0) checks.push(compileScopeCheck(settings.scopeClaim, rule.scopes))
  if (rule.roles.length > 0) checks.push(compileRoleCheck(settings.rolesClaim, rule.roles))
  if (tokenVerificationLoader !== undefined) {
    checks.push(askPredicate(tokenVerificationLoader, 'tokenVerificationLoader', true, (entry) => new UserClaimsVerificationError(undefined, entry)))
  }
  if (userLookupLoader !== undefined) checks.push(loadUser(userLookupLoader))
  if (singleUse !== undefined) checks.push(singleUse.useUp)
  return checks
}

function compileTypeCheck (type: string): Check {
  return function assertType (entry) {
    if (entry.jwtPayload.type !== type || entry.isForeign) throw new WrongTokenError(`Only ${type} tokens are allowed`, entry)
  }
}

function assertAccess (entry: Case): void {
  const { type } = entry.jwtPayload
  if (type === 'access') return
  throw new WrongTokenError(`Only ${type === 'refresh' ? 'non-refresh' : 'access'} tokens are allowed`, entry)
}

function assertRefresh (entry: Case): void {
  if (entry.jwtPayload.type !== 'refresh' || entry.isForeign) throw new WrongTokenError('Only refresh tokens are allowed', entry)
}

function assertFresh (entry: Case): void {
  const { fresh } = entry.jwtPayload
  // Whether the password was given lately is ours to say.
  if (!entry.isForeign && (fresh === true || (typeof fresh === 'number' && fresh * 1000 > entry.now))) return
  throw new FreshTokenRequiredError(undefined, entry)
}

// The three questions in one: identity revoked since, session ended, token revoked.
function compileStoreCheck (
  ask: AskStore, onFailure: 'closed' | 'open', leeway: number, singleUse: SingleUse | undefined
): Check {
  function settle (entry: Case, isRevoked: unknown): void {
    if (isRevoked === false) return
    assertBoolean(isRevoked, "The store's isRevoked")
    const { jwtHeader, jwtPayload, location, isForeign } = entry
    throw new RevokedTokenError(undefined, { jwtHeader, jwtPayload, endedCookieSession: isSessionCookie(location, jwtPayload, isForeign) })
  }

  function settleFailure (error: unknown): void {
    if (onFailure === 'closed' || !(error instanceof StoreUnavailableError)) throw error
  }

  return function askStore (entry) {
    if (singleUse?.isUsedBy(entry) === true) return
    const { sid, jti, epoch: claimed, iat = 0 } = entry.jwtPayload
    const sessionId = typeof sid === 'string' && !entry.isForeign ? sid : undefined
    const epoch = typeof claimed === 'number' && !entry.isForeign ? claimed : undefined
    const isUntold = sessionId === undefined && epoch === undefined
    const query = {
      identity: nameIdentity(entry.identity),
      sessionId,
      tokenId: typeof jti === 'string' ? jti : undefined,
      epoch,
      issuedAt: iat * 1000,
      keepEpoch: isUntold ? keepEpochFor(entry.jwtPayload, leeway, entry.now) : undefined,
    }
    let answer: boolean | PromiseLike<boolean>
    try {
      answer = ask((store) => store.isRevoked(query))
    } catch (error) {
      settleFailure(error)
      return
    }
    if (isPromise(answer)) return Promise.resolve(answer).then((isRevoked) => { settle(entry, isRevoked) }, settleFailure)
    settle(entry, answer)
  }
}

function askPredicate (loader: TokenPredicate, name: string, pass: boolean, refusal: (entry: Case) => Error): Check {
  function settle (entry: Case, answer: unknown): void {
    if (answer === pass) return
    assertBoolean(answer, name)
    throw refusal(entry)
  }
  return function askLoader (entry) {
    const answer = loader(entry.jwtHeader, asDeclared(entry.jwtPayload), entry.request)
    return isPromise(answer) ? Promise.resolve(answer).then((value) => settle(entry, value)) : settle(entry, answer)
  }
}

function loadUser (loader: NonNullable<Settings['userLookupLoader']>): Check {
  function settle (entry: Case, user: unknown): void {
    if (user === null || user === undefined) throw new UserLookupError(`Error loading the user ${spell(entry.identity)}`, entry)
    entry.user = user
  }
  return function askLoader (entry) {
    const user = loader(entry.jwtHeader, asDeclared(entry.jwtPayload), entry.request)
    return isPromise(user) ? Promise.resolve(user).then((value) => settle(entry, value)) : settle(entry, user)
  }
}

function spell (identity: unknown): string {
  if (typeof identity === 'string') return identity
  try {
    return JSON.stringify(identity)
  } catch {
    return 'of this token'
  }
}
