import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** A server that can be stopped and started again on its port. */
export interface Listener {
  readonly origin: string
  stop (): Promise<void>
  start (): Promise<void>
}

/** Listens on a port of this host until the test ends. */
export async function listen (t: Test, handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<Listener> {
  const server = createServer((request, response) => {
    // A connection that is kept would be found closed only when it is used after a stop.
    response.setHeader('connection', 'close')
    handler(request, response)
  })
  async function start (port = 0): Promise<void> {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  async function stop (): Promise<void> {
    const closed = new Promise((resolve) => { server.close(resolve) })
    server.closeAllConnections()
    await closed
  }
  await start()
  t.teardown(stop)
  const { port } = server.address() as AddressInfo
  return { origin: `http://127.0.0.1:${port}`, stop, start: () => start(port) }
}
