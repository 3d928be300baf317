import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import jwtExtended, { type JwtExtendedOptions } from '../../index.js'
import { SECRET } from './app.js'

export const VERSIONS = ['3.0.3', '3.1.0'] as const

interface Answer {
  description: string
  content?: Record<string, { schema: Record<string, unknown> }>
  headers?: Record<string, { schema: Record<string, unknown> }>
}

export interface Operation {
  security?: Record<string, string[]>[]
  responses: Record<string, Answer>
  parameters?: { name: string, in: string }[]
  tags?: string[]
}

export interface Document {
  openapi: string
  info: { title: string, version: string }
  paths: Record<string, Record<string, Operation>>
  components: { securitySchemes?: Record<string, Record<string, string>> }
}

/** The document as a client gets it. */
export async function documentOf (app: FastifyInstance): Promise<Document> {
  await app.ready()
  return JSON.parse(JSON.stringify(app.swagger())) as Document
}

export function swaggerOptions (version: string = '3.0.3', more: FastifyDynamicSwaggerOptions = {}): FastifyDynamicSwaggerOptions {
  return { ...more, openapi: { openapi: version, info: { title: 'shop', version: '1' }, ...more.openapi } }
}

/** An application that documents itself. */
export async function buildDocumented (
  t: Test, options: JwtExtendedOptions = {}, swaggered: FastifyDynamicSwaggerOptions = swaggerOptions()
): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(swagger, swaggered)
  await app.register(jwtExtended, { secretKey: SECRET, openapi: true, ...options })
  return app
}

const METHODS = new Set(['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'])
const STATUS = /^([1-5](\d\d|XX)|default)$/
const SCHEME_FIELDS: Record<string, string[]> = { http: ['type', 'scheme', 'bearerFormat', 'description'], apiKey: ['type', 'in', 'name', 'description'] }

/** What OpenAPI (§4.7 in 3.0.3, §4.8 in 3.1.0) asks of the parts that this plugin has a hand in. Gives what is wrong. */
export function faultsOf (document: Document): string[] {
  const faults: string[] = []
  const check = (holds: unknown, fault: string): void => { if (!holds) faults.push(fault) }
  const is30 = document.openapi.startsWith('3.0')
  const schemes = document.components.securitySchemes ?? {}
  check(/^3\.[01]\.\d+$/.test(document.openapi), 'openapi')
  for (const [name, scheme] of Object.entries(schemes)) {
    check(/^[\w.-]+$/.test(name), `${name} is no key of a component`)
    check(SCHEME_FIELDS[scheme['type']!], `${name} is of the type ${scheme['type']}`)
    for (const field of Object.keys(scheme)) check(SCHEME_FIELDS[scheme['type']!]?.includes(field), `${name} has ${field}`)
    if (scheme['type'] === 'http') check(scheme['scheme'], `${name} has no scheme`)
    else check(scheme['name'] && ['query', 'header', 'cookie'].includes(scheme['in']!), `${name} is nowhere`)
  }
  function checkSchema (where: string, schema: unknown): void {
    check(typeof schema === 'object' && schema !== null && !Array.isArray(schema), `${where} is no schema`)
    const { type, required, properties = {}, anyOf = [] } = schema as { type?: string, required?: string[], properties?: object, anyOf?: unknown[] }
    check(type === undefined || ['object', 'string', 'number', 'integer', 'boolean', 'array'].includes(type) || (!is30 && type === 'null'), `${where} is of the type ${type}`)
    check(required === undefined || (required.length > 0 && new Set(required).size === required.length), `${where} requires ${required}`)
    for (const [name, property] of Object.entries(properties)) checkSchema(`${where}.${name}`, property)
    for (const alternative of anyOf) checkSchema(where, alternative)
  }
  for (const [path, operations] of Object.entries(document.paths)) {
    check(path.startsWith('/'), path)
    for (const [method, operation] of Object.entries(operations)) {
      const where = `${method} ${path}`
      check(METHODS.has(method), where)
      for (const [, name] of path.matchAll(/\{(\w+)\}/g)) check(operation.parameters?.some((one) => one.in === 'path' && one.name === name), `${where} says nothing of ${name}`)
      check(operation.security === undefined || (Array.isArray(operation.security) && operation.security.length > 0), `${where} has no way in`)
      for (const requirement of operation.security ?? []) {
        for (const [name, scopes] of Object.entries(requirement)) {
          check(schemes[name], `${where} needs ${name}`)
          check(Array.isArray(scopes) && scopes.every((scope) => typeof scope === 'string'), `${where} has scopes for ${name}`)
          check(!is30 || scopes.length === 0, `${where} has scopes for ${name}, which is neither OAuth 2 nor OpenID Connect`)
        }
      }
      check(Object.keys(operation.responses).length > 0, `${where} has no answer`)
      for (const [status, answer] of Object.entries(operation.responses)) {
        check(STATUS.test(status), `${where} has ${status}`)
        check(typeof answer.description === 'string' && answer.description !== '', `${where} ${status} has no description`)
        for (const field of Object.keys(answer)) check(['description', 'content', 'headers', 'links'].includes(field), `${where} ${status} has ${field}`)
        for (const [type, media] of Object.entries(answer.content ?? {})) {
          check(/^\w+\/[\w.+-]+$/.test(type), `${where} ${status} has the type ${type}`)
          checkSchema(`${where} ${status}`, media.schema)
        }
        for (const [name, header] of Object.entries(answer.headers ?? {})) checkSchema(`${where} ${status} ${name}`, header.schema)
      }
    }
  }
  return faults
}
