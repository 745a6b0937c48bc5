import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { performance } from 'node:perf_hooks'
import { getRequestListener, RequestError } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono } from 'hono'
import type { Headgate } from '../../gate.js'
import { type Answer, errorAnswer } from '../../http/openai-error.js'
import { responseOf } from '../../http/respond.js'
import { gateMetrics } from '../../observe/metrics.js'
import type { DashboardFeed } from '../dashboard/feed.js'
import { keyCheck } from './auth.js'
import { MAX_BODY_BYTES } from './body.js'
import { clientOf } from './client.js'
import { MALFORMED, refusalOn } from './connections.js'
import { dashboardRoutes } from './dashboard.js'
import { API_PATHS, type ApiPath, Front, isApiPath } from './front.js'
import { monitoringRoutes } from './monitoring.js'
import { strangerIn } from './origin.js'
import { reply } from './reply.js'
import { type GatewayEnv, type GatewayLogger, LINE, logOthers, say } from './request-log.js'
import type { GatewayView } from './routes.js'

const READ_PATHS = [
  ...['/', '/inspect', '/events', '/metrics', '/healthz', '/readyz', '/v1/models', '/v1/models/:id{.+}'],
  ...['/api/v1/monitoring/stats', '/api/v1/monitoring/rate-limit-stats'],
]

const NO_KEY = errorAnswer(401, 'expected Authorization: Bearer with a key of this gateway', {
  code: 'invalid_api_key',
  headers: { 'www-authenticate': 'Bearer' },
})

type Refuse = (headers: IncomingMessage['headers']) => Answer | undefined
type Govern = (path: ApiPath, incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>

/**
 * The gateway's HTTP interface over a gate. Whoever made the gate closes it.
 * A governed call goes straight to its endpoint: a router, a web request and their promises would be a tenth of its time.
 */
export function gatewayListener(
  gate: Headgate,
  view: GatewayView,
  logger: GatewayLogger,
  feed: DashboardFeed,
): RequestListener {
  const refuse = refusalOf(view)
  const front = new Front(gate, view, (message) => logger.warn({}, message))
  const govern: Govern = async (path, incoming, outgoing) => {
    const sinceMs = performance.now()
    const answer = await front.answer(path, clientOf(incoming, outgoing))
    reply(outgoing, answer)
    logWhenOver(logger, asTold(answer, refusalOn(outgoing)), sinceMs)
  }
  const { fetch } = gatewayApp(gate, view, logger, feed, { refuse, govern })
  // What Node takes for a request, but no URL can be made of.
  const errorHandler = (error: unknown) => {
    if (!(error instanceof RequestError)) return responseOf(internalError(logger, error as Error))
    logger.info({ httpStatus: MALFORMED.status, ...MALFORMED.log }, LINE)
    return responseOf(MALFORMED)
  }
  const listenElse = getRequestListener(fetch, { errorHandler })
  return (incoming, outgoing) => {
    const { url, headers } = incoming
    // It may leave the Host out there, as load balancers' checks do, and no browser does.
    if (incoming.httpVersion === '1.0') headers.host ??= 'localhost'
    // What is not read to its end needs the care that the other way takes of it.
    const isPlain = incoming.method === 'POST' && headers.host && Number(headers['content-length']) <= MAX_BODY_BYTES
    if (!isPlain || !isApiPath(url) || refuse(headers)) void listenElse(incoming, outgoing)
    else govern(url, incoming, outgoing).catch((error: Error) => breakDown(outgoing, internalError(logger, error)))
  }
}

function gatewayApp(
  gate: Headgate,
  view: GatewayView,
  logger: GatewayLogger,
  feed: DashboardFeed,
  { refuse, govern }: { readonly refuse: Refuse; readonly govern: Govern },
): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>()
  app.use(logOthers(logger))
  for (const path of view.apiKeys.length > 0 ? ['/v1/*', '/api/*', '/events', '/metrics'] : ['*']) {
    app.use(path, async (context, next) => {
      const answer = refuse(context.env.incoming.headers)
      return answer ? say(context, answer) : next()
    })
  }
  for (const path of API_PATHS) {
    app.post(path, async ({ env: { incoming, outgoing } }) => {
      await govern(path, incoming, outgoing)
      return RESPONSE_ALREADY_SENT
    })
    app.all(path, (context) => wrongMethod(context, 'POST'))
  }
  app.get('/v1/models', (context) => context.json({ object: 'list', data: modelsOf(view) }))
  app.route('/api/v1/monitoring', monitoringRoutes(gate))
  app.get('/v1/models/:id{.+}', (context) => {
    const asked = context.req.param('id')
    const model = modelsOf(view).find(({ id }) => id === asked)
    if (model) return Response.json(model)
    const message = `the model ${JSON.stringify(asked.slice(0, 100))} does not exist`
    return say(context, errorAnswer(404, message, { code: 'model_not_found', param: 'model' }))
  })
  app.route('/', dashboardRoutes(feed))
  const metrics = gateMetrics(gate)
  app.get('/metrics', async (context) =>
    context.body(await metrics.text(), 200, { 'content-type': metrics.contentType }),
  )
  app.get('/healthz', (context) => context.json({ status: 'ok' }))
  app.get('/readyz', (context) => readiness(gate, context))
  for (const path of READ_PATHS) app.all(path, (context) => wrongMethod(context, 'GET, HEAD'))
  app.notFound((context) => {
    const { method, path } = context.req
    return say(context, errorAnswer(404, `no such endpoint: ${method} ${path}`, { code: 'not_found' }))
  })
  app.onError((error, context) => say(context, internalError(logger, error)))
  return app
}

/** Says why, to who may not ask: without keys that is who is not of this machine. */
function refusalOf({ apiKeys }: GatewayView): Refuse {
  if (apiKeys.length > 0) {
    const isKnown = keyCheck(apiKeys)
    return ({ authorization, 'x-api-key': key }) => (isKnown(authorization ?? bearerOf(key)) ? undefined : NO_KEY)
  }
  return (headers) => {
    const strange = strangerIn(headers)
    if (strange === undefined) return undefined
    return errorAnswer(403, `${strange}: set HEADGATE_API_KEYS to serve others`, { code: 'forbidden' })
  }
}

function breakDown(outgoing: ServerResponse, answer: Answer): void {
  if (outgoing.headersSent) outgoing.destroy()
  else reply(outgoing, answer)
}

function internalError(logger: GatewayLogger, error: Error): Answer {
  logger.error({ reason: error.stack ?? String(error) }, 'internal error')
  return errorAnswer(500, 'internal error', { code: 'internal_error' })
}

function wrongMethod(context: Context<GatewayEnv>, allow: string): Response {
  const { path, method } = context.req
  const message = `${path.slice(0, 100)}: expected ${allow.replace(', ', ' or ')}, got ${method}`
  return say(context, errorAnswer(405, message, { code: 'method_not_allowed', headers: { allow } }))
}

/** Whose connection was ended for what came on it was told that, and not the answer. */
function asTold(answer: Answer, refusal: Answer | undefined): Answer {
  if (!refusal) return answer
  return { ...answer, status: refusal.status, log: { ...answer.log, ...refusal.log } }
}

/** One line a request: of a stream when it has ended. */
function logWhenOver(logger: GatewayLogger, { status, body, log }: Answer, sinceMs: number): void {
  const write = (ended?: object) => {
    const tookMs = Math.round(performance.now() - sinceMs)
    logger.info({ httpStatus: status, ...log, ...ended, tookMs }, LINE)
  }
  if (typeof body === 'string') write()
  else void body.ended.then(write)
}

/** Anthropic's SDK shows its key in a header of its own. */
function bearerOf(key: string | string[] | undefined): string | undefined {
  return key === undefined ? undefined : `Bearer ${String(key)}`
}

/** Everything that `model` may say. */
function modelsOf({ routes }: GatewayView) {
  return [...routes].map(
    ([
      id,
      {
        providers: [provider],
      },
    ]) => ({ id, object: 'model', created: 0, owned_by: provider.name }),
  )
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
