import type { JwtIdentity } from '../types/claims.js'
import type { JwtExtendedOptions } from '../types/options.js'
import { JwtUsageError } from './errors.js'

/** Gives what goes into the identity claim. */
export type ResolveIdentity = (identity: JwtIdentity) => Promise<unknown>

// What becomes of a member that is not there, when text is made of it.
const NOTHINGS: readonly unknown[] = ['undefined', 'null', 'NaN', '[object Object]']

/**
 * Makes the way from an identity to its claim. A loader that was made for users and is given a mere id finds no member in
 * it, and would make one name of all of them: tokens for somebody else, and a log-out that reaches nobody.
 */
export function createResolveIdentity (loader: JwtExtendedOptions['userIdentityLoader']): ResolveIdentity {
  if (loader === undefined) return async (identity) => identity
  return async function resolveIdentity (identity) {
    const claim = await loader(identity)
    if (typeof identity === 'object' || claim === identity || !NOTHINGS.includes(claim)) return claim
    throw new JwtUsageError(
      `userIdentityLoader made the text '${String(claim)}' of a ${typeof identity}: give what it was made for, such as ` +
      'the user (request.currentUser), and not the identity claim'
    )
  }
}

/**
 * An identity as text: how a store knows it. What an application has in hand and what a token says of it have one name,
 * also where JSON makes a text of an object, and in whatever order members stand.
 */
export function nameIdentity (identity: unknown): string {
  if (typeof identity === 'string') return identity
  const json = JSON.stringify(identity, sortMembers) ?? '""'
  const written: unknown = JSON.parse(json)
  return typeof written === 'string' ? written : json
}

function sortMembers (_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1))
}
