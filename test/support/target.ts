import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import type { JwtExtendedOptions, TokenLocation } from '../../index.js'
import { buildApp, SECRET } from './app.js'

/** A request that carries a token in one place. */
export interface Carrier {
  place: TokenLocation
  method: 'GET' | 'POST'
  query: string
  headers: Record<string, string>
  payload?: string
}

/** An application under attack. */
export interface Target {
  app: FastifyInstance
  /** A token that is good. */
  token: string
  /** The claims that handlers have seen, in order. */
  reached: Record<string, unknown>[]
  /** Holds that a token is refused by a 401 or 422 wherever it comes, before any handler, and that a good one is not afterwards. */
  refuses (t: Test, token: string, name: string): Promise<void>
  /** Holds that a token passes wherever it comes; gives the claims that the handlers saw. */
  passes (t: Test, token: string, name: string): Promise<Record<string, unknown>>
}

// What Node lets through as a header's value (RFC 9110 §5.5).
const HEADER_TEXT = /^[\t\x20-\x7e\x80-\xff]+$/

/** The requests that carry a token, one for each place that can hold this text. */
export function carriersOf (token: string): Carrier[] {
  const carriers: Carrier[] = [
    { place: 'cookies', method: 'GET', query: '', headers: { cookie: `access_token_cookie=${encodeURIComponent(token)}` } },
    { place: 'query_string', method: 'GET', query: `?jwt=${encodeURIComponent(token)}`, headers: {} },
    { place: 'json', method: 'POST', query: '', headers: { 'content-type': 'application/json' }, payload: JSON.stringify({ access_token: token }) },
  ]
  if (HEADER_TEXT.test(token)) carriers.push({ place: 'headers', method: 'GET', query: '', headers: { authorization: `Bearer ${token}` } })
  return carriers
}

/** An application that takes tokens in all four places, on a route that needs one and on one that does not. */
export async function buildTarget (
  t: Test, options: JwtExtendedOptions = { secretKey: SECRET }, server: FastifyServerOptions = {}
): Promise<Target> {
  const app = await buildApp(t, { tokenLocation: ['headers', 'cookies', 'query_string', 'json'], ...options }, server)
  const reached: Record<string, unknown>[] = []
  for (const [url, optional] of [['/', false], ['/optional', true]] as const) {
    app.route({
      method: ['GET', 'POST'],
      url,
      preHandler: app.jwtRequired({ optional }),
      handler: async (request) => {
        reached.push(request.jwt)
        return { who: request.jwtIdentity, where: request.jwtLocation }
      },
    })
  }
  const token = await app.createAccessToken('ada')

  async function send (carrier: Carrier, path: string): Promise<{ status: number, body: string, claims: Record<string, unknown> | undefined }> {
    const before = reached.length
    const { method, query, headers, payload } = carrier
    const response = await app.inject({ method, url: path + query, headers, ...(payload !== undefined && { payload }) })
    return { status: response.statusCode, body: response.body, claims: reached.length > before ? reached.at(-1) : undefined }
  }

  return {
    app,
    token,
    reached,
    async refuses (t, attack, name) {
      const wrong: unknown[] = []
      for (const path of ['/', '/optional']) {
        for (const carrier of carriersOf(attack)) {
          const { status, body, claims } = await send(carrier, path)
          if (![401, 422].includes(status) || claims !== undefined) wrong.push({ place: carrier.place, path, status, body: body.slice(0, 200) })
        }
      }
      t.strictSame(wrong, [], `${name}: refused`)
      const { status } = await send({ place: 'headers', method: 'GET', query: '', headers: { authorization: `Bearer ${token}` } }, '/')
      if (status !== 200) t.fail(`${name}: a good token is taken afterwards`, { status })
    },
    async passes (t, good, name) {
      const seen: Record<string, unknown>[] = []
      for (const carrier of carriersOf(good)) {
        const { status, body, claims } = await send(carrier, '/')
        if (status !== 200 || claims === undefined) t.fail(`${name}: passes in ${carrier.place}`, { status, body })
        else seen.push(claims)
      }
      t.ok(seen.every((claims) => JSON.stringify(claims) === JSON.stringify(seen[0])) && seen.length > 0, `${name}: passes`)
      return seen[0] ?? {}
    },
  }
}
