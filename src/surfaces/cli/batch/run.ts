import { HeadgateError } from '../../../errors.js'
import type { Headgate } from '../../../gate.js'
import { answerOf } from '../../../http/answer.js'
import { type CallHeaders, inputOf } from '../../../http/desk.js'
import { HangUp } from '../../../http/leaving.js'
import { codeOf, errorBody, Refusal } from '../../../http/openai-error.js'
import { type Route, routeOf } from '../../../http/routes.js'
import type { ApiInput, ChatInput } from '../../../intake/input.js'
import type { GateRequest, Outcome } from '../../../request/request.js'
import type { GatewayView } from '../../gateway/routes.js'
import { CliError } from '../errors.js'
import { Budget } from './budget.js'
import {
  answerLine,
  type BatchRequest,
  LineProblem,
  MAX_LINE_BYTES,
  problemLine,
  readRequest,
  resultId,
} from './format.js'
import { isBlank, type Line, linesOf } from './lines.js'
import type { Found, ResultWriter } from './results.js'

/** Of lines from the reader to the result, by their length: what bounds the memory where bodies are long. */
const MAX_BYTES_IN_HAND = 32 * 1024 * 1024
/** Lines that may wait in front of their pool's full queue: while one pool is full, another's lines go on. */
const MAX_AT_GATE = 256
/** So many failures in a row that a later try may mend are the provider's trouble, and no line's. */
const MAX_IN_A_ROW = 50
/** How often a line waits for a quota to return. */
const MAX_QUOTA_WAITS = 20
const NEVER = new HangUp()

export interface BatchOptions {
  readonly gate: Headgate
  readonly view: GatewayView
  readonly input: string
  readonly found: Found
  readonly writer: Pick<ResultWriter, 'append'>
  readonly tenant: string | undefined
  readonly priority: string
  readonly note: (line: string) => void
}

/** Sends the lines that have no result yet, as fast as the gate takes them, and writes down what comes of each. */
export class BatchRun {
  /** Lines of this run. LLM tokens as the providers counted them. */
  readonly counts = { answered: 0, failed: 0, promptTokens: 0, completionTokens: 0 }
  readonly #options: BatchOptions
  readonly #headers: CallHeaders
  readonly #bytes = new Budget(MAX_BYTES_IN_HAND)
  readonly #atGate = new Budget(MAX_AT_GATE)
  readonly #live = new Map<string, GateRequest>()
  readonly #lines = new Set<Promise<void>>()
  #held: string[] = []
  #stopping = false
  #trouble: { readonly cause: unknown } | undefined

  constructor(options: BatchOptions) {
    const { tenant, priority, gate } = options
    this.#options = options
    this.#headers = { 'x-headgate-priority': priority, 'x-headgate-tenant': tenant }
    gate.on('transition', ({ requestId, to }) => {
      if (this.#stopping && (to === 'backing-off' || to === 'waiting-for-token')) this.#live.get(requestId)?.cancel()
    })
  }

  /** Resolves when every line has its result, or when `stop` was called and what was in flight has ended. */
  async run(): Promise<void> {
    const { input, found } = this.#options
    for await (const line of linesOf(input, MAX_LINE_BYTES)) {
      if (found.done.has(line.number) || isBlank(line)) continue
      await this.#bytes.take(line.totalBytes)
      await this.#atGate.take(1)
      if (this.#stopping) break
      const ended = this.#answer(line)
        .catch((cause) => this.#fail(cause))
        .then(() => {
          this.#bytes.give(line.totalBytes)
          this.#lines.delete(ended)
        })
      this.#lines.add(ended)
    }
    await Promise.all(this.#lines)
    if (!this.#stopping) await this.#release()
    if (this.#trouble) throw this.#trouble.cause
  }

  /** Takes no more lines and ends what is not at the provider yet. Those lines have no result, and are taken up again. */
  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    // Whoever waits at the gate is turned away; how long the rest takes is for its calls to say.
    this.#options.gate.drain().catch(() => {})
    for (const request of this.#live.values()) if (request.state !== 'calling') request.cancel()
  }

  #fail(cause: unknown): void {
    this.#trouble ??= { cause }
    this.stop()
  }

  async #answer(line: Line): Promise<void> {
    const id = resultId(line)
    let entered = false
    const enter = () => {
      if (!entered) this.#atGate.give(1)
      entered = true
    }
    try {
      const { request, route } = this.#read(line)
      await this.#send(id, request, route, enter)
    } catch (error) {
      if (!(error instanceof LineProblem)) throw error
      await this.#record(problemLine(id, error), false)
    } finally {
      enter()
    }
  }

  #read(line: Line): { request: BatchRequest; route: Route } {
    const request = readRequest(line, (customId) => this.#options.found.takenIds.add(customId))
    return { request, route: this.#checked(request.customId, () => routeOf(this.#options.view.routes, request.body)) }
  }

  /** What the gateway would refuse is the line's problem. */
  #checked<T>(customId: string, step: () => T): T {
    try {
      return step()
    } catch (error) {
      if (error instanceof Refusal) throw new LineProblem(error.code, error.message, customId)
      throw error
    }
  }

  async #send(id: string, { customId, body, api, wire }: BatchRequest, route: Route, enter: () => void): Promise<void> {
    const call = { api, wire, headers: this.#headers, leaving: NEVER }
    const input = this.#checked(customId, () => inputOf(call, body, route))
    for (let quotaWaits = 0; ; quotaWaits++) {
      const request = await this.#spawn(input, customId)
      enter()
      if (!request) return
      const answer = await answerOf(request, { leaving: NEVER, apiKeys: route.apiKeys, wire })
      const outcome = await request.outcome
      this.#live.delete(request.id)
      if (outcome.status === 'cancelled') return
      if (outcome.error?.code === 'QUOTA_EXHAUSTED' && quotaWaits < MAX_QUOTA_WAITS && !this.#stopping) {
        if (quotaWaits === 0)
          this.#options.note(`pool ${route.pools.join(', ')}: a quota is used up; its lines wait for it`)
        continue
      }
      const { status, body: text } = isAnswer(outcome)
        ? answer
        : failureOf(outcome, answer.status, wire, String(answer.body))
      const result = answerLine(id, customId, { status, requestId: request.id, body: String(text) })
      return this.#conclude(outcome, status < 300, result)
    }
  }

  /** Undefined where the batch stopped before there was a place. */
  async #spawn(input: ChatInput | ApiInput, customId: string): Promise<GateRequest | undefined> {
    try {
      const request = await this.#options.gate.spawn(input)
      this.#live.set(request.id, request)
      if (this.#stopping && request.state !== 'calling') request.cancel()
      return request
    } catch (error) {
      if (!(error instanceof HeadgateError)) throw error
      if (error.code === 'CANCELLED') return undefined
      if (error.code === 'BAD_REQUEST') throw new LineProblem(codeOf(error), error.message, customId)
      throw error
    }
  }

  async #conclude({ error, usage }: Outcome, answered: boolean, result: string): Promise<void> {
    this.counts.promptTokens += usage.promptTokens ?? 0
    this.counts.completionTokens += usage.completionTokens ?? 0
    if (answered) {
      // An answer to what was under way when the batch gave up says nothing for those before it.
      if (!this.#trouble) await this.#release()
      await this.#record(result, true)
    } else if (error && isOfTheAccount(error)) {
      this.#fail(new CliError(`stopped, for no line could be answered now: ${error.message}`))
    } else if (error?.retryable) {
      this.#held.push(result)
      if (this.#held.length < MAX_IN_A_ROW) return
      this.#fail(new CliError(`stopped after ${MAX_IN_A_ROW} failures in a row, the last: ${error.message}`))
    } else await this.#record(result, false)
  }

  /** Since another was answered, or none is left, these failures are the lines' own. */
  async #release(): Promise<void> {
    if (this.#held.length === 0) return
    const held = this.#held
    this.#held = []
    await Promise.all(held.map((result) => this.#record(result, false)))
  }

  async #record(result: string, answered: boolean): Promise<void> {
    await this.#options.writer.append(result)
    this.counts[answered ? 'answered' : 'failed']++
  }
}

/** A message in place of an answer is none, in a file that somebody computes with. */
function isAnswer({ status, via }: Outcome): boolean {
  return status !== 'degraded' || via !== 'message'
}

function failureOf({ error }: Outcome, answered: number, wire: BatchRequest['wire'], body: string) {
  if (!error) return { status: answered, body }
  const status = error.status !== undefined && error.status >= 400 ? error.status : 502
  return { status, body: errorBody(status, error.message, { code: codeOf(error), wire }) }
}

/** Key, balance, fair use: it would fail whatever the line is. */
function isOfTheAccount({ code, status, retryable }: HeadgateError): boolean {
  if (code === 'AUTH') return status !== 403
  return code === 'INSUFFICIENT_BALANCE' || (code === 'RATE_LIMITED' && !retryable)
}
