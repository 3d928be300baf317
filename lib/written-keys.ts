import { createPrivateKey, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto'

/** Which key of a pair. */
export type Half = 'public' | 'private'

const BEGIN = /-----\s*BEGIN/
// By its name in quotes, or with one of its values: JSON, and what other languages print. In a form, spaces are plusses.
const JWK = /["'`]kty["'`][\s+]*:|\bkty["'`]?[\s+]*(?::|=>?)[\s+]*["'`]?(?:RSA|EC|OKP)\b/
const JWK_SET = /["'`]keys["'`][\s+]*:[\s+]*\[/
// XML Signature, and what .NET makes of a key.
const XML_KEY = /<[\w:]*KeyValue\b/
// The bytes of a public key of OpenSSH begin with its kind, and that with its length (RFC 4253 §6.6).
const SSH_KEY = /\0\0\0.(?:sk-)?(?:ssh|ecdsa)-/s
const MARKS = [BEGIN, JWK, JWK_SET, XML_KEY, SSH_KEY]

const SEQUENCE = 0x30
const INTEGER = 0x02
// No key has fewer bytes after its first length.
const SHORTEST_DER = 40
const SHORTEST_RSA = 1024

// How text is escaped on its way through JSON, source code, addresses, HTML and environment variables.
const ESCAPE = /\\+(?:u([\da-f]{4})|x([\da-f]{2})|([nrt]))?|%([\da-f]{2})|&#x([\da-f]{1,6});|&#(\d{1,7});|&(amp|apos|gt|lt|quot);/gi
const NAMED: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', amp: '&', apos: "'", gt: '>', lt: '<', quot: '"' }

// How bytes are written as text: what may stand between the digits, how many of them a key has at least, and at how
// many places among them it may begin, since words in front of it are digits, too. Node decodes base64url as base64.
const ENCODINGS = [
  { name: 'hex', stray: /0x|[^\da-f]/gi, fewest: 64, places: 2 },
  { name: 'base64', stray: /[^\w+/-]/g, fewest: 40, places: 4 },
] as const

/** Whether text or bytes are or contain an asymmetric key in any of its written forms. */
export function looksLikeKey (value: string | Uint8Array): boolean {
  const bytes = Buffer.from(value as Uint8Array)
  if (hasMark(bytes)) return true
  for (let at = bytes.indexOf(SEQUENCE); at !== -1; at = bytes.indexOf(SEQUENCE, at + 1)) {
    if (isDer(bytes.subarray(at))) return true
  }
  return readingsOf(bytes.toString('latin1')).some((reading) => reading.length < bytes.length && looksLikeKey(reading))
}

/** Whether a text is PEM, whatever it holds. */
export function isPem (characters: string): boolean {
  return BEGIN.test(characters)
}

/** What a text is that is no key as it stands, and what to give instead. */
export function nameText (characters: string): string {
  if (JWK_SET.test(characters)) return 'the text of a JWK set; give one of its keys, such as JSON.parse(text).keys[0]'
  if (JWK.test(characters)) return 'the text of a JWK; give JSON.parse() of it'
  const encoding = ENCODINGS.map(({ name }) => name).find((name) => isKey(Buffer.from(characters, name)))
  if (encoding !== undefined) return `a key in ${encoding}; give its bytes: Buffer.from(text, '${encoding}')`
  if (looksLikeKey(characters)) return 'a text that holds a key in base64 or hex; give the bytes of that key alone'
  return "no asymmetric key; an HMAC secret belongs in secretKey, with an algorithm such as 'HS256'"
}

function isKey (bytes: Buffer): boolean {
  return hasMark(bytes) || isDer(bytes)
}

function hasMark (bytes: Buffer): boolean {
  const characters = bytes.toString('latin1')
  return MARKS.some((mark) => mark.test(characters))
}

// What else a text may say, each time in fewer bytes: freed of its escapes, or else the bytes that it writes.
function readingsOf (characters: string): Buffer[] {
  // UTF-16 text has a NUL in every other byte.
  const plain = characters.includes('\0') ? characters.replaceAll('\0', '') : characters.replaceAll(ESCAPE, unescape)
  if (plain !== characters) return [Buffer.from(plain, 'latin1')]
  const decimal = Buffer.from((characters.match(/-?\d+/g) ?? []).map(Number))
  return [decimal, ...ENCODINGS.flatMap(({ name, stray, fewest, places }) => {
    const digits = characters.replaceAll(stray, '')
    return digits.length < fewest ? [] : Array.from({ length: places }, (_, place) => Buffer.from(digits.slice(place), name))
  })]
}

function unescape (
  _: string, unicode?: string, byte?: string, letter?: string, percent?: string, hex?: string, decimal?: string, entity?: string
): string {
  const name = letter ?? entity
  if (name !== undefined) return NAMED[name.toLowerCase()]!
  const code = unicode ?? byte ?? percent ?? hex
  if (code !== undefined) return String.fromCharCode(parseInt(code, 16))
  return decimal === undefined ? '' : String.fromCharCode(Number(decimal))
}

const DER_READERS: Readonly<Record<Half, readonly ((key: Buffer) => KeyObject)[]>> = {
  private: (['pkcs8', 'pkcs1', 'sec1'] as const).map((type) => (key) => createPrivateKey({ key, format: 'der', type })),
  public: [readSpki, readPkcs1, (key) => readCertificate(key).publicKey],
}

function readSpki (key: Buffer): KeyObject {
  return createPublicKey({ key, format: 'der', type: 'spki' })
}

function readPkcs1 (key: Buffer): KeyObject {
  return createPublicKey({ key, format: 'der', type: 'pkcs1' })
}

function readCertificate (bytes: Buffer): X509Certificate {
  return new X509Certificate(bytes)
}

/** Reads a key that is not encrypted. */
export function readDer (key: Buffer, half: Half): KeyObject | undefined {
  // A private key in PKCS#1 would give its public half in silence.
  if (half === 'public' && readDer(key, 'private') !== undefined) return undefined
  return readFirst(key, DER_READERS[half])
}

/** Whether a key is encrypted. Only PKCS#8 has a form of its own for that (RFC 5958 §3). */
export function isEncryptedDer (key: Buffer): boolean {
  try {
    createPrivateKey({ key, format: 'der', type: 'pkcs8' })
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_MISSING_PASSPHRASE'
  }
}

// Whatever follows the key does not matter. That of a certificate may be of a kind that nobody here knows.
function isDer (bytes: Buffer): boolean {
  if (!beginsLikeKey(bytes)) return false
  if (isEncryptedDer(bytes) || readFirst<unknown>(bytes, [...DER_READERS.private, readSpki, readCertificate]) !== undefined) return true
  // In PKCS#1 a public key is two numbers in a row, and no more: where they are small, that is chance.
  const { modulusLength = 0 } = readFirst(bytes, [readPkcs1])?.asymmetricKeyDetails ?? {}
  return modulusLength >= SHORTEST_RSA
}

// Every key and every certificate is one ASN.1 SEQUENCE, of a number or of another SEQUENCE and more. To ask OpenSSL
// about all that is none would take its time.
function beginsLikeKey (bytes: Buffer): boolean {
  const [tag, first = 0] = bytes
  const start = 2 + (first > 0x80 ? first - 0x80 : 0)
  const length = start === 2 ? first : bytes.subarray(2, start).reduce((sum, byte) => sum * 256 + byte, 0)
  const isKind = tag === SEQUENCE && (bytes[start] === INTEGER || bytes[start] === SEQUENCE)
  return isKind && length >= SHORTEST_DER && start + length <= bytes.length
}

function readFirst<T> (bytes: Buffer, readers: readonly ((bytes: Buffer) => T)[]): T | undefined {
  for (const read of readers) {
    try {
      return read(bytes)
    } catch {
      // Not of this type; the next one may fit.
    }
  }
  return undefined
}
