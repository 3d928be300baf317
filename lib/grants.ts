import type { DeepReadonly, JwtHeader, TokenPayload } from '../types/claims.js'
import { InsufficientScopeError } from './errors.js'

/** The verified token whose grants are looked at. */
export interface GrantedToken {
  readonly jwtHeader: DeepReadonly<JwtHeader>
  readonly jwtPayload: DeepReadonly<TokenPayload>
}

/** @throws {InsufficientScopeError} where the token does not grant what is needed. */
export type GrantCheck = (token: GrantedToken) => void

/** Compiles the check that a token has every one of these scopes. */
export function compileScopeCheck (claim: string, needed: readonly string[]): GrantCheck {
  const read = compileClaimReader(claim)
  const neededScope = needed.join(' ')
  return function assertScopes ({ jwtHeader, jwtPayload }) {
    const granted = read(jwtPayload)
    for (const scope of needed) {
      if (hasScope(granted, scope)) continue
      const missing = needed.filter((one) => !hasScope(granted, one))
      throw new InsufficientScopeError(`Missing scope: ${missing.join(' ')}`, { jwtHeader, jwtPayload, neededScope })
    }
  }
}

/** Compiles the check that a token has at least one of these roles. */
export function compileRoleCheck (claim: string, accepted: readonly string[]): GrantCheck {
  const read = compileClaimReader(claim)
  const message = `Missing role: ${accepted.length === 1 ? '' : 'one of '}${accepted.join(', ')}`
  return function assertRole ({ jwtHeader, jwtPayload }) {
    const held = read(jwtPayload)
    for (const role of accepted) {
      if (held === role || (Array.isArray(held) && held.includes(role))) return
    }
    throw new InsufficientScopeError(message, { jwtHeader, jwtPayload })
  }
}

// RFC 8693 §4.2: a list separated by spaces; other issuers write a JSON list.
function hasScope (granted: unknown, scope: string): boolean {
  return typeof granted === 'string' ? hasWord(granted, scope) : Array.isArray(granted) && granted.includes(scope)
}

// A whole word: `reports` is none of the text `reports:write`.
function hasWord (text: string, word: string): boolean {
  for (let from = text.indexOf(word); from !== -1; from = text.indexOf(word, from + 1)) {
    const end = from + word.length
    if ((from === 0 || text[from - 1] === ' ') && (end === text.length || text[end] === ' ')) return true
  }
  return false
}

/**
 * Compiles the reading of a claim by its name, or by a path such as `realm_access.roles`. The name comes first, since a
 * name may have dots in it. Own members only: `__proto__` and its like are no claims of a token.
 */
function compileClaimReader (name: string): (payload: unknown) => unknown {
  const path = name.split('.')
  return function readClaim (payload) {
    if (Object.hasOwn(payload as object, name)) return (payload as Record<string, unknown>)[name]
    let value = payload
    for (const step of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
      value = (value as Record<string, unknown>)[step]
    }
    return value
  }
}
