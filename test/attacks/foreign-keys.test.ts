// Headers that name keys of the attacker: by address, by value, by certificate, by file name.
import { createHash, X509Certificate } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions } from '../../index.js'
import { SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { certificateDer, ecPair, pem, rsaPair } from '../support/keys.js'
import { signToken } from '../support/sign.js'
import { buildTarget } from '../support/target.js'

/** A server of the attacker, which counts who comes: anybody who connects, whatever they speak. */
async function trap (t: Test): Promise<{ address: string, connections: () => number }> {
  let connections = 0
  // A connection that is kept would be used again, and not counted.
  const server: Server = createServer((_request, response) => { response.setHeader('connection', 'close').end('{"keys":[]}') })
  server.on('connection', () => { connections++ })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`, connections: () => connections }
}

t.test('a key that a header names is neither fetched nor used, by any algorithm and with any signature', async (t) => {
  const { address, connections } = await trap(t)
  const secure = address.replace('http:', 'https:')
  await (await fetch(address)).text()
  await t.rejects(fetch(secure))
  const before = connections()
  t.equal(before, 2, 'it would be seen')
  for (const [algorithm, own, other] of [['RS256', rsaPair(), rsaPair('attacker')], ['ES256', ecPair(), ecPair('P-256', 'attacker')]] as const) {
    const options: JwtExtendedOptions[] = [{ algorithm, ...own }, { algorithm, privateKey: own.privateKey, decodeKeyLoader: async () => pem(own.publicKey) }]
    for (const option of options) {
      const target = await buildTarget(t, option)
      const jwk = other.publicKey.export({ format: 'jwk' })
      const certificate = certificateDer(other)
      t.ok(new X509Certificate(certificate).publicKey.equals(other.publicKey), 'it is one, of the key that signs')
      const x5c = [certificate.toString('base64')]
      const headers: Record<string, unknown>[] = [
        { jku: address }, { x5u: address }, { jku: secure }, { x5u: secure }, { jwk }, { jwk: { ...jwk, kid: 'k' }, kid: 'k' }, { x5c }, { x5c: [...x5c, certificateDer(own).toString('base64')] },
        { x5t: createHash('sha1').update(certificate).digest('base64url'), x5u: address }, { 'x5t#S256': createHash('sha256').update(certificate).digest('base64url'), x5c }, { kid: address }, { kid: secure }, { kid: '../../../../dev/null' },
        { kid: "' UNION SELECT 'secret" }, { kid: '$(curl attacker)' }, { jku: `${address}#@trusted.example` }, { jku: [address] }, { jku: { href: address } }, { jwk: [jwk] }, { jwk: pem(other.publicKey) },
        { jwk: { kty: 'oct', k: Buffer.from('k').toString('base64url') } }, { key: pem(other.publicKey) }, { iss: address }, { jku: address, x5u: secure, jwk, x5c }
      ]
      for (const header of headers) {
        const name = `${algorithm} ${Object.keys(header).join()}`
        await target.refuses(t, signToken(algorithm, other.privateKey, { sub: 'eve', iss: address }, { alg: algorithm, ...header }), name)
        t.equal((await target.passes(t, signToken(algorithm, own.privateKey, { sub: 'ada' }, { alg: algorithm, ...header }), `${name} by our own key`))['sub'], 'ada')
      }
    }
  }
  const target = await buildTarget(t)
  for (const header of [{ jku: address }, { jku: secure }, { jwk: { kty: 'oct', k: Buffer.from('k'.repeat(64)).toString('base64url') } }, { kid: 'k'.repeat(64) }, { k: 'k'.repeat(64) }]) {
    await target.refuses(t, forge({ sub: 'eve' }, { alg: 'HS256', ...header }, 'k'.repeat(64)), `HS256 ${Object.keys(header).join()}`)
  }
  await target.passes(t, forge({ sub: 'ada' }, { alg: 'HS256', jku: address }, SECRET), 'by the secret')
  // Whoever came before this request is counted when it has its answer.
  await (await fetch(address)).text()
  t.equal(connections(), before + 1, 'nobody else came')
})
