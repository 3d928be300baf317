import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { JwtAlgorithm } from '../../index.js'

/** A pair of real keys. */
export interface Pair {
  privateKey: KeyObject
  publicKey: KeyObject
}

const made = new Map<string, Pair>()

// Read anew: Node 20 may stand still for ever while it exports a pair as JWKs that it has just generated.
function once (name: string, make: () => Pair): Pair {
  const known = made.get(name)
  if (known !== undefined) return known
  const privateKey = createPrivateKey(pem(make().privateKey))
  const pair = { privateKey, publicKey: createPublicKey(privateKey) }
  made.set(name, pair)
  return pair
}

/** A pair of RSA keys; the same for the same label in one process. */
export function rsaPair (label = '', modulusLength = 2048): Pair {
  return once(`rsa${modulusLength}${label}`, () => generateKeyPairSync('rsa', { modulusLength }))
}

/** A pair of EC keys on a curve. */
export function ecPair (namedCurve = 'P-256', label = ''): Pair {
  return once(`ec${namedCurve}${label}`, () => generateKeyPairSync('ec', { namedCurve }))
}

/** A pair of Ed25519 keys. */
export function edPair (label = ''): Pair {
  return once(`ed${label}`, () => generateKeyPairSync('ed25519'))
}

/** The asymmetric algorithms. */
export const ASYMMETRIC = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'
] as const satisfies readonly JwtAlgorithm[]

/** A pair that fits an algorithm. */
export function pairFor (algorithm: JwtAlgorithm, label = ''): Pair {
  switch (algorithm) {
    case 'ES256': return ecPair('P-256', label)
    case 'ES384': return ecPair('P-384', label)
    case 'ES512': return ecPair('P-521', label)
    case 'EdDSA': return edPair(label)
    default: return rsaPair(label)
  }
}

/** The PEM text of a key. */
export function pem (key: KeyObject): string {
  return key.export({ format: 'pem', type: key.type === 'private' ? 'pkcs8' : 'spki' }) as string
}
