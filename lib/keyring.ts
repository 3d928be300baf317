import type { KeyObject } from 'node:crypto'
import type { JwtAlgorithm } from '../types/claims.js'
import type { PublicJwk } from '../types/manager.js'
import { JwtUsageError } from './errors.js'
import { digestOf, thumbprintOf } from './key-id.js'
import { hashLength, isHmac, nameKey, publicHalf, readPrivateKey, readPublicKey, readSecret, type Key } from './keys.js'
import { assertKnownNames } from './names.js'
import type { Settings } from './settings.js'
import { looksLikeKey } from './written-keys.js'

/** A key and the algorithm that it signs with. */
export interface SigningKey {
  readonly object: KeyObject
  readonly algorithm: JwtAlgorithm
  /** What its tokens name it by; a secret that stands alone has no name. */
  readonly kid: string | undefined
}

/** A key and the accepted algorithms that it is fit for, the one that signs first. */
export interface VerifyingKey {
  readonly object: KeyObject
  readonly algorithms: readonly JwtAlgorithm[]
  readonly kid: string
  /** Until when it verifies, in milliseconds since 1970. */
  readonly until: number
}

/** The keys of one configuration. */
export interface Keyring {
  /** Absent where the application can only verify, or where a loader gives the key. */
  readonly signing: SigningKey | undefined
  /** The current one first. Empty where a loader gives the key. */
  readonly verifying: readonly VerifyingKey[]
}

/** The keys that an option or `rotateKeys` names. */
interface GivenKeys {
  readonly secretKey?: unknown
  readonly privateKey?: unknown
  readonly publicKey?: unknown
}

interface Keys {
  readonly secrets: readonly Key[]
  readonly privateKey: Key | undefined
  readonly publicKeys: readonly Key[]
}

/**
 * Reads the keys of a configuration and checks that they can do what its algorithms ask.
 *
 * @throws {JwtUsageError} for a key that is missing, unreadable, unfit or too weak, and for halves that are no pair.
 */
export function readKeyring (settings: Settings): Keyring {
  const { algorithm, encodeKeyLoader, decodeKeyLoader, issuers } = settings
  const keys = readKeys(settings)
  const isEmpty = keys.secrets.length + keys.publicKeys.length === 0
  if (isEmpty && encodeKeyLoader === undefined && decodeKeyLoader === undefined && issuers === undefined) {
    throw new JwtUsageError(isHmac(algorithm)
      ? 'There is no key: give secretKey, for example secretKey: process.env.JWT_SECRET_KEY (is the variable set?)'
      : 'There is no key: give privateKey to issue and verify tokens, or publicKey to verify them only')
  }
  const keyring = arrange(keys, settings)
  checkAlgorithms(keyring.verifying, settings)
  return keyring
}

const FOREIGN = {
  secretKey: ['privateKey', 'publicKey'], privateKey: ['secretKey'], publicKey: ['secretKey', 'privateKey'],
} as const satisfies Record<keyof GivenKeys, readonly (keyof GivenKeys)[]>

/**
 * The keys after a rotation: what is given comes first and signs. A list is the whole of what verifies from now on; a
 * single key leaves those before it, and the one that signed last verifies until its last token has expired.
 *
 * @param lastExpiry when the last token expires that the current key signed, in seconds since 1970
 * @throws {JwtUsageError} as `readKeyring` does; nothing has changed then.
 */
export function rotateKeyring (keyring: Keyring, given: unknown, settings: Settings, lastExpiry: number): Keyring {
  assertKnownNames(given, ['secretKey', 'privateKey', 'publicKey'], 'rotateKeys')
  const named = given as GivenKeys
  const wanted = isHmac(settings.algorithm) ? 'secretKey' : keyring.signing === undefined ? 'publicKey' : 'privateKey'
  if (settings.encodeKeyLoader !== undefined || settings.decodeKeyLoader !== undefined || keyring.verifying.length === 0) {
    throw new JwtUsageError('rotateKeys changes the keys of the configuration, but here a loader or an issuer gives them')
  }
  if (named[wanted] === undefined) throw new JwtUsageError(`rotateKeys needs ${wanted} for the algorithm ${settings.algorithm}`)
  const foreign = FOREIGN[wanted].find((name) => named[name] !== undefined)
  if (foreign !== undefined) throw new JwtUsageError(`rotateKeys takes no ${foreign} here, but ${wanted}`)
  const fresh = arrange(readKeys(named), settings)
  const isWhole = Array.isArray(wanted === 'secretKey' ? named.secretKey : named.publicKey)
  const others = keyring.verifying.filter(({ object }) => (object.type === 'secret') !== (wanted === 'secretKey'))
  const retired = isWhole ? [] : retire(keyring, settings, lastExpiry)
  const kept = [...retired, ...others].filter((key) => !fresh.verifying.some((newer) => newer.kid === key.kid))
  const verifying = [...fresh.verifying, ...kept]
  checkAlgorithms(verifying, settings)
  const signing = fresh.signing && { ...fresh.signing, kid: kidOf(fresh.signing.object) }
  return Object.freeze({ signing, verifying: Object.freeze(verifying) })
}

function retire ({ signing, verifying }: Keyring, settings: Settings, lastExpiry: number): VerifyingKey[] {
  const { accessTokenExpires, refreshTokenExpires, tokenTypes, decodeLeeway } = settings
  const now = Date.now()
  const lifetimes = [accessTokenExpires, refreshTokenExpires, ...Array.from(tokenTypes.values(), ({ expires }) => expires)]
  const longest = Math.max(...lifetimes.map((lifetime) => lifetime === false ? Infinity : lifetime))
  const until = Math.max(now + longest * 1000, lastExpiry * 1000) + decodeLeeway * 1000
  const current = signing && kidOf(signing.object)
  return verifying
    .filter((key) => key.until > now && (key.object.type === 'secret') === isHmac(settings.algorithm))
    // What never signed here was listed as verifying, and goes on.
    .map((key) => key.kid === current ? { ...key, until } : key)
}

/** The public halves of the keys that verify (RFC 7517 §5). */
export function publish ({ verifying }: Keyring): PublicJwk[] {
  const now = Date.now()
  return verifying
    .filter((key) => key.object.type === 'public' && key.until > now)
    .map(({ object, algorithms: [alg], kid }) => ({ ...object.export({ format: 'jwk' }), kid, alg: alg!, use: 'sig' }))
}

function readKeys ({ secretKey, privateKey, publicKey }: GivenKeys): Keys {
  const signing = privateKey === undefined ? undefined : readPrivateKey(privateKey, 'privateKey')
  const publicKeys = readEach(publicKey, 'publicKey', readPublicKey)
  return {
    secrets: readEach(secretKey, 'secretKey', readSecret),
    privateKey: signing,
    publicKeys: signing === undefined ? publicKeys : pair(signing, publicKeys),
  }
}

function arrange ({ secrets, privateKey, publicKeys }: Keys, settings: Settings): Keyring {
  const { algorithm, decodeAlgorithms } = settings
  const own = isHmac(algorithm) ? secrets : publicKeys
  if (own.length === 0 && secrets.length + publicKeys.length > 0) {
    throw new JwtUsageError(isHmac(algorithm)
      ? `The algorithm ${algorithm} needs secretKey; with privateKey or publicKey, name their algorithm, such as algorithm: 'RS256'`
      : `The algorithm ${algorithm} needs privateKey or publicKey; an HMAC secret cannot serve it`)
  }
  for (const secret of secrets) warnOfWeakSecret(secret, settings, 'secretKey')

  const verifying = [...secrets, ...publicKeys].flatMap((key) => accept(key, decodeAlgorithms) ?? [])
  const signing = isHmac(algorithm) ? secrets[0] : privateKey
  // First of all: where it does not fit, its derived half, which nobody gave, does not either.
  if (signing !== undefined && !signing.algorithms.includes(algorithm)) throw unfit(signing, 'privateKey', [algorithm])
  for (const [index, key] of publicKeys.entries()) {
    if (!isHmac(algorithm) && accept(key, decodeAlgorithms) === undefined) throw unfit(key, `publicKey[${index}]`, decodeAlgorithms)
  }
  warnOfIdleKey(isHmac(algorithm) ? (privateKey === undefined ? 'publicKey' : 'privateKey') : 'secretKey', isHmac(algorithm) ? publicKeys : secrets, settings)
  return Object.freeze({
    signing: signing && { object: signing.object, algorithm, kid: secrets.length === 1 && isHmac(algorithm) ? undefined : kidOf(signing.object) },
    verifying: Object.freeze(verifying),
  })
}

// Tokens of an algorithm that has no key are refused: that is safe, and seldom what is meant.
function checkAlgorithms (verifying: readonly VerifyingKey[], { algorithm, decodeAlgorithms, decodeKeyLoader }: Settings): void {
  if (decodeKeyLoader !== undefined || verifying.length === 0) return
  const idle = decodeAlgorithms.filter((name) => !verifying.some((key) => key.algorithms.includes(name)))
  if (idle.length === 0) return
  if (idle.includes(algorithm)) throw new JwtUsageError(`No key verifies the algorithm ${algorithm}: give a publicKey that is fit for it`)
  const needed = new Set(idle.map((name) => isHmac(name) ? 'secretKey' : 'a fitting publicKey'))
  const served = decodeAlgorithms.filter((name) => !idle.includes(name)).map((name) => `'${name}'`)
  process.emitWarning(
    `No key serves ${idle.join(' and ')} of decodeAlgorithms, and such tokens are refused: ` +
    `give ${[...needed].join(' and ')}, or write decodeAlgorithms: [${served.join(', ')}]`,
    { code: 'FST_JWT_EXT_IDLE_ALGORITHM' }
  )
}

// Who gives a key means it to be used. For an algorithm that does not sign, that is to verify.
function warnOfIdleKey (what: string, keys: readonly Key[], { algorithm, decodeAlgorithms }: Settings): void {
  if (keys.every((key) => accept(key, decodeAlgorithms) !== undefined)) return
  process.emitWarning(
    `${what} is not used with algorithm: '${algorithm}' and decodeAlgorithms: [${decodeAlgorithms.map((name) => `'${name}'`).join(', ')}]: ` +
    'name the algorithm that it is for in one of them, or leave it out',
    { code: 'FST_JWT_EXT_IDLE_KEY' }
  )
}

/** What a key is called here, whether or not its tokens say so. */
export function kidOf (key: KeyObject): string {
  return key.type === 'secret' ? digestOf(key) : thumbprintOf(key)
}

/** Reads a signing key that `encodeKeyLoader` returned, by the same rules. */
export function readLoadedSigningKey (value: unknown, settings: Settings): SigningKey {
  const what = 'The key that encodeKeyLoader returned'
  const { algorithm } = settings
  const key = isHmac(algorithm) ? readSecret(value, what) : readPrivateKey(value, what)
  if (!key.algorithms.includes(algorithm)) throw unfit(key, what, [algorithm])
  if (isHmac(algorithm)) warnOfWeakSecret(key, settings, what)
  return { object: key.object, algorithm, kid: undefined }
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

// The half of the signing key first, wherever it stands in the list.
function pair (privateKey: Key, publicKeys: readonly Key[]): Key[] {
  const half = publicHalf(privateKey)
  const listed = publicKeys.find((key) => isSameKey(key, half))
  if (listed === undefined && publicKeys.length > 0) {
    throw new JwtUsageError(
      'privateKey and publicKey do not belong together; leave publicKey out, and it is derived. To verify with older keys, too, ' +
      'list them behind it: publicKey: [createPublicKey(privateKey), older]'
    )
  }
  return [listed ?? half, ...publicKeys.filter((key) => key !== listed)]
}

// Comparing keys of different kinds leaves an error behind in OpenSSL that the next key to be read would throw.
function isSameKey (a: Key, b: Key): boolean {
  return a.object.asymmetricKeyType === b.object.asymmetricKeyType && a.object.equals(b.object)
}

function accept (key: Key, accepted: readonly JwtAlgorithm[]): VerifyingKey | undefined {
  const algorithms = accepted.filter((algorithm) => key.algorithms.includes(algorithm))
  if (algorithms.length === 0) return undefined
  return { object: key.object, algorithms, kid: kidOf(key.object), until: Infinity }
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
