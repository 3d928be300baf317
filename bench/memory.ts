import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import { startServer } from './load.js'

const { default: jwtExtended } = await import(new URL('../dist/index.js', import.meta.url).href) as typeof import('../index.js')

async function heap (): Promise<number> {
  // Some of what is over is let go of only on a later tick.
  for (let round = 0; round < 3; round++) {
    await sleep(100)
    globalThis.gc!()
  }
  return process.memoryUsage().heapUsed
}

/** The bytes of heap that one cached token needs: its text, its frozen payload, its place in the cache. */
export async function measureEntry (count = 5000): Promise<number> {
  // The first time is for the code to be compiled.
  await fill(count)
  return await fill(count) / count
}

async function fill (count: number): Promise<number> {
  const app = Fastify()
  await app.register(jwtExtended, { secretKey: randomBytes(64), verifyCache: count })
  const before = await heap()
  for (let i = 0; i < count; i++) await app.decodeToken(await app.createAccessToken(`user-${i}`))
  const after = await heap()
  // Only now: what nobody needs any more is collected, and its cache with it.
  await app.close()
  return after - before
}

/** The heap of a server after a first load, and after so many requests more. */
export async function measureLevel (requests: number): Promise<{ before: number, after: number, requests: number }> {
  const server = await startServer('ours, HS256, cold')
  await server.requestsPerSecond(3)
  const before = await server.heap()
  let done = 0
  while (done < requests) done += await server.requestsPerSecond(5) * 5
  const after = await server.heap()
  await server.stop()
  return { before, after, requests: Math.round(done) }
}
