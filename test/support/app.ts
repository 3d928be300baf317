import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import jwtExtended, { type JwtExtendedOptions } from '../../index.js'

/** A secret as long as the longest hash, so that no test warns of it. */
export const SECRET = 'a-secret-of-the-tests-that-is-as-long-as-the-longest-hash-there-is'

/** A Fastify with the plugin registered, closed when the test ends. */
export async function buildApp (
  t: Test, options: JwtExtendedOptions = { secretKey: SECRET }, server: FastifyServerOptions = {}
): Promise<FastifyInstance> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await app.register(jwtExtended, options)
  return app
}

/** The error with which registering these options fails; fails the test where it does not. */
export async function registrationError (t: Test, options: unknown): Promise<Error & { code?: string }> {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(jwtExtended, options as JwtExtendedOptions)
  try {
    await app.ready()
  } catch (error) {
    return error as Error
  }
  throw new Error(`registering passed with ${JSON.stringify(options)}`)
}

/** The header that carries a token. */
export function bearer (token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` }
}
