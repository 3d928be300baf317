import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type {
  DeepReadonly, JwtHeader, JwtIdentity, JwtManager, JwtPayload, JwtUser, TokenLocation, VerifiedJwt
} from 'fastify-jwt-extended'
import { describe, expect, test } from 'tstyche'

declare const app: FastifyInstance
declare const request: FastifyRequest
declare const reply: FastifyReply

describe('without merged JwtTypes', () => {
  test('the user and the identity are unknown', () => {
    expect<JwtUser>().type.toBe<unknown>()
    expect<JwtIdentity>().type.toBe<unknown>()
    expect(request.currentUser).type.toBe<unknown>()
    expect(app.createAccessToken).type.toBeCallableWith('ada')
    expect(app.createAccessToken).type.toBeCallableWith({ id: 7 })
    expect(app.createRefreshToken).type.toBeCallableWith(7)
  })

  test('the identity claim is text', () => {
    expect(request.jwtIdentity).type.toBe<string | null>()
  })

  test('claims are read by any name, and what they hold is unknown', () => {
    expect(request.jwt['role']).type.toBe<unknown>()
    expect(request.jwt.role).type.toBe<unknown>()
    expect<JwtPayload>().type.toBeAssignableFrom({ role: 'admin', groups: ['a', 'b'] })
  })
})

describe('the registered claims', () => {
  test('have their types beside claims that nobody declared', () => {
    expect(request.jwt.exp).type.toBe<number | undefined>()
    expect(request.jwt.aud).type.toBe<string | readonly string[] | undefined>()
    expect(request.jwt.jti).type.toBe<string | null | undefined>()
    expect(app.createAccessToken).type.not.toBeCallableWith('ada', { additionalClaims: { exp: 'tomorrow' } })
    expect(app.createAccessToken).type.toBeCallableWith('ada', { additionalClaims: { exp: 7, role: 'admin' } })
  })
})

describe('the request', () => {
  test('shows what the guard verified, read-only', () => {
    expect(request.jwt).type.toBe<DeepReadonly<JwtPayload>>()
    expect(request.jwtHeader).type.toBe<DeepReadonly<JwtHeader>>()
    expect(request.jwtLocation).type.toBe<TokenLocation | null>()
    expect<Pick<FastifyRequest, 'jwt'>>().type.toBe<{ readonly jwt: DeepReadonly<JwtPayload> }>()
    expect<Pick<FastifyRequest, 'jwtHeader'>>().type.toBe<{ readonly jwtHeader: DeepReadonly<JwtHeader> }>()
    expect<Pick<FastifyRequest, 'jwtIdentity'>>().type.toBe<{ readonly jwtIdentity: string | null }>()
    expect<Pick<FastifyRequest, 'jwtLocation'>>().type.toBe<{ readonly jwtLocation: TokenLocation | null }>()
    expect<Pick<FastifyRequest, 'currentUser'>>().type.toBe<{ readonly currentUser: unknown }>()
  })

  test('is judged by a rule on demand', () => {
    expect(request.verifyJwt()).type.toBe<Promise<VerifiedJwt | null>>()
    expect(request.verifyJwt).type.toBeCallableWith({ optional: true, fresh: true, locations: 'headers' })
    expect(request.verifyJwt).type.not.toBeCallableWith({ optinal: true })
  })
})

describe('the reply', () => {
  test('sets and clears cookies and is itself the result', () => {
    expect(reply.setAccessCookies('token')).type.toBe<FastifyReply>()
    expect(reply.setRefreshCookies('token', { maxAge: 60, domain: 'example.org' })).type.toBe<FastifyReply>()
    expect(reply.unsetJwtCookies()).type.toBe<FastifyReply>()
    expect(reply.unsetAccessCookies({ domain: 'example.org' })).type.toBe<FastifyReply>()
    expect(reply.unsetRefreshCookies().code(204)).type.toBe<FastifyReply>()
  })

  test('takes no cookies without a token, and no other attributes', () => {
    expect(reply.setAccessCookies).type.not.toBeCallableWith()
    expect(reply.setAccessCookies).type.not.toBeCallableWith('token', { secure: false })
    expect(reply.unsetJwtCookies).type.not.toBeCallableWith({ maxAge: 0 })
  })
})

describe('the instance', () => {
  test('issues tokens', () => {
    expect(app.createAccessToken('ada')).type.toBe<Promise<string>>()
    expect(app.createAccessToken).type.toBeCallableWith('ada', {
      fresh: '5m', expiresDelta: false, additionalClaims: { role: 'admin' }, additionalHeaders: { kid: 'k1' },
    })
    expect(app.createRefreshToken('ada', { expiresDelta: 60 })).type.toBe<Promise<string>>()
  })

  test('issues tokens of types of one\'s own', () => {
    expect(app.createToken('invite', 'ada')).type.toBe<Promise<string>>()
    expect(app.jwtManager().createToken('invite', 'ada')).type.toBe<Promise<string>>()
    expect(app.createToken).type.toBeCallableWith('invite', 'ada', {
      expiresDelta: '1h', additionalClaims: { team: 'a' }, additionalHeaders: { kid: 'k1' },
    })
    expect(app.createToken).type.not.toBeCallableWith('invite', 'ada', { fresh: true })
    expect(app.createToken).type.not.toBeCallableWith('invite')
    expect(app.createToken).type.not.toBeCallableWith(7, 'ada')
  })

  test('knows no fresh refresh token, and no token without an identity', () => {
    expect(app.createRefreshToken).type.not.toBeCallableWith('ada', { fresh: true })
    expect(app.createAccessToken).type.not.toBeCallableWith()
    expect(app.createAccessToken).type.not.toBeCallableWith('ada', { expiresIn: 60 })
    expect(app.createAccessToken).type.not.toBeCallableWith('ada', { expiresDelta: true })
  })

  test('reads tokens', () => {
    expect(app.decodeToken('token')).type.toBe<Promise<DeepReadonly<JwtPayload>>>()
    expect(app.decodeToken).type.toBeCallableWith('token', { csrfValue: 'value', allowExpired: true })
    expect(app.decodeToken).type.not.toBeCallableWith('token', { verify: false })
    expect(app.getUnverifiedJwtHeaders('token')).type.toBe<JwtHeader>()
    expect(app.getJti('token')).type.toBe<Promise<string | null>>()
    expect(app.getCsrfToken('token')).type.toBe<Promise<string>>()
  })

  test('has managers by namespace', () => {
    expect(app.jwtManager()).type.toBe<JwtManager>()
    expect(app.jwtManager('partner')).type.toBe<JwtManager>()
    expect(app.jwtManager).type.not.toBeCallableWith(7)
    expect(app.jwtManager('partner').verifyJwt(request, { refresh: true })).type.toBe<Promise<VerifiedJwt | null>>()
    expect(app.jwtManager('partner').setAccessCookies(reply, 'token', { maxAge: '1d' })).type.toBe<FastifyReply>()
    expect(app.jwtManager('partner').setAccessCookies).type.not.toBeCallableWith('token')
  })
})
