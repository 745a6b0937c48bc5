import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Headgate } from '../../gate.js'
import { Inspector, type InspectorOptions } from '../../observe/inspector.js'
import { strangerIn } from '../gateway/origin.js'
import { InspectorSockets, refuseUpgrade } from './socket.js'

const HOST = '127.0.0.1'

export interface InspectorServerOptions extends InspectorOptions {
  /** Default 0: a free one. */
  readonly port?: number
}

export interface InspectorServer {
  /** For a viewer: `createWebSocketReceiver({ server: url })`. */
  readonly url: string
  close(): Promise<void>
}

/**
 * Serves the machines of a gate made with `inspect: true` to viewers on this machine, in Stately's wire format.
 * Pages from elsewhere are refused.
 */
export async function serveInspector(
  gate: Headgate,
  { port = 0, ...options }: InspectorServerOptions = {},
): Promise<InspectorServer> {
  const sockets = new InspectorSockets(new Inspector(gate, options))
  const server = createServer((_, response) => {
    response.writeHead(426, { 'content-type': 'text/plain', upgrade: 'websocket' }).end('this is a WebSocket\n')
  })
  server.on('upgrade', (request, socket, head) => {
    const strange = strangerIn(request.headers)
    if (strange === undefined) sockets.accept(request, socket, head)
    else refuseUpgrade(socket, 403, strange)
  })
  server.listen(port, HOST)
  await once(server, 'listening')
  return {
    url: `ws://${HOST}:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = once(server, 'close')
      sockets.close()
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
