import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import jwtExtended, {
  JwtDecodeError, type DeepReadonly, type JwtExtendedOptions, type JwtIdentity, type JwtManager, type JwtPayload, type JwtUser
} from 'fastify-jwt-extended'
import { describe, expect, test } from 'tstyche'

interface User { id: string, name: string }
interface Account { id: string, roles: Role[] }
type Role = 'admin' | 'member'

declare module 'fastify-jwt-extended' {
  interface JwtTypes {
    user: User
    identity: Account
    claims: { role?: Role, groups?: string[] }
  }
}

declare const app: FastifyInstance
declare const manager: JwtManager
declare const request: FastifyRequest

const ada: Account = { id: 'ada', roles: ['admin'] }

describe('with merged JwtTypes', () => {
  test('the user reaches request.currentUser', () => {
    expect<JwtUser>().type.toBe<User>()
    expect(request.currentUser).type.toBe<User | null>()
    expect<Pick<FastifyRequest, 'currentUser'>>().type.toBe<{ readonly currentUser: User | null }>()
  })

  test('the identity reaches the methods that issue', () => {
    expect<JwtIdentity>().type.toBe<Account>()
    expect(app.createAccessToken).type.toBeCallableWith(ada, { fresh: true })
    expect(app.createAccessToken).type.not.toBeCallableWith('ada')
    expect(app.createRefreshToken).type.toBeCallableWith(ada)
    expect(app.createRefreshToken).type.not.toBeCallableWith({ id: 'ada' })
    expect(manager.createAccessToken).type.not.toBeCallableWith('ada')
    expect(app.createToken).type.toBeCallableWith('invite', ada)
    expect(app.createToken).type.not.toBeCallableWith('invite', 'ada')
  })

  test('the claims reach request.jwt, read-only, beside the registered ones', () => {
    expect(request.jwt.role).type.toBe<Role | undefined>()
    expect(request.jwt.groups).type.toBe<readonly string[] | undefined>()
    expect(request.jwt.exp).type.toBe<number | undefined>()
    expect(request.jwt.aud).type.toBe<string | readonly string[] | undefined>()
    expect(request.jwt.jti).type.toBe<string | null | undefined>()
    expect(request.jwt).type.not.toHaveProperty('roles')
    expect(request.verifyJwt()).type.toBe<Promise<{
      readonly jwtHeader: typeof request.jwtHeader, readonly jwtPayload: DeepReadonly<JwtPayload>
    } | null>>()
  })

  test('the claims reach what is issued and decoded', () => {
    expect(app.createAccessToken).type.toBeCallableWith(ada, { additionalClaims: { role: 'admin', sub: 'ada' } })
    expect(app.createAccessToken).type.not.toBeCallableWith(ada, { additionalClaims: { role: 'owner' } })
    expect(app.createAccessToken).type.not.toBeCallableWith(ada, { additionalClaims: { rank: 1 } })
    expect(app.decodeToken('token')).type.toBe<Promise<DeepReadonly<JwtPayload>>>()
  })

  test('an error takes a payload as it is handed out, and a refused one as it came', () => {
    expect(JwtDecodeError).type.toBeConstructableWith('The token is refused', { jwtPayload: request.jwt })
    expect(JwtDecodeError).type.toBeConstructableWith('The token is refused', { jwtPayload: { role: 'owner' } })
    expect(JwtDecodeError).type.not.toBeConstructableWith('The token is refused', { jwtPayload: { exp: 'tomorrow' } })
  })

  test('the identity claim stays text', () => {
    expect(request.jwtIdentity).type.toBe<string | null>()
  })

  test('all three reach the loaders', async () => {
    await Fastify().register(jwtExtended, {
      secretKey: 'secret',
      userIdentityLoader (identity) {
        expect(identity).type.toBe<Account>()
        return identity.id
      },
      additionalClaimsLoader (identity) {
        expect(identity).type.toBe<Account>()
        return { role: 'member' }
      },
      additionalHeadersLoader (identity) {
        expect(identity).type.toBe<Account>()
        return {}
      },
      encodeKeyLoader (identity) {
        expect(identity).type.toBe<Account>()
        return 'secret'
      },
      decodeKeyLoader (_header, payload) {
        expect(payload.role).type.toBe<Role | undefined>()
        return 'secret'
      },
      async userLookupLoader (_header, payload, request) {
        expect(payload.role).type.toBe<Role | undefined>()
        expect(request).type.toBe<FastifyRequest>()
        return payload.sub === undefined ? null : { id: payload.sub, name: 'Ada' }
      },
      tokenInBlocklistLoader (_header, payload) {
        expect(payload.role).type.toBe<Role | undefined>()
        return false
      },
      expiredTokenLoader (error) {
        expect(error.jwtPayload?.role).type.toBe<Role | undefined>()
      },
    })
  })

  test('a loader that gives something else does not compile', () => {
    expect<JwtExtendedOptions['userLookupLoader']>().type.not.toBeAssignableFrom(() => ({ id: 7 }))
    expect<JwtExtendedOptions['userLookupLoader']>().type.not.toBeAssignableFrom(async () => 'ada')
    expect<JwtExtendedOptions['additionalClaimsLoader']>().type.not.toBeAssignableFrom(() => ({ role: 'owner' as const }))
  })

  test('they reach a guarded route', () => {
    app.get<{ Params: { id: string } }>('/:id', { onRequest: app.jwtRequired() }, async (request) => {
      expect(request.currentUser).type.toBe<User | null>()
      expect(request.jwt.role).type.toBe<Role | undefined>()
    })
  })

  test('they reach a route on http2', () => {
    const server = Fastify({ http2: true })
    server.get('/', { onRequest: server.jwtRequired() }, async (request) => {
      expect(request.currentUser).type.toBe<User | null>()
    })
    expect(server.createAccessToken).type.not.toBeCallableWith('ada')
  })
})
