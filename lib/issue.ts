import { randomUUID } from 'node:crypto'
import type { JwtHeader, JwtIdentity, TokenPayload, TokenType } from '../types/claims.js'
import type { CreateAccessTokenOptions, CreateRefreshTokenOptions, CreateTokenOptions } from '../types/options.js'
import { isPromise } from './awaitable.js'
import type { Codec } from './codec.js'
import { createCsrfValue } from './csrf.js'
import { toSeconds } from './durations.js'
import { JwtUsageError } from './errors.js'
import { createResolveIdentity, nameIdentity } from './identity.js'
import { toJson } from './json.js'
import { assertKnownNames } from './names.js'
import type { Settings } from './settings.js'
import type { Sign } from './signatures.js'
import { keepEpochFor, type AskStore } from './store-access.js'
import { findTokenKind, isKnownType } from './token-types.js'

/** What ties a token to a session. */
export interface SessionBinding {
  readonly sessionId: string
  readonly generation: number
  /** Seconds until the session's absolute end, which no token of it outlives. */
  readonly remaining: number
}

/** A token that lacks nothing but its signature, and what belongs to a session. */
interface Draft {
  readonly claims: TokenPayload
  /** The names of the claims that a loader and the call have given, those of `undefined` as well. */
  readonly given: readonly string[]
  /** When it was made, whatever its `iat` says. */
  readonly now: number
  sign (): string
}

/** Issues tokens: access, refresh, and of types of one's own. */
export interface Issuer {
  /**
   * Does all that may fail about a token of a session, so that it can be made when the session is there or renewed.
   *
   * @param subject the identity claim, where it is known already; else it is made of the identity
   */
  prepareForSession (
    type: TokenType, identity: JwtIdentity, options: CreateAccessTokenOptions, subject?: unknown
  ): Promise<(binding: SessionBinding) => string>
  createAccessToken (identity: JwtIdentity, options?: CreateAccessTokenOptions): Promise<string>
  createRefreshToken (identity: JwtIdentity, options?: CreateRefreshTokenOptions): Promise<string>
  createToken (type: string, identity: JwtIdentity, options?: CreateTokenOptions): Promise<string>
}

const NO_OPTIONS: CreateAccessTokenOptions = Object.freeze({})

const NAMES = ['expiresDelta', 'additionalClaims', 'additionalHeaders']
const ACCESS = { method: 'createAccessToken', names: ['fresh', ...NAMES] }
const REFRESH = { method: 'createRefreshToken', names: NAMES }
const OWN = { method: 'createToken', names: NAMES }

/** Makes the issuer of a configuration. */
export function createIssuer (settings: Settings, codec: Codec, ask: AskStore | undefined): Issuer {
  const { additionalClaimsLoader, additionalHeadersLoader, userIdentityLoader, encodeKeyLoader } = settings
  const resolveIdentity = createResolveIdentity(userIdentityLoader)

  async function draft (
    type: string, identity: JwtIdentity, options: CreateAccessTokenOptions, lifetime: number | false, knownSubject?: unknown
  ): Promise<Draft> {
    if (options !== NO_OPTIONS) {
      const { names, method } = type === 'access' ? ACCESS : type === 'refresh' ? REFRESH : OWN
      assertKnownNames(options, names, method)
    }
    let loadedSigner: Sign | undefined
    if (encodeKeyLoader !== undefined) {
      const key = encodeKeyLoader(identity)
      loadedSigner = codec.signerOf(isPromise(key) ? await key : key)
    } else if (codec.signer === undefined) {
      throw new JwtUsageError('There is no key to sign tokens with: give secretKey, privateKey or encodeKeyLoader')
    }
    const subject = knownSubject ?? (userIdentityLoader === undefined ? identity : await resolveIdentity(identity))
    const loadedClaims = additionalClaimsLoader === undefined ? undefined : (await additionalClaimsLoader(identity) ?? null)
    const loadedHeaders = additionalHeadersLoader === undefined ? undefined : (await additionalHeadersLoader(identity) ?? null)

    const now = Math.floor(Date.now() / 1000)
    const claims: TokenPayload = {
      fresh: readFresh(options.fresh, now), iat: now, jti: randomUUID(), type, [settings.identityClaim]: subject,
    }
    if (settings.encodeNbf) claims.nbf = now
    if (settings.cookieCsrfProtect) claims.csrf = createCsrfValue()
    if (settings.encodeAudience !== undefined) claims.aud = settings.encodeAudience as string | string[]
    if (settings.encodeIssuer !== undefined) claims.iss = settings.encodeIssuer
    const expires = readExpiry(options.expiresDelta, lifetime)
    if (expires !== false) claims.exp = now + expires
    const given = [...addAll(claims, loadedClaims, 'additionalClaimsLoader'), ...addAll(claims, options.additionalClaims, 'additionalClaims')]
    assertClaims(claims, type, settings)
    settleIdentity(claims, settings.identityClaim)
    const headers = mergeHeaders(loadedHeaders, options.additionalHeaders)
    return {
      claims,
      given,
      now,
      // The signer is asked for last of all: the keys may have been rotated while something was waited for.
      sign: () => (loadedSigner ?? codec.signer!)(claims, headers),
    }
  }

  async function issue (
    type: string, identity: JwtIdentity, options: CreateAccessTokenOptions, lifetime: number | false
  ): Promise<string> {
    const { claims, sign } = await draft(type, identity, options, lifetime)
    if (ask !== undefined) await markEpoch(claims, ask)
    return sign()
  }

  // `fresh` is what this login or refresh says it is: a loader does not know which of them asks.
  const ofSession = ['exp', 'jti', 'fresh', 'sid', 'gen', 'epoch', settings.identityClaim]

  function assertLeftToSession (given: readonly string[]): void {
    const taken = ofSession.find((name) => given.includes(name))
    if (taken !== undefined) throw new JwtUsageError(`additional claims of a session's tokens must not contain '${taken}'`)
  }

  // Two tokens of one second are told apart by what the store counts, not by clocks. A store that fails is no reason
  // to issue nothing: without the claim, the token's `iat` decides, and doubt is against it. But a token that the store
  // must be told of could come back to life when the store has forgotten that it was revoked.
  async function markEpoch (claims: TokenPayload, ask: AskStore): Promise<void> {
    const taken = ['sid', 'gen', 'epoch'].find((name) => claims[name] !== undefined)
    if (taken !== undefined) throw new JwtUsageError(`additional claims must not contain '${taken}': it belongs to sessions`)
    const identity = nameIdentity(claims[settings.identityClaim])
    const keepEpoch = keepEpochFor(claims, settings.decodeLeeway, Date.now())
    try {
      const epoch = ask((store) => store.epochOf(identity, keepEpoch))
      claims.epoch = isPromise(epoch) ? await epoch : epoch
    } catch (error) {
      if (keepEpoch !== undefined) throw error
      // The store failed, and has been told of.
    }
  }

  return {
    async prepareForSession (type, identity, options, subject) {
      const lifetime = type === 'access' ? settings.accessTokenExpires : settings.refreshTokenExpires
      const { claims, given, now, sign } = await draft(type, identity, options, lifetime, subject)
      assertLeftToSession(given)
      return function issueForSession ({ sessionId, generation, remaining }) {
        claims.exp = now + Math.max(lifetime === false ? remaining : Math.min(lifetime, remaining), 1)
        claims.sid = sessionId
        if (type === 'refresh') claims.gen = generation
        return sign()
      }
    },
    createAccessToken: (identity, options = NO_OPTIONS) => issue('access', identity, options, settings.accessTokenExpires),
    createRefreshToken: (identity, options = NO_OPTIONS) => issue('refresh', identity, options, settings.refreshTokenExpires),
    async createToken (type, identity, options = NO_OPTIONS) {
      return await issue(type, identity, options, findTokenKind(settings.tokenTypes, type).expires)
    },
  }
}

function readFresh (fresh: unknown, now: number): boolean | number {
  if (fresh === undefined) return false
  if (typeof fresh === 'boolean') return fresh
  const seconds = toSeconds(fresh)
  if (seconds === undefined) throw new JwtUsageError("fresh must be true, false, or a duration other than 0 such as '15m'")
  return now + seconds
}

function readExpiry (expiresDelta: unknown, lifetime: number | false): number | false {
  if (expiresDelta === undefined) return lifetime
  if (expiresDelta === false) return false
  const seconds = toSeconds(expiresDelta)
  if (seconds === undefined) {
    throw new JwtUsageError("expiresDelta must be false (never) or a duration other than 0: whole seconds, or text such as '15m'")
  }
  return seconds
}

// As JSON writes it, and nothing else: a `toJSON` among the claims would speak for all of them when they are signed. What is
// `undefined` is left out: it must not erase a default such as `exp`.
function addAll (target: Record<string, unknown>, source: unknown, what: string): string[] {
  if (source === undefined) return []
  const written = isObject(source) ? toJson(source, what) : undefined
  if (!isObject(written)) throw new JwtUsageError(`${what} must ${what.endsWith('Loader') ? 'return' : 'be'} an object`)
  for (const [name, value] of Object.entries(written)) {
    Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true })
  }
  return [...Object.keys(source as object), ...Object.keys(written)]
}

function mergeHeaders (loaded: unknown, given: unknown): JwtHeader | undefined {
  if (loaded === undefined && given === undefined) return undefined
  const headers: JwtHeader = {}
  addAll(headers, loaded, 'additionalHeadersLoader')
  addAll(headers, given, 'additionalHeaders')
  if ('alg' in headers) throw new JwtUsageError("additional headers must not contain 'alg'; the algorithm is the configured one")
  if ('crit' in headers) throw new JwtUsageError("additional headers must not contain 'crit'; no guard would accept the token")
  if (headers.kid !== undefined && typeof headers.kid !== 'string') throw new JwtUsageError("The header 'kid' must be a string (RFC 7515 §4.1.4)")
  return headers
}

const TIMES = ['exp', 'nbf', 'iat'] as const
// Whoever counts milliseconds is there since 2001; seconds come there in thirty thousand years.
const MILLISECONDS = 1e12

function assertClaims (claims: TokenPayload, type: string, settings: Settings): void {
  const own = settings.tokenTypes.get(type)
  const claimed: unknown = claims.type
  if (typeof claimed !== 'string') throw new JwtUsageError("The claim 'type' must be a string")
  if (claimed !== type && (own !== undefined || isKnownType(settings.tokenTypes, claimed))) {
    throw new JwtUsageError(`additional claims must not turn this ${type} token into one of the type '${claimed}'`)
  }
  if (own?.singleUse === true && (typeof claims.jti !== 'string' || claims.jti === '')) {
    throw new JwtUsageError(`The claim 'jti' of this ${type} token must be a string that is not empty: it is known by it when it is used`)
  }
  assertIdentity(claims[settings.identityClaim])
  if (settings.verifySub && claims.sub !== undefined && typeof claims.sub !== 'string') {
    throw new JwtUsageError(
      "The claim 'sub' must be a string (RFC 7519 §4.1.2): give a string, or a userIdentityLoader that makes one of the identity"
    )
  }
  assertNames(claims)
  for (const name of TIMES) {
    const time: unknown = claims[name]
    // The signer would drop a 0 or null in silence, and with it the expiry.
    if (time !== undefined && !(Number.isSafeInteger(time) && (time as number) > 0 && (time as number) < MILLISECONDS)) {
      throw new JwtUsageError(
        `The claim '${name}' must be a whole number of seconds (not milliseconds) since 1970` +
        (name === 'exp' ? '; for a token without expiry use expiresDelta: false' : '')
      )
    }
  }
}

// What our own guards would refuse in every request must not be issued.
function assertNames ({ iss, aud, jti }: Record<string, unknown>): void {
  if (iss !== undefined && typeof iss !== 'string') throw new JwtUsageError("The claim 'iss' must be a string (RFC 7519 §4.1.1)")
  if (jti !== undefined && jti !== null && typeof jti !== 'string') throw new JwtUsageError("The claim 'jti' must be a string (RFC 7519 §4.1.7)")
  const audiences: unknown[] = Array.isArray(aud) ? aud : [aud]
  if (aud !== undefined && !audiences.every((audience) => typeof audience === 'string')) {
    throw new JwtUsageError("The claim 'aud' must be a string or a list of strings (RFC 7519 §4.1.3)")
  }
}

// Last of all, so that only what was a string before counts as one.
function settleIdentity (claims: TokenPayload, identityClaim: string): void {
  const identity = claims[identityClaim]
  if (typeof identity === 'string') return
  const written = toJson(identity, `The identity claim '${identityClaim}'`)
  assertIdentity(written)
  claims[identityClaim] = written
}

function assertIdentity (identity: unknown): void {
  if (identity !== undefined && identity !== null) return
  throw new JwtUsageError('A token needs an identity: give createAccessToken one, and let userIdentityLoader return one')
}

function isObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
