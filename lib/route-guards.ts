import type { FastifyInstance } from 'fastify'
import { JwtUsageError } from './errors.js'
import { readsBody } from './locations.js'
import type { Rule } from './rule.js'
import type { Settings } from './settings.js'

/** What a guard was made of. */
export interface GuardDescription {
  readonly settings: Settings
  readonly rule: Rule
}

/** A route as Fastify's `onRoute` shows it: with its own hooks, but not those of its scopes. */
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
const makers = new WeakSet<object>()

/** Makes a guard known, so that it is recognised among the hooks of a route or a scope. */
export function describeGuard<Guard extends object> (guard: Guard, description: GuardDescription): Guard {
  descriptions.set(guard, description)
  return guard
}

/** Makes it known that a function makes guards, so that it is not taken for one. */
export function describeMaker<Maker extends object> (maker: Maker): Maker {
  makers.add(maker)
  return maker
}

const scopesOfRoutes = new WeakMap<object, FastifyInstance>()
const guardsOfScopes = new WeakMap<object, GuardDescription[]>()

/**
 * Follows the routes of a scope and its children. `onRoute` shows a route with its own hooks; the hooks of scopes Fastify
 * shows nowhere, so that the guards among them are noted on their way in.
 *
 * @param declared told of each route at once: it may throw, and its scopes may still get hooks
 * @param ready told of all routes when no more hooks and routes can come, and Fastify has read what they say
 */
export function watchRoutes (scope: FastifyInstance, declared: (route: Route) => void, ready: (routes: readonly Route[]) => void): void {
  const addHook = scope.addHook as (this: FastifyInstance, name: string, hook: unknown) => FastifyInstance
  function addHookAndNote (this: FastifyInstance, name: string, hook: unknown): FastifyInstance {
    assertHookFits(name, hook, 'a scope')
    const guards = describe([hook])
    if (guards.length > 0) guardsOfScopes.set(this, [...guardsOfScopes.get(this) ?? [], ...guards])
    return addHook.call(this, name, hook)
  }
  const setNotFoundHandler = scope.setNotFoundHandler as (this: FastifyInstance, ...given: unknown[]) => FastifyInstance
  function assertAndSetNotFoundHandler (this: FastifyInstance, ...given: unknown[]): FastifyInstance {
    assertHooksFit(given[0] ?? {}, 'the 404 handler')
    return setNotFoundHandler.apply(this, given)
  }
  // The children inherit both.
  scope.addHook = addHookAndNote as FastifyInstance['addHook']
  scope.setNotFoundHandler = assertAndSetNotFoundHandler as FastifyInstance['setNotFoundHandler']

  const routes: Route[] = []
  scope.addHook('onRoute', function (route) {
    declared(route)
    scopesOfRoutes.set(route, this)
    routes.push(route)
  })
  scope.addHook('onReady', (done) => {
    const known = routes.splice(0)
    for (const route of known) warnOfOpenOptions(route)
    ready(known)
    done()
  })
}

/** The guards that a request of a route has to pass, as far as they are known by now: those of its scopes and its own. */
export function guardsOf (route: Route): GuardDescription[] {
  const guards = ownGuardsOf(route)
  for (let scope = scopesOfRoutes.get(route); scope !== undefined && scope !== null; scope = Object.getPrototypeOf(scope) as FastifyInstance) {
    guards.unshift(...guardsOfScopes.get(scope) ?? [])
  }
  return guards
}

function ownGuardsOf (route: Route): GuardDescription[] {
  return describe(HOOKS.flatMap((name) => [route[name]].flat()))
}

function describe (hooks: readonly unknown[]): GuardDescription[] {
  return hooks.flatMap((hook) => typeof hook === 'function' ? descriptions.get(hook) ?? [] : [])
}

/** Whether a token in a cookie needs its CSRF value with one of these methods. */
export function needsCsrfValue ({ cookieCsrfProtect, csrfMethods }: Settings, methods: readonly string[]): boolean {
  return cookieCsrfProtect && methods.some((method) => csrfMethods.includes(method))
}

/** @throws {JwtUsageError} for a route whose own guards cannot work there, or would be unsafe. */
export function assertGuardsFit (route: Route): void {
  assertHooksFit(route, nameOf(route))
  assertBodyIsThere(route)
  assertOriginsAreNamed(route)
}

// Under every name: Fastify passes over those that it does not know, and what they guard would be open.
function assertHooksFit (options: object, where: string): void {
  for (const [name, hooks] of Object.entries(options)) {
    for (const hook of [hooks as unknown].flat()) assertHookFits(name, hook, where)
  }
}

function assertHookFits (name: string, hook: unknown, where: string): void {
  if (typeof hook !== 'function') return
  const fits = HOOKS.some((known) => known === name)
  if (makers.has(hook)) {
    throw new JwtUsageError(`The ${name} hook of ${where} is jwtRequired itself; call it: ${fits ? name : 'preHandler'}: app.jwtRequired()`)
  }
  // What runs after the handler, or beside it, keeps nobody out either.
  if (fits || !descriptions.has(hook)) return
  throw new JwtUsageError(`The guard of ${where} is given as ${name}, which keeps nobody out; use it as onRequest, preParsing, preValidation or preHandler`)
}

function nameOf (route: Route): string {
  return `${[route.method].flat().join(', ')} ${route.url}`
}

// A hook that runs before the body is parsed cannot look for a token in it.
function assertBodyIsThere (route: Route): void {
  for (const hook of ['onRequest', 'preParsing'] as const) {
    const guards = describe([route[hook]].flat())
    if (!guards.some(({ settings, rule }) => readsBody(settings, rule.locations))) continue
    throw new JwtUsageError(
      `The ${hook} guard of ${nameOf(route)} reads the body, which is not parsed yet there; ` +
      'use it as a preValidation or preHandler hook, or give it other locations'
    )
  }
}

// A WebSocket must not take cookies from any page. A guard of the scope is for other routes as well, and takes pages of the
// same origin where none are named.
function assertOriginsAreNamed (route: Route): void {
  if (!route.websocket && !route.wsHandler) return
  for (const { rule } of ownGuardsOf(route)) {
    if (!rule.locations.includes('cookies') || rule.allowedOrigins !== undefined) continue
    throw new JwtUsageError(
      `The guard of the WebSocket ${route.url} looks into cookies, which browsers send for any page; name the origins of your ` +
      "pages: jwtRequired({ allowedOrigins: 'https://app.example.com' }), or take 'cookies' out of its locations"
    )
  }
}

// No guard judges an OPTIONS request, and a handler for other methods as well may do their work for it.
function warnOfOpenOptions (route: Route): void {
  const methods = [route.method].flat()
  if (!methods.includes('OPTIONS') || methods.every((method) => method === 'OPTIONS') || guardsOf(route).length === 0) return
  process.emitWarning(
    `The guarded route ${route.url} takes OPTIONS, which no guard judges, and runs its handler for anybody then; ` +
    "name the methods that it is for, such as method: ['GET', 'POST'], or let the handler answer OPTIONS before it does any work",
    { code: 'FST_JWT_EXT_OPEN_OPTIONS' }
  )
}
