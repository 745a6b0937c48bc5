import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Inspector } from '../../observe/inspector.js'

/** What waits for a slow viewer; beyond it messages are dropped, and the viewer is told. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024
/** A viewer has nothing to say. */
const MAX_MESSAGE_BYTES = 1024
/** Close codes of RFC 6455. */
const GOING_AWAY = 1001
const TRY_AGAIN_LATER = 1013

/** The subprotocol of who shows a key as a second one, as a page in a browser must: it can set no header. */
const SUBPROTOCOL = 'headgate'

/** The inspector's end of WebSockets: a viewer is told, and never heard. */
export class InspectorSockets {
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  })

  constructor(private readonly inspector: Inspector) {}

  /**
   * Takes over an HTTP connection that asked for it; false if it asked for nonsense, and got a 400. Who may look has been
   * checked.
   */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    const sample = sampleIn(request.url)
    if (sample === null) {
      refuseUpgrade(socket, 400, 'sample: expected a number from 0 to 1')
      return false
    }
    let isGranted = false
    // It answers at once: calls back, or refuses by itself what is no WebSocket's handshake.
    this.#server.handleUpgrade(request, socket, head, (viewer) => {
      isGranted = true
      this.#serve(viewer, socket, sample)
    })
    return isGranted
  }

  close(): void {
    this.inspector.flush()
    for (const viewer of this.#server.clients) {
      viewer.close(GOING_AWAY)
      // Who doesn't answer the goodbye is not waited for.
      viewer.terminate()
    }
    this.#server.close()
  }

  #serve(viewer: WebSocket, socket: Duplex, sample: number | undefined): void {
    let isGathering = false
    const release = () => {
      isGathering = false
      socket.uncork()
    }
    const sink = (message: string) => {
      if (viewer.readyState !== viewer.OPEN || viewer.bufferedAmount > MAX_WAITING_BYTES) return false
      // One write for all that is told in a row.
      if (!isGathering) {
        isGathering = true
        socket.cork()
        process.nextTick(release)
      }
      viewer.send(message)
      return true
    }
    viewer.on('error', () => viewer.terminate())
    try {
      viewer.once('close', this.inspector.connect(sink, sample))
    } catch (error) {
      viewer.close(TRY_AGAIN_LATER, (error as Error).message)
    }
  }
}

/** Answers an upgrade that is not granted. */
export function refuseUpgrade(socket: Duplex, status: number, message: string, headers = ''): void {
  const body = `${message}\n`
  const head = `HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n`
  socket.on('error', () => socket.destroy())
  socket.end(`${head}content-length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`)
}

/** The share asked for in the URL; undefined for none, null for nonsense. */
function sampleIn(url = '/'): number | undefined | null {
  const text = new URL(url, 'http://localhost').searchParams.get('sample')
  if (text === null) return undefined
  const sample = Number(text)
  return text !== '' && sample >= 0 && sample <= 1 ? sample : null
}
