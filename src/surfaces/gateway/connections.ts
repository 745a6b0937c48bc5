import { IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Answer, errorAnswer } from '../../http/openai-error.js'
import { JSON_TYPE } from '../../http/respond.js'
import { reply } from './reply.js'

/** What one client may take of a gateway's memory and time. */
export interface ConnectionLimits {
  /** For all headers together; beyond it 431. */
  readonly maxHeaderBytes: number
  /** For sending the headers, then for the whole request; beyond it 408. */
  readonly headersTimeoutMs: number
  readonly requestTimeoutMs: number
  /**
   * For taking any bit of an answer that waits for it; who takes none is cut off. Twice that, where a write was taken in
   * part: Node rings once more then.
   */
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
    // Node would answer by itself, without a body or a line of the log.
    requireHostHeader: false,
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

export const MALFORMED = errorAnswer(400, 'the request is no well-formed HTTP/1.1', { code: 'malformed_request' })
/** By the codes of Node's errors. */
const REFUSALS: Readonly<Record<string, Answer>> = {
  HPE_HEADER_OVERFLOW: errorAnswer(431, 'the headers are too large', { code: 'headers_too_large' }),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: errorAnswer(413, 'the chunk extensions are too large', { code: 'request_too_large' }),
  ERR_HTTP_REQUEST_TIMEOUT: errorAnswer(408, 'the request took too long to come', { code: 'request_timeout' }),
}
const UNEXPECTED = errorAnswer(417, 'expect: expected 100-continue, if anything', { code: 'expectation_failed' })
/** Of requests that had begun. */
const refused = new WeakMap<ServerResponse, Answer>()
const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  413: 'Payload Too Large',
  431: 'Request Header Fields Too Large',
}

/**
 * Answers what is no request, or not all of one, in the usual shape, and ends its connection. Of a request that had begun its
 * own line tells; `onRefused` is told of the others.
 */
export function refuseBroken(
  server: Server,
  responseOn: (socket: Socket) => ServerResponse | undefined,
  onRefused: (answer: Answer) => void,
): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    const response = responseOn(socket)
    // One that is just gone sent nothing that could be answered.
    const isGone = !socket.writable || error.code === 'ECONNRESET' || error.code === 'EPIPE'
    if (isGone || response?.headersSent) {
      socket.destroy()
      return
    }
    const answer = REFUSALS[error.code ?? ''] ?? MALFORMED
    const { status, body } = answer
    const head = `HTTP/1.1 ${status} ${REASONS[status]}\r\nconnection: close\r\ncontent-type: ${JSON_TYPE['content-type']}\r\n`
    socket.end(`${head}content-length: ${Buffer.byteLength(String(body))}\r\n\r\n${body}`, () => socket.destroy())
    if (response) refused.set(response, answer)
    else onRefused(answer)
  })
  server.on('checkExpectation', (_, response: ServerResponse) => {
    reply(response, UNEXPECTED)
    onRefused(UNEXPECTED)
  })
}

/** What was said to a client whose request had begun when its connection was ended for what it sent, or how slowly. */
export function refusalOn(response: ServerResponse): Answer | undefined {
  return refused.get(response)
}
