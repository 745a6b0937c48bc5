import { performance } from 'node:perf_hooks'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context, MiddlewareHandler } from 'hono'
import type { Answer } from '../../http/openai-error.js'
import { responseOf } from '../../http/respond.js'

/** Takes details and a message, as pino does. */
export interface GatewayLogger {
  debug(details: object, message: string): void
  info(details: object, message: string): void
  warn(details: object, message: string): void
  error(details: object, message: string): void
}

export interface GatewayEnv {
  Bindings: HttpBindings
  /** Of an error, for its line. */
  Variables: { code: unknown }
}

/** What a request's line says. */
export const LINE = 'http request'

/** A longer part of a path may be a key. */
const MAX_PART_CHARS = 20
const MAX_PATH_CHARS = 100

/** Answers, and leaves the code for the line. */
export function say(context: Context<GatewayEnv>, answer: Answer): Response {
  context.set('code', answer.log.code)
  return responseOf(answer)
}

/** One line for what is no governed call, which has one that says more. Who only looks, probes among them, is seen at debug. */
export function logOthers(logger: GatewayLogger): MiddlewareHandler<GatewayEnv> {
  return async (context, next) => {
    const sinceMs = performance.now()
    await next()
    if (context.res === RESPONSE_ALREADY_SENT) return
    const { req, res } = context
    const tookMs = Math.round(performance.now() - sinceMs)
    const code = context.get('code')
    const details = { httpStatus: res.status, method: req.method, path: shown(req.path), code, tookMs }
    logger[res.status >= 400 || req.path.startsWith('/v1/') ? 'info' : 'debug'](details, LINE)
  }
}

/** Without its query, and without what nobody but its client knows. */
export function shown(path: string): string {
  const parts = path.split('/').map((part) => (part.length > MAX_PART_CHARS ? '…' : part))
  return parts.join('/').slice(0, MAX_PATH_CHARS)
}
