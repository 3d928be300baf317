import type { KeyObject } from 'node:crypto'
import type { JwtAlgorithm } from '../types/claims.js'
import { JwtUsageError } from './errors.js'
import {
  hashLength, isHmac, looksLikeKey, nameKey, publicHalf, readPrivateKey, readPublicKey, readSecret, type Key
} from './keys.js'
import type { Settings } from './settings.js'

/** A key and the algorithm that it signs with. */
export interface SigningKey {
  readonly object: KeyObject
  readonly algorithm: JwtAlgorithm
}

/** A key and the accepted algorithms that it is fit for. */
export interface VerifyingKey {
  readonly object: KeyObject
  readonly algorithms: readonly JwtAlgorithm[]
}

/** The keys of one configuration. */
export interface Keyring {
  /** Absent where the application can only verify, or where a loader gives the key. */
  readonly signing: SigningKey | undefined
  /** Empty where a loader gives the key. */
  readonly verifying: readonly VerifyingKey[]
}

/**
 * Reads the keys of a configuration and checks that they can do what its algorithms ask.
 *
 * @throws {JwtUsageError} for a key that is missing, unreadable, unfit or too weak, and for halves that are no pair.
 */
export function readKeyring (settings: Settings): Keyring {
  const { algorithm, decodeAlgorithms, encodeKeyLoader, decodeKeyLoader } = settings
  const secrets = readEach(settings.secretKey, 'secretKey', readSecret)
  const privateKey = settings.privateKey === undefined ? undefined : readPrivateKey(settings.privateKey, 'privateKey')
  const publicKeys = readEach(settings.publicKey, 'publicKey', readPublicKey)
  if (privateKey !== undefined) pair(privateKey, publicKeys)

  if (secrets.length + publicKeys.length === 0 && encodeKeyLoader === undefined && decodeKeyLoader === undefined) {
    throw new JwtUsageError(isHmac(algorithm)
      ? 'There is no key: give secretKey, for example secretKey: process.env.JWT_SECRET_KEY (is the variable set?)'
      : 'There is no key: give privateKey to issue and verify tokens, or publicKey to verify them only')
  }
  const own = isHmac(algorithm) ? secrets : publicKeys
  if (own.length === 0 && secrets.length + publicKeys.length > 0) {
    throw new JwtUsageError(isHmac(algorithm)
      ? `The algorithm ${algorithm} needs secretKey; with privateKey or publicKey, name their algorithm, such as algorithm: 'RS256'`
      : `The algorithm ${algorithm} needs privateKey or publicKey; an HMAC secret cannot serve it`)
  }
  for (const secret of secrets) warnOfWeakSecret(secret, settings, 'secretKey')

  const verifying = [...secrets, ...publicKeys].flatMap((key) => accept(key, decodeAlgorithms) ?? [])
  for (const [index, key] of publicKeys.entries()) {
    if (!isHmac(algorithm) && accept(key, decodeAlgorithms) === undefined) throw unfit(key, `publicKey[${index}]`, decodeAlgorithms)
  }
  if (decodeKeyLoader === undefined) {
    const orphan = decodeAlgorithms.find((name) => verifying.length > 0 && !verifying.some((key) => key.algorithms.includes(name)))
    if (orphan !== undefined) {
      throw new JwtUsageError(`decodeAlgorithms has ${orphan}, but no key for it: give ${isHmac(orphan) ? 'secretKey' : 'a fitting publicKey'} or leave it out`)
    }
  }
  const signing = isHmac(algorithm) ? secrets[0] : privateKey
  if (signing !== undefined && !signing.algorithms.includes(algorithm)) {
    throw unfit(signing, 'privateKey', [algorithm])
  }
  return Object.freeze({
    signing: signing && { object: signing.object, algorithm },
    verifying: Object.freeze(verifying),
  })
}

/** Reads a signing key that `encodeKeyLoader` returned, by the same rules. */
export function readLoadedSigningKey (value: unknown, settings: Settings): SigningKey {
  const what = 'The key that encodeKeyLoader returned'
  const { algorithm } = settings
  const key = isHmac(algorithm) ? readSecret(value, what) : readPrivateKey(value, what)
  if (!key.algorithms.includes(algorithm)) throw unfit(key, what, [algorithm])
  if (isHmac(algorithm)) warnOfWeakSecret(key, settings, what)
  return { object: key.object, algorithm }
}

/** Reads a verifying key that `decodeKeyLoader` returned, by the same rules. */
export function readLoadedVerifyingKey (value: unknown, settings: Settings): VerifyingKey {
  const what = 'The key that decodeKeyLoader returned'
  const { decodeAlgorithms } = settings
  const isText = typeof value === 'string' || value instanceof Uint8Array
  // Where both kinds are accepted, text that is no key is a secret; the two never serve each other's algorithms.
  const isSecret = decodeAlgorithms.every(isHmac) || (decodeAlgorithms.some(isHmac) && isText && !looksLikeKey(value))
  const key = isSecret ? readSecret(value, what) : readPublicKey(value, what)
  const accepted = accept(key, decodeAlgorithms)
  if (accepted === undefined) throw unfit(key, what, decodeAlgorithms)
  if (isSecret) warnOfWeakSecret(key, settings, what)
  return accepted
}

function readEach (value: unknown, what: string, read: (value: unknown, what: string) => Key): Key[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) return [read(value, what)]
  if (value.length === 0) throw new JwtUsageError(`The option ${what} must not be an empty list`)
  return value.map((one, index) => read(one, `${what}[${index}]`))
}

function pair (privateKey: Key, publicKeys: Key[]): void {
  const half = publicHalf(privateKey)
  if (publicKeys.length === 0) {
    publicKeys.push(half)
  } else if (!publicKeys.some((key) => isSameKey(key, half))) {
    throw new JwtUsageError('privateKey and publicKey do not belong together; leave publicKey out, and it is derived')
  }
}

// Comparing keys of different kinds leaves an error behind in OpenSSL that the next key to be read would throw.
function isSameKey (a: Key, b: Key): boolean {
  return a.object.asymmetricKeyType === b.object.asymmetricKeyType && a.object.equals(b.object)
}

function accept (key: Key, accepted: readonly JwtAlgorithm[]): VerifyingKey | undefined {
  const algorithms = accepted.filter((algorithm) => key.algorithms.includes(algorithm))
  return algorithms.length === 0 ? undefined : { object: key.object, algorithms }
}

function unfit (key: Key, what: string, wanted: readonly JwtAlgorithm[]): JwtUsageError {
  return new JwtUsageError(`${what} is ${nameKey(key.object)}: fit for ${key.algorithms.join(', ')}, but not for ${wanted.join(', ')}`)
}

function warnOfWeakSecret (secret: Key, settings: Settings, what: string): void {
  const needed = Math.max(...settings.decodeAlgorithms.filter(isHmac).map(hashLength))
  const length = secret.object.symmetricKeySize!
  if (length >= needed) return
  const message = `${what} has ${length} bytes; RFC 7518 §3.2 asks for ${needed} or more. ` +
    `Make one with: node -p "require('node:crypto').randomBytes(${needed}).toString('hex')"`
  if (process.env['NODE_ENV'] === 'production' && !settings.allowWeakKeys) {
    throw new JwtUsageError(`${message} (or set allowWeakKeys: true)`)
  }
  process.emitWarning(message, { code: 'FST_JWT_EXT_WEAK_KEY' })
}
