import type { JwtAlgorithm } from '../types/claims.js'
import type { JwtExtendedOptions } from '../types/options.js'
import type { TokenStore } from '../types/store.js'
import { JwtUsageError } from './errors.js'
import {
  anyText, cacheSize, callback, cookieDomain, cookiePath, duration, flag, leeway, lifetime, listOf, method, oneOf, oneOrList,
  oneOrMore, secondsToWait, something, text, token, type Kind
} from './kinds.js'
import { assertKnownNames } from './names.js'
import { tokenTypes } from './token-types.js'
import { trustedIssuers } from './trusted-issuers.js'

/** The signature algorithms, HMAC first. */
export const ALGORITHMS = [
  'HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'
] as const satisfies readonly JwtAlgorithm[]

/** The four locations. */
export const locationNames = oneOrMore(oneOf('headers', 'cookies', 'query_string', 'json'))

/** What a guard may do while the store fails. */
export const storeFailures = oneOf('closed', 'open')

interface Option<T> {
  kind: Kind<T>
  fallback: T | undefined
}

function option<T> (kind: Kind<T>): Option<T> & { fallback: undefined }
function option<T> (kind: Kind<T>, fallback: NoInfer<T>): Option<T> & { fallback: T }
function option<T> (kind: Kind<T>, fallback?: T): Option<T> {
  return { kind, fallback }
}

type Loader<Name extends keyof JwtExtendedOptions> = Kind<NonNullable<JwtExtendedOptions[Name]>>

// An interface, so that declarations name a loader by its option. Spelled out, it would have to name the types that the
// application has merged into JwtTypes, and those need not be exported.
interface LoaderOption<Name extends keyof JwtExtendedOptions> {
  kind: Loader<Name>
  fallback: undefined
}

function loader<Name extends keyof JwtExtendedOptions> (_name: Name): LoaderOption<Name> {
  return option(callback as Kind<unknown> as Loader<Name>)
}

const algorithm = oneOf(...ALGORITHMS)
const secret = something('a string or a Buffer, or a list of such')
const key = something('a PEM text, a Buffer, a KeyObject, a JWK, or { key, passphrase }')

const STORE_METHODS = [
  'isRevoked', 'epochOf', 'revokeToken', 'consumeToken', 'startSession', 'rotate', 'endSession', 'endAll', 'listSessions'
] as const satisfies readonly (keyof TokenStore)[]

function store (): Kind<TokenStore> {
  return {
    takes: `redisStore(client), memoryStore(), or an object with the methods ${STORE_METHODS.join(', ')}`,
    read: (value) => typeof value === 'object' && value !== null &&
      STORE_METHODS.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
      ? value as TokenStore
      : undefined,
  }
}

const OPTIONS = {
  secretKey: option(secret),
  allowWeakKeys: option(flag, false),
  privateKey: option(key),
  publicKey: option(key),
  algorithm: option(algorithm, 'HS256'),
  decodeAlgorithms: option(listOf(algorithm)),
  decodeAudience: option(oneOrMore(text)),
  decodeIssuer: option(oneOrMore(text)),
  encodeAudience: option(oneOrList(text)),
  encodeIssuer: option(text),
  decodeLeeway: option(leeway, 0),
  encodeNbf: option(flag, true),
  verifySub: option(flag, true),
  identityClaim: option(text, 'sub'),
  accessTokenExpires: option(lifetime, 15 * 60),
  refreshTokenExpires: option(lifetime, 30 * 24 * 60 * 60),
  tokenTypes: option(tokenTypes, new Map()),
  scopeClaim: option(text, 'scope'),
  rolesClaim: option(text, 'roles'),
  errorMessageKey: option(text, 'msg'),
  errorProfile: option(oneOf('flask', 'rfc6750'), 'flask'),
  throwErrors: option(flag, false),
  openapi: option(flag, false),
  tokenLocation: option(locationNames, Object.freeze(['headers'] as const)),
  headerName: option(token, 'Authorization'),
  headerType: option(oneOfTokenOrNothing(), 'Bearer'),
  queryStringName: option(text, 'jwt'),
  queryStringValuePrefix: option(anyText, ''),
  jsonKey: option(text, 'access_token'),
  refreshJsonKey: option(text, 'refresh_token'),
  accessCookieName: option(token, 'access_token_cookie'),
  refreshCookieName: option(token, 'refresh_token_cookie'),
  accessCookiePath: option(cookiePath, '/'),
  refreshCookiePath: option(cookiePath, '/'),
  cookieDomain: option(cookieDomain),
  cookieSecure: option(flag, true),
  cookieSameSite: option(oneOf('Strict', 'Lax', 'None', false), 'Lax'),
  cookiePartitioned: option(flag, false),
  sessionCookie: option(flag, true),
  cookieCsrfProtect: option(flag, true),
  csrfMethods: option(listOf(method), Object.freeze(['POST', 'PUT', 'PATCH', 'DELETE'])),
  csrfInCookies: option(flag, true),
  csrfCheckForm: option(flag, false),
  accessCsrfCookieName: option(token, 'csrf_access_token'),
  refreshCsrfCookieName: option(token, 'csrf_refresh_token'),
  accessCsrfCookiePath: option(cookiePath, '/'),
  refreshCsrfCookiePath: option(cookiePath, '/'),
  accessCsrfHeaderName: option(token, 'X-CSRF-TOKEN'),
  refreshCsrfHeaderName: option(token, 'X-CSRF-TOKEN'),
  accessCsrfFieldName: option(text, 'csrf_token'),
  refreshCsrfFieldName: option(text, 'csrf_token'),
  issuers: option(trustedIssuers),
  verifyCache: option(cacheSize, 5000),
  namespace: option(text),
  store: option(store()),
  sessionLifetime: option(duration, 90 * 24 * 60 * 60),
  refreshGrace: option(leeway, 10),
  onReuse: option(oneOf('session', 'identity'), 'session'),
  storeFailure: option(storeFailures, 'closed'),
  storeTimeout: option(secondsToWait, 0.25),
  onSessionEvent: loader('onSessionEvent'),
  userIdentityLoader: loader('userIdentityLoader'),
  additionalClaimsLoader: loader('additionalClaimsLoader'),
  additionalHeadersLoader: loader('additionalHeadersLoader'),
  encodeKeyLoader: loader('encodeKeyLoader'),
  decodeKeyLoader: loader('decodeKeyLoader'),
  userLookupLoader: loader('userLookupLoader'),
  tokenInBlocklistLoader: loader('tokenInBlocklistLoader'),
  tokenVerificationLoader: loader('tokenVerificationLoader'),
  expiredTokenLoader: loader('expiredTokenLoader'),
  insufficientScopeLoader: loader('insufficientScopeLoader'),
  invalidTokenLoader: loader('invalidTokenLoader'),
  needsFreshTokenLoader: loader('needsFreshTokenLoader'),
  revokedTokenLoader: loader('revokedTokenLoader'),
  tokenVerificationFailedLoader: loader('tokenVerificationFailedLoader'),
  unauthorizedLoader: loader('unauthorizedLoader'),
  userLookupErrorLoader: loader('userLookupErrorLoader'),
} satisfies Record<keyof JwtExtendedOptions, Option<unknown>>

const NAMES = Object.keys(OPTIONS) as (keyof typeof OPTIONS)[]

// What `register` itself takes; it reaches every plugin.
const REGISTER_OPTIONS = ['prefix', 'logLevel', 'logSerializers']

type Read<O> = O extends { kind: Kind<infer T>, fallback: infer F } ? (undefined extends F ? T | undefined : T) : never

/** The options of one configuration: checked, complete and frozen. Times in seconds. */
export type Settings = { readonly [Name in keyof typeof OPTIONS]: Read<typeof OPTIONS[Name]> }
  & { readonly decodeAlgorithms: readonly JwtAlgorithm[] }

/**
 * Checks a configuration as a whole and fills in the defaults.
 *
 * @throws {JwtUsageError} for an unknown option, a value of the wrong kind, or options that contradict each other.
 */
export function readSettings (options: unknown): Settings {
  assertKnownNames(options, [...NAMES, ...REGISTER_OPTIONS], 'fastify-jwt-extended')
  const given = options as Record<string, unknown>
  const settings: Record<string, unknown> = {}
  for (const name of NAMES) {
    const { kind, fallback } = OPTIONS[name] as Option<unknown>
    const value = given[name] === undefined ? fallback : kind.read(given[name])
    if (value === undefined && given[name] !== undefined) {
      throw new JwtUsageError(`The option ${name} must be ${kind.takes}`)
    }
    settings[name] = value
  }
  const idle = NEED_STORE.find((name) => given[name] !== undefined)
  if (idle !== undefined && settings['store'] === undefined) {
    throw new JwtUsageError(`The option ${idle} needs a store; give store: redisStore(client) or store: memoryStore()`)
  }
  const algorithms = [settings['algorithm'], ...(settings['decodeAlgorithms'] as string[] | undefined ?? [])]
  settings['decodeAlgorithms'] = Object.freeze([...new Set(algorithms)])
  const complete = Object.freeze(settings) as unknown as Settings
  assertNoContradiction(complete)
  return complete
}

function oneOfTokenOrNothing (): Kind<string> {
  return { takes: `${token.takes}, or '' for the bare token`, read: (value) => value === '' ? '' : token.read(value) }
}

const NEED_STORE = ['sessionLifetime', 'refreshGrace', 'onReuse', 'storeFailure', 'storeTimeout', 'onSessionEvent']

const RESERVED_CLAIMS = ['iss', 'aud', 'exp', 'nbf', 'iat', 'jti', 'type', 'fresh', 'csrf', 'sid', 'gen', 'epoch']

function assertNoContradiction (settings: Settings): void {
  for (const [name, { singleUse }] of settings.tokenTypes) {
    if (!singleUse || settings.store !== undefined) continue
    throw new JwtUsageError(`The token type '${name}' is singleUse, which needs a store; give store: redisStore(client) or store: memoryStore()`)
  }
  if (RESERVED_CLAIMS.includes(settings.identityClaim)) {
    throw new JwtUsageError(`The option identityClaim cannot be '${settings.identityClaim}': that claim has a meaning of its own`)
  }
  const ourselves = settings.issuers?.find(({ issuer }) => issuer === settings.encodeIssuer || settings.decodeIssuer?.includes(issuer))
  if (ourselves !== undefined) {
    throw new JwtUsageError(`The option issuers has '${ourselves.issuer}', which encodeIssuer or decodeIssuer names as our own`)
  }
  if (settings.cookieSameSite === 'None' && !settings.cookieSecure) {
    throw new JwtUsageError("cookieSameSite: 'None' needs cookieSecure: true; browsers refuse the cookie otherwise")
  }
  if (settings.cookiePartitioned && !settings.cookieSecure) {
    throw new JwtUsageError('cookiePartitioned needs cookieSecure: true; browsers refuse the cookie otherwise')
  }
  const cookies = [
    ['accessCookieName', settings.accessCookieName, 'accessCookiePath', settings.accessCookiePath],
    ['refreshCookieName', settings.refreshCookieName, 'refreshCookiePath', settings.refreshCookiePath],
    ['accessCsrfCookieName', settings.accessCsrfCookieName, 'accessCsrfCookiePath', settings.accessCsrfCookiePath],
    ['refreshCsrfCookieName', settings.refreshCsrfCookieName, 'refreshCsrfCookiePath', settings.refreshCsrfCookiePath],
  ] as const
  const seen = new Map<string, string>()
  for (const [option, name, pathOption, path] of cookies) {
    assertPrefixHolds(settings, option, name, pathOption, path)
    const twin = seen.get(`${name};${path}`)
    if (twin !== undefined) {
      throw new JwtUsageError(`The options ${twin} and ${option} name the same cookie; give each a name of its own`)
    }
    seen.set(`${name};${path}`, option)
  }
}

// RFC 6265bis §4.1.3: browsers drop cookies that break what their prefix promises. They match it without regard to case.
function assertPrefixHolds (settings: Settings, option: string, name: string, pathOption: string, path: string): void {
  const host = /^__host-/i.test(name)
  if (!host && !/^__secure-/i.test(name)) return
  const prefix = host ? '__Host-' : '__Secure-'
  if (!settings.cookieSecure) throw new JwtUsageError(`The ${prefix} name in ${option} needs cookieSecure: true`)
  if (host && settings.cookieDomain !== undefined) throw new JwtUsageError(`The __Host- name in ${option} allows no cookieDomain`)
  if (host && path !== '/') throw new JwtUsageError(`The __Host- name in ${option} needs ${pathOption}: '/'`)
}
