// Every test may cover all of what ships, and of nothing else the coverage is asked.
import { readdirSync } from 'node:fs'

const lib = readdirSync(new URL('../lib', import.meta.url), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => `lib/${name.replaceAll('\\', '/')}`)

export default () => ['index.ts', ...lib]
