import { JwtUsageError } from './errors.js'
import type { Rule } from './rule.js'
import type { Settings } from './settings.js'

/** What a guard was made of. */
export interface GuardDescription {
  readonly settings: Settings
  readonly rule: Rule
}

/** A route as Fastify's `onRoute` shows it: with its own hooks, but not those of its scope. */
export interface Route {
  method: string | string[]
  url: string
  onRequest?: unknown
  preParsing?: unknown
  preValidation?: unknown
  preHandler?: unknown
  /** What @fastify/websocket adds. */
  websocket?: unknown
  wsHandler?: unknown
}

const HOOKS = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

const descriptions = new WeakMap<object, GuardDescription>()

/** Makes a guard known, so that it is recognised among the hooks of a route. */
export function describeGuard<Guard extends object> (guard: Guard, description: GuardDescription): Guard {
  descriptions.set(guard, description)
  return guard
}

/** The guards among a route's own hooks. */
export function guardsOf (route: Route): GuardDescription[] {
  return HOOKS.flatMap((name) => [route[name]].flat()).flatMap((hook) => {
    const description = typeof hook === 'function' ? descriptions.get(hook) : undefined
    return description ?? []
  })
}

/** Whether a token in a cookie needs its CSRF value with one of these methods. */
export function needsCsrfValue ({ cookieCsrfProtect, csrfMethods }: Settings, methods: readonly string[]): boolean {
  return cookieCsrfProtect && methods.some((method) => csrfMethods.includes(method))
}

/** @throws {JwtUsageError} for a WebSocket route that would take cookies from a page without being told which pages may. */
export function assertOriginsAreNamed (route: Route): void {
  if (!route.websocket && !route.wsHandler) return
  for (const { rule } of guardsOf(route)) {
    if (!rule.locations.includes('cookies') || rule.allowedOrigins !== undefined) continue
    throw new JwtUsageError(
      `The guard of the WebSocket ${route.url} looks into cookies, which browsers send for any page; name the origins of your ` +
      "pages: jwtRequired({ allowedOrigins: 'https://app.example.com' }), or take 'cookies' out of its locations"
    )
  }
}
