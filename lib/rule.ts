import type { TokenLocation } from '../types/claims.js'
import { JwtUsageError } from './errors.js'
import { oneOrMore, scopeToken, text, type Kind } from './kinds.js'
import { assertKnownNames } from './names.js'
import { originNames } from './origins.js'
import { locationNames, storeFailures, type Settings } from './settings.js'
import { findTokenKind } from './token-types.js'

/** A rule: checked and complete. */
export interface Rule {
  readonly optional: boolean
  readonly fresh: boolean
  readonly refresh: boolean
  readonly verifyType: boolean
  readonly skipRevocationCheck: boolean
  /** What to do while the store fails. */
  readonly storeFailure: 'closed' | 'open'
  readonly locations: readonly TokenLocation[]
  /** The one type that is taken, where it is one of the application's own. */
  readonly type: string | undefined
  /** All of them are needed. */
  readonly scopes: readonly string[]
  /** One of them is needed, where there are any. */
  readonly roles: readonly string[]
  /** The pages that may open a WebSocket with a cookie; absent: those of the same origin. */
  readonly allowedOrigins: readonly string[] | undefined
}

const FLAGS = { optional: false, fresh: false, refresh: false, verifyType: true, skipRevocationCheck: false }
const NAMES = [...Object.keys(FLAGS), 'locations', 'storeFailure', 'type', 'scopes', 'roles', 'allowedOrigins']

const scopeTokens = oneOrMore(scopeToken)
const roleNames = oneOrMore(text)
const NONE: readonly string[] = Object.freeze([])

/**
 * Checks a rule and fills in its defaults.
 *
 * @throws {JwtUsageError} for anything that is not a rule, naming what is wrong with it.
 */
export function readRule (given: unknown, settings: Settings): Rule {
  if (given === undefined) {
    return {
      ...FLAGS,
      locations: settings.tokenLocation,
      storeFailure: settings.storeFailure,
      type: undefined,
      scopes: NONE,
      roles: NONE,
      allowedOrigins: undefined,
    }
  }
  assertKnownNames(given, NAMES, 'a guard')
  const rule = given as Record<string, unknown>
  const flags = { ...FLAGS }
  for (const name of Object.keys(FLAGS) as (keyof typeof FLAGS)[]) {
    const value = rule[name]
    if (value === undefined) continue
    if (typeof value !== 'boolean') throw new JwtUsageError(`A guard's ${name} must be true or false`)
    flags[name] = value
  }
  const { type } = rule
  const kind = type === undefined ? undefined : findTokenKind(settings.tokenTypes, type)
  if (kind !== undefined && flags.refresh) throw new JwtUsageError("A guard's type and refresh: true contradict each other")
  if (kind !== undefined && !flags.verifyType) throw new JwtUsageError("A guard's type and verifyType: false contradict each other")
  // Where the password was asked for, a login goes on or a token is used up, doubt is no permission.
  const isStrict = flags.fresh || flags.refresh || kind?.singleUse === true
  const storeFailure = readField(rule, 'storeFailure', storeFailures, settings.storeFailure)
  const locations = readField(rule, 'locations', locationNames, settings.tokenLocation)
  const allowedOrigins = rule['allowedOrigins'] === undefined ? undefined : readField(rule, 'allowedOrigins', originNames, NONE)
  if (allowedOrigins !== undefined && !locations.includes('cookies')) {
    throw new JwtUsageError("A guard's allowedOrigins are for tokens in cookies; add 'cookies' to its locations, or leave them out")
  }
  return {
    ...flags,
    locations,
    storeFailure: isStrict ? 'closed' : storeFailure,
    type: type as string | undefined,
    scopes: readField(rule, 'scopes', scopeTokens, NONE),
    roles: readField(rule, 'roles', roleNames, NONE),
    allowedOrigins,
  }
}

function readField<T> (rule: Record<string, unknown>, name: string, kind: Kind<T>, fallback: T): T {
  const value = rule[name] === undefined ? fallback : kind.read(rule[name])
  if (value === undefined) throw new JwtUsageError(`A guard's ${name} must be ${kind.takes}`)
  return value
}

/** What tells one rule from another. */
export function identifyRule (rule: Rule): string {
  const { locations, storeFailure, type, scopes, roles, allowedOrigins = NONE, ...flags } = rule
  const plain = `${Object.values(flags).map(Number).join('')}${storeFailure}${locations.join()}`
  if (type === undefined && scopes.length + roles.length + allowedOrigins.length === 0) return plain
  return plain + JSON.stringify([type, scopes.toSorted(), roles.toSorted(), allowedOrigins])
}
