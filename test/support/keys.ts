import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
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

/** A pair of Ed448 keys. */
export function ed448Pair (label = ''): Pair {
  return once(`ed448${label}`, () => generateKeyPairSync('ed448'))
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

/** A value in DER: tag, length, content. */
export function der (tag: number, ...contents: Buffer[]): Buffer {
  const content = Buffer.concat(contents)
  const length = content.length < 0x80
    ? [content.length]
    : content.length < 0x100 ? [0x81, content.length] : [0x82, content.length >> 8, content.length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), content])
}

/** The tag of what a key or a certificate is in DER. */
export const SEQUENCE = 0x30

/** An X.509 certificate (RFC 5280 §4.1) of an RSA or EC key, signed by that key. */
export function certificateDer ({ privateKey, publicKey }: Pair, spki: Buffer = publicKey.export({ format: 'der', type: 'spki' })): Buffer {
  const isRsa = privateKey.asymmetricKeyType === 'rsa'
  const oid = isRsa ? '06092a864886f70d01010b' : '06082a8648ce3d040302'
  const algorithm = der(SEQUENCE, Buffer.from(oid, 'hex'), ...(isRsa ? [der(0x05)] : []))
  const name = der(SEQUENCE, der(0x31, der(SEQUENCE, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from('tests')))))
  const validity = der(SEQUENCE, der(0x17, Buffer.from('250101000000Z')), der(0x17, Buffer.from('350101000000Z')))
  const body = der(SEQUENCE, der(0x02, Buffer.from([1])), algorithm, name, validity, name, spki)
  return der(SEQUENCE, body, algorithm, der(0x03, Buffer.from([0]), sign('sha256', body, privateKey)))
}
