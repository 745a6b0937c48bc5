import { IncomingMessage, type ServerOptions, type ServerResponse } from 'node:http'

/** What one client may take of a gateway's memory and time. */
export interface ConnectionLimits {
  /** For all headers together; beyond it 431. */
  readonly maxHeaderBytes: number
  /** For sending the headers, then for the whole request; beyond it 408. */
  readonly headersTimeoutMs: number
  readonly requestTimeoutMs: number
  /** For taking any bit of an answer that waits for it; who takes none is cut off. */
  readonly stallTimeoutMs: number
}

export const CONNECTION_LIMITS: ConnectionLimits = {
  maxHeaderBytes: 16 * 1024,
  headersTimeoutMs: 15_000,
  requestTimeoutMs: 60_000,
  stallTimeoutMs: 60_000,
}

/** How often Node looks for requests that take too long to come, at least. */
const MAX_CHECK_INTERVAL_MS = 5_000

export function serverOptionsOf({
  maxHeaderBytes,
  headersTimeoutMs,
  requestTimeoutMs,
}: ConnectionLimits): ServerOptions {
  return {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    IncomingMessage: UpgradableMessage,
    connectionsCheckingInterval: Math.min(MAX_CHECK_INTERVAL_MS, headersTimeoutMs),
  }
}

/**
 * To a server that takes upgrades Node gives every request that offers one, and its body is never read. Some clients offer
 * HTTP/2 with every request (`Upgrade: h2c`, Java's among them): only a WebSocket is one here.
 */
class UpgradableMessage extends IncomingMessage {
  /** Only declared: the constructor of Node's class sets `upgrade` before a field of this one would be there. */
  declare private offered: boolean | null

  get upgrade(): boolean | null {
    return this.offered && this.headers.upgrade?.toLowerCase() === 'websocket'
  }

  /** Set by Node's parser. */
  set upgrade(value: boolean | null) {
    this.offered = value
  }
}

/** A reader who stalls holds its slot at the provider, too. One whose answer is not there yet stalls nothing. */
export function cutOffWhenStalled(response: ServerResponse, { stallTimeoutMs }: ConnectionLimits): void {
  response.setTimeout(stallTimeoutMs, () => {
    if (response.socket && response.socket.writableLength > 0) response.destroy()
  })
}
