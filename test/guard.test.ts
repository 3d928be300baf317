import type { FastifyInstance, RouteShorthandOptions } from 'fastify'
import t, { type Test } from 'tap'
import { assertGuardsFit } from '../lib/route-guards.js'
import type { JwtExtendedOptions } from '../index.js'
import { bearer, buildApp, SECRET } from './support/app.js'
import { collectWarnings } from './support/warnings.js'

const HOOKS = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

// A guard with synchronous parts only, and one that has to wait.
const CONFIGURATIONS: Record<string, JwtExtendedOptions> = {
  synchronous: { secretKey: SECRET },
  asynchronous: { secretKey: SECRET, tokenInBlocklistLoader: async () => { await new Promise(setImmediate); return false } },
}

async function statuses (app: FastifyInstance, url: string, method: 'GET' | 'POST' = 'GET'): Promise<number[]> {
  const good = bearer(await app.createAccessToken('ada'))
  const payload = method === 'POST' ? { payload: { some: 'body' } } : {}
  const answers = [
    await app.inject({ method, url, headers: good, ...payload }), await app.inject({ method, url, ...payload }), await app.inject({ method, url, headers: bearer('x'), ...payload })
  ]
  return answers.map((answer) => answer.statusCode)
}

for (const [kind, options] of Object.entries(CONFIGURATIONS)) {
  t.test(`${kind}: a guard works as each kind of hook of a route, alone and in a list`, async (t) => {
    const app = await buildApp(t, options)
    for (const hook of HOOKS) {
      const guard = app.jwtRequired()
      app.get(`/${hook}`, { [hook]: guard } as RouteShorthandOptions, async (request) => request.jwtIdentity)
      app.post(`/${hook}`, { [hook]: [async () => {}, guard, (_request: unknown, _reply: unknown, ...rest: (() => void)[]) => { rest.at(-1)!() }] } as RouteShorthandOptions, async (request) => ({ id: request.jwtIdentity, body: request.body }))
    }
    for (const hook of HOOKS) {
      t.strictSame(await statuses(app, `/${hook}`), [200, 401, 422], hook)
      t.strictSame(await statuses(app, `/${hook}`, 'POST'), [200, 401, 422], hook)
      const response = await app.inject({ method: 'POST', url: `/${hook}`, payload: { some: 'body' }, headers: bearer(await app.createAccessToken('ada')) })
      t.strictSame(response.json(), { id: 'ada', body: { some: 'body' } }, 'the body arrives whole')
    }
  })

  t.test(`${kind}: a guard works as each kind of hook of a scope`, async (t) => {
    for (const hook of HOOKS) {
      const app = await buildApp(t, options)
      await app.register(async (scope) => {
        scope.addHook(hook as 'onRequest', scope.jwtRequired())
        scope.get('/in', async (request) => request.jwtIdentity)
        scope.post('/in', async (request) => request.jwtIdentity)
        await scope.register(async (child) => { child.get('/child', async (request) => request.jwtIdentity) })
      })
      app.get('/out', async () => 'out')
      t.strictSame(await statuses(app, '/in'), [200, 401, 422], hook)
      t.strictSame(await statuses(app, '/in', 'POST'), [200, 401, 422], hook)
      t.strictSame(await statuses(app, '/child'), [200, 401, 422], `${hook} of the scope's child`)
      t.strictSame(await statuses(app, '/out'), [200, 200, 200], 'outside of it')
    }
  })

  t.test(`${kind}: a request that is refused reaches no later hook and no handler, and is answered once`, async (t) => {
    for (const hook of HOOKS) {
      const app = await buildApp(t, options)
      const reached: string[] = []
      let responses = 0
      app.addHook('onResponse', async () => { responses++ })
      const after = HOOKS.slice(HOOKS.indexOf(hook))
      const hooks = Object.fromEntries(after.map((name) => [name, [...(name === hook ? [app.jwtRequired()] : []), async () => { reached.push(name) }]]))
      app.get('/', hooks as RouteShorthandOptions, async () => { reached.push('handler'); return 'in' })
      t.equal((await app.inject('/')).statusCode, 401)
      t.equal((await app.inject({ url: '/', headers: bearer('x') })).statusCode, 422)
      await new Promise(setImmediate)
      t.strictSame(reached, [])
      t.equal(responses, 2)
      t.equal((await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })).statusCode, 200)
      t.strictSame(reached, [...after, 'handler'], 'each once')
    }
  })

  t.test(`${kind}: nothing behind a guard runs while a refusal is still being answered`, async (t) => {
    const slow = async (): Promise<void> => { for (let tick = 0; tick < 5; tick++) await new Promise(setImmediate) }
    const answers: JwtExtendedOptions[] = [
      { unauthorizedLoader: async () => { await slow(); return { msg: 'slow' } }, revokedTokenLoader: async () => { await slow(); return { msg: 'slow' } } },
      { unauthorizedLoader: (_error, _request, reply) => { slow().then(() => reply.send({ msg: 'slow' }), () => {}); return reply }, revokedTokenLoader: async () => { await slow(); return { msg: 'slow' } } },
      { throwErrors: true },
    ]
    for (const answer of answers) {
      for (const hook of HOOKS) {
        const app = await buildApp(t, { ...options, tokenInBlocklistLoader: options.tokenInBlocklistLoader === undefined ? () => true : async () => true, ...answer })
        app.setErrorHandler(async (_error, _request, reply) => { await slow(); reply.code(401); return { msg: 'slow' } })
        let reached = 0
        app.get('/', { [hook]: [app.jwtRequired(), async () => { reached++ }] } as RouteShorthandOptions, async () => { reached++; return 'in' })
        for (const headers of [{}, bearer(await app.createAccessToken('ada'))]) {
          const response = await app.inject({ url: '/', headers })
          t.equal(response.statusCode, 401)
          t.strictSame(response.json(), { msg: 'slow' })
        }
        await slow()
        t.equal(reached, 0, hook)
      }
    }
  })

  t.test(`${kind}: what fails behind a guard fails as without one`, async (t) => {
    const app = await buildApp(t, options)
    const preHandler = app.jwtRequired()
    app.get('/throws', { preHandler }, () => { throw Object.assign(new Error('teapot'), { statusCode: 418 }) })
    app.get('/rejects', { preHandler }, async () => { throw Object.assign(new Error('teapot'), { statusCode: 418 }) })
    app.get('/hook', { preHandler: [preHandler, () => { throw Object.assign(new Error('teapot'), { statusCode: 418 }) }] }, async () => 'in')
    const headers = bearer(await app.createAccessToken('ada'))
    for (const url of ['/throws', '/rejects', '/hook']) {
      const response = await app.inject({ url, headers })
      t.equal(response.statusCode, 418, url)
      t.equal(response.json().message, 'teapot')
    }
  })

  t.test(`${kind}: a body that a schema refuses is refused behind the guard, not in front of it`, async (t) => {
    const app = await buildApp(t, options)
    const schema = { body: { type: 'object', required: ['must'] } }
    app.post('/', { preValidation: app.jwtRequired(), schema }, async () => 'in')
    t.equal((await app.inject({ method: 'POST', url: '/', payload: {} })).statusCode, 401)
    t.equal((await app.inject({ method: 'POST', url: '/', payload: {}, headers: bearer(await app.createAccessToken('ada')) })).statusCode, 400)
  })
}

t.test('with synchronous parts only a guard has done its work when it returns', async (t) => {
  for (const [kind, options] of Object.entries(CONFIGURATIONS)) {
    const app = await buildApp(t, options)
    const guard = app.jwtRequired()
    const order: string[] = []
    app.get('/', {
      preHandler: (request, reply, done) => {
        guard(request, reply, (error) => { order.push('guard'); done(error) })
        order.push('returned')
      },
    }, async () => 'in')
    await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })
    t.strictSame(order, kind === 'synchronous' ? ['guard', 'returned'] : ['returned', 'guard'])
  }
})

t.test('several guards of one route must all pass', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: ['headers', 'query_string'] })
  const rules = [app.jwtRequired({ locations: 'headers' }), app.jwtRequired({ locations: 'query_string', fresh: true })]
  app.get('/', { onRequest: rules }, async (request) => request.jwtIdentity)
  const [stale, fresh] = [await app.createAccessToken('ada'), await app.createAccessToken('bob', { fresh: true })]
  t.equal((await app.inject({ url: '/', headers: bearer(stale), query: { jwt: fresh } })).body, 'bob')
  t.equal((await app.inject({ url: '/', headers: bearer(stale), query: { jwt: stale } })).statusCode, 401)
  t.equal((await app.inject({ url: '/', query: { jwt: fresh } })).statusCode, 401)
  t.equal((await app.inject({ url: '/', headers: bearer(stale) })).statusCode, 401)
})

t.test('a scope\'s guard and a route\'s guard both judge', async (t) => {
  const app = await buildApp(t)
  app.addHook('onRequest', app.jwtRequired())
  app.get('/', { preHandler: app.jwtRequired({ fresh: true }) }, async () => 'in')
  t.equal((await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada')) })).json().msg, 'Fresh token required')
  t.equal((await app.inject({ url: '/', headers: bearer(await app.createAccessToken('ada', { fresh: true })) })).body, 'in')
})

t.test('one guard may serve many routes', async (t) => {
  const app = await buildApp(t)
  const guard = app.jwtRequired()
  for (let i = 0; i < 20; i++) app.get(`/${i}`, { onRequest: guard, preHandler: guard }, async (request) => request.jwtIdentity)
  for (let i = 0; i < 20; i++) t.strictSame(await statuses(app, `/${i}`), [200, 401, 422])
})

t.test('a scope\'s guard covers the routes that nobody declared', async (t) => {
  const app = await buildApp(t)
  app.addHook('onRequest', app.jwtRequired())
  t.equal((await app.inject('/nowhere')).statusCode, 401)
  t.equal((await app.inject({ url: '/nowhere', headers: bearer(await app.createAccessToken('ada')) })).statusCode, 404)
})

t.test('a route whose guard reads the body in a hook that has none yet cannot be declared', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, csrfCheckForm: true })
  const readers = [app.jwtRequired({ locations: 'json' }), app.jwtRequired({ locations: ['headers', 'json'] }), app.jwtRequired({ locations: 'cookies' }), app.jwtRequired({ locations: ['cookies', 'headers'], optional: true })]
  for (const guard of readers) {
    for (const hook of ['onRequest', 'preParsing'] as const) {
      for (const hooks of [guard, [guard], [async () => {}, guard], [app.jwtRequired(), guard]]) {
        t.throws(() => app.post(`/${hook}`, { [hook]: hooks } as RouteShorthandOptions, async () => 'in'), {
          code: 'FST_JWT_EXT_USAGE',
          message: `The ${hook} guard of POST /${hook} reads the body, which is not parsed yet there; use it as a preValidation or preHandler hook`,
        })
      }
    }
    for (const hook of ['preValidation', 'preHandler'] as const) t.doesNotThrow(() => app.post(`/${hook}/${Math.random()}`, { [hook]: guard } as RouteShorthandOptions, async () => 'in'))
  }
  t.throws(() => app.route({ method: ['PUT', 'POST'], url: '/both', onRequest: readers[0]!, handler: async () => 'in' }), { message: 'The onRequest guard of PUT, POST /both reads the body' })
  const others = [app.jwtRequired(), app.jwtRequired({ locations: ['headers', 'query_string'] })]
  for (const guard of others) t.doesNotThrow(() => app.post(`/other/${Math.random()}`, { onRequest: guard, preParsing: guard }, async () => 'in'))
})

t.test('whether a guard for cookies reads the body depends on the form check and on the protection', async (t) => {
  for (const [options, reads] of [[{}, false], [{ csrfCheckForm: true }, true], [{ csrfCheckForm: true, cookieCsrfProtect: false }, false]] as const) {
    const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'cookies', ...options })
    const declare = (): void => { app.post('/', { onRequest: app.jwtRequired() }, async () => 'in') }
    if (reads) t.throws(declare, { code: 'FST_JWT_EXT_USAGE' })
    else t.doesNotThrow(declare)
  }
})

t.test('the check of declarations reaches the scopes inside, and lets strangers\' hooks be', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'json' })
  app.register(async (scope) => {
    scope.post('/', { onRequest: scope.jwtRequired() }, async () => 'in')
  })
  await t.rejects(async () => { await app.ready() }, { code: 'FST_JWT_EXT_USAGE', message: 'The onRequest guard of POST / reads the body' })
  t.doesNotThrow(() => { assertGuardsFit({ method: 'GET', url: '/', onRequest: undefined, preParsing: [() => {}, undefined, 'x'] }) })
})

t.test('a guard on a hook that keeps nobody out cannot be declared, nor what makes guards on any', async (t) => {
  const app = await buildApp(t)
  const guard = app.jwtRequired() as never
  const after = ['preSerialization', 'onSend', 'onResponse', 'onError', 'onTimeout', 'onRequestAbort']
  // Fastify knows none of these, and would leave the route open.
  const unknown = ['prehandler', 'preHandlers', 'beforeHandler', 'guard']
  for (const hook of [...after, ...unknown]) {
    const message = new RegExp(`is given as ${hook}, which keeps nobody out; use it as onRequest, preParsing, preValidation or preHandler$`)
    t.throws(() => app.get(`/${hook}`, { [hook]: guard }, async () => 'in'), { code: 'FST_JWT_EXT_USAGE', message })
    t.throws(() => app.get(`/${hook}`, { [hook]: [() => {}, guard] }, async () => 'in'), { message })
    t.throws(() => app.addHook(hook as 'onRequest', guard), { message })
  }
  for (const [hook, instead] of [['onRequest', 'onRequest'], ['preHandler', 'preHandler'], ['onSend', 'preHandler'], ['onrequest', 'preHandler']] as const) {
    const message = new RegExp(`is jwtRequired itself; call it: ${instead}: app\\.jwtRequired\\(\\)$`)
    t.throws(() => app.get(`/${hook}`, { [hook]: app.jwtRequired as never }, async () => 'in'), { code: 'FST_JWT_EXT_USAGE', message })
    t.throws(() => app.addHook(hook as 'onRequest', app.jwtRequired as never), { message })
  }
  app.addHook('onSend', async () => {})
  t.throws(() => app.addHook('onRequest', null as never), { code: 'FST_ERR_HOOK_INVALID_HANDLER' })
  app.get('/', { onRequest: app.jwtRequired() }, async () => 'in')
  t.equal((await app.inject('/')).statusCode, 401)
})

t.test('the 404 handler takes no guard that keeps nobody out, nor what makes guards, in any scope', async (t) => {
  const app = await buildApp(t)
  const guard = app.jwtRequired()
  const handler = async (): Promise<string> => 'in'
  const assertRefused = (scope: FastifyInstance): void => {
    for (const hook of ['prehandler', 'preHandlers', 'guard', 'preSerialization', 'onSend', 'onResponse', 'onError']) {
      const message = `The guard of the 404 handler is given as ${hook}, which keeps nobody out; use it as onRequest, preParsing, preValidation or preHandler`
      for (const hooks of [guard, [() => {}, guard]]) {
        t.throws(() => scope.setNotFoundHandler({ [hook]: hooks }, handler), { code: 'FST_JWT_EXT_USAGE', message })
      }
    }
    for (const [hook, instead] of [['preHandler', 'preHandler'], ['onRequest', 'onRequest'], ['onSend', 'preHandler'], ['prehandler', 'preHandler']] as const) {
      const message = `The ${hook} hook of the 404 handler is jwtRequired itself; call it: ${instead}: app.jwtRequired()`
      t.throws(() => scope.setNotFoundHandler({ [hook]: app.jwtRequired } as never, handler), { code: 'FST_JWT_EXT_USAGE', message })
    }
  }
  assertRefused(app)
  await app.register(async (child) => { assertRefused(child) }, { prefix: '/child' })
  app.setNotFoundHandler({ preHandler: guard }, handler)
  t.equal((await app.inject('/nowhere')).statusCode, 401)
})

t.test('a 404 handler is guarded by each kind of hook, and is otherwise what Fastify makes of it', async (t) => {
  for (const hook of HOOKS) {
    const app = await buildApp(t)
    const owners: unknown[] = []
    let child: FastifyInstance | undefined
    t.equal(app.setNotFoundHandler({ [hook]: app.jwtRequired() } as never, function (request, reply) {
      owners.push(this)
      reply.code(404).send(request.jwtIdentity)
    }), app)
    await app.register(async (scope) => {
      child = scope
      t.equal(scope.setNotFoundHandler(function (_request, reply) {
        owners.push(this)
        reply.code(404).send('nothing')
      }), scope)
    }, { prefix: '/alone' })
    await app.register(async (scope) => { t.equal((scope as unknown as { setNotFoundHandler (): unknown }).setNotFoundHandler(), scope) }, { prefix: '/default' })
    t.strictSame(await statuses(app, '/nowhere'), [404, 401, 422], hook)
    t.strictSame(await statuses(app, '/nowhere', 'POST'), [404, 401, 422], hook)
    t.ok(owners.length === 2 && owners.every((owner) => owner === app))
    t.equal((await app.inject('/alone/nowhere')).body, 'nothing')
    t.ok(child !== undefined && owners.at(-1) === child)
    t.match((await app.inject('/default/nowhere')).json(), { statusCode: 404, message: 'Route GET:/default/nowhere not found' })
    await t.rejects(async () => app.setNotFoundHandler(async () => 'late'), { code: 'FST_ERR_INSTANCE_ALREADY_LISTENING' })
  }
})

t.test('a preHandler guard of the 404 handler judges whom a route sends there as well', async (t) => {
  const app = await buildApp(t)
  app.setNotFoundHandler({ preHandler: app.jwtRequired() }, async (request, reply) => reply.code(404).send(request.jwtIdentity))
  app.get('/gone', (_request, reply) => { reply.callNotFound() })
  t.strictSame(await statuses(app, '/gone'), [404, 401, 422])
})

t.test('a guarded route that takes OPTIONS besides other methods is warned of, once, whoever guards it', async (t) => {
  const warnings = collectWarnings(t, 'FST_JWT_EXT_OPEN_OPTIONS')
  const app = await buildApp(t)
  const handler = async (): Promise<string> => 'in'
  app.all('/all', { onRequest: app.jwtRequired() }, handler)
  app.route({ method: ['GET', 'OPTIONS'], url: '/list', preHandler: [async () => {}, app.jwtRequired({ fresh: true })], handler })
  await app.register(async (scope) => {
    scope.route({ method: ['OPTIONS', 'POST'], url: '/scope', handler })
    scope.route({ method: ['OPTIONS'], url: '/scope/preflight', handler })
    scope.addHook('preValidation', scope.jwtRequired())
    await scope.register(async (child) => { child.all('/child', handler) })
  })
  app.options('/alone', { onRequest: app.jwtRequired() }, handler)
  app.get('/alone', { onRequest: app.jwtRequired() }, handler)
  app.route({ method: ['GET', 'POST'], url: '/named', onRequest: app.jwtRequired(), handler })
  app.all('/open', handler)
  t.strictSame(await warnings(), [], 'not before all hooks are there')
  await app.ready()
  t.strictSame(await warnings(), ['/all', '/list', '/scope', '/child'].map((url) =>
    `The guarded route ${url} takes OPTIONS, which no guard judges, and runs its handler for anybody then; ` +
    "name the methods that it is for, such as method: ['GET', 'POST'], or let the handler answer OPTIONS before it does any work"))
  for (const url of ['/all', '/list', '/scope', '/child']) t.equal((await app.inject({ method: 'OPTIONS', url })).body, 'in', url)
  t.strictSame(await warnings(), [])
})

t.test('a guard that is called by hand says what to call instead', async (t) => {
  const app = await buildApp(t)
  const guard = app.jwtRequired() as unknown as (...args: unknown[]) => unknown
  app.get('/', { onRequest: async (request, reply) => { await guard(request, reply) } }, async () => 'in')
  app.get('/alone', { onRequest: async (request) => { await guard(request) } }, async () => 'in')
  for (const url of ['/', '/alone']) {
    const response = await app.inject({ url, headers: bearer(await app.createAccessToken('ada')) })
    t.match(response.json(), { statusCode: 500, message: /in a hook of your own: await request\.verifyJwt\(rule\)$/ })
  }
})

t.test('a hook that makes a guard instead of being one keeps everybody out', async (t) => {
  const app = await buildApp(t)
  const hooks = {
    awaits: async () => { await (app.jwtRequired() as unknown) },
    resolves: async () => app.jwtRequired(),
    returns: () => app.jwtRequired(),
  }
  for (const [name, hook] of Object.entries(hooks)) {
    for (const kind of HOOKS) app.get(`/${name}/${kind}`, { [kind]: hook } as RouteShorthandOptions, async () => 'in')
    await app.register(async (scope) => {
      scope.addHook('onRequest', hook as () => Promise<void>)
      scope.get(`/${name}/scope`, async () => 'in')
    })
  }
  const headers = bearer(await app.createAccessToken('ada'))
  for (const url of Object.keys(hooks).flatMap((name) => [...HOOKS, 'scope'].map((kind) => `/${name}/${kind}`))) {
    for (const sent of [{}, headers]) {
      const response = await app.inject({ url, headers: sent })
      t.match(response.json(), { statusCode: 500, code: 'FST_JWT_EXT_USAGE', message: /give it to Fastify as it is, onRequest: app\.jwtRequired\(\)/ }, url)
    }
  }
})

t.test('a guard that was declared past the check still answers a clear 500', async (t) => {
  const app = await buildApp(t, { secretKey: SECRET, tokenLocation: 'json' })
  const guard = app.jwtRequired()
  app.post('/', { onRequest: (request, reply, done) => { guard(request, reply, done) } }, async () => 'in')
  const response = await app.inject({ method: 'POST', url: '/', payload: { access_token: await app.createAccessToken('ada') } })
  t.equal(response.statusCode, 500)
  t.match(response.json().message, 'This guard reads the body, which is not parsed yet here')
})

t.test('a thousand requests at once each get their own answer', async (t) => {
  for (const options of Object.values(CONFIGURATIONS)) {
    const app = await buildApp(t, options)
    app.get('/', { preHandler: app.jwtRequired() }, async (request) => request.jwtIdentity)
    const answers = await Promise.all(Array.from({ length: 1000 }, async (_, i) => {
      const response = await app.inject({ url: '/', headers: i % 3 === 0 ? {} : bearer(await app.createAccessToken(`user${i}`)) })
      return i % 3 === 0 ? response.statusCode === 401 : response.body === `user${i}`
    }))
    t.ok(answers.every(Boolean))
  }
})

async function startListening (t: Test, options: JwtExtendedOptions): Promise<{ app: FastifyInstance, origin: string }> {
  const app = await buildApp(t, options)
  app.get('/', { onRequest: app.jwtRequired() }, async (request) => request.jwtIdentity)
  return { app, origin: await app.listen({ port: 0, host: '127.0.0.1' }) }
}

t.test('a listening server guards as inject does, on one connection that is kept', async (t) => {
  for (const options of Object.values(CONFIGURATIONS)) {
    const { app, origin } = await startListening(t, options)
    const headers = bearer(await app.createAccessToken('ada'))
    for (let round = 0; round < 3; round++) {
      const passed = await fetch(origin, { headers })
      t.equal(await passed.text(), 'ada')
      const refused = await fetch(origin)
      t.equal(refused.status, 401)
      t.equal(refused.headers.get('www-authenticate'), 'Bearer')
      t.strictSame(await refused.json(), { msg: 'Missing Authorization Header' })
    }
  }
})
