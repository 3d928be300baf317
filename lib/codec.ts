import type { DeepReadonly, JwtAlgorithm, JwtHeader, TokenPayload } from '../types/claims.js'
import { isPromise } from './awaitable.js'
import { asDeclared, createClaimsPolicy, isExpired, judgeBeginning, judgeHeader, type ClaimsPolicy } from './claims.js'
import { addToken, JwtDecodeError, JwtUsageError } from './errors.js'
import { createIssuerKeys, type IssuerKeys } from './issuer-keys.js'
import { kidOf, readLoadedSigningKey, readLoadedVerifyingKey, type Keyring } from './keyring.js'
import { compilePerKey } from './per-key.js'
import type { Settings } from './settings.js'
import {
  checkEach, compileSigner, compileVerifier, decode, isMismatch, refusal, type CheckedToken, type Sign, type UnverifiedToken, type Verifier
} from './signatures.js'
import { createVerifiedTokens } from './verified-tokens.js'

/** A token whose signature and claims, all but its expiry, were found good. Frozen, all the way down. */
export interface VerifiedToken {
  readonly header: DeepReadonly<JwtHeader>
  readonly payload: DeepReadonly<TokenPayload>
  readonly identity: unknown
  /** Whether somebody else issued it: its `sid`, `gen` and `epoch` are not ours. */
  readonly isForeign: boolean
}

/** Turns claims into tokens and back: all that knows of signatures. */
export interface Codec {
  /** The signer of the configuration's current key. */
  readonly signer: Sign | undefined
  /** The signer of the key that `encodeKeyLoader` returned. */
  signerOf (loadedKey: unknown): Sign
  /** When the last token expires that the current key has signed here, in seconds since 1970; 0 where there is none. */
  readonly lastExpiry: number
  /** Signs and verifies with other keys from now on. */
  replaceKeys (keyring: Keyring): void
  /** A promise only where `decodeKeyLoader` returned one, or an issuer's keys have to be fetched. */
  verify (token: string, now: number): VerifiedToken | PromiseLike<VerifiedToken>
  decode (token: unknown): UnverifiedToken
}

/** Whose claims are judged by what. */
interface Origin {
  readonly judgeClaims: ClaimsPolicy
  readonly identityClaim: string
  readonly isForeign: boolean
  /** Where more keys may come from. */
  readonly keys?: IssuerKeys
}

/** The keys that may have signed a token, and whose token it is then. */
interface Candidates {
  readonly verifiers: readonly Verifier[]
  readonly origin: Origin
  /** The token as the loader saw it that chose the key. */
  readonly sent?: FrozenToken
}

interface CachedToken extends VerifiedToken {
  readonly text: string
  readonly verifier: Verifier
  /** The token before anything was filled in, for the loader that chooses its key. */
  readonly sent: FrozenToken | undefined
}

interface FrozenToken {
  readonly header: DeepReadonly<JwtHeader>
  readonly payload: DeepReadonly<TokenPayload>
}

/** Makes the codec of a configuration: one signer and one synchronous verifier per key, and the verified tokens. */
export function createCodec (settings: Settings, keyring: Keyring): Codec {
  const { verifyCache, decodeLeeway, decodeAlgorithms, decodeKeyLoader } = settings
  const own: Origin = { judgeClaims: createClaimsPolicy(settings), identityClaim: settings.identityClaim, isForeign: false }
  const issuers = settings.issuers && readIssuers(settings)
  // Only the loader knows how long its keys are good.
  const verifierOf = compilePerKey((value) => compileVerifier({ ...readLoadedVerifyingKey(value, settings), until: 0 }))
  // Good only for the verifier that said yes. Failures are not kept, so that no flood of them drives good tokens out;
  // the times are compared on every hit.
  const tokens = verifyCache === false ? undefined : createVerifiedTokens<CachedToken>(verifyCache)
  let ownVerifiers: readonly Verifier[] = []
  let signer: Sign | undefined
  // What each key that verifies has signed here, by its name: it may sign again, or have the next one put before it.
  const signings = new Map<string, { lastExpiry: number }>()
  let current = { lastExpiry: 0 }

  function replaceKeys ({ signing, verifying }: Keyring): void {
    const before = ownVerifiers
    ownVerifiers = verifying.map((key) => {
      const known = before.find(({ kid, algorithms }) => kid === key.kid && algorithms.join() === key.algorithms.join()) ?? compileVerifier(key)
      known.until = key.until
      return known
    })
    for (const verifier of before) if (!ownVerifiers.includes(verifier)) verifier.until = 0
    for (const kid of signings.keys()) if (!verifying.some((key) => key.kid === kid)) signings.delete(kid)
    signer = undefined
    if (signing === undefined) return
    const kid = kidOf(signing.object)
    const signed = signings.get(kid) ?? { lastExpiry: 0 }
    signings.set(kid, signed)
    current = signed
    const sign = compileSigner(signing)
    signer = function signAndRemember (claims, headers) {
      signed.lastExpiry = Math.max(signed.lastExpiry, claims.exp ?? Infinity)
      return sign(claims, headers)
    }
  }

  function verify (token: string, now: number): VerifiedToken | PromiseLike<VerifiedToken> {
    const cached = tokens?.get(token)
    if (cached !== undefined && cached.verifier.from <= now && cached.verifier.until > now) return recall(cached, now)
    const candidates = choose(token, now, cached?.sent)
    // Waiting for a key took time.
    return isPromise(candidates)
      ? candidates.then((late) => judge(late, token, Date.now(), cached))
      : judge(candidates, token, now, cached)
  }

  function recall (cached: CachedToken, now: number): VerifiedToken {
    try {
      judgeBeginning(cached.payload, now, decodeLeeway)
    } catch (error) {
      throw addToken(error as JwtDecodeError, cached.header, cached.payload)
    }
    if (isExpired(cached.payload, now, decodeLeeway)) tokens!.delete(cached.text)
    return cached
  }

  function choose (token: string, now: number, sent: FrozenToken | undefined): Candidates | PromiseLike<Candidates> {
    if (issuers !== undefined) {
      const { header, payload } = decode(token)
      const issuer = issuers.get(payload.iss as string)
      if (issuer !== undefined) return chooseForeign(issuer, header, token, now)
      if (ownVerifiers.length === 0 && decodeKeyLoader === undefined) {
        throw new JwtDecodeError(payload.iss === undefined ? 'Token is missing the "iss" claim' : 'Invalid issuer')
      }
    }
    return decodeKeyLoader === undefined ? { verifiers: chooseOwn(token, now), origin: own } : chooseLoaded(decodeKeyLoader, token, sent)
  }

  // A token that names its key is judged by that one; any other, by each.
  function chooseOwn (token: string, now: number): readonly Verifier[] {
    if (ownVerifiers.length === 0) throw new JwtUsageError('There is no key to verify tokens with: give secretKey, publicKey or decodeKeyLoader')
    const living = ownVerifiers.filter(({ until }) => until > now)
    if (living.length === 1) return living
    const opened = living.find(({ opening, kid }) => opening !== undefined && opening.header.kid === kid && token.startsWith(opening.text))
    if (opened !== undefined) return [opened]
    const { kid } = decode(token).header
    const named = living.filter((verifier) => verifier.kid === kid)
    return named.length === 0 ? living : named
  }

  function chooseForeign (issuer: TrustedIssuer, header: JwtHeader, token: string, now: number): Candidates | PromiseLike<Candidates> {
    if (!issuer.algorithms.includes(header.alg as string)) throw refusal('FAST_JWT_INVALID_ALGORITHM', token)
    judgeHeader(header)
    const found = issuer.keys.find(header, now)
    return isPromise(found) ? found.then((verifiers) => ({ verifiers, origin: issuer })) : { verifiers: found, origin: issuer }
  }

  function chooseLoaded (
    load: NonNullable<Settings['decodeKeyLoader']>, token: string, before: FrozenToken | undefined
  ): Candidates | PromiseLike<Candidates> {
    const sent = before ?? deepFreeze(decode(token))
    // No loader is asked about a token that no key could save.
    if (!decodeAlgorithms.includes(sent.header.alg as JwtAlgorithm)) throw refusal('FAST_JWT_INVALID_ALGORITHM', token)
    const settle = (key: unknown): Candidates => ({ verifiers: [verifierOf(key)], origin: own, sent })
    const loaded = load(sent.header, asDeclared(sent.payload))
    return isPromise(loaded) ? Promise.resolve(loaded).then(settle) : settle(loaded)
  }

  function judge (candidates: Candidates, token: string, now: number, cached: CachedToken | undefined): VerifiedToken | PromiseLike<VerifiedToken> {
    const { verifiers, origin } = candidates
    if (cached !== undefined && verifiers.includes(cached.verifier)) return recall(cached, now)
    if (verifiers.length === 0) throw new JwtDecodeError('The issuer has no such key')
    let checked: CheckedToken
    try {
      checked = checkEach(verifiers, token)
    } catch (error) {
      const more = isMismatch(error) ? origin.keys?.findMore(decode(token).header, verifiers, now) : undefined
      if (more === undefined) throw error
      return more.then((late) => {
        if (late.length === 0) throw error
        return keep(checkEach(late, token), candidates, token, Date.now())
      })
    }
    return keep(checked, candidates, token, now)
  }

  function keep ({ verifier, header, payload }: CheckedToken, { origin, sent }: Candidates, token: string, now: number): VerifiedToken {
    let settled: DeepReadonly<JwtHeader>
    try {
      settled = settleHeader(verifier, token, header)
      origin.judgeClaims(payload, now)
    } catch (error) {
      throw addToken(error as JwtDecodeError, deepFreeze(header), deepFreeze(payload))
    }
    const verified: CachedToken = {
      header: settled,
      payload: deepFreeze(payload),
      identity: payload[origin.identityClaim],
      isForeign: origin.isForeign,
      text: token,
      verifier,
      sent,
    }
    if (tokens !== undefined && !isExpired(verified.payload, now, decodeLeeway)) tokens.set(verified)
    return verified
  }

  replaceKeys(keyring)
  return {
    get signer () { return signer },
    get lastExpiry () { return current.lastExpiry },
    signerOf: compilePerKey((value) => compileSigner(readLoadedSigningKey(value, settings))),
    replaceKeys,
    verify,
    decode,
  }
}

interface TrustedIssuer extends Origin {
  readonly algorithms: readonly string[]
  readonly keys: IssuerKeys
}

function readIssuers (settings: Settings): ReadonlyMap<string, TrustedIssuer> {
  return new Map(settings.issuers!.map((issuer) => {
    const identityClaim = issuer.identityClaim ?? settings.identityClaim
    const judgeClaims = createClaimsPolicy({
      decodeIssuer: [issuer.issuer], decodeAudience: issuer.audience, decodeLeeway: settings.decodeLeeway, verifySub: settings.verifySub, identityClaim,
    })
    return [issuer.issuer, { judgeClaims, identityClaim, isForeign: true, algorithms: issuer.algorithms, keys: createIssuerKeys(issuer) }]
  }))
}

// The tokens of one key begin alike: what their header says is judged and kept once.
function settleHeader (verifier: Verifier, token: string, header: JwtHeader): DeepReadonly<JwtHeader> {
  const { opening } = verifier
  if (opening !== undefined && token.startsWith(opening.text)) return opening.header
  judgeHeader(header)
  const settled = deepFreeze(header)
  verifier.opening = { text: token.slice(0, token.indexOf('.') + 1), header: settled }
  return settled
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
