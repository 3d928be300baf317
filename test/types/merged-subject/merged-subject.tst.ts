import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { JwtIdentity, JwtUser } from 'fastify-jwt-extended'
import { describe, expect, test } from 'tstyche'

declare module 'fastify-jwt-extended' {
  interface JwtTypes {
    claims: { sub: number, tenant: string }
  }
}

declare const app: FastifyInstance
declare const request: FastifyRequest

describe('with only claims merged, and a sub among them', () => {
  test('the identity claim is of the type of sub', () => {
    expect(request.jwtIdentity).type.toBe<number | null>()
    expect(request.jwt.sub).type.toBe<number>()
  })

  test('the other claims keep their types', () => {
    expect(request.jwt.tenant).type.toBe<string>()
    expect(request.jwt.exp).type.toBe<number | undefined>()
  })

  test('the user and the identity stay unknown', () => {
    expect<JwtUser>().type.toBe<unknown>()
    expect<JwtIdentity>().type.toBe<unknown>()
    expect(app.createAccessToken).type.toBeCallableWith(7, { additionalClaims: { tenant: 'acme' } })
  })
})
