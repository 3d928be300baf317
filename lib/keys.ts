import { createPrivateKey, createPublicKey, createSecretKey, KeyObject, type JsonWebKey } from 'node:crypto'
import type { JwtAlgorithm } from '../types/claims.js'
import { JwtUsageError } from './errors.js'
import { isEncryptedDer, isPem, looksLikeKey, nameText, readDer, type Half } from './written-keys.js'

/** A key, and what it may be used for. */
export interface Key {
  readonly object: KeyObject
  /** The algorithms that its kind, curve and size are fit for. */
  readonly algorithms: readonly JwtAlgorithm[]
}

const HMAC: readonly JwtAlgorithm[] = ['HS256', 'HS384', 'HS512']
const RSA: readonly JwtAlgorithm[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
const CURVES: Readonly<Record<string, JwtAlgorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }
const SMALLEST_RSA = 2048

/** Whether an algorithm signs and verifies by one shared secret. */
export function isHmac (algorithm: JwtAlgorithm): boolean {
  return algorithm.startsWith('HS')
}

/** The bytes that an HMAC secret should have at least: as many as its hash (RFC 7518 §3.2). */
export function hashLength (algorithm: JwtAlgorithm): number {
  return Number(algorithm.slice(2)) / 8
}

/**
 * Reads an HMAC secret. Public keys are public: one that serves as a secret lets anybody sign (RFC 8725 §2.1), so
 * whatever is or contains an asymmetric key is refused, however it is written.
 *
 * @param what the option or loader it came from, for the message
 */
export function readSecret (value: unknown, what: string): Key {
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
    throw new JwtUsageError(`${what} must be a string or a Buffer, not ${nameKind(value)}`)
  }
  if (value.length === 0) throw new JwtUsageError(`${what} must not be empty`)
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value)
  if (looksLikeKey(bytes)) {
    throw new JwtUsageError(
      `${what} is or contains a public or private key, which cannot be an HMAC secret; ` +
      "give it as privateKey or publicKey, with an algorithm such as 'RS256'"
    )
  }
  return { object: createSecretKey(bytes), algorithms: HMAC }
}

/** Reads a signing key of the asymmetric algorithms. */
export function readPrivateKey (value: unknown, what: string): Key {
  return fit(parse(value, what, 'private'), value, what)
}

/** Reads a verifying key of the asymmetric algorithms. */
export function readPublicKey (value: unknown, what: string): Key {
  return fit(parse(value, what, 'public'), value, what)
}

/** The public half of a private key. */
export function publicHalf (key: Key): Key {
  return { object: createPublicKey(key.object), algorithms: key.algorithms }
}

function parse (value: unknown, what: string, half: Half): KeyObject {
  if (value instanceof KeyObject) return fromKeyObject(value, what, half)
  if (typeof value === 'string' || value instanceof Uint8Array) return fromBytes(value, undefined, what, half)
  if (isRecord(value) && 'passphrase' in value) {
    const { key, passphrase } = value
    if ((typeof key !== 'string' && !(key instanceof Uint8Array)) || typeof passphrase !== 'string' || half === 'public') {
      throw new JwtUsageError(`${what}: { key, passphrase } takes a private key as a string or Buffer, and a string`)
    }
    return fromBytes(key, passphrase, what, half)
  }
  if (isRecord(value) && 'kty' in value) return fromJwk(value, what, half)
  throw new JwtUsageError(`${what} must be a PEM text, a Buffer, a KeyObject, a JWK or { key, passphrase }, not ${nameKind(value)}`)
}

// A copy. On Node 20 a pair that was generated shares one lock with what generated it. Exporting it as a JWK, or asking
// for its details, holds the lock, and a garbage collection meanwhile waits for it: the process would stand still for ever.
function fromKeyObject (object: KeyObject, what: string, half: Half): KeyObject {
  if (object.type !== half) throw wrongHalf(what, half, object.type)
  return half === 'private'
    ? createPrivateKey({ key: object.export({ format: 'der', type: 'pkcs8' }), format: 'der', type: 'pkcs8' })
    : createPublicKey({ key: object.export({ format: 'der', type: 'spki' }), format: 'der', type: 'spki' })
}

function fromBytes (value: string | Uint8Array, passphrase: string | undefined, what: string, half: Half): KeyObject {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value)
  if (bytes.length === 0) throw new JwtUsageError(`${what} must not be empty`)
  const written = bytes.toString('latin1')
  if (!isPem(written)) {
    const other = half === 'public' ? 'private' : 'public'
    if (isEncryptedDer(bytes)) {
      if (half === 'public') throw wrongHalf(what, half, other)
      return fromEncryptedDer(bytes, passphrase, what)
    }
    const object = readDer(bytes, half)
    if (object !== undefined) return object
    if (readDer(bytes, other) !== undefined) throw wrongHalf(what, half, other)
    throw new JwtUsageError(`${what} is ${nameText(written)}`)
  }
  const isPrivate = /BEGIN [A-Z ]*PRIVATE KEY/.test(written)
  // createPublicKey would take the public half of a private key in silence, and the secret would go on lying about.
  if (isPrivate !== (half === 'private')) throw wrongHalf(what, half, isPrivate ? 'private' : 'public')
  try {
    const input = { key: bytes, format: 'pem' as const, ...(passphrase !== undefined && { passphrase }) }
    return half === 'private' ? createPrivateKey(input) : createPublicKey(input)
  } catch (cause) {
    throw new JwtUsageError(`${what} is a PEM text that cannot be read${pemHint(written, passphrase)}`, cause)
  }
}

function pemHint (written: string, passphrase: string | undefined): string {
  if (written.includes('\\n')) return "; its line ends are escaped: give key.replaceAll('\\\\n', '\\n')"
  return /ENCRYPTED/.test(written) ? passphraseHint(passphrase) : ''
}

function passphraseHint (passphrase: string | undefined): string {
  return passphrase === undefined ? '; it is encrypted: give { key, passphrase }' : '; the passphrase does not open it'
}

function fromEncryptedDer (key: Buffer, passphrase: string | undefined, what: string): KeyObject {
  try {
    return createPrivateKey({ key, format: 'der', type: 'pkcs8', ...(passphrase !== undefined && { passphrase }) })
  } catch (cause) {
    throw new JwtUsageError(`${what} is a DER key that cannot be read${passphraseHint(passphrase)}`, cause)
  }
}

function fromJwk (jwk: JsonWebKey, what: string, half: Half): KeyObject {
  if (jwk.kty === 'oct') throw wrongHalf(what, half, 'secret')
  const isPrivate = 'd' in jwk
  if (isPrivate !== (half === 'private')) throw wrongHalf(what, half, isPrivate ? 'private' : 'public')
  // RFC 7517 §4.2: a key that is meant for encryption does not sign.
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') throw new JwtUsageError(`${what} is a JWK whose use is not 'sig'`)
  try {
    const input = { key: jwk, format: 'jwk' as const }
    return half === 'private' ? createPrivateKey(input) : createPublicKey(input)
  } catch (cause) {
    throw new JwtUsageError(`${what} is a JWK that cannot be read`, cause)
  }
}

function fit (object: KeyObject, value: unknown, what: string): Key {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = object.asymmetricKeyDetails!
  let algorithms: readonly JwtAlgorithm[] = []
  switch (object.asymmetricKeyType) {
    case 'rsa':
      if (modulusLength < SMALLEST_RSA) {
        throw new JwtUsageError(`${what} is an RSA key of ${modulusLength} bits; RFC 7518 §3.3 asks for ${SMALLEST_RSA} or more`)
      }
      // What is raised to the power of 1 is itself: anybody could write a signature.
      if (publicExponent < 3n) throw new JwtUsageError(`${what} is an RSA key with the public exponent ${publicExponent}, which keeps nobody from signing`)
      algorithms = RSA
      break
    case 'ec':
      if (CURVES[namedCurve] !== undefined) algorithms = [CURVES[namedCurve]]
      break
    case 'ed25519':
    case 'ed448':
      algorithms = ['EdDSA']
      break
  }
  // RFC 7517 §4.4: a JWK may name the one algorithm that it is meant for.
  const meant = isRecord(value) && !(value instanceof KeyObject) ? value['alg'] : undefined
  if (meant !== undefined) algorithms = algorithms.filter((algorithm) => algorithm === meant)
  if (algorithms.length === 0) {
    throw new JwtUsageError(`${what} is ${nameKey(object)}${meant === undefined ? '' : " whose 'alg' is another one"}, which no JWT algorithm here can use`)
  }
  return { object, algorithms }
}

/** A key's kind in words, for messages: never the key. */
export function nameKey (object: KeyObject): string {
  if (object.type === 'secret') return 'an HMAC secret'
  const curve = object.asymmetricKeyDetails?.namedCurve
  return `a key of the kind ${object.asymmetricKeyType}${curve === undefined ? '' : ` on the curve ${curve}`}`
}

function wrongHalf (what: string, wanted: Half, got: string): JwtUsageError {
  return new JwtUsageError(`${what} must be a ${wanted} key, not a ${got} one`)
}

function nameKind (value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'a list'
  if (value instanceof KeyObject) return `a ${value.type} KeyObject`
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
