import { performance } from 'node:perf_hooks'
import { type Context, Hono } from 'hono'
import type { Headgate } from '../../gate.js'
import { HttpDesk, type JsonBody, type Route } from '../../http/desk.js'
import { type Answer, errorAnswer, Refusal } from '../../http/openai-error.js'
import { responseOf } from '../../http/respond.js'
import { apiAt } from '../../providers/apis.js'
import { keyCheck } from './auth.js'
import { readBody } from './body.js'
import type { GatewayView } from './routes.js'

const API_PATHS = ['/v1/chat/completions', '/v1/messages', '/v1/embeddings', '/v1/responses']

/** Takes details and a message, as pino does. */
export interface GatewayLogger {
  info(details: object, message: string): void
  warn(details: object, message: string): void
  error(details: object, message: string): void
}

const NO_KEY = errorAnswer(401, 'expected Authorization: Bearer with a key of this gateway', {
  code: 'invalid_api_key',
  headers: { 'www-authenticate': 'Bearer' },
})

/** The gateway's HTTP interface over a gate. Whoever made the gate closes it. */
export function gatewayApp(gate: Headgate, view: GatewayView, logger: GatewayLogger): Hono {
  const app = new Hono()
  const desk = new HttpDesk(gate, { warn: (message) => logger.warn({}, message) })
  if (view.apiKeys.length > 0) {
    const isKnown = keyCheck(view.apiKeys)
    app.use('/v1/*', async (context, next) => {
      if (isKnown(context.req.header('authorization'))) return next()
      logger.info({ httpStatus: NO_KEY.status, ...NO_KEY.log }, 'http request')
      return responseOf(NO_KEY)
    })
  }
  for (const path of API_PATHS) {
    const target = apiAt(path)!
    app.post(path, async ({ req: { raw } }) => {
      const sinceMs = performance.now()
      const { headers, signal } = raw
      const read = () => readBody(raw)
      const answer = await desk.answer({ ...target, headers, signal }, read, (body) => routeOf(view, body))
      void logWhenOver(logger, answer, sinceMs)
      return responseOf(answer)
    })
  }
  app.get('/v1/models', (context) => context.json({ object: 'list', data: modelsOf(view) }))
  app.get('/healthz', (context) => context.json({ status: 'ok' }))
  app.get('/readyz', (context) => readiness(gate, context))
  app.notFound(({ req }) =>
    responseOf(errorAnswer(404, `no such endpoint: ${req.method} ${req.path}`, { code: 'not_found' })),
  )
  app.onError((error) => {
    logger.error({ reason: error.stack ?? String(error) }, 'internal error')
    return responseOf(errorAnswer(500, 'internal error', { code: 'internal_error' }))
  })
  return app
}

/** One line a request: of a stream when it has ended. */
async function logWhenOver(logger: GatewayLogger, { status, body, log }: Answer, sinceMs: number): Promise<void> {
  const ended = typeof body === 'string' ? {} : await body.ended
  const tookMs = Math.round(performance.now() - sinceMs)
  logger.info({ httpStatus: status, ...log, ...ended, tookMs }, 'http request')
}

function routeOf({ poolsByModel }: GatewayView, { model }: JsonBody): Route {
  const route = typeof model === 'string' ? poolsByModel.get(model) : undefined
  if (route) return route
  const known = `expected one of ${[...poolsByModel.keys()].join(', ')}`
  if (typeof model === 'string') {
    const message = `the model ${JSON.stringify(model.slice(0, 100))} does not exist: ${known}`
    throw new Refusal(404, message, { code: 'model_not_found', param: 'model' })
  }
  throw new Refusal(400, `model: ${known}`, { code: 'bad_request', param: 'model' })
}

/** Everything that `model` may say. */
function modelsOf({ poolsByModel }: GatewayView) {
  return [...poolsByModel].map(([id, { provider }]) => ({ id, object: 'model', created: 0, owned_by: provider.name }))
}

/** 503 only when this process may send nothing. */
function readiness(gate: Headgate, context: Context): Response {
  const states = Object.entries(gate.stats().pools).map(([pool, { dispatcher }]) => [pool, dispatcher] as const)
  const pools = Object.fromEntries(states)
  if (gate.sending) return context.json({ ready: true, pools })
  const waiting = states.filter(([, state]) => state !== 'synced').map(([pool, state]) => `${pool} is ${state}`)
  const reason = `this process may send nothing: ${waiting.join(', ') || 'the store does not answer'}`
  return context.json({ ready: false, reason, pools }, 503)
}
