import type { TokenLocation } from '../types/claims.js'
import { JwtUsageError } from './errors.js'
import { assertKnownNames } from './names.js'
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
}

const FLAGS = { optional: false, fresh: false, refresh: false, verifyType: true, skipRevocationCheck: false }
const NAMES = [...Object.keys(FLAGS), 'locations', 'storeFailure']

/**
 * Checks a rule and fills in its defaults.
 *
 * @throws {JwtUsageError} for anything that is not a rule, naming what is wrong with it.
 */
export function readRule (given: unknown, settings: Settings): Rule {
  if (given === undefined) return { ...FLAGS, locations: settings.tokenLocation, storeFailure: settings.storeFailure }
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
  // Where the password was asked for or a login goes on, doubt is no permission.
  return { ...flags, locations, storeFailure: flags.fresh || flags.refresh ? 'closed' : wanted }
}

/** What tells one rule from another. */
export function identifyRule (rule: Rule): string {
  const { locations, storeFailure, ...flags } = rule
  return `${Object.values(flags).map(Number).join('')}${storeFailure}${locations.join()}`
}
