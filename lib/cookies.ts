import { stringifySetCookie, type SerializeOptions } from 'cookie'
import type { FastifyReply } from 'fastify'
import type { TokenPayload, TokenType } from '../types/claims.js'
import type { SetCookiesOptions, UnsetCookiesOptions } from '../types/options.js'
import { isPromise } from './awaitable.js'
import type { Codec } from './codec.js'
import { toSeconds } from './durations.js'
import { JwtUsageError } from './errors.js'
import { cookieDomain } from './kinds.js'
import { assertKnownNames } from './names.js'
import { isMarkedPrivate } from './query-answer.js'
import type { Settings } from './settings.js'

/** Puts tokens into cookies, and takes them out again. Synchronous; each gives the reply back. */
export interface CookieWriter {
  set (reply: FastifyReply, tokens: Partial<Record<TokenType, string>>, options?: SetCookiesOptions): FastifyReply
  unset (reply: FastifyReply, types: readonly TokenType[], options?: UnsetCookiesOptions): FastifyReply
}

interface CookieNames {
  readonly name: string
  readonly path: string
  readonly csrfName: string
  readonly csrfPath: string
}

// RFC 6265bis §5.6: what a browser stores of a name and its value. It drops a longer cookie in silence.
const MOST_BYTES = 4096
const ONE_YEAR = 31_540_000

/** Makes the cookies of a configuration. */
export function createCookieWriter (settings: Settings, codec: Codec): CookieWriter {
  const names: Readonly<Record<TokenType, CookieNames>> = {
    access: {
      name: settings.accessCookieName,
      path: settings.accessCookiePath,
      csrfName: settings.accessCsrfCookieName,
      csrfPath: settings.accessCsrfCookiePath,
    },
    refresh: {
      name: settings.refreshCookieName,
      path: settings.refreshCookiePath,
      csrfName: settings.refreshCsrfCookieName,
      csrfPath: settings.refreshCsrfCookiePath,
    },
  }
  const hasCsrfCookie = settings.cookieCsrfProtect && settings.csrfInCookies
  const attributes: SerializeOptions = {
    secure: settings.cookieSecure,
    partitioned: settings.cookiePartitioned,
    ...(settings.cookieSameSite !== false && { sameSite: settings.cookieSameSite.toLowerCase() as Lowercase<'Strict' | 'Lax' | 'None'> }),
    ...(settings.cookieDomain !== undefined && { domain: settings.cookieDomain }),
  }

  function render (name: string, value: string, more: SerializeOptions): string {
    if (more.domain !== undefined && /^__host-/i.test(name)) {
      throw new JwtUsageError(`The cookie ${name} allows no domain: browsers refuse a __Host- cookie with one`)
    }
    const line = stringifySetCookie(name, value, { ...attributes, ...more })
    const bytes = line.indexOf(';') - '='.length
    if (bytes > MOST_BYTES) {
      throw new JwtUsageError(
        `The cookie ${name} would have ${bytes} bytes, and browsers keep ${MOST_BYTES}; ` +
        'put fewer claims into the token, and load the rest by userLookupLoader'
      )
    }
    return line
  }

  // The application made the token: one that cannot be read is its mistake, and none of the client's.
  function decode (token: string): TokenPayload {
    try {
      return codec.decode(token).payload
    } catch (cause) {
      throw new JwtUsageError('A token cookie needs a token, as createAccessToken and createRefreshToken make it', cause)
    }
  }

  function csrfOf (token: string): string | undefined {
    if (!settings.cookieCsrfProtect) return undefined
    const { csrf } = decode(token)
    if (typeof csrf === 'string') return csrf
    throw new JwtUsageError(
      'The token has no csrf claim, so no cookie can protect it; make it with cookieCsrfProtect: true, or register with cookieCsrfProtect: false'
    )
  }

  return {
    set (reply, tokens, options = {}) {
      const types = Object.keys(tokens) as TokenType[]
      assertKnownNames(options, ['maxAge', 'domain'], `${types.join(' and ')} cookies`)
      const maxAge = readMaxAge(options.maxAge) ?? (settings.sessionCookie ? undefined : ONE_YEAR)
      const more: SerializeOptions = { ...readDomain(options.domain), ...(maxAge !== undefined && { maxAge }) }
      const lines = types.flatMap((type) => {
        const token = tokens[type]!
        assertToken(token)
        const csrf = csrfOf(token)
        const { name, path, csrfName, csrfPath } = names[type]
        const line = render(name, token, { ...more, path, httpOnly: true })
        return hasCsrfCookie ? [line, render(csrfName, csrf!, { ...more, path: csrfPath })] : [line]
      })
      forbidStoring(reply)
      return add(reply, lines)
    },

    unset (reply, types, options = {}) {
      assertKnownNames(options, ['domain'], 'unsetting cookies')
      const more: SerializeOptions = { ...readDomain(options.domain), maxAge: 0, expires: new Date(0) }
      const lines = types.flatMap((type) => {
        const { name, path, csrfName, csrfPath } = names[type]
        const line = render(name, '', { ...more, path, httpOnly: true })
        return hasCsrfCookie ? [line, render(csrfName, '', { ...more, path: csrfPath })] : [line]
      })
      return add(reply, lines)
    },
  }
}

function assertToken (token: unknown): void {
  if (typeof token === 'string' && token !== '') return
  throw new JwtUsageError(`A token cookie needs a token${isPromise(token) ? ', not the promise of one: await createAccessToken(…)' : ''}`)
}

// All lines were rendered before the first is added, so that a mistake in one leaves the reply as it was.
function add (reply: FastifyReply, lines: readonly string[]): FastifyReply {
  for (const line of lines) reply.header('Set-Cookie', line)
  return reply
}

function readMaxAge (maxAge: unknown): number | undefined {
  if (maxAge === undefined) return undefined
  const seconds = maxAge === 0 ? 0 : toSeconds(maxAge)
  if (seconds === undefined || seconds < 0) throw new JwtUsageError("maxAge must be whole seconds, 0 or more, or text such as '30d'")
  return seconds
}

function readDomain (domain: unknown): { domain?: string } {
  if (domain === undefined) return {}
  const read = cookieDomain.read(domain)
  if (read === undefined) throw new JwtUsageError(`domain must be ${cookieDomain.takes}`)
  return { domain: read }
}

// A token that a cache keeps is a token that the next user may get (RFC 9111 §7.3).
function forbidStoring (reply: FastifyReply): void {
  if (!reply.hasHeader('Cache-Control') || isMarkedPrivate(reply)) reply.header('Cache-Control', 'no-store')
}
