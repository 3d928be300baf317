import type { FastifySchema } from 'fastify'
import type { OpenapiTransformInput, OpenapiTransformResult } from '../types/openapi.js'
import { describeAnswers } from './openapi-answers.js'
import { describeSecurity, type OpenapiDocument } from './openapi-security.js'
import { guardsOf, type Route } from './route-guards.js'

/** What @fastify/swagger reads of a route's schema. */
type SwaggerSchema = FastifySchema & { hide?: boolean, security?: unknown, response?: Record<string, unknown> }

type Transform = (input: OpenapiTransformInput) => Partial<OpenapiTransformResult>

type SwaggerRoute = Route & { config?: { swaggerTransform?: Transform | false } }

/** Gives guarded routes the transform that describes them, where their guards' configuration asks for it. */
export function documentRoutes (routes: readonly Route[]): void {
  for (const route of routes as readonly SwaggerRoute[]) {
    if (!guardsOf(route).some(({ settings }) => settings.openapi)) continue
    const own = route.config?.swaggerTransform
    const swaggerTransform: Transform = (input) => {
      const { schema = input.schema, url = input.url } = own ? own(input) : input
      return openapiTransform({ ...input, schema, url })
    }
    route.config = { ...route.config, swaggerTransform }
  }
}

/**
 * Adds to a route's schema what its guards take for a token, and how they refuse. For the `transform` of an application
 * that has one of its own: `transform: (input) => openapiTransform({ ...input, ...ownTransform(input) })`.
 */
export function openapiTransform ({ schema = {}, url, route, openapiObject }: OpenapiTransformInput): OpenapiTransformResult {
  const given = schema as SwaggerSchema
  const guards = guardsOf(route)
  const methods = [route.method].flat().filter((method) => method !== 'OPTIONS')
  if (openapiObject === undefined || guards.length === 0 || methods.length === 0 || given.hide === true) return { schema, url }
  const security = given.security ?? describeSecurity(guards, methods, openapiObject as OpenapiDocument)
  const described: SwaggerSchema = { ...given, response: describeAnswers(guards, methods, given.response) }
  return { schema: security === undefined ? described : { ...described, security } as FastifySchema, url }
}
