import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import Fastify from 'fastify'
import jwtExtended, { type AsymmetricKey } from '../../index.js'

// A program of its own: what it is to show would keep the test from ever saying so.
const ROUNDS = 500

function makeKey (): { privateKey: AsymmetricKey, publicKey: AsymmetricKey[] } {
  const { privateKey } = generateKeyPairSync('ed25519')
  return { privateKey, publicKey: [createPublicKey(privateKey)] }
}

const app = Fastify()
await app.register(jwtExtended, { algorithm: 'EdDSA', ...makeKey() })
for (let round = 0; round < ROUNDS; round++) {
  app.rotateKeys(makeKey())
  for (let time = 0; time < 60; time++) app.jwks()
}
process.stdout.write(`${ROUNDS} rotations\n`)
