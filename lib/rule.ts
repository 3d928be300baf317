import type { TokenLocation } from '../types/claims.js'
import { JwtUsageError } from './errors.js'
import { assertKnownNames } from './names.js'
import { originNames } from './origins.js'
import { locationNames, storeFailures, type Settings } from './settings.js'

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
  /** The pages that may open a WebSocket with a cookie; absent: those of the same origin. */
  readonly allowedOrigins: readonly string[] | undefined
}

const FLAGS = { optional: false, fresh: false, refresh: false, verifyType: true, skipRevocationCheck: false }
const NAMES = [...Object.keys(FLAGS), 'locations', 'storeFailure', 'allowedOrigins']

/**
 * Checks a rule and fills in its defaults.
 *
 * @throws {JwtUsageError} for anything that is not a rule, naming what is wrong with it.
 */
export function readRule (given: unknown, settings: Settings): Rule {
  if (given === undefined) {
    return { ...FLAGS, locations: settings.tokenLocation, storeFailure: settings.storeFailure, allowedOrigins: undefined }
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
  const locations = rule['locations'] === undefined ? settings.tokenLocation : locationNames.read(rule['locations'])
  if (locations === undefined) throw new JwtUsageError(`A guard's locations must be ${locationNames.takes}`)
  const wanted = rule['storeFailure'] === undefined ? settings.storeFailure : storeFailures.read(rule['storeFailure'])
  if (wanted === undefined) throw new JwtUsageError(`A guard's storeFailure must be ${storeFailures.takes}`)
  const allowedOrigins = rule['allowedOrigins'] === undefined ? undefined : originNames.read(rule['allowedOrigins'])
  if (rule['allowedOrigins'] !== undefined) {
    if (allowedOrigins === undefined) throw new JwtUsageError(`A guard's allowedOrigins must be ${originNames.takes}`)
    if (!locations.includes('cookies')) {
      throw new JwtUsageError("A guard's allowedOrigins are for tokens in cookies; add 'cookies' to its locations, or leave them out")
    }
  }
  // Where the password was asked for or a login goes on, doubt is no permission.
  return { ...flags, locations, storeFailure: flags.fresh || flags.refresh ? 'closed' : wanted, allowedOrigins }
}

/** What tells one rule from another. */
export function identifyRule (rule: Rule): string {
  const { locations, storeFailure, allowedOrigins = [], ...flags } = rule
  return `${Object.values(flags).map(Number).join('')}${storeFailure}${locations.join()} ${allowedOrigins.join()}`
}
