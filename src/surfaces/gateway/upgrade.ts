import type { IncomingHttpHeaders, Server } from 'node:http'
import type { GateOptions } from '../../config.js'
import type { Headgate } from '../../gate.js'
import { Inspector } from '../../observe/inspector.js'
import { InspectorSockets, refuseUpgrade } from '../inspector/socket.js'
import { keyCheck, keyOfUpgrade } from './auth.js'
import { strangerIn } from './origin.js'
import { shown } from './request-log.js'
import type { GatewayView } from './routes.js'

const INSPECT_PATH = '/inspect'
const CHALLENGE = 'www-authenticate: Bearer\r\n'

interface Refusal {
  readonly status: number
  readonly message: string
  readonly headers?: string
}

interface Options {
  readonly inspect: GateOptions['inspect']
  /** Told what the log's line says of one who may not look. */
  readonly refused: (details: object) => void
}

/** Serves `WS /inspect`, to those who may use the gateway; undefined with `inspect: false`, when nobody may look. */
export function acceptInspectors(
  server: Server,
  gate: Headgate,
  { apiKeys }: GatewayView,
  { inspect, refused }: Options,
): InspectorSockets | undefined {
  const sockets = inspect === false ? undefined : new InspectorSockets(new Inspector(gate))
  const isKnown = keyCheck(apiKeys)
  const refusalOf = (headers: IncomingHttpHeaders, path: string): Refusal | undefined => {
    const strange = apiKeys.length === 0 ? strangerIn(headers) : undefined
    if (strange !== undefined) return { status: 403, message: `${strange}: set HEADGATE_API_KEYS to serve others` }
    if (apiKeys.length > 0 && !isKnown(keyOfUpgrade(headers))) {
      return { status: 401, message: 'expected a key of this gateway', headers: CHALLENGE }
    }
    if (path !== INSPECT_PATH) return { status: 404, message: 'no such WebSocket: there is /inspect' }
    return sockets ? undefined : { status: 404, message: 'inspect: false in the configuration: nobody may look' }
  }
  server.on('upgrade', (request, socket, head) => {
    const [path = '/'] = request.url?.split('?', 1) ?? []
    const refusal = refusalOf(request.headers, path)
    if (refusal) refuseUpgrade(socket, refusal.status, refusal.message, refusal.headers)
    else if (sockets!.accept(request, socket, head)) return
    refused({ httpStatus: refusal?.status ?? 400, method: request.method, path: shown(path) })
  })
  return sockets
}
