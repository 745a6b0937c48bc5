import { performance } from 'node:perf_hooks'
import { type Context, Hono } from 'hono'
import type { Headgate } from '../../gate.js'
import { keyCheck } from './auth.js'
import { ChatHandler } from './chat.js'
import { type Answer, errorAnswer } from './openai-error.js'
import type { GatewayView } from './routes.js'

/** Takes details and a message, as pino does. */
export interface GatewayLogger {
  info(details: object, message: string): void
  error(details: object, message: string): void
}

const NO_KEY = errorAnswer(401, 'expected Authorization: Bearer with a key of this gateway', {
  code: 'invalid_api_key',
  headers: { 'www-authenticate': 'Bearer' },
})

/** The gateway's HTTP interface over a gate. Whoever made the gate closes it. */
export function gatewayApp(gate: Headgate, view: GatewayView, logger: GatewayLogger): Hono {
  const app = new Hono()
  const chat = new ChatHandler(gate, view)
  if (view.apiKeys.length > 0) {
    const isKnown = keyCheck(view.apiKeys)
    app.use('/v1/*', async (context, next) => {
      if (isKnown(context.req.header('authorization'))) return next()
      logger.info({ httpStatus: NO_KEY.status, ...NO_KEY.log }, 'http request')
      return send(NO_KEY)
    })
  }
  app.post('/v1/chat/completions', async (context) => {
    const sinceMs = performance.now()
    const answer = await chat.handle(context.req.raw)
    const tookMs = performance.now() - sinceMs
    logger.info({ httpStatus: answer.status, ...answer.log, tookMs: Math.round(tookMs) }, 'http request')
    return send(answer)
  })
  app.get('/v1/models', (context) => context.json({ object: 'list', data: modelsOf(view) }))
  app.get('/healthz', (context) => context.json({ status: 'ok' }))
  app.get('/readyz', (context) => readiness(gate, context))
  app.notFound(({ req }) =>
    send(errorAnswer(404, `no such endpoint: ${req.method} ${req.path}`, { code: 'not_found' })),
  )
  app.onError((error) => {
    logger.error({ reason: error.stack ?? String(error) }, 'internal error')
    return send(errorAnswer(500, 'internal error', { code: 'internal_error' }))
  })
  return app
}

function send({ status, body, headers }: Answer): Response {
  return new Response(body, { status, headers: { 'content-type': 'application/json; charset=utf-8', ...headers } })
}

/** Everything that `model` may say. */
function modelsOf({ poolsByModel }: GatewayView) {
  return [...poolsByModel].map(([id, { provider }]) => ({ id, object: 'model', created: 0, owned_by: provider }))
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
