import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A port whose other end is so far away. */
export interface Distance {
  readonly port: number
  close(): Promise<void>
}

/** Passes TCP on to a local port, each chunk `delayMs` later, in both directions, in order. */
export async function distanceTo(port: number, delayMs: number): Promise<Distance> {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const socket of [near, far]) {
      socket.setNoDelay(true)
      sockets.add(socket)
      socket.on('error', () => {})
    }
    delayed(near, far, delayMs)
    delayed(far, near, delayMs)
    for (const socket of [near, far]) {
      socket.on('close', () => {
        sockets.delete(socket)
        near.destroy()
        far.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A timer a chunk: timers of one delay fire in order. */
function delayed(from: Socket, to: Socket, delayMs: number): void {
  const pass = (chunk: Buffer) => {
    if (!to.destroyed) to.write(chunk)
  }
  from.on('data', (chunk: Buffer) => {
    if (delayMs === 0) pass(chunk)
    else setTimeout(pass, delayMs, chunk)
  })
}
