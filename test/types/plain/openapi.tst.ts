import swagger, { type FastifyDynamicSwaggerOptions, type SwaggerTransform } from '@fastify/swagger'
import Fastify from 'fastify'
import jwtExtended, { openapiTransform, type JwtExtendedOptions } from 'fastify-jwt-extended'
import { describe, expect, test } from 'tstyche'

const app = Fastify()

describe('openapi', () => {
  test('is on or off', () => {
    expect(app.register).type.toBeCallableWith(jwtExtended, { secretKey: 'secret', openapi: true })
    expect<JwtExtendedOptions['openapi']>().type.not.toBeAssignableFrom('3.1.0' as const)
  })
})

describe('openapiTransform', () => {
  test('is a transform of @fastify/swagger', () => {
    expect<FastifyDynamicSwaggerOptions['transform']>().type.toBeAssignableFrom(openapiTransform)
    expect<SwaggerTransform>().type.toBeAssignableFrom(openapiTransform)
    expect(app.register).type.toBeCallableWith(swagger, { openapi: {}, transform: openapiTransform })
  })

  test('goes on from what another transform gave', () => {
    const own: SwaggerTransform = ({ schema, url }) => ({ schema: { ...schema, tags: ['mine'] }, url })
    const both: SwaggerTransform = (input) => openapiTransform({ ...input, ...own(input) })
    expect(app.register).type.toBeCallableWith(swagger, { transform: both })
  })
})
