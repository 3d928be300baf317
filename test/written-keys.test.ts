import { generateKeyPairSync, randomBytes, randomUUID, type JsonWebKey, type KeyObject } from 'node:crypto'
import t from 'tap'
import { readSecret } from '../lib/keys.js'
import { looksLikeKey } from '../lib/written-keys.js'
import { registrationError } from './support/app.js'
import { ecPair, edPair, pem, rsaPair } from './support/keys.js'

const KINDS: [name: string, key: KeyObject][] = [
  ['RSA', rsaPair().publicKey], ['P-256', ecPair().publicKey], ['P-384', ecPair('P-384').publicKey], ['P-521', ecPair('P-521').publicKey],
  ['secp256k1', ecPair('secp256k1').publicKey], ['Ed25519', edPair().publicKey], ['Ed448', generateKeyPairSync('ed448').publicKey],
  ['X25519', generateKeyPairSync('x25519').publicKey], ['X448', generateKeyPairSync('x448').publicKey],
  ['RSASSA-PSS', generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey], ['small RSA', rsaPair('', 1024).publicKey]
]
const JWK_KINDS: [name: string, jwk: JsonWebKey][] = [rsaPair(), ecPair(), edPair()].map(({ publicKey }) => {
  const jwk = publicKey.export({ format: 'jwk' })
  return [jwk.kty!, jwk]
})

// What openssl made of one key on P-256.
const REQUEST = Buffer.from(
  'MIHKMHICAQAwEDEOMAwGA1UEAwwFdGVzdHMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASSBIUQBnyVnD9hTKYwZwnuLqLQAb1wCLZ42M6suIwm/fQ4R8fS4xs61WnnS5D1WLqw9mTH1ODijgrV' +
  '+2kCJBoPoAAwCgYIKoZIzj0EAwIDSAAwRQIgZno1fM7B2s/c/yKPWEBD7AjmuTUkiy1QZYdBHyI10+0CIQCYfGvyKG9gc6tylw63DAYEDSY67fA3zANGHxSdqYbzpQ==', 'base64'
)
const PKCS7 = Buffer.from(
  'MIIBpAYJKoZIhvcNAQcCoIIBlTCCAZECAQExADALBgkqhkiG9w0BBwGgggF5MIIBdTCCARugAwIBAgIUH57abK17C6Vikt//wTQrwT2qjb0wCgYIKoZIzj0EAwIwEDEOMAwGA1UEAwwFdGVzdHMw' +
  'HhcNMjYxMTMwMjE0MzIzWhcNMzYxMTI3MjE0MzIzWjAQMQ4wDAYDVQQDDAV0ZXN0czBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJIEhRAGfJWcP2FMpjBnCe4uotABvXAItnjYzqy4jCb99DhH' +
  'x9LjGzrVaedLkPVYurD2ZMfU4OKOCtX7aQIkGg+jUzBRMB0GA1UdDgQWBBTnky3O5vUx7WwEZ+1pUE+RKsJOmDAfBgNVHSMEGDAWgBTnky3O5vUx7WwEZ+1pUE+RKsJOmDAPBgNVHRMBAf8EBTAD' +
  'AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDlDQ+/d/i/AYd3MV2v6pDHg2ODsnCGyAvxpBEKkJK1egIgc5GZahuJNgAZxMlrL+jQgeagqe6PdATczIyVyKwChHwxAA==', 'base64'
)

/** The bytes of OpenSSH's public keys: the kind, then its numbers, each behind its length. */
function sshBlob (kind: string, ...numbers: Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(kind), ...numbers].flatMap((part) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(part.length)
    return [length, part]
  }))
}

const SSH_KEYS = [
  sshBlob('ssh-rsa', Buffer.from([1, 0, 1]), randomBytes(257)), sshBlob('ssh-ed25519', randomBytes(32)),
  sshBlob('ecdsa-sha2-nistp256', Buffer.from('nistp256'), randomBytes(65)), sshBlob('ecdsa-sha2-nistp521', Buffer.from('nistp521'), randomBytes(133)),
  sshBlob('sk-ssh-ed25519@openssh.com', randomBytes(32), Buffer.from('ssh:')),
]

/** What a text becomes on its way through other languages and formats. */
function escapesOf (text: string): Record<string, string> {
  const codes = Array.from(text, (character) => character.charCodeAt(0))
  return {
    'in JSON': JSON.stringify(text),
    'in JSON twice': JSON.stringify(JSON.stringify(text)),
    'in an address': encodeURIComponent(text),
    'in an address twice': encodeURIComponent(encodeURIComponent(text)),
    'in a form': new URLSearchParams({ key: text }).toString(),
    'in HTML': text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll("'", '&apos;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
    'in HTML by number': text.replaceAll(/\W/g, (character) => `&#${character.charCodeAt(0)};`),
    'in HTML by hex number': text.replaceAll(/\W/g, (character) => `&#x${character.charCodeAt(0).toString(16)};`),
    'in HTML in an address': encodeURIComponent(text.replaceAll('"', '&#34;')),
    'in \\u': codes.map((code) => `\\u${code.toString(16).padStart(4, '0')}`).join(''),
    'in large \\u': codes.map((code) => `\\u${code.toString(16).padStart(4, '0').toUpperCase()}`).join(''),
    'in \\x': codes.map((code) => `\\x${code.toString(16).padStart(2, '0')}`).join(''),
    'in UTF-16': Buffer.from(text, 'utf16le').toString('latin1'),
    'in base64': Buffer.from(text).toString('base64'),
    'in hex': Buffer.from(text).toString('hex'),
  }
}

/** The lines of a PEM text, put together as forms and environment variables do it. */
function joinsOf (base64: string): Record<string, string> {
  const lines = base64.match(/.{1,64}/g)!
  const body = lines.join('\n')
  return {
    'joined by commas': lines.join(','),
    'joined by bars': lines.join('|'),
    'joined by semicolons': lines.join(' ; '),
    'joined by escaped line ends': lines.join('%0A'),
    'joined by escaped CR LF': lines.join('%0D%0A'),
    'in quotes': lines.map((line) => `"${line}"`).join(',\n'),
    'in single quotes': lines.map((line) => `'${line}'`).join(' '),
    'behind marks of a quotation': lines.map((line) => `> ${line}`).join('\n'),
    'between words without dashes': `BEGIN PUBLIC KEY ${lines.join(' ')} END PUBLIC KEY`,
    'between lines without dashes': `BEGIN PUBLIC KEY\n${body}\nEND PUBLIC KEY\n`,
    'between lines with four dashes': `---- BEGIN PUBLIC KEY ----\n${body}\n---- END PUBLIC KEY ----\n`,
    'between tags': `<key>${base64}</key>`,
  }
}

/** Ways to write bytes as text, and text in front that shifts their digits by each number of places. */
function writingsOf (bytes: Buffer): Record<string, string | Buffer> {
  const base64 = bytes.toString('base64')
  const hex = bytes.toString('hex')
  const pairs = hex.match(/../g)!
  return {
    bare: bytes,
    ...Object.fromEntries(['', 'k', 'ke', 'key', 'keys'].flatMap((word) => [
      [`in base64 behind '${word}'`, `${word}${base64}`], [`in base64 behind '${word}:'`, `${word}: ${base64}`],
      [`in base64url behind '${word}'`, word + bytes.toString('base64url')], [`in hex behind '${word}'`, word + hex],
    ])),
    'in base64 before junk': `${base64} is the key`,
    'in base64, escaped': encodeURIComponent(base64),
    'in base64, escaped twice': encodeURIComponent(encodeURIComponent(base64)),
    'in base64 over and over': Buffer.from(Buffer.from(base64).toString('base64')).toString('base64'),
    'in base64 of hex': Buffer.from(hex).toString('base64'),
    'in hex before junk': `${hex}, which is the key`,
    'as a list of hex numbers': pairs.map((pair) => `0x${pair}`).join(', '),
    'in escaped hex': pairs.map((pair) => `\\x${pair}`).join(''),
    'in an address': pairs.map((pair) => `%${pair}`).join(''),
    'as a Buffer in JSON': JSON.stringify(bytes),
    'as numbers': String(new Uint8Array(bytes)),
    'as numbers with a sign': JSON.stringify(Array.from(new Int8Array(bytes))),
    ...joinsOf(base64),
  }
}

t.test('an asymmetric key is recognised in every writing', (t) => {
  const secrets: Record<string, string | Buffer> = {}
  const binaries: Record<string, Buffer> = { 'certificate request': REQUEST, 'PKCS#7': PKCS7, 'PKCS#1': rsaPair().publicKey.export({ format: 'der', type: 'pkcs1' }) }
  for (const [kind, key] of KINDS) {
    binaries[kind] = key.export({ format: 'der', type: 'spki' })
    for (const [escape, text] of Object.entries(escapesOf(pem(key)))) secrets[`${kind} PEM ${escape}`] = text
  }
  for (const [index, blob] of SSH_KEYS.entries()) binaries[`OpenSSH ${index}`] = blob
  for (const [name, bytes] of Object.entries(binaries)) {
    for (const [writing, secret] of Object.entries(writingsOf(bytes))) secrets[`${name} ${writing}`] = secret
    for (const length of [1, 2, 3, 32]) {
      const junk = randomBytes(length)
      secrets[`${name} behind ${length} bytes`] = Buffer.concat([junk, bytes])
      secrets[`${name} before ${length} bytes`] = Buffer.concat([bytes, junk])
      secrets[`${name} between ${length} bytes in base64`] = Buffer.concat([junk, bytes, junk]).toString('base64')
      secrets[`${name} between ${length} bytes in hex`] = Buffer.concat([junk, bytes, junk]).toString('hex')
    }
  }
  for (const [kind, jwk] of JWK_KINDS.flatMap(([kind, jwk]): typeof JWK_KINDS => [[kind, jwk], [`${kind} reversed`, Object.fromEntries(Object.entries(jwk).reverse())]])) {
    const members = Object.entries(jwk)
    const forms = {
      JSON: JSON.stringify(jwk),
      'JSON with an escaped name': JSON.stringify(jwk).replace('"kty"', '"\\u006bty"'),
      'JSON with a name all escaped': JSON.stringify(jwk).replace('"kty"', '"\\u006B\\u0074\\u0079"'),
      'a dictionary of Python': `{${members.map(([name, value]) => `'${name}': '${value}'`).join(', ')}}`,
      'a hash of Ruby': `{${members.map(([name, value]) => `:${name}=>"${value}"`).join(', ')}}`,
      'an array of PHP': `[${members.map(([name, value]) => `'${name}' => '${value}'`).join(', ')}]`,
      'an object of JavaScript': `{ ${members.map(([name, value]) => `${name}: '${value}'`).join(', ')} }`,
      YAML: members.map(([name, value]) => `${name}: ${value}`).join('\n'),
      'a query': new URLSearchParams(jwk as Record<string, string>).toString(),
    }
    for (const [form, text] of Object.entries(forms)) {
      secrets[`${kind} JWK as ${form}`] = text
      for (const [escape, escaped] of Object.entries(escapesOf(text))) secrets[`${kind} JWK as ${form} ${escape}`] = escaped
    }
  }
  secrets['JWK of an unknown kind'] = '{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA"}'
  secrets['JWK of an unknown kind as a dictionary of Python'] = "{'kty': 'AKP', 'alg': 'ML-DSA-44', 'pub': 'AAAA'}"
  for (const set of ['{"keys":[]}', "{'keys': []}", '{"\\u006beys":[]}', JSON.stringify({ keys: [JWK_KINDS[0]![1]] }), "{'keys': [{'kty': 'RSA'}]}"]) {
    secrets[`JWK set ${set.slice(0, 20)}`] = set
    for (const [escape, escaped] of Object.entries(escapesOf(set))) {
      // Fewer digits than a key can have are not read.
      if (escaped.length >= 64 || !/base64|hex/.test(escape)) secrets[`JWK set ${set.slice(0, 20)} ${escape}`] = escaped
    }
  }
  const { n, e } = rsaPair().publicKey.export({ format: 'jwk' })
  const dotNet = `<RSAKeyValue><Modulus>${Buffer.from(n!, 'base64url').toString('base64')}</Modulus><Exponent>${Buffer.from(e!, 'base64url').toString('base64')}</Exponent></RSAKeyValue>`
  for (const [form, text] of Object.entries({ '.NET': dotNet, 'XML Signature': `<ds:KeyInfo><ds:KeyValue>${dotNet.replaceAll(/<(?=\w)/g, '<ds:').replaceAll('</', '</ds:')}</ds:KeyValue></ds:KeyInfo>` })) {
    secrets[`XML of ${form}`] = text
    for (const [escape, escaped] of Object.entries(escapesOf(text))) secrets[`XML of ${form} ${escape}`] = escaped
  }
  for (const [index, blob] of SSH_KEYS.entries()) {
    const lines = blob.toString('base64').match(/.{1,70}/g)!.join('\n')
    secrets[`OpenSSH ${index} as RFC 4716 has it`] = `---- BEGIN SSH2 PUBLIC KEY ----\nComment: "a key of tests"\n${lines}\n---- END SSH2 PUBLIC KEY ----\n`
    secrets[`OpenSSH ${index} in a line`] = `${blob.subarray(4, 4 + blob[3]!).toString()} ${blob.toString('base64')} ada@example.com`
  }
  const taken = Object.entries(secrets).filter(([, secret]) => !looksLikeKey(secret)).map(([name]) => name)
  t.ok(Object.keys(secrets).length > 1000, `${Object.keys(secrets).length} writings`)
  t.strictSame(taken, [])
  t.end()
})

t.test('what is recognised is refused as a secret', async (t) => {
  const { publicKey } = rsaPair()
  const der = publicKey.export({ format: 'der', type: 'spki' })
  const jwk = JSON.stringify(publicKey.export({ format: 'jwk' }))
  for (const secretKey of [jwk.replace('"kty"', '"\\u006bty"'), encodeURIComponent(jwk), SSH_KEYS[0]!.toString('base64'), REQUEST, PKCS7, Buffer.concat([randomBytes(3), der])]) {
    t.match(await registrationError(t, { secretKey }), { code: 'FST_JWT_EXT_USAGE', message: /^secretKey is or contains a public or private key, which cannot be an HMAC secret/ })
  }
})

t.test('no random secret is recognised as a key, in whatever writing', (t) => {
  const refused: string[] = []
  function take (secret: string | Buffer): void {
    try {
      readSecret(secret, 'it')
    } catch {
      refused.push(Buffer.from(secret as string).toString('base64'))
    }
  }
  const symbols = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index))
  const words = ['correct', 'horse', 'battery', 'staple', 'key', 'keys', 'kty', 'public', 'BEGIN', 'RSA', 'ssh-rsa', 'secret', '0x30', '%22', '&quot;', '\\u006b']
  for (let round = 0; round < 3000; round++) {
    const bytes = randomBytes([16, 24, 32, 48, 64, 96, 128, 256][round % 8]!)
    for (const secret of [bytes, bytes.toString('base64'), bytes.toString('base64url'), bytes.toString('hex'), bytes.toString('hex').toUpperCase()]) take(secret)
    take(randomUUID() + randomUUID())
    take(Array.from(bytes, (byte) => symbols[byte % symbols.length]).join(''))
    take(Array.from(bytes.subarray(0, 12), (byte) => words[byte % words.length]).join(' '))
  }
  t.strictSame(refused, [])
  t.end()
})

t.test('two small numbers that happen to be in a row are no key', (t) => {
  for (const [modulus, exponent] of [[60, 2], [90, 3], [40, 21]] as const) {
    const bytes = Buffer.concat([
      Buffer.from([0x30, modulus + exponent + 4, 0x02, modulus]), Buffer.alloc(modulus, 0x5b), Buffer.from([0x02, exponent]), Buffer.alloc(exponent, 0x03)
    ])
    t.notOk(looksLikeKey(bytes))
    t.notOk(looksLikeKey(Buffer.concat([randomBytes(5), bytes, randomBytes(5)]).toString('base64')))
  }
  t.end()
})
