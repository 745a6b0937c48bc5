import { performance } from 'node:perf_hooks'
import { HeadgateError } from '../../errors.js'
import type { Headgate } from '../../gate.js'
import type { ChatInput, Priority } from '../../intake/input.js'
import { answerOf } from './answer.js'
import { readBody } from './body.js'
import { type Answer, codeOf, errorAnswer, Refusal } from './openai-error.js'
import { PaceMeter, retryAfterSeconds } from './retry-after.js'
import type { GatewayView, Route } from './routes.js'

/** Nobody takes it; the log shows it. */
const HUNG_UP = errorAnswer(499, 'the client hung up', { code: 'cancelled' })

/** Chat completions over a gate: whoever finds the queue full is told so at once and never waits in front of it. */
export class ChatHandler {
  readonly #paces = new Map<string, PaceMeter>()

  constructor(
    private readonly gate: Headgate,
    private readonly view: GatewayView,
  ) {
    for (const pool of Object.keys(gate.stats().pools)) this.#paces.set(pool, new PaceMeter())
    gate.on('transition', ({ pool, from }) => {
      if (from === null) this.#paces.get(pool)?.arrived(performance.now())
    })
    gate.on('outcome', ({ pool }) => this.#paces.get(pool)?.departed(performance.now()))
  }

  async handle(raw: Request): Promise<Answer> {
    const { signal } = raw
    try {
      const body = await readBody(raw)
      // Gone while its body was read: the signal won't fire again.
      if (signal.aborted) return HUNG_UP
      const route = this.#routeOf(body.model)
      const answer = await this.#spawn(chatInput(body, route, raw.headers, signal), route)
      return { ...answer, log: { pool: route.pool, model: route.model, ...answer.log } }
    } catch (error) {
      if (error instanceof Refusal) return error.answer
      if (error instanceof HeadgateError && error.code === 'BAD_REQUEST') return badInput(error)
      if (signal.aborted) return HUNG_UP
      throw error
    }
  }

  async #spawn(input: ChatInput & { readonly signal: AbortSignal }, route: Route): Promise<Answer> {
    const request = this.gate.trySpawn(input)
    if (!request) return this.#turnAway(route)
    const outcome = await request.outcome
    return answerOf(request, outcome, { gone: input.signal.aborted, apiKey: route.apiKey })
  }

  #turnAway({ pool, maxPerMs }: Route): Answer {
    const { dispatcher, queued } = this.gate.stats().pools[pool]!
    if (dispatcher === 'draining' || dispatcher === 'stopped') {
      const headers = { 'retry-after': '1' }
      return errorAnswer(503, 'this gateway is shutting down and accepts nothing new', { code: 'draining', headers })
    }
    const pace = this.#paces.get(pool)!.pace(performance.now())
    const headers = { 'retry-after': String(retryAfterSeconds({ ...pace, queued, maxPerMs })) }
    return errorAnswer(429, `pool ${pool}: its queue is full with ${queued} requests`, { code: 'queue_full', headers })
  }

  #routeOf(model: unknown): Route {
    const { poolsByModel } = this.view
    const route = typeof model === 'string' ? poolsByModel.get(model) : undefined
    if (route) return route
    const known = `expected one of ${[...poolsByModel.keys()].join(', ')}`
    if (typeof model === 'string') {
      const message = `the model ${JSON.stringify(model.slice(0, 100))} does not exist: ${known}`
      throw new Refusal(404, message, { code: 'model_not_found', param: 'model' })
    }
    throw new Refusal(400, `model: ${known}`, { code: 'bad_request', param: 'model' })
  }
}

function chatInput(body: Readonly<Record<string, unknown>>, route: Route, headers: Headers, signal: AbortSignal) {
  if ((body.stream ?? false) !== false) {
    const message = 'stream: streaming is not available in this version; leave it out or set it to false'
    throw new Refusal(400, message, { code: 'unsupported_value', param: 'stream' })
  }
  return {
    pool: route.pool,
    model: route.model,
    // The gate says what is wrong with these, if anything is.
    messages: body.messages as readonly unknown[],
    body,
    tenant: headers.get('x-headgate-tenant') ?? undefined,
    priority: (headers.get('x-headgate-priority') ?? undefined) as Priority | undefined,
    deadline: headers.get('x-headgate-deadline') ?? undefined,
    signal,
  } satisfies ChatInput
}

/** The gate's messages begin with the name of the field; some of these came in a header. */
function badInput(error: HeadgateError): Answer {
  const message = error.message.replace(/^(?=(?:tenant|priority|deadline): )/, 'x-headgate-')
  const [, param] = /^([\w-]+): /.exec(message) ?? []
  return errorAnswer(400, message, { code: codeOf(error), param })
}
