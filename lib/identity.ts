import type { JwtIdentity } from '../types/claims.js'
import type { JwtExtendedOptions } from '../types/options.js'
import { JwtDecodeError, JwtUsageError } from './errors.js'

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
    if (!NOTHINGS.includes(claim) || isSpelledBy(identity, claim as string)) return claim
    throw new JwtUsageError(
      `userIdentityLoader made the text '${String(claim)}' of ${identity === null ? 'null' : `a value of the type ${typeof identity}`}: ` +
      'give what it was made for, such as the user (request.currentUser) and not the identity claim, and let it return what tells one user from another'
    )
  }
}

// Somebody may be called Null.
function isSpelledBy (identity: unknown, claim: string): boolean {
  const texts: unknown[] = typeof identity === 'object' && identity !== null ? Object.values(identity) : [identity]
  return texts.some((text) => typeof text === 'string' && text.trim().toLowerCase() === claim.toLowerCase())
}

/**
 * An identity as text: how a store knows it. What an application has in hand and what a token says of it have one name,
 * also where JSON makes a text of an object, and in whatever order members stand.
 *
 * @throws {JwtDecodeError} for one that is nested too deep to be written.
 */
export function nameIdentity (identity: unknown): string {
  if (typeof identity === 'string') return identity
  const json = stringify(identity) ?? '""'
  const written: unknown = JSON.parse(json)
  return typeof written === 'string' ? written : json
}

function stringify (identity: unknown): string | undefined {
  try {
    return JSON.stringify(identity, sortMembers)
  } catch (cause) {
    throw cause instanceof RangeError ? new JwtDecodeError('Invalid identity', { cause }) : cause
  }
}

function sortMembers (_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1))
}
