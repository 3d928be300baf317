import { CASES, type CaseName } from './cases.js'
import { startServer } from './load.js'

/** The requests per second of each case, round by round. */
export type Measurements = Map<CaseName, number[]>

/** Measures every case once per round, each time in a fresh process; the rounds are interleaved. */
export async function measureOverHttp (rounds: number, seconds: number, wanted: (name: string) => boolean): Promise<Measurements> {
  const names = (Object.keys(CASES) as CaseName[]).filter(wanted)
  const measured: Measurements = new Map(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const server = await startServer(name)
      await server.requestsPerSecond(1)
      measured.get(name)!.push(await server.requestsPerSecond(seconds))
      await server.stop()
    }
    process.stderr.write(`round ${round + 1} of ${rounds} done\n`)
  }
  return measured
}
