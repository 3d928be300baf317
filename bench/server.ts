// One server under load, in a process of its own: tsx bench/server.ts "<case>" <file for its requests>
import { writeFileSync } from 'node:fs'
import { CASES, type CaseName } from './cases.js'

const [name, file] = process.argv.slice(2) as [CaseName, string]
const subject = await CASES[name]!()
writeFileSync(file, JSON.stringify(subject.requests))
const port = await subject.listen()

// Asked for its memory, the server collects its garbage first.
process.on('message', () => {
  globalThis.gc?.()
  process.send?.({ heap: process.memoryUsage().heapUsed })
})
process.on('disconnect', () => { process.exit() })
process.send?.({ port })
