import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { CaseName } from './cases.js'
import { tool } from './load.js'
import type { Measurements } from './over-http.js'
import type { Call } from './per-call.js'
import { ratioOf, spreadOf, type Spread } from './statistics.js'

const BASE: CaseName = 'no-op hook'
const RIVAL: CaseName = '@fastify/jwt, HS256'

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
  return `\`npm run bench\`: ${rounds} rounds of ${seconds} s, interleaved, a fresh process for each measurement; ${tool}. ` +
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}; ${versions}. ` +
    'Medians, with the lowest and the highest round; ratios are taken within a round.'
}

/** The table over HTTP. */
export function tabulate (measured: Measurements): string {
  const base = measured.get(BASE)!
  const rival = measured.get(RIVAL)
  const rows = [...measured].map(([name, values]) => {
    const ofRival = rival === undefined ? '' : `${ratioOf(values, rival).median.toFixed(2)} ×`
    return `| ${name} | ${Math.round(spreadOf(values).median)} | ${spell(ratioOf(values, base), 2)} | ${ofRival} |`
  })
  return ['| | requests/s | of the no-op hook | of @fastify/jwt, HS256 |', '|---|---:|---:|---:|', ...rows].join('\n')
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
  const base = measured.get(BASE)!
  const scale = WIDTH - LABEL - 60
  const bars = [...measured].map(([name, values], i) => {
    const share = ratioOf(values, base).median
    const y = 30 + i * (BAR + 6)
    const fill = name.startsWith('ours') ? '#0f766e' : name === BASE ? '#64748b' : '#c2813a'
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
