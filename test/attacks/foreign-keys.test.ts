// Headers that name keys of the attacker: by address, by value, by certificate, by file name.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { JwtExtendedOptions } from '../../index.js'
import { SECRET } from '../support/app.js'
import { forge } from '../support/forge.js'
import { ecPair, pem, rsaPair } from '../support/keys.js'
import { signToken } from '../support/sign.js'
import { buildTarget } from '../support/target.js'

/** A server of the attacker, which counts who comes. */
async function trap (t: Test): Promise<{ address: string, connections: () => number }> {
  let connections = 0
  const server: Server = createServer((_request, response) => { response.end('{"keys":[]}') })
  server.on('connection', () => { connections++ })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`, connections: () => connections }
}

t.test('a key that a header names is neither fetched nor used, by any algorithm and with any signature', async (t) => {
  const { address, connections } = await trap(t)
  await (await fetch(address)).text()
  const before = connections()
  t.equal(before, 1, 'it would be seen')
  for (const [algorithm, own, other] of [['RS256', rsaPair(), rsaPair('attacker')], ['ES256', ecPair(), ecPair('P-256', 'attacker')]] as const) {
    const options: JwtExtendedOptions[] = [{ algorithm, ...own }, { algorithm, privateKey: own.privateKey, decodeKeyLoader: async () => pem(own.publicKey) }]
    for (const option of options) {
      const target = await buildTarget(t, option)
      const jwk = other.publicKey.export({ format: 'jwk' })
      const der = other.publicKey.export({ format: 'der', type: 'spki' })
      const headers: Record<string, unknown>[] = [
        { jku: address }, { x5u: address }, { jwk }, { jwk: { ...jwk, kid: 'k' }, kid: 'k' }, { x5c: [der.toString('base64')] }, { x5t: 'AAAA', x5u: address }, { kid: address }, { kid: '../../../../dev/null' },
        { kid: "' UNION SELECT 'secret" }, { kid: '$(curl attacker)' }, { jku: `${address}#@trusted.example` }, { jku: [address] }, { jku: { href: address } }, { jwk: [jwk] }, { jwk: pem(other.publicKey) },
        { jwk: { kty: 'oct', k: Buffer.from('k').toString('base64url') } }, { key: pem(other.publicKey) }, { iss: address }, { jku: address, x5u: address, jwk, x5c: [der.toString('base64')] }
      ]
      for (const header of headers) {
        const name = `${algorithm} ${Object.keys(header).join()}`
        await target.refuses(t, signToken(algorithm, other.privateKey, { sub: 'eve', iss: address }, { alg: algorithm, ...header }), name)
        t.equal((await target.passes(t, signToken(algorithm, own.privateKey, { sub: 'ada' }, { alg: algorithm, ...header }), `${name} by our own key`))['sub'], 'ada')
      }
    }
  }
  const target = await buildTarget(t)
  for (const header of [{ jku: address }, { jwk: { kty: 'oct', k: Buffer.from('k'.repeat(64)).toString('base64url') } }, { kid: 'k'.repeat(64) }, { k: 'k'.repeat(64) }]) {
    await target.refuses(t, forge({ sub: 'eve' }, { alg: 'HS256', ...header }, 'k'.repeat(64)), `HS256 ${Object.keys(header).join()}`)
  }
  await target.passes(t, forge({ sub: 'ada' }, { alg: 'HS256', jku: address }, SECRET), 'by the secret')
  t.equal(connections(), before, 'nobody came')
})
