import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { JwtManager } from '../types/manager.js'
import { JwtUsageError } from './errors.js'
import { createManager } from './manager.js'

// The managers that a scope can reach, by namespace: a child sees its parent's through the prototype.
const kManagers = Symbol('fastify-jwt-extended.managers')

type Managers = ReadonlyMap<string | undefined, { manager: JwtManager, scope: FastifyInstance }>

function managersOf (scope: FastifyInstance): Managers {
  return (scope as FastifyInstance & { [kManagers]?: Managers })[kManagers] ?? new Map()
}

/** The manager that rules in a scope. @throws {JwtUsageError} where there is none of that name. */
export function findManager (scope: FastifyInstance, namespace: string | undefined): JwtManager {
  const found = managersOf(scope).get(namespace)
  if (found !== undefined) return found.manager
  throw new JwtUsageError(namespace === undefined
    ? 'There is no unnamed JWT manager here; name one: jwtManager(namespace)'
    : `There is no JWT manager of the namespace '${namespace}' here`)
}

/** The manager that rules where the route of a request or a reply was declared. */
export function findManagerOf (owner: FastifyRequest | FastifyReply): JwtManager {
  return findManager(owner.server, undefined)
}

/** The same, where it has a store. @throws {JwtUsageError} where it has none. */
export function findSessionManagerOf (owner: FastifyRequest | FastifyReply): JwtManager {
  const manager = findManagerOf(owner)
  if ('createTokenPair' in manager) return manager
  throw new JwtUsageError('There are no sessions here; give the plugin the option store')
}

/**
 * Makes a manager and puts it into a scope, for the scope itself and its children.
 *
 * @returns the manager, its name, and whether it has a store
 * @throws {JwtUsageError} for a second one of the same name, and as `createManager` does.
 */
export function addManager (scope: FastifyInstance, options: unknown): { manager: JwtManager, namespace: string | undefined, hasStore: boolean } {
  const { manager, namespace, hasStore } = createManager(options)
  const known = managersOf(scope)
  if (known.get(namespace)?.scope === scope) {
    throw new JwtUsageError(namespace === undefined
      ? 'fastify-jwt-extended is registered twice in this scope; give the second one a namespace'
      : `fastify-jwt-extended is registered twice in this scope with the namespace '${namespace}'`)
  }
  // Assigned, not decorated: each registration replaces the map of its own scope only.
  const own: Managers = new Map([...known, [namespace, { manager, scope }]])
  Object.defineProperty(scope, kManagers, { value: own, configurable: true })
  return { manager, namespace, hasStore }
}
