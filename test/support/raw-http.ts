import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** What came back over a socket until it was closed. */
export interface RawAnswer {
  text: string
  /** The status of each answer in it. */
  statuses: number[]
}

/** Starts an application on a port of its own. */
export async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** Opens a socket to a server of this machine. */
export async function open (port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

/**
 * Sends bytes as they are and waits until the connection is closed. A server that is silent for a while is told that
 * nothing more comes; one that lets the connection hang even then fails the test.
 */
export async function sendRaw (port: number, bytes: string | Uint8Array, quiet = 1000): Promise<RawAnswer> {
  const socket = await open(port)
  return await new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const patience = setTimeout(() => {
      socket.destroy()
      reject(new Error('the connection was never closed'))
    }, quiet + 10_000)
    let silence = setTimeout(() => { socket.end() }, quiet)
    socket.on('data', (chunk) => {
      chunks.push(chunk)
      clearTimeout(silence)
      silence = setTimeout(() => { socket.end() }, quiet)
    })
    // A server may refuse before it has read all, and then reset what is still coming.
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(patience)
      clearTimeout(silence)
      const text = Buffer.concat(chunks).toString('latin1')
      resolve({ text, statuses: Array.from(text.matchAll(/^HTTP\/1\.[01] (\d{3})/gm), ([, status]) => Number(status)) })
    })
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  })
}

/** The head of a request, with what a server needs to close the connection after its answer. */
export function head (method: string, path: string, headers: Record<string, string> = {}): string {
  const lines = Object.entries({ host: 'localhost', connection: 'close', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`
}
