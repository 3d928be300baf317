import { consumptionCases } from './store-suite/consumption.js'
import { listingCases } from './store-suite/listing.js'
import { revocationCases } from './store-suite/revocation.js'
import { rotationCases } from './store-suite/rotation.js'
import type { StoreCase } from './store-suite/case.js'

/**
 * What a store must do, one case a behaviour: for those who write a store of their own. It needs no test runner, and one
 * store serves all cases, at once or in turn. They take real time, up to some seconds, since the clock is the store's.
 *
 * ```ts
 * import { test } from 'node:test'
 * import { storeSuite } from 'fastify-jwt-extended/store-suite'
 *
 * for (const { name, run } of storeSuite) test(name, () => run(myStore))
 * ```
 */
export const storeSuite: readonly StoreCase[] = Object.freeze([...revocationCases, ...consumptionCases, ...rotationCases, ...listingCases])
