import type { ServerHttp2Stream } from 'node:http2'
import { parseCookie } from 'cookie'
import type { FastifyRequest } from 'fastify'
import type { TokenLocation } from '../types/claims.js'
import { createHeaderReader } from './authorization-header.js'
import { CsrfError, InvalidQueryParamError, JwtDecodeError, JwtUsageError, NoAuthorizationError } from './errors.js'
import { assertOrigin } from './origins.js'
import type { Settings } from './settings.js'

/** Finds the token that one location holds. */
export interface Extractor {
  readonly location: TokenLocation
  /** The token, or `undefined` where this location holds none. */
  read (request: FastifyRequest): string | undefined
  /** Why it holds none. */
  absence (request: FastifyRequest): string
  /** The CSRF value that has to come along; `undefined` where this request needs none. Refuses a page that may not ask. */
  csrf?(request: FastifyRequest): string | undefined
}

/** Where a rule looks for tokens, in order. */
export interface Locations {
  readonly extractors: readonly Extractor[]
  /** The error of a request in which no location holds a token. */
  absence (request: FastifyRequest): NoAuthorizationError
}

// Node bounds headers, and so cookies; nothing bounds a query string's or a body's token before it is decoded.
const LONGEST_TOKEN = 16_384

/** Compiles the ordered list of locations of a rule. */
export function compileLocations (
  settings: Settings, names: readonly TokenLocation[], refresh: boolean, allowedOrigins?: readonly string[]
): Locations {
  const extractors = names.map((name) => EXTRACTORS[name](settings, refresh, allowedOrigins))
  return {
    extractors,
    absence (request) {
      const details = extractors.map((extractor) => extractor.absence(request))
      if (details.length === 1) return new NoAuthorizationError(details[0])
      return new NoAuthorizationError(
        `Missing JWT in ${names.slice(0, -1).join(', ')} or ${names.at(-1)} (${details.join('; ')})`
      )
    },
  }
}

/** Whether one of these locations reads the body, which hooks before `preValidation` do not have. */
export function readsBody ({ cookieCsrfProtect, csrfCheckForm }: Settings, names: readonly TokenLocation[]): boolean {
  return names.includes('json') || (names.includes('cookies') && cookieCsrfProtect && csrfCheckForm)
}

type Compile = (settings: Settings, refresh: boolean, allowedOrigins: readonly string[] | undefined) => Extractor

const EXTRACTORS: Readonly<Record<TokenLocation, Compile>> = {
  headers (settings) {
    const header = settings.headerName.toLowerCase()
    const reader = createHeaderReader(settings.headerName, settings.headerType)
    return {
      location: 'headers',
      read: (request) => reader.read(request.headers[header]),
      absence: (request) => reader.absence(request.headers[header]),
    }
  },

  cookies (settings, refresh, allowedOrigins) {
    const name = refresh ? settings.refreshCookieName : settings.accessCookieName
    const readCsrfValue = settings.cookieCsrfProtect ? compileCsrf(settings, refresh) : undefined
    return {
      location: 'cookies',
      // The header itself: another plugin may have decoded, signed or not yet parsed what it shows as request.cookies.
      read: (request) => {
        const { cookie } = request.headers
        return cookie === undefined ? undefined : parseCookie(cookie)[name] || undefined
      },
      absence: () => `Missing cookie "${name}"`,
      csrf (request) {
        assertOrigin(request, allowedOrigins)
        return readCsrfValue?.(request)
      },
    }
  },

  query_string (settings) {
    const { queryStringName: name, queryStringValuePrefix: prefix } = settings
    const invalid = `Invalid value for query parameter '${name}'. Expected `
    return {
      location: 'query_string',
      absence: () => `Missing '${name}' query parameter`,
      read (request) {
        const value = memberOf(request.query, name)
        if (value === undefined || value === '') return undefined
        if (typeof value !== 'string') throw new InvalidQueryParamError(`${invalid}it once`)
        if (!value.startsWith(prefix)) throw new InvalidQueryParamError(`${invalid}the value to start with '${prefix}'`)
        return bounded(value.slice(prefix.length))
      },
    }
  },

  json (settings, refresh) {
    const member = refresh ? settings.refreshJsonKey : settings.jsonKey
    return {
      location: 'json',
      absence: (request) => isJson(request)
        ? `Missing "${member}" key in json data.`
        : 'Invalid content-type. Must be application/json.',
      read (request) {
        if (!isJson(request)) return undefined
        const token = memberOf(parsedBody(request), member)
        if (token === undefined || token === null || token === '') return undefined
        if (typeof token !== 'string') throw new JwtDecodeError('The token must be a string')
        return bounded(token)
      },
    }
  },
}

function compileCsrf (settings: Settings, refresh: boolean): (request: FastifyRequest) => string | undefined {
  const { csrfMethods } = settings
  const headerName = refresh ? settings.refreshCsrfHeaderName : settings.accessCsrfHeaderName
  const header = headerName.toLowerCase()
  const field = refresh ? settings.refreshCsrfFieldName : settings.accessCsrfFieldName
  const hint = `expected it in the header ${headerName}${settings.csrfCheckForm ? ` or in the form field ${field}` : ''}`
  return function readCsrfValue (request) {
    if (!csrfMethods.includes(request.method)) return undefined
    let value: unknown = request.headers[header]
    if (!value && settings.csrfCheckForm && isForm(request)) value = fieldValue(memberOf(parsedBody(request), field))
    if (typeof value !== 'string' || value === '') throw new CsrfError('Missing CSRF token', { hint })
    return value
  }
}

function bounded (token: string): string {
  if (token.length > LONGEST_TOKEN) throw new JwtDecodeError('The token is too long')
  return token
}

function mediaType (request: FastifyRequest): string {
  const type = request.headers['content-type'] ?? ''
  const end = type.indexOf(';')
  return (end === -1 ? type : type.slice(0, end)).trim().toLowerCase()
}

function isJson (request: FastifyRequest): boolean {
  return mediaType(request) === 'application/json'
}

function isForm (request: FastifyRequest): boolean {
  const type = mediaType(request)
  return type === 'application/x-www-form-urlencoded' || type === 'multipart/form-data'
}

// An own member only: a body or a query is the client's, and so are the names in it.
function memberOf (body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null && !Array.isArray(body) && Object.hasOwn(body, name)
    ? (body as Record<string, unknown>)[name]
    : undefined
}

// @fastify/multipart's attachFieldsToBody wraps a field's value in an object.
function fieldValue (field: unknown): unknown {
  return memberOf(field, 'value') ?? field
}

// The methods whose body Fastify parses; one that an application adds may or may not be among them.
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH', 'DELETE', 'QUERY'])

function parsedBody (request: FastifyRequest): unknown {
  if (request.body === undefined && isUnread(request)) {
    throw new JwtUsageError(
      'This guard reads the body, which is not parsed yet here: use it as a preValidation or preHandler hook'
    )
  }
  return request.body
}

function isUnread (request: FastifyRequest): boolean {
  // Where there is no route, Fastify passes over a body that it has no parser for.
  return !request.is404 && WITH_BODY.has(request.method) && hasBody(request) && !request.raw.readableDidRead && !isLeftToRoute(request)
}

function hasBody ({ headers, raw }: FastifyRequest): boolean {
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0) return true
  // HTTP/2 says neither.
  return 'stream' in raw && (raw.stream as ServerHttp2Stream).endAfterHeaders === false
}

// A multipart body may stay unread for good, for the route to read; @fastify/multipart tells when it has come to that.
function isLeftToRoute (request: FastifyRequest & { isMultipart?(): boolean }): boolean {
  return mediaType(request) === 'multipart/form-data' && request.isMultipart?.() !== false
}
