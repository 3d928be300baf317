import { createDecoder, createSigner, createVerifier, type TokenValidationErrorCode } from 'fast-jwt'
import { LRUCache } from 'lru-cache'
import type { DeepReadonly, JwtAlgorithm, JwtHeader, TokenPayload } from '../types/claims.js'
import type { RawPayload } from './claims.js'
import { JwtDecodeError, JwtUsageError } from './errors.js'
import type { SigningKey, VerifyingKey } from './keyring.js'

/** Makes the text of a token. */
export type Sign = (claims: TokenPayload, headers: JwtHeader | undefined) => string

/** Checks the signature of a token, and that its algorithm is one that the key may serve: nothing else. */
export type CheckSignature = (token: string) => { header: JwtHeader, payload: RawPayload }

/** What a signature was found good for, and the verifier that found it. */
export type CheckedToken = { readonly verifier: Verifier } & ReturnType<CheckSignature>

/** One key's verifier. */
export interface Verifier {
  readonly check: CheckSignature
  readonly kid: string | undefined
  readonly algorithms: readonly JwtAlgorithm[]
  /** From when and until when it may be relied on without asking again where it came from, in milliseconds since 1970. */
  from: number
  until: number
  /** How the tokens of this key begin, and what that says; as far as it was seen. */
  opening: { readonly text: string, readonly header: DeepReadonly<JwtHeader> } | undefined
}

/** A token as it reads, with nothing verified. */
export interface UnverifiedToken {
  readonly header: JwtHeader
  readonly payload: TokenPayload
}

/** Why a token is refused, for each of fast-jwt's codes; `undefined` where only the application can be at fault. */
export const REASONS: Readonly<Record<TokenValidationErrorCode, string | undefined>> = {
  FAST_JWT_INVALID_TYPE: 'The token must be a string',
  FAST_JWT_MALFORMED: 'Malformed token',
  FAST_JWT_INVALID_PAYLOAD: 'The payload must be a JSON object',
  FAST_JWT_INVALID_ALGORITHM: 'The specified alg value is not allowed',
  FAST_JWT_INVALID_SIGNATURE: 'Signature verification failed',
  FAST_JWT_MISSING_SIGNATURE: 'Signature verification failed',
  FAST_JWT_VERIFY_ERROR: 'Signature verification failed',
  FAST_JWT_INVALID_CRIT_HEADER: 'Critical header extensions are not supported',
  FAST_JWT_INVALID_CLAIM_TYPE: 'Invalid claim',
  FAST_JWT_INVALID_CLAIM_VALUE: 'Invalid claim',
  FAST_JWT_MISSING_REQUIRED_CLAIM: 'Missing claim',
  FAST_JWT_INACTIVE: 'The token is not yet valid (nbf)',
  FAST_JWT_EXPIRED: 'Token has expired',
  FAST_JWT_INVALID_OPTION: undefined,
  FAST_JWT_INVALID_KEY: undefined,
  FAST_JWT_MISSING_KEY: undefined,
  FAST_JWT_KEY_FETCHING_ERROR: undefined,
  FAST_JWT_SIGN_ERROR: undefined,
}

const MISMATCHES = new Set<unknown>(['FAST_JWT_INVALID_ALGORITHM', 'FAST_JWT_INVALID_SIGNATURE', 'FAST_JWT_VERIFY_ERROR'])

const decodeComplete = createDecoder({ complete: true })

/** Reads a token without verifying it. @throws {JwtDecodeError} for what is no token. */
export function decode (token: unknown): UnverifiedToken {
  // It would take bytes as well, which are a token nowhere else.
  if (typeof token !== 'string') throw refusal('FAST_JWT_INVALID_TYPE', token)
  try {
    return decodeComplete(token) as UnverifiedToken
  } catch (error) {
    throw explain(error, token)
  }
}

// fast-jwt parses PEM texts and bytes, but no KeyObjects.
function exportKey (key: Pick<SigningKey | VerifyingKey, 'object'>): string | Buffer {
  const { object } = key
  if (object.type === 'secret') return object.export()
  return object.export(object.type === 'private' ? { format: 'pem', type: 'pkcs8' } : { format: 'pem', type: 'spki' }) as string
}

/** Compiles the verifier of one key. Its check throws {@link JwtDecodeError}. */
export function compileVerifier (key: Omit<VerifyingKey, 'kid'> & { readonly kid: string | undefined }): Verifier {
  // Times and names are judged by the claims policy: fast-jwt takes an `exp` equal to now and a token without the
  // audience it is told to expect.
  const verify = createVerifier({
    key: exportKey(key), algorithms: [...key.algorithms], complete: true, ignoreExpiration: true, ignoreNotBefore: true,
  })
  return {
    kid: key.kid,
    algorithms: key.algorithms,
    from: 0,
    until: key.until,
    opening: undefined,
    check (token) {
      let verified: ReturnType<CheckSignature>
      try {
        verified = verify(token)
      } catch (error) {
        throw explain(error, token)
      }
      if (hasStrayCharacter(token)) throw refusal('FAST_JWT_INVALID_SIGNATURE', token)
      return verified
    },
  }
}

// No bytes are written in 4n + 1 signs (RFC 4648 §4): the last would stand for nothing, and fast-jwt would pass over it.
function hasStrayCharacter (token: string): boolean {
  return (token.length - token.lastIndexOf('.') - 1) % 4 === 1
}

/**
 * Finds the verifier that a token's signature is good for, the others of which have to be tried.
 *
 * @throws {JwtDecodeError} where there is none: of several reasons, a wrong signature is the one that is told.
 */
export function checkEach (verifiers: readonly Verifier[], token: string): CheckedToken {
  let mismatch: unknown
  for (const verifier of verifiers) {
    try {
      return { verifier, ...verifier.check(token) }
    } catch (error) {
      if (!isMismatch(error)) throw error
      if (codeOf(mismatch) !== 'FAST_JWT_INVALID_SIGNATURE') mismatch = (error as Error).cause
    }
  }
  throw explain(mismatch, token)
}

/** Whether a token was refused for its signature: by another key it might be good. */
export function isMismatch (error: unknown): boolean {
  return error instanceof Error && MISMATCHES.has(codeOf(error.cause))
}

// The header is a part of fast-jwt's signer, and making one parses the key again.
const MOST_HEADERS = 100

/** Compiles what signs with one key. */
export function compileSigner (key: SigningKey): Sign {
  const base = { key: exportKey(key), algorithm: key.algorithm, ...(key.kid !== undefined && { kid: key.kid }) }
  const plain = createSigner(base)
  const byHeader = new LRUCache<string, typeof plain>({ max: MOST_HEADERS })
  return function sign (claims, headers) {
    if (headers === undefined) return plain(claims)
    const id = JSON.stringify(headers)
    let signer = byHeader.get(id)
    if (signer === undefined) {
      signer = createSigner({ ...base, header: { ...JSON.parse(id) as JwtHeader, alg: key.algorithm } })
      byHeader.set(id, signer)
    }
    return signer(claims)
  }
}

function codeOf (error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

/** The error that a refusal of fast-jwt becomes: never its own text. What only the application can cause is its fault. */
export function explain (error: unknown, token: unknown): Error {
  return refusal(codeOf(error) as TokenValidationErrorCode, token, error)
}

/** The error for one of fast-jwt's codes. */
export function refusal (code: TokenValidationErrorCode, token: unknown, cause?: unknown): Error {
  const reason = REASONS[code]
  if (reason === undefined) return new JwtUsageError('fast-jwt could not use the key or the options it was given', cause)
  const tooShort = code === 'FAST_JWT_MALFORMED' && typeof token === 'string' && token.indexOf('.') === token.lastIndexOf('.')
  // Of the library's error only the code: it may hold the payload, or a parser's words that quote it.
  return new JwtDecodeError(tooShort ? 'Not enough segments' : reason, cause === undefined ? {} : { cause: Object.assign(new Error(code), { code }) })
}
