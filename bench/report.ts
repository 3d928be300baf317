import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { CaseName } from './cases.js'
import { tool } from './load.js'
import { REFERENCE, type Measurements } from './over-http.js'
import type { Call } from './per-call.js'
import { ratioOf, spreadOf, type Spread } from './statistics.js'

function versionOf (name: string): string {
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url)
  return `${name} ${(JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version}`
}

function spell ({ median, low, high }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${low.toFixed(digits)} – ${high.toFixed(digits)})`
}

/** With what, and how, it was measured. */
export function methodOf (rounds: number, seconds: number): string {
  const versions = ['fastify', 'fast-jwt', '@fastify/jwt', 'jose', 'express', 'express-jwt', 'hono'].map(versionOf).join(', ')
  return `\`npm run bench\`: ${rounds} rounds, interleaved; in each, a fresh process for each case and one with the no-op hook beside it, ` +
    `loaded in turn with the same requests, ${seconds} × 1 s each after a second of warming up; ${tool}. ` +
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}; ${versions}. ` +
    'Medians, with the lowest and the highest round. What the no-op hook reaches of itself is the error of the method.'
}

// Whom a case of ours is compared with: @fastify/jwt with the same algorithm and the same tokens, without its cache and with it.
function rivalsOf (name: string): [plain: CaseName, cached: CaseName] | undefined {
  const match = /^ours, (HS256|RS256|ES256|EdDSA)(?:, (cold))?/.exec(name)
  if (match === null) return undefined
  const [, algorithm, cold] = match
  return [`@fastify/jwt, ${algorithm}${cold === undefined ? '' : ', cold'}` as CaseName, `@fastify/jwt, ${algorithm}, cache` as CaseName]
}

/** The table over HTTP. */
export function tabulate (measured: Measurements): string {
  const rows = [...measured].map(([name, { requestsPerSecond, share }]) => {
    const compared = (rivalsOf(name) ?? []).map((rival) => {
      const series = measured.get(rival)
      return series === undefined ? '' : `${ratioOf(share, series.share).median.toFixed(2)} ×`
    })
    return `| ${[name, Math.round(spreadOf(requestsPerSecond).median), spell(spreadOf(share), 2), compared[0] ?? '', compared[1] ?? ''].join(' | ')} |`
  })
  return [
    '| | requests/s | of the no-op hook | against @fastify/jwt | with its cache |', '|---|---:|---:|---:|---:|', ...rows
  ].join('\n')
}

/** A table of calls. */
export function tabulateCalls (calls: readonly Call[]): string {
  return ['| | µs per call |', '|---|---:|', ...calls.map(({ name, microseconds }) => `| ${name} | ${microseconds.toFixed(2)} |`)].join('\n')
}

const BAR = 18
const LABEL = 230
const WIDTH = 760

/** The same as a chart: one bar per case, as a share of the no-op hook. */
export function draw (measured: Measurements): string {
  const scale = WIDTH - LABEL - 60
  const bars = [...measured].map(([name, series], i) => {
    const share = spreadOf(series.share).median
    const y = 30 + i * (BAR + 6)
    const fill = name.startsWith('ours') ? '#0f766e' : name === REFERENCE ? '#64748b' : '#c2813a'
    return `<text x="${LABEL - 8}" y="${y + 13}" text-anchor="end">${name}</text>` +
      `<rect x="${LABEL}" y="${y}" width="${(share * scale).toFixed(1)}" height="${BAR}" rx="2" fill="${fill}"/>` +
      `<text x="${(LABEL + share * scale + 6).toFixed(1)}" y="${y + 13}">${share.toFixed(2)}</text>`
  })
  const height = 40 + measured.size * (BAR + 6)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ` +
    'font-family="system-ui, sans-serif" font-size="12" fill="#1f2937" role="img" aria-label="Requests per second as a share of a route with a no-op hook">' +
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>` +
    `<text x="${LABEL}" y="18" font-weight="600">Requests per second, as a share of a route with a no-op hook</text>${bars.join('')}</svg>\n`
}
