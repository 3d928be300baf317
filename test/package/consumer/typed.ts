import Fastify from 'fastify'
import jwtExtended, { ExpiredTokenError, type JwtExtendedOptions } from 'fastify-jwt-extended'

interface User { id: string, name: string }

declare module 'fastify-jwt-extended' {
  interface JwtTypes {
    user: User
    identity: { id: string }
    claims: { role?: 'admin' | 'member' }
  }
}

const options: JwtExtendedOptions = {
  secretKey: 'a-secret-of-more-than-thirty-two-bytes',
  userIdentityLoader: (identity) => identity.id,
  userLookupLoader: async (_header, payload) => payload.sub === undefined ? null : { id: payload.sub, name: 'Ada' },
}

const app = Fastify()
await app.register(jwtExtended, options)
app.post('/login', async () => await app.createAccessToken({ id: 'ada' }, { additionalClaims: { role: 'admin' } }))
app.get('/me', { onRequest: app.jwtRequired({ fresh: true }) }, async (request) => {
  const user: User | null = request.currentUser
  const role: 'admin' | 'member' | undefined = request.jwt.role
  const expiry: number | undefined = request.jwt.exp
  return { user, role, expiry }
})
app.setErrorHandler((error, _request, reply) => reply.send(error instanceof ExpiredTokenError ? error.jwtPayload?.role : error))

// @ts-expect-error the identity is an object here
await app.createAccessToken('ada')
// @ts-expect-error there is no such role
await app.createAccessToken({ id: 'ada' }, { additionalClaims: { role: 'owner' } })
// @ts-expect-error there is no such rule
app.jwtRequired({ optinal: true })
// @ts-expect-error there is no such option
await app.register(jwtExtended, { secretkey: 'secret' })
app.get('/', async (request) => {
  // @ts-expect-error the user may be missing
  return request.currentUser.name
})
