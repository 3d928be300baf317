import '@fastify/websocket'
import Fastify from 'fastify'
import type { JwtIdentityClaim, JwtRule } from 'fastify-jwt-extended'
import { describe, expect, test } from 'tstyche'

const app = Fastify()

describe('allowedOrigins', () => {
  test('are one or a list', () => {
    expect<JwtRule['allowedOrigins']>().type.toBeAssignableFrom<string | string[] | undefined>()
    expect<JwtRule['allowedOrigins']>().type.not.toBeAssignableFrom(/example/)
    expect<JwtRule['allowedOrigins']>().type.not.toBeAssignableFrom<true>()
    expect(app.jwtRequired).type.toBeCallableWith({ allowedOrigins: 'https://app.example.com' })
  })
})

describe('a guard of a WebSocket', () => {
  test('stands in its hooks and leaves its handler its types', () => {
    const guard = app.jwtRequired({ allowedOrigins: ['https://app.example.com'] })
    app.get('/', { websocket: true, onRequest: guard, preValidation: [guard], preHandler: guard }, (socket, request) => {
      expect(socket.send).type.toBeCallableWith('text')
      expect(request.jwtIdentity).type.toBe<JwtIdentityClaim | null>()
    })
  })
})
