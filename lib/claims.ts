import type { DeepReadonly, JwtHeader, JwtPayload, TokenPayload } from '../types/claims.js'
import { JwtDecodeError } from './errors.js'
import type { Settings } from './settings.js'

/** A payload as it was parsed: nothing about it is known yet. */
export type RawPayload = Record<string, unknown>

/** Judges the registered claims of a token whose signature was verified, but not its expiry. */
export type ClaimsPolicy = (payload: RawPayload, now: number) => void

/** What a policy compares claims with. */
export type ClaimsSettings = Pick<Settings, 'decodeIssuer' | 'decodeAudience' | 'verifySub' | 'identityClaim' | 'decodeLeeway'>

/**
 * Makes the policy of a configuration. It checks in the order nbf, iat, exp's kind, iss, aud, sub, the identity claim,
 * and fills in `type`, `fresh` and `jti` where they are absent (a claim that is `null` is not absent).
 */
export function createClaimsPolicy (settings: ClaimsSettings): ClaimsPolicy {
  const { decodeIssuer, decodeAudience, verifySub, identityClaim, decodeLeeway } = settings

  return function judgeClaims (payload, now) {
    const { exp, iss, aud, sub, jti } = payload as RawPayload
    judgeBeginning(payload, now, decodeLeeway)
    if (exp !== undefined) assertTime(exp, 'exp')
    judgeIssuer(iss, decodeIssuer)
    judgeAudience(aud, decodeAudience)
    if (verifySub && sub !== undefined && typeof sub !== 'string') throw new JwtDecodeError('Subject must be a string')
    if (jti !== undefined && jti !== null && typeof jti !== 'string') throw new JwtDecodeError('JWT ID must be a string')
    if (!Object.hasOwn(payload, identityClaim)) throw new JwtDecodeError(`Missing claim: ${identityClaim}`)
    if (payload['type'] === undefined) payload['type'] = 'access'
    if (payload['fresh'] === undefined) payload['fresh'] = false
    if (jti === undefined) payload['jti'] = null
  }
}

/**
 * A payload on its way out, by the type that the application has declared. That it holds what that says is the
 * application's word: in here nothing may rely on it.
 */
export function asDeclared (payload: DeepReadonly<TokenPayload>): DeepReadonly<JwtPayload> {
  return payload as unknown as DeepReadonly<JwtPayload>
}

/** Judges whether a token is valid yet: also of one that was before, since a clock may be put back. */
export function judgeBeginning ({ nbf, iat }: Readonly<RawPayload>, now: number, leeway: number): void {
  const latest = now + leeway * 1000
  if (nbf !== undefined && assertTime(nbf, 'nbf') * 1000 > latest) throw new JwtDecodeError('The token is not yet valid (nbf)')
  if (iat !== undefined && assertTime(iat, 'iat') * 1000 > latest) throw new JwtDecodeError('The token is not yet valid (iat)')
}

/** Whether a token has expired. A time equal to now has (RFC 7519 §4.1.4). */
export function isExpired (payload: DeepReadonly<TokenPayload>, now: number, leeway: number): boolean {
  return payload.exp !== undefined && payload.exp * 1000 <= now - leeway * 1000
}

/**
 * Judges the parameters that every header may have. `crit` names extensions that a recipient must understand, and
 * none are understood here (RFC 7515 §4.1.11).
 */
export function judgeHeader (header: JwtHeader): void {
  if (header['crit'] !== undefined) throw new JwtDecodeError('Critical header extensions are not supported')
  if (header.kid !== undefined && typeof header.kid !== 'string') throw new JwtDecodeError('Key ID must be a string')
}

const TIMES = { nbf: 'Not Before claim (nbf)', iat: 'Issued At claim (iat)', exp: 'Expiration Time claim (exp)' }

function assertTime (value: unknown, claim: keyof typeof TIMES): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new JwtDecodeError(`${TIMES[claim]} must be a number`)
  return value
}

function judgeIssuer (iss: unknown, accepted: readonly string[] | undefined): void {
  if (iss === undefined) {
    if (accepted !== undefined) throw new JwtDecodeError('Token is missing the "iss" claim')
    return
  }
  if (typeof iss !== 'string') throw new JwtDecodeError('Issuer must be a string')
  if (accepted !== undefined && !accepted.includes(iss)) throw new JwtDecodeError('Invalid issuer')
}

function judgeAudience (aud: unknown, accepted: readonly string[] | undefined): void {
  if (aud === undefined) {
    if (accepted !== undefined) throw new JwtDecodeError('Token is missing the "aud" claim')
    return
  }
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audiences.every((audience) => typeof audience === 'string')) {
    throw new JwtDecodeError('Audience must be a string or a list of strings')
  }
  if (accepted !== undefined && !audiences.some((audience) => accepted.includes(audience))) {
    throw new JwtDecodeError("Audience doesn't match")
  }
}
