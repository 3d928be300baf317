import { CASES, type CaseName } from './cases.js'
import { startServer, type Server } from './load.js'
import { spreadOf } from './statistics.js'

/** One case, round by round. */
export interface Series {
  readonly requestsPerSecond: number[]
  /** The share of what the no-op hook answers of the same requests. */
  readonly share: number[]
}

export type Measurements = Map<CaseName, Series>

export const REFERENCE: CaseName = 'no-op hook'

/**
 * Measures every case once per round, each time in a fresh process. Beside it runs a fresh server with a no-op hook:
 * the two are loaded in turn with the same requests, a second each, so that what else the machine does meets both.
 * A quick measurement only sees that all of it runs: the first case is the reference, and nothing warms up.
 */
export async function measureOverHttp (
  rounds: number, seconds: number, quick: boolean, wanted: (name: string) => boolean
): Promise<Measurements> {
  const names = (Object.keys(CASES) as CaseName[]).filter(wanted)
  const measured: Measurements = new Map(names.map((name) => [name, { requestsPerSecond: [], share: [] }]))
  if (quick) return await measureBriefly(measured)
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const [reference, server] = [await startServer(REFERENCE), await startServer(name)]
      await reference.requestsPerSecond(1, server.load)
      await server.requestsPerSecond(1)
      const { requestsPerSecond, share } = await measureSideBySide(reference, server, seconds)
      measured.get(name)!.requestsPerSecond.push(requestsPerSecond)
      measured.get(name)!.share.push(share)
      await reference.stop()
      await server.stop()
    }
    process.stderr.write(`round ${round + 1} of ${rounds} done\n`)
  }
  return measured
}

async function measureBriefly (measured: Measurements): Promise<Measurements> {
  let base: number | undefined
  const names = [...measured.keys()]
  let starting = startServer(names[0]!)
  for (const [index, { requestsPerSecond, share }] of [...measured.values()].entries()) {
    const server = await starting
    // The next one starts beside it: what that costs does not matter here.
    if (index + 1 < names.length) starting = startServer(names[index + 1]!)
    const requests = await server.requestsPerSecond(1)
    await server.stop()
    requestsPerSecond.push(requests)
    share.push(requests / (base ??= requests))
  }
  return measured
}

async function measureSideBySide (reference: Server, server: Server, seconds: number): Promise<{ requestsPerSecond: number, share: number }> {
  const [own, shares]: [number[], number[]] = [[], []]
  for (let i = 0; i < seconds; i++) {
    const base = await reference.requestsPerSecond(1, server.load)
    const requests = await server.requestsPerSecond(1)
    own.push(requests)
    shares.push(requests / base)
  }
  return { requestsPerSecond: spreadOf(own).median, share: spreadOf(shares).median }
}
