import { createPrivateKey, createPublicKey } from 'node:crypto'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import jwtExtended, {
  ExpiredTokenError, JwtError, NoAuthorizationError, type DeepReadonly, type JwtExtendedOptions, type JwtFailure, type JwtHeader,
  type JwtPayload
} from 'fastify-jwt-extended'
import { describe, expect, test } from 'tstyche'

const app = Fastify()

describe('the options', () => {
  test('are those of register', () => {
    expect(app.register).type.toBeCallableWith(jwtExtended, { secretKey: 'secret' })
    expect(app.register).type.toBeCallableWith(jwtExtended, { secretKey: [Buffer.from('new'), 'old'], prefix: '/api' })
    expect(app.register).type.not.toBeCallableWith(jwtExtended, { secretkey: 'secret' })
    expect(app.register).type.not.toBeCallableWith(jwtExtended, { secretKey: 7 })
  })

  test('take keys in each of their forms', () => {
    expect<JwtExtendedOptions['privateKey']>().type.toBeAssignableFrom<'PEM' | Buffer>()
    expect<JwtExtendedOptions['privateKey']>().type.toBeAssignableFrom(createPrivateKey('PEM'))
    expect<JwtExtendedOptions['privateKey']>().type.toBeAssignableFrom({ key: 'PEM', passphrase: 'words' })
    expect<JwtExtendedOptions['privateKey']>().type.toBeAssignableFrom({ kty: 'OKP', crv: 'Ed25519', x: '', d: '' })
    expect<JwtExtendedOptions['publicKey']>().type.toBeAssignableFrom([createPublicKey('PEM'), 'PEM'])
    expect<JwtExtendedOptions['privateKey']>().type.not.toBeAssignableFrom(['PEM'])
  })

  test('take only the algorithms that there are', () => {
    expect<JwtExtendedOptions['algorithm']>().type.toBeAssignableFrom<'HS256' | 'PS512' | 'EdDSA'>()
    expect<JwtExtendedOptions['algorithm']>().type.not.toBeAssignableFrom('none' as const)
    expect<JwtExtendedOptions['decodeAlgorithms']>().type.not.toBeAssignableFrom(['none' as const])
  })

  test('take durations, and false where a token may live for ever', () => {
    expect<JwtExtendedOptions['accessTokenExpires']>().type.toBeAssignableFrom<number | '15m' | false>()
    expect<JwtExtendedOptions['refreshTokenExpires']>().type.not.toBeAssignableFrom<true>()
    expect<JwtExtendedOptions['decodeLeeway']>().type.not.toBeAssignableFrom<false>()
  })

  test('take locations and cookie attributes by name', () => {
    expect<JwtExtendedOptions>().type.toBeAssignableFrom({
      tokenLocation: ['headers' as const, 'cookies' as const], cookieSameSite: false as const, errorProfile: 'rfc6750' as const,
    })
    expect<JwtExtendedOptions['tokenLocation']>().type.not.toBeAssignableFrom('header' as const)
    expect<JwtExtendedOptions['cookieSameSite']>().type.not.toBeAssignableFrom<'strict' | true>()
    expect<JwtExtendedOptions['errorProfile']>().type.not.toBeAssignableFrom('rfc7519' as const)
    expect<JwtExtendedOptions['verifyCache']>().type.not.toBeAssignableFrom<true>()
  })

  test('take token types, each with its expiry', () => {
    expect<JwtExtendedOptions['tokenTypes']>().type.toBeAssignableFrom({ invite: { expires: '7d', singleUse: true }, report: { expires: 60 } })
    expect<JwtExtendedOptions['tokenTypes']>().type.toBeAssignableFrom({ device: { expires: false as const } })
    expect<JwtExtendedOptions['tokenTypes']>().type.not.toBeAssignableFrom({ invite: {} })
    expect<JwtExtendedOptions['tokenTypes']>().type.not.toBeAssignableFrom({ invite: '7d' })
    expect<JwtExtendedOptions['tokenTypes']>().type.not.toBeAssignableFrom({ invite: { expires: '7d', singleUse: 'yes' } })
  })

  test('take undefined for what is left to the default', () => {
    expect<JwtExtendedOptions>().type.toBeAssignableFrom({ secretKey: process.env['JWT_SECRET_KEY'], namespace: undefined })
  })
})

describe('the loaders', () => {
  test('see what they are called with', () => {
    const options: JwtExtendedOptions = {
      userIdentityLoader (identity) {
        expect(identity).type.toBe<unknown>()
        return 'ada'
      },
      additionalClaimsLoader (identity) {
        expect(identity).type.toBe<unknown>()
        return { role: 'admin' }
      },
      decodeKeyLoader (header, payload) {
        expect(header).type.toBe<DeepReadonly<JwtHeader>>()
        expect(payload).type.toBe<DeepReadonly<JwtPayload>>()
        return 'secret'
      },
      userLookupLoader (header, payload, request) {
        expect(header.kid).type.toBe<string | undefined>()
        expect(payload).type.toBe<DeepReadonly<JwtPayload>>()
        expect(request).type.toBe<FastifyRequest>()
        return null
      },
      expiredTokenLoader (error, request, reply) {
        expect(error).type.toBe<JwtFailure>()
        expect(error.jwtPayload).type.toBe<DeepReadonly<JwtPayload> | undefined>()
        expect(request).type.toBe<FastifyRequest>()
        expect(reply).type.toBe<FastifyReply>()
        return reply.code(418).send({ error: error.code })
      },
    }
    expect(app.register).type.toBeCallableWith(jwtExtended, options)
  })

  test('may answer with a promise', () => {
    expect<JwtExtendedOptions['userLookupLoader']>().type.toBeAssignableFrom(async () => ({ id: 7 }))
    expect<JwtExtendedOptions['encodeKeyLoader']>().type.toBeAssignableFrom(async () => Buffer.from('secret'))
    expect<JwtExtendedOptions['tokenInBlocklistLoader']>().type.toBeAssignableFrom(async () => true)
    expect<JwtExtendedOptions['additionalHeadersLoader']>().type.toBeAssignableFrom(async () => ({ kid: 'k1' }))
    expect<JwtExtendedOptions['unauthorizedLoader']>().type.toBeAssignableFrom(async () => ({ error: 'nobody' }))
  })

  test('answer a yes-or-no question with a boolean', () => {
    expect<JwtExtendedOptions['tokenInBlocklistLoader']>().type.not.toBeAssignableFrom(() => 1)
    expect<JwtExtendedOptions['tokenVerificationLoader']>().type.not.toBeAssignableFrom(() => undefined)
    expect<JwtExtendedOptions['tokenVerificationLoader']>().type.not.toBeAssignableFrom(async () => 'yes')
    expect<JwtExtendedOptions['additionalClaimsLoader']>().type.not.toBeAssignableFrom(() => 'admin')
    expect<JwtExtendedOptions['encodeKeyLoader']>().type.not.toBeAssignableFrom(() => undefined)
  })
})

describe('the errors', () => {
  test('carry the status, the code, the challenge and the token', () => {
    expect<ExpiredTokenError>().type.toBeAssignableTo<JwtFailure>()
    expect<NoAuthorizationError>().type.toBeAssignableTo<JwtError>()
    expect<JwtError>().type.toBeAssignableTo<Error>()
    expect<ExpiredTokenError['statusCode']>().type.toBe<number>()
    expect<ExpiredTokenError['code']>().type.toBe<string>()
    expect<ExpiredTokenError['jwtPayload']>().type.toBe<DeepReadonly<JwtPayload> | undefined>()
  })
})
