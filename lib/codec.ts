import { createDecoder, createSigner, createVerifier, type TokenValidationErrorCode } from 'fast-jwt'
import { LRUCache } from 'lru-cache'
import type { DeepReadonly, JwtAlgorithm, JwtHeader, JwtPayload } from '../types/claims.js'
import { isPromise } from './awaitable.js'
import { createClaimsPolicy, isExpired, isTooEarly, judgeHeader, type RawPayload } from './claims.js'
import { addToken, JwtDecodeError, JwtUsageError } from './errors.js'
import {
  readLoadedSigningKey, readLoadedVerifyingKey, type Keyring, type SigningKey, type VerifyingKey
} from './keyring.js'
import { compilePerKey } from './per-key.js'
import type { Settings } from './settings.js'
import { createVerifiedTokens } from './verified-tokens.js'

/** A token whose signature and claims, all but its expiry, were found good. Frozen, all the way down. */
export interface VerifiedToken {
  readonly header: DeepReadonly<JwtHeader>
  readonly payload: DeepReadonly<JwtPayload>
}

/** A token as it reads, with nothing verified. */
export interface UnverifiedToken {
  readonly header: JwtHeader
  readonly payload: JwtPayload
}

/** Makes the text of a token. */
export type Sign = (claims: JwtPayload, headers: JwtHeader | undefined) => string

/** Turns claims into tokens and back: all that knows of signatures. */
export interface Codec {
  /** The signer of the configuration, or of the key that `encodeKeyLoader` returned. */
  readonly signer: Sign | undefined
  signerOf (loadedKey: unknown): Sign
  /** A promise only where `decodeKeyLoader` returned one. */
  verify (token: string, now: number): VerifiedToken | PromiseLike<VerifiedToken>
  decode (token: unknown): UnverifiedToken
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

// Another key might do better with the same token.
const KEY_MISMATCHES = new Set<unknown>(['FAST_JWT_INVALID_ALGORITHM', 'FAST_JWT_INVALID_SIGNATURE', 'FAST_JWT_VERIFY_ERROR'])

/** One key's synchronous verifier. */
interface Verifier {
  verify (token: string): { header: JwtHeader, payload: RawPayload }
}

interface CachedToken extends VerifiedToken {
  readonly text: string
  readonly verifier: Verifier
  /** The token before anything was filled in, for the loader that chooses its key. */
  readonly sent: VerifiedToken | undefined
}

const decodeComplete = createDecoder({ complete: true })

/** Makes the codec of a configuration: one signer and one synchronous verifier per key, and the verified tokens. */
export function createCodec (settings: Settings, keyring: Keyring): Codec {
  const { verifyCache, decodeLeeway, decodeAlgorithms, decodeKeyLoader } = settings
  const judgeClaims = createClaimsPolicy(settings)
  const ownVerifier = compileVerifier(keyring.verifying)
  const verifierOf = compilePerKey((value) => compileVerifier([readLoadedVerifyingKey(value, settings)]))
  // Good only for the verifier that said yes. Failures are not kept, so that no flood of them drives good tokens out;
  // the times are compared on every hit.
  const tokens = verifyCache === false ? undefined : createVerifiedTokens<CachedToken>(verifyCache)
  let lastHeader: { readonly text: string, readonly header: DeepReadonly<JwtHeader> } | undefined

  // One signer's tokens begin alike: what their header says is judged and kept once.
  function settleHeader (token: string, header: JwtHeader): DeepReadonly<JwtHeader> {
    if (lastHeader !== undefined && token.startsWith(lastHeader.text)) return lastHeader.header
    judgeHeader(header)
    const settled = deepFreeze(header)
    lastHeader = { text: token.slice(0, token.indexOf('.') + 1), header: settled }
    return settled
  }

  function verifyBy (
    verifier: Verifier, token: string, now: number, cached: CachedToken | undefined, sent?: VerifiedToken
  ): VerifiedToken {
    if (cached !== undefined && cached.verifier === verifier) {
      if (isTooEarly(cached.payload, now, decodeLeeway)) {
        throw new JwtDecodeError('The token is not yet valid (nbf)', { jwtHeader: cached.header, jwtPayload: cached.payload })
      }
      if (isExpired(cached.payload, now, decodeLeeway)) tokens!.delete(token)
      return cached
    }
    const { header, payload } = verifier.verify(token)
    if (hasStrayCharacter(token)) throw refusal('FAST_JWT_INVALID_SIGNATURE', token)
    let settled: DeepReadonly<JwtHeader>
    try {
      settled = settleHeader(token, header)
      judgeClaims(payload, now)
    } catch (error) {
      throw addToken(error as JwtDecodeError, deepFreeze(header), deepFreeze(payload as JwtPayload))
    }
    const verified: CachedToken = { header: settled, payload: deepFreeze(payload as JwtPayload), verifier, sent, text: token }
    if (tokens !== undefined && !isExpired(verified.payload, now, decodeLeeway)) tokens.set(verified)
    return verified
  }

  function verifyByLoadedKey (token: string, now: number): VerifiedToken | PromiseLike<VerifiedToken> {
    const cached = tokens?.get(token)
    const sent = cached?.sent ?? decode(token)
    // No loader is asked about a token that no key could save.
    if (!decodeAlgorithms.includes(sent.header.alg as JwtAlgorithm)) throw refusal('FAST_JWT_INVALID_ALGORITHM', token)
    const frozen = cached?.sent ?? { header: deepFreeze(sent.header), payload: deepFreeze(sent.payload) }
    const loaded = decodeKeyLoader!(frozen.header, frozen.payload)
    return isPromise(loaded)
      ? Promise.resolve(loaded).then((key) => verifyBy(verifierOf(key), token, now, cached, frozen))
      : verifyBy(verifierOf(loaded), token, now, cached, frozen)
  }

  return {
    signer: keyring.signing && compileSigner(keyring.signing),
    signerOf: compilePerKey((value) => compileSigner(readLoadedSigningKey(value, settings))),
    verify: decodeKeyLoader === undefined
      ? (token, now) => verifyBy(ownVerifier, token, now, tokens?.get(token))
      : verifyByLoadedKey,
    decode,
  }
}

function decode (token: unknown): UnverifiedToken {
  try {
    return decodeComplete(token as string) as UnverifiedToken
  } catch (error) {
    throw explain(error, token)
  }
}

// fast-jwt parses PEM texts and bytes, but no KeyObjects.
function exportKey (key: SigningKey | VerifyingKey): string | Buffer {
  const { object } = key
  if (object.type === 'secret') return object.export()
  return object.export(object.type === 'private' ? { format: 'pem', type: 'pkcs8' } : { format: 'pem', type: 'spki' }) as string
}

function compileVerifier (keys: readonly VerifyingKey[]): Verifier {
  // Times and names are judged by the claims policy: fast-jwt takes an `exp` equal to now and a token without the
  // audience it is told to expect.
  const verifiers = keys.map((key) => createVerifier({
    key: exportKey(key), algorithms: [...key.algorithms], complete: true, ignoreExpiration: true, ignoreNotBefore: true,
  }))
  return {
    verify (token) {
      let mismatch: unknown
      for (const verifier of verifiers) {
        try {
          return verifier(token)
        } catch (error) {
          if (!KEY_MISMATCHES.has(codeOf(error))) throw explain(error, token)
          if (codeOf(mismatch) !== 'FAST_JWT_INVALID_SIGNATURE') mismatch = error
        }
      }
      if (mismatch === undefined) throw new JwtUsageError('There is no key to verify tokens with: give secretKey, publicKey or decodeKeyLoader')
      throw explain(mismatch, token)
    },
  }
}

// No bytes are written in 4n + 1 signs (RFC 4648 §4): the last would stand for nothing, and fast-jwt would pass over it.
function hasStrayCharacter (token: string): boolean {
  return (token.length - token.lastIndexOf('.') - 1) % 4 === 1
}

// The header is a part of fast-jwt's signer, and making one parses the key again.
const MOST_HEADERS = 100

function compileSigner (key: SigningKey): Sign {
  const base = { key: exportKey(key), algorithm: key.algorithm }
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

function refusal (code: TokenValidationErrorCode, token: unknown, cause?: unknown): Error {
  const reason = REASONS[code]
  if (reason === undefined) return new JwtUsageError('fast-jwt could not use the key or the options it was given', cause)
  const tooShort = code === 'FAST_JWT_MALFORMED' && typeof token === 'string' && token.indexOf('.') === token.lastIndexOf('.')
  // Of the library's error only the code: it may hold the payload, or a parser's words that quote it.
  return new JwtDecodeError(tooShort ? 'Not enough segments' : reason, cause === undefined ? {} : { cause: Object.assign(new Error(code), { code }) })
}

// With a list instead of recursion, so that no depth of nesting overflows the stack.
function deepFreeze<T extends object> (root: T): DeepReadonly<T> {
  const pending: object[] = [root]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    Object.freeze(next)
    for (const value of Object.values(next)) {
      if (typeof value === 'object' && value !== null) pending.push(value as object)
    }
  }
  return root as DeepReadonly<T>
}
