import type { FastifySchema, RouteOptions } from 'fastify'

/** What @fastify/swagger hands to a `transform`. */
export interface OpenapiTransformInput {
  /** The schema of the route, or what another transform made of it. */
  schema?: FastifySchema | undefined
  url: string
  /** The route as `onRoute` shows it: its guards are found among its hooks. */
  route: RouteOptions
  /** The document so far; the security schemes of the route are added to it. Absent for Swagger 2.0, which stays as it is. */
  openapiObject?: object | undefined
}

/** What @fastify/swagger takes from a `transform`. */
export interface OpenapiTransformResult {
  schema: FastifySchema
  url: string
}
