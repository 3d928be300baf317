import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createEmit, type Emit } from '../lib/session-events.js'
import type { SessionEvent } from '../types/sessions.js'

const EVENT = { type: 'session_created', identity: 'ada', sessionId: 's1' } as const

function collectWarnings (t: Test): (Error & { code?: string })[] {
  const warnings: (Error & { code?: string })[] = []
  const listener = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))
  return warnings
}

async function warningOf (emit: Emit): Promise<Error & { code?: string }> {
  const warned = once(process, 'warning')
  emit({ ...EVENT })
  const [warning] = await warned
  return warning
}

t.test('without a listener nothing happens', async (t) => {
  t.equal(createEmit(undefined)({ ...EVENT }), undefined)
})

t.test('a listener gets the event, and cannot change it for others', async (t) => {
  const events: SessionEvent[] = []
  createEmit((event) => { events.push(event) })({ ...EVENT })
  t.same(events, [EVENT])
  t.ok(Object.isFrozen(events[0]))
})

t.test('a listener that throws does no harm and becomes a warning', async (t) => {
  const warning = await warningOf(createEmit(() => { throw new Error('no log') }))
  t.equal(warning.message, 'onSessionEvent failed: no log')
  t.equal(warning.code, 'FST_JWT_EXT_EVENT')
})

t.test('a listener that throws no error does no harm either', async (t) => {
  // eslint-disable-next-line no-throw-literal
  const warning = await warningOf(createEmit(() => { throw 'words' }))
  t.equal(warning.message, 'onSessionEvent failed: words')
  const mute = Object.create(null) as Error
  for (const listener of [() => { throw mute }, async () => { throw mute }]) {
    t.equal((await warningOf(createEmit(listener))).message, 'onSessionEvent failed: something that is no Error was thrown')
  }
})

t.test('a listener that rejects does no harm and becomes a warning', async (t) => {
  const warning = await warningOf(createEmit(async () => { throw new Error('no queue') }))
  t.equal(warning.message, 'onSessionEvent failed: no queue')
})

t.test('a listener whose promise is kept is no warning', async (t) => {
  const warnings = collectWarnings(t)
  createEmit(async () => {})({ ...EVENT })
  await turn()
  t.same(warnings, [])
})
