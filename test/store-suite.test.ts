import t from 'tap'
import { memoryStore, type TokenStore } from '../index.js'
import { storeSuite } from '../lib/store-suite.js'

/** The names of the cases that a store fails. */
async function failuresOf (store: TokenStore): Promise<string[]> {
  const failures = await Promise.all(storeSuite.map(async ({ name, run }) => {
    try {
      await run(store)
      return []
    } catch {
      return [name]
    }
  }))
  return failures.flat()
}

interface WrongStore {
  title: string
  break: (store: TokenStore) => Partial<TokenStore>
  noticed: RegExp
}

const WRONG: readonly WrongStore[] = [
  { title: 'never revokes', break: () => ({ isRevoked: () => false }), noticed: /revokes one token/ },
  { title: 'always revokes', break: () => ({ isRevoked: () => true }), noticed: /knows nothing against/ },
  {
    title: 'gives something else than true and false',
    break: (store) => ({ isRevoked: (query) => (store.isRevoked(query) ? 1 : 0) as unknown as boolean }),
    noticed: /knows nothing against/,
  },
  { title: 'forgets revoked tokens', break: () => ({ revokeToken: () => {} }), noticed: /revokes one token/ },
  {
    title: 'never forgets a revoked token',
    break: (store) => ({ revokeToken: (identity, tokenId) => store.revokeToken(identity, tokenId, 1e9) }),
    noticed: /forgets a revoked token/,
  },
  { title: 'consumes a token as often as it comes', break: () => ({ consumeToken: () => true }), noticed: /consumes a token once/ },
  {
    title: 'looks before it consumes, but not in one step',
    break: (store) => ({
      async consumeToken (identity, tokenId, keepFor) {
        const isUsed = await store.isRevoked({ identity, sessionId: undefined, tokenId, epoch: undefined, issuedAt: Date.now() })
        await store.revokeToken(identity, tokenId, keepFor)
        return !isUsed
      },
    }),
    noticed: /parallel consumptions/,
  },
  {
    title: 'keeps consumed tokens and revoked ones apart',
    break: (store) => ({ consumeToken: (identity, tokenId, keepFor) => store.consumeToken(identity, `used ${tokenId}`, keepFor) }),
    noticed: /takes a consumed token for revoked/,
  },
  {
    title: 'never forgets a consumed token',
    break: (store) => ({ consumeToken: (identity, tokenId) => store.consumeToken(identity, tokenId, 1e9) }),
    noticed: /forgets a consumed token/,
  },
  {
    title: 'counts no epochs',
    break: () => ({ epochOf: () => 0 }),
    noticed: /tells tokens made before endAll/,
  },
  {
    title: 'ends no sessions by endAll',
    break: (store) => ({ endAll: (identity, exceptSession) => { store.endAll(identity, exceptSession); return [] } }),
    noticed: /ends all sessions by endAll/,
  },
  {
    title: 'spares no session in endAll',
    break: (store) => ({ endAll: (identity) => store.endAll(identity, undefined) }),
    noticed: /spares the one session/,
  },
  { title: 'ends no session', break: () => ({ endSession: () => true }), noticed: /ends a session once/ },
  {
    title: 'knows no grace',
    break: (store) => ({ rotate: (rotation) => store.rotate({ ...rotation, grace: 0 }) }),
    noticed: /parallel rotations/,
  },
  {
    title: 'has a grace without end',
    break: (store) => ({ rotate: (rotation) => store.rotate({ ...rotation, grace: 1e9 }) }),
    noticed: /after the grace/,
  },
  {
    title: 'takes every reuse for the first',
    break: (store) => ({
      async rotate (rotation) {
        const result = await store.rotate(rotation)
        return result.outcome === 'reuse' ? { ...result, isFirst: true } : result
      },
    }),
    noticed: /answers reuse again/,
  },
  {
    title: 'forks a session instead of replaying',
    break: (store) => ({
      rotate (rotation) {
        const result = store.rotate(rotation) as Awaited<ReturnType<TokenStore['rotate']>>
        return result.outcome === 'replayed' ? { ...result, outcome: 'rotated', generation: result.generation + 1 } : result
      },
    }),
    noticed: /very same successor/,
  },
  {
    title: 'lets a session live for ever',
    break: (store) => ({ startSession: (session) => store.startSession({ ...session, lifetime: 1e9, keepFor: 1e9 }) }),
    noticed: /absolute end/,
  },
  {
    title: 'does not keep a session for its newest token',
    break: (store) => ({ rotate: (rotation) => store.rotate({ ...rotation, keepFor: 0 }) }),
    noticed: /keeps a session for as long/,
  },
  {
    title: 'loses labels',
    break: (store) => ({ startSession: (session) => store.startSession({ ...session, label: undefined }) }),
    noticed: /lists the sessions/,
  },
  {
    title: 'lists the oldest first',
    break: (store) => ({ listSessions: async (identity) => [...await store.listSessions(identity)].reverse() }),
    noticed: /lists the sessions/,
  },
  {
    title: 'mixes up identities',
    break: (store) => ({ isRevoked: (query) => store.isRevoked({ ...query, identity: query.identity.trim() }) }),
    noticed: /any text for an identity/,
  },
]

t.test('each case has a name of its own', async (t) => {
  t.ok(storeSuite.length > 20)
  t.equal(new Set(storeSuite.map(({ name }) => name)).size, storeSuite.length)
  t.ok(Object.isFrozen(storeSuite))
})

t.test('a right store passes, and may answer later', async (t) => {
  const store = memoryStore()
  const later: TokenStore = {
    isRevoked: async (query) => store.isRevoked(query),
    epochOf: async (identity) => store.epochOf(identity),
    revokeToken: async (identity, tokenId, keepFor) => store.revokeToken(identity, tokenId, keepFor),
    consumeToken: async (identity, tokenId, keepFor) => store.consumeToken(identity, tokenId, keepFor),
    startSession: async (session) => store.startSession(session),
    rotate: async (rotation) => store.rotate(rotation),
    endSession: async (identity, sessionId) => store.endSession(identity, sessionId),
    endAll: async (identity, exceptSession) => store.endAll(identity, exceptSession),
    listSessions: async (identity) => store.listSessions(identity),
  }
  t.same(await failuresOf(later), [])
})

for (const { title, break: breakStore, noticed } of WRONG) {
  t.test(`a store that ${title} fails`, async (t) => {
    const store = memoryStore()
    const failures = await failuresOf({ ...store, ...breakStore(store) })
    t.ok(failures.some((name) => noticed.test(name)), failures.join('\n'))
  })
}
