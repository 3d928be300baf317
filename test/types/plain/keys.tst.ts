import { createPrivateKey } from 'node:crypto'
import Fastify from 'fastify'
import jwtExtended, { type JwtExtendedOptions, type PublicJwk, type TrustedIssuer } from 'fastify-jwt-extended'
import { describe, expect, test } from 'tstyche'

const app = Fastify()

describe('rotateKeys', () => {
  test('takes the keys of one kind', () => {
    expect(app.rotateKeys).type.toBeCallableWith({ secretKey: 'new' })
    expect(app.rotateKeys).type.toBeCallableWith({ secretKey: ['new', Buffer.from('old')] })
    expect(app.rotateKeys).type.toBeCallableWith({ privateKey: createPrivateKey('PEM') })
    expect(app.rotateKeys).type.toBeCallableWith({ privateKey: { key: 'PEM', passphrase: 'words' }, publicKey: ['PEM', 'PEM'] })
    expect(app.rotateKeys).type.toBeCallableWith({ publicKey: 'PEM' })
    expect(app.jwtManager('partner').rotateKeys).type.toBeCallableWith({ secretKey: 'new' })
  })

  test('takes nothing else', () => {
    expect(app.rotateKeys).type.not.toBeCallableWith()
    expect(app.rotateKeys).type.not.toBeCallableWith({})
    expect(app.rotateKeys).type.not.toBeCallableWith('new')
    expect(app.rotateKeys).type.not.toBeCallableWith({ secretkey: 'new' })
    expect(app.rotateKeys).type.not.toBeCallableWith({ privateKey: ['PEM'] })
    expect(app.rotateKeys).type.not.toBeCallableWith({ secretKey: undefined })
  })
})

test('jwks gives a set of public keys', () => {
  expect(app.jwks()).type.toBe<{ keys: PublicJwk[] }>()
  expect(app.jwks().keys[0]!.kid).type.toBe<string>()
  expect(app.jwks().keys[0]!.use).type.toBe<'sig'>()
})

describe('issuers', () => {
  test('are a list, each with an audience', () => {
    expect(app.register).type.toBeCallableWith(jwtExtended, { issuers: [{ issuer: 'https://login.example.com/', audience: 'api' }] })
    expect<TrustedIssuer>().type.toBeAssignableFrom({
      issuer: 'accounts.google.com', audience: ['web', 'app'], jwksUri: 'https://www.googleapis.com/oauth2/v3/certs', algorithms: ['RS256' as const], identityClaim: 'email',
    })
    expect<JwtExtendedOptions['issuers']>().type.not.toBeAssignableFrom({ issuer: 'https://login.example.com/', audience: 'api' })
    expect<TrustedIssuer>().type.not.toBeAssignableFrom({ issuer: 'https://login.example.com/' })
  })

  test('never sign by a secret', () => {
    expect<TrustedIssuer['algorithms']>().type.not.toBeAssignableFrom(['HS256' as const])
    expect<TrustedIssuer['algorithms']>().type.not.toBeAssignableFrom(['none' as const])
  })
})
