import type { Server } from 'node:http'
import type { GateOptions } from '../../config.js'
import type { Headgate } from '../../gate.js'
import { Inspector } from '../../observe/inspector.js'
import { InspectorSockets, refuseUpgrade } from '../inspector/socket.js'
import { keyCheck, keyOfUpgrade } from './auth.js'
import { strangerIn } from './origin.js'
import type { GatewayView } from './routes.js'

const INSPECT_PATH = '/inspect'
const CHALLENGE = 'www-authenticate: Bearer\r\n'

/** Serves `WS /inspect`, to those who may use the gateway; undefined with `inspect: false`, when nobody may look. */
export function acceptInspectors(
  server: Server,
  gate: Headgate,
  { apiKeys }: GatewayView,
  inspect: GateOptions['inspect'],
): InspectorSockets | undefined {
  const sockets = inspect === false ? undefined : new InspectorSockets(new Inspector(gate))
  const isKnown = keyCheck(apiKeys)
  server.on('upgrade', (request, socket, head) => {
    const { headers, url = '/' } = request
    const strange = apiKeys.length === 0 ? strangerIn(headers) : undefined
    if (strange !== undefined) refuseUpgrade(socket, 403, `${strange}: set HEADGATE_API_KEYS to serve others`)
    else if (apiKeys.length > 0 && !isKnown(keyOfUpgrade(headers))) {
      refuseUpgrade(socket, 401, 'expected a key of this gateway', CHALLENGE)
    } else if (url.split('?', 1)[0] !== INSPECT_PATH) refuseUpgrade(socket, 404, 'no such WebSocket: there is /inspect')
    else if (sockets) sockets.accept(request, socket, head)
    else refuseUpgrade(socket, 404, 'inspect: false in the configuration: nobody may look')
  })
  return sockets
}
