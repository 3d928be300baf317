// npm run bench            everything, some half an hour; writes bench/results.md and bench/results.svg
// npm run bench -- --quick each kind of case once and short, to see that all of it runs; writes nothing
// npm run bench -- --only 'HS256|no-op'  the cases whose name has one of these
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { measureEntry, measureLevel } from './memory.js'
import { measureOverHttp } from './over-http.js'
import { measureCalls, measureGrowth, measureRefreshes } from './per-call.js'
import { draw, methodOf, tabulate, tabulateCalls } from './report.js'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
  },
})
const rounds = Number(values.rounds ?? (values.quick ? 1 : 5))
const seconds = Number(values.seconds ?? (values.quick ? 1 : 3))

// The same servers with another algorithm, with more tokens, or with loaders that promise.
const VARIANTS = /^(ours|@fastify\/jwt), (RS256|ES256|EdDSA)|cold|async/

const measured = await measureOverHttp(rounds, seconds, values.quick, (name) =>
  values.only.split('|').some((part) => name.includes(part)) && !(values.quick && VARIANTS.test(name)))
const table = tabulate(measured)
console.log(table)

if (values.only === '') {
  const calls = tabulateCalls([...await measureCalls(), ...await measureRefreshes()])
  const growth = tabulateCalls(await measureGrowth())
  const entry = Math.round(await measureEntry(values.quick ? 500 : 5000))
  const level = await measureLevel(values.quick ? 1000 : 1_000_000)
  const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
  const memory = `A cached token needs ${entry} bytes of heap. A server's heap after a first load of 20,000 tokens: ` +
    `${megabytes(level.before)} MiB; after ${level.requests.toLocaleString('en')} requests more: ${megabytes(level.after)} MiB.`
  const report = [methodOf(rounds, seconds), table, calls, growth, memory].join('\n\n') + '\n'
  console.log(report)
  if (!values.quick) {
    writeFileSync(new URL('results.md', import.meta.url), report)
    writeFileSync(new URL('results.svg', import.meta.url), draw(measured))
  }
}
