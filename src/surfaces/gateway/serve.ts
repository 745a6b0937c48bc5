import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type GateLogger, type GateOptions, resolveConfig } from '../../config.js'
import { HeadgateError } from '../../errors.js'
import type { Headgate } from '../../gate.js'
import { createHeadgate } from '../../headgate.js'
import { Registry } from '../../registry.js'
import { gatewayListener } from './app.js'
import {
  CONNECTION_LIMITS,
  type ConnectionLimits,
  cutOffWhenStalled,
  refuseBroken,
  serverOptionsOf,
} from './connections.js'
import { DashboardFeed } from '../dashboard/feed.js'
import { isLoopback } from './origin.js'
import { type GatewayLogger, LINE } from './request-log.js'
import { gatewayView } from './routes.js'
import { acceptInspectors } from './upgrade.js'

const DRAIN_TIMEOUT = '30s'
/** What is answered still has to be read; who doesn't is cut off. */
const LAST_ANSWERS_MS = 1_000
/** Longer than the idle time of usual load balancers and SDKs, so that it is they who end a connection. */
const KEEP_ALIVE_MS = 75_000

export interface ServerOptions {
  readonly config: GateOptions
  readonly port: number
  readonly host: string
  readonly env: NodeJS.ProcessEnv
  readonly logger: GatewayLogger & GateLogger
  readonly connections?: ConnectionLimits
}

export interface RunningServer {
  readonly url: string
  /** Accepts nothing more, lets what was accepted end (30 s at most), and disconnects. Twice is once. */
  close(): Promise<void>
}

/** Serves a gate of its own. Rejects with a HeadgateError when the store does not answer or the port can't be had. */
export async function startServer(setup: ServerOptions): Promise<RunningServer> {
  const { config, port, host, env, logger, connections = CONNECTION_LIMITS } = setup
  // What nobody looks at costs nothing, and what can be seen has no payloads.
  const options = { inspect: true, ...config, logger: config.logger ?? quieter(logger) }
  const view = gatewayView(resolveConfig(options), env)
  if (!isLoopback(host) && view.apiKeys.length === 0) {
    const message = `refusing to listen on ${host}, which is not loopback, without HEADGATE_API_KEYS (keys separated by commas)`
    throw new HeadgateError('CONFIG_INVALID', message)
  }
  const gate = createHeadgate(options)
  try {
    await gate.ready()
    await traceWherePossible(gate)
    const feed = new DashboardFeed(gate)
    const server = createServer(serverOptionsOf(connections), gatewayListener(gate, view, logger, feed))
    server.keepAliveTimeout = KEEP_ALIVE_MS
    const unanswered = new Registry<number, ServerResponse>()
    let requests = 0
    let closed: Promise<void> | undefined
    server.prependListener('request', (_, response: ServerResponse) => {
      if (closed) endConnection(response)
      cutOffWhenStalled(response, connections)
      const number = ++requests
      unanswered.set(number, response)
      response.once('close', () => unanswered.delete(number))
    })
    const refused = (details: object) => logger.info(details, LINE)
    refuseBroken(
      server,
      (socket) => [...unanswered].find((response) => response.socket === socket),
      ({ status: httpStatus, log }) => refused({ httpStatus, ...log }),
    )
    const inspectors = acceptInspectors(server, gate, view, { inspect: options.inspect, refused })
    await listen(server, port, host)
    return {
      url: urlOf(server, host),
      close: () => {
        closed ??= shutDown(server, unanswered, gate, logger, () => {
          feed.close()
          inspectors?.close()
        })
        return closed
      },
    }
  } catch (error) {
    const closed = gate.close()
    // Without a store there is nothing to give back to it, and the close would wait for its answers.
    if (!(error instanceof HeadgateError && error.code === 'STORE_UNAVAILABLE')) await closed
    throw error
  }
}

/** Spans go to whatever SDK the process was started with (`node --import ./otel.mjs …`); without the API there is nobody. */
async function traceWherePossible(gate: Headgate): Promise<void> {
  try {
    const { traceGate } = await import('../../observe/tracing.js')
    traceGate(gate)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
  }
}

/** The gateway's own line tells of every request; the gate's adds what that can't know. */
function quieter(logger: GateLogger): GateLogger {
  return {
    debug: (details, message) => logger.debug(details, message),
    info: (details, message) => logger.debug(details, message),
    warn: (details, message) => logger.warn(details, message),
  }
}

/** Connections that wait to be accepted, as far as the system lets them: Node's 511 are less than a fleet opens at once. */
const BACKLOG = 65_535

async function listen(server: Server, port: number, host: string): Promise<void> {
  try {
    server.listen(port, host, BACKLOG)
    await once(server, 'listening')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const where = `port ${port} on ${host}`
    const what = code === 'EADDRINUSE' ? `${where} is in use` : `${where} can't be listened on: ${code ?? message}`
    throw new HeadgateError('CONFIG_INVALID', what, { cause: error })
  }
}

function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Its client is to send what comes next to somebody else. */
function endConnection(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close')
}

async function shutDown(
  server: Server,
  unanswered: Iterable<ServerResponse>,
  gate: Headgate,
  logger: GateLogger,
  dismissViewers: () => void,
): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  for (const response of unanswered) endConnection(response)
  await gate.drain({ timeout: DRAIN_TIMEOUT }).catch((error: Error) => {
    logger.warn({ reason: error.message }, 'not everything ended in time')
  })
  await gate.close()
  dismissViewers()
  // Every request has ended, so every answer is on its way.
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, LAST_ANSWERS_MS)
  })
  const out = [...unanswered].map((response) => new Promise((resolve) => response.once('close', resolve)))
  await Promise.race([late, Promise.all(out)])
  clearTimeout(timer)
  // Connections that were never used would keep the server open.
  server.closeAllConnections()
  await closed
}
