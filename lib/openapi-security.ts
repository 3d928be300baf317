import type { TokenLocation } from '../types/claims.js'
import { needsCsrfValue, type GuardDescription } from './route-guards.js'
import type { Settings } from './settings.js'

interface SecurityScheme {
  type: 'http' | 'apiKey'
  scheme?: string
  bearerFormat?: string
  in?: 'header' | 'cookie' | 'query'
  name?: string
  description?: string
}

/** What a document is known to have when a transform is asked. */
export interface OpenapiDocument {
  openapi: string
  components: { securitySchemes?: Record<string, SecurityScheme> }
}

/** The schemes that have to be satisfied together, with the scopes that each needs. */
export type Requirement = Record<string, string[]>

/**
 * The `security` of a route: each guard has to be satisfied, in one of its ways. Adds their schemes to the document. A
 * token in a JSON body is no way that OpenAPI has a word for.
 *
 * @returns `undefined` where nothing can be said.
 */
export function describeSecurity (guards: GuardDescription[], methods: string[], document: OpenapiDocument): Requirement[] | undefined {
  const waysOfEach = guards.map((guard) => describeWays(guard, methods, document)).filter((ways) => ways.length > 0)
  if (waysOfEach.length === 0) return undefined
  // Guard by guard: together their ways multiply.
  return waysOfEach.reduce<Requirement[]>((all, ways) => keepShortest(all.flatMap((one) => ways.map((other) => join(one, other)))), [{}])
}

function keepShortest (requirements: Requirement[]): Requirement[] {
  return requirements.filter((requirement, index) => !requirements.some((other, place) =>
    place !== index && asksForNoMore(other, requirement) && (place < index || !asksForNoMore(requirement, other))))
}

// Who satisfies one has satisfied the other. Only that a token is optional says something besides: with one more is allowed.
function asksForNoMore (other: Requirement, requirement: Requirement): boolean {
  if (Object.keys(other).length === 0) return Object.keys(requirement).length === 0
  return Object.entries(other).every(([name, scopes]) => name in requirement && scopes.every((scope) => requirement[name]!.includes(scope)))
}

function describeWays ({ settings, rule }: GuardDescription, methods: string[], document: OpenapiDocument): Requirement[] {
  // OpenAPI 3.0 knows scopes of OAuth 2 and OpenID Connect schemes only.
  const scopes = document.openapi.startsWith('3.0') ? [] : [...rule.scopes]
  const ways = rule.locations.flatMap((location): Requirement[] => {
    const named = describeLocation(location, settings, rule.refresh)
    if (named === undefined) return []
    const requirement: Requirement = { [declareScheme(document, settings, ...named)]: scopes }
    if (location === 'cookies' && needsCsrfValue(settings, methods)) {
      requirement[declareScheme(document, settings, ...describeCsrfHeader(settings, rule.refresh))] = []
    }
    return [requirement]
  })
  return rule.optional ? [...ways, {}] : ways
}

function join (one: Requirement, other: Requirement): Requirement {
  const joined = { ...one }
  for (const [name, scopes] of Object.entries(other)) joined[name] = [...new Set([...joined[name] ?? [], ...scopes])]
  return joined
}

function describeLocation (location: TokenLocation, settings: Settings, refresh: boolean): [string, SecurityScheme] | undefined {
  switch (location) {
    case 'headers': return describeHeader(settings)
    case 'cookies': return refresh
      ? ['refreshCookieAuth', { type: 'apiKey', in: 'cookie', name: settings.refreshCookieName }]
      : ['cookieAuth', { type: 'apiKey', in: 'cookie', name: settings.accessCookieName }]
    case 'query_string': return ['queryAuth', {
      type: 'apiKey', in: 'query', name: settings.queryStringName, ...describePrefix(settings.queryStringValuePrefix)
    }]
    case 'json': return undefined
  }
}

function describeHeader ({ headerName, headerType }: Settings): [string, SecurityScheme] {
  const standard = headerName.toLowerCase() === 'authorization'
  if (standard && headerType.toLowerCase() === 'bearer') return ['bearerAuth', { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' }]
  if (standard && headerType !== '') return ['headerAuth', { type: 'http', scheme: headerType }]
  return ['headerAuth', { type: 'apiKey', in: 'header', name: headerName, ...describePrefix(headerType && `${headerType} `) }]
}

function describePrefix (prefix: string): { description?: string } {
  return prefix === '' ? {} : { description: `${prefix}<JWT>` }
}

function describeCsrfHeader (settings: Settings, refresh: boolean): [string, SecurityScheme] {
  return refresh
    ? ['refreshCsrfToken', { type: 'apiKey', in: 'header', name: settings.refreshCsrfHeaderName }]
    : ['csrfToken', { type: 'apiKey', in: 'header', name: settings.accessCsrfHeaderName }]
}

// Puts a scheme into the document, unless it is there, and gives its name. A name that stands for another scheme already,
// the application's or that of another configuration, is left to it.
function declareScheme ({ components }: OpenapiDocument, { namespace }: Settings, base: string, scheme: SecurityScheme): string {
  const stem = namespace === undefined ? base : `${base}_${namespace.replaceAll(/[^\w.-]/g, '_')}`
  const known = components.securitySchemes ?? {}
  let name = stem
  for (let number = 2; Object.hasOwn(known, name) && !isSameScheme(known[name]!, scheme); number++) name = `${stem}${number}`
  // Not into the object that is there: it is the application's.
  if (!Object.hasOwn(known, name)) components.securitySchemes = { ...known, [name]: scheme }
  return name
}

function isSameScheme (known: SecurityScheme, scheme: SecurityScheme): boolean {
  return known.type === scheme.type && known.in === scheme.in && known.name === scheme.name &&
    known.scheme?.toLowerCase() === scheme.scheme?.toLowerCase()
}
