import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { type ArrivalRecord, reportOf, type SimulatorReport } from './arrivals.js'
import { type ModelRequest, type Script, scriptedBy } from './completion.js'
import { Gatekeeper, type SimulatorLimits } from './gatekeeper.js'
import { parseJson, readText, sendJson } from './http.js'
import type { Api, Profile, ProfileName, WireError } from './profile.js'
import { type Latency, latencyMs, seededRandom } from './random.js'
import { PROFILES } from './wire.js'

/** Before an error's code: it comes after the 200, in the middle of a stream or in place of a whole answer. */
const LATE = 'late-'
const MAX_LOG = 1_000_000
const KEEP_ALIVE_MS = 120_000

export interface SimulatorOptions extends SimulatorLimits {
  readonly profile: ProfileName
  /** Default 0: a free port. */
  readonly port?: number
  /** Default 127.0.0.1. */
  readonly host?: string
  /** How long an answer takes: constant, or log-normal. Default 0. */
  readonly latencyMs?: Latency
  readonly seed?: number
  /** The one key that it takes, at least 1 character. Default: any. */
  readonly apiKey?: string
  /** Shares of the accepted requests that fail with these codes, as `failNext` takes them. */
  readonly errors?: readonly { readonly share: number; readonly code: string }[]
  /** What to say instead of so many words. */
  readonly answer?: Script
  /** While an answer is due, send what keeps the connection alive this often (DeepSeek, OpenRouter). Default: none. */
  readonly keepAliveMs?: number
}

export interface Simulator {
  readonly url: string
  /** What a pool's `baseURL` takes. */
  readonly baseURL: string
  readonly port: number
  readonly log: readonly ArrivalRecord[]
  report(): SimulatorReport
  /** Moves limits without a word, as providers do. */
  setLimits(limits: SimulatorLimits): void
  /** The next `times` requests fail with this code of the profile's; with `late-` before it, after a 200. */
  failNext(code: string, times?: number): void
  /** The next `times` requests are never answered. */
  hangNext(times?: number): void
  /** The next `times` answers are cut in the middle. */
  cutNext(times?: number): void
  close(): Promise<void>
}

/** A provider over HTTP: faithful wire and limits, answers that cost nothing. Plain node:http, since it must cut sockets. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const simulator = new SimulatorServer(options)
  await simulator.listen()
  return simulator
}

type Fault = { readonly kind: 'fail' | 'late'; readonly error: WireError } | { readonly kind: 'hang' | 'cut' }

class SimulatorServer implements Simulator {
  readonly log: ArrivalRecord[] = []
  readonly #options: SimulatorOptions
  readonly #profile: Profile
  readonly #gatekeeper: Gatekeeper
  readonly #random: () => number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #faults: Fault[] = []
  #notLogged = 0
  #answers = 0

  constructor(options: SimulatorOptions) {
    this.#options = options
    this.#profile = PROFILES[options.profile]
    this.#gatekeeper = new Gatekeeper(this.#profile, options)
    this.#random = seededRandom(options.seed ?? 1)
    // Fail at the start, not at the first draw.
    for (const { code } of options.errors ?? []) this.#failure(code)
    this.#server = createServer((request, response) => this.#receive(request, response))
    this.#server.keepAliveTimeout = KEEP_ALIVE_MS
    this.#server.on('connection', (socket) => {
      socket.setNoDelay(true)
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  listen(): Promise<void> {
    const { port = 0, host = '127.0.0.1' } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://${this.#options.host ?? '127.0.0.1'}:${this.port}`
  }

  get baseURL(): string {
    return this.url + this.#profile.basePath
  }

  report(): SimulatorReport {
    return reportOf(this.log, this.#gatekeeper.rates, this.#notLogged)
  }

  setLimits(limits: SimulatorLimits): void {
    this.#gatekeeper.set(limits)
  }

  failNext(code: string, times = 1): void {
    const fault = this.#failure(code)
    for (let i = 0; i < times; i++) this.#faults.push(fault)
  }

  hangNext(times = 1): void {
    for (let i = 0; i < times; i++) this.#faults.push({ kind: 'hang' })
  }

  cutNext(times = 1): void {
    for (let i = 0; i < times; i++) this.#faults.push({ kind: 'cut' })
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #receive(request: IncomingMessage, response: ServerResponse): void {
    const atMs = performance.now()
    const [path = '', query] = (request.url ?? '').split('?', 2)
    const api = request.method === 'POST' ? this.#profile.apiAt(path, new URLSearchParams(query)) : undefined
    if (api) void this.#call(api, request, response, atMs)
    else if (path === '/__sim/report') sendJson(response, 200, this.report())
    else if (path === '/__sim/log') sendJson(response, 200, this.log)
    else if (path === '/__sim/limits' && request.method === 'POST') void this.#moveLimits(request, response)
    else if (path.endsWith('/models')) this.#models(request, response)
    else this.#refuse(response, this.#profile.refuse({ why: 'not-found' }), undefined)
  }

  #models(request: IncomingMessage, response: ServerResponse): void {
    if (this.#options.apiKey !== undefined && !this.#takesKeyOf(request)) {
      this.#refuse(response, this.#profile.refuse({ why: 'auth' }), undefined)
    } else {
      // It takes any model, so it names none.
      sendJson(response, 200, { object: 'list', data: [] })
    }
  }

  /** Wherever the profile's wire has its key, it is the last word of its header. */
  #takesKeyOf({ headers }: IncomingMessage): boolean {
    const { apiKey } = this.#options
    if (!this.#profile.hasKey(headers)) return false
    const shown = [headers.authorization, headers['api-key'], headers['x-api-key']].map((text) =>
      String(text).split(' ').at(-1),
    )
    return apiKey === undefined || shown.includes(apiKey)
  }

  async #moveLimits(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const limits: unknown = JSON.parse((await readText(request)) ?? '')
      if (typeof limits !== 'object' || limits === null) throw new TypeError('expected an object of limits')
      this.setLimits(limits)
      sendJson(response, 200, { ok: true })
    } catch (error) {
      sendJson(response, 400, { ok: false, error: { message: String(error) } })
    }
  }

  async #call(api: Api, request: IncomingMessage, response: ServerResponse, atMs: number): Promise<void> {
    const gatekeeper = this.#gatekeeper
    const header = request.headers['x-headgate-request-id']
    gatekeeper.inFlight++
    const record: ArrivalRecord = {
      atMs,
      wallMs: Date.now(),
      promptTokens: 0,
      tokens: 0,
      inFlight: gatekeeper.inFlight,
      id: typeof header === 'string' ? header : null,
      status: 0,
      code: null,
    }
    if (this.log.length < MAX_LOG) this.log.push(record)
    else this.#notLogged++
    let over = false
    const leave = () => {
      if (!over) gatekeeper.inFlight--
      over = true
    }
    response.once('close', () => {
      if (!over) record.status = 499
      leave()
    })
    const refuse = (error: WireError) => {
      leave()
      this.#refuse(response, error, record)
    }
    // Undefined: too long, or the caller hung up.
    const text = await readText(request).catch(() => undefined)
    if (text === undefined) {
      if (!response.destroyed) refuse({ status: 413, code: '413', body: { error: { message: 'request too large' } } })
      return
    }
    const asked = api.read(parseJson(text))
    if (!this.#takesKeyOf(request)) refuse(this.#profile.refuse({ why: 'auth' }))
    else if (!asked) refuse(this.#profile.refuse({ why: parseJson(text) === undefined ? 'bad-json' : 'bad-body' }))
    else {
      const { promptTokens, maxTokens } = asked
      const tokens = promptTokens + (this.#profile.countsCompletion === 'up-front' ? maxTokens : 0)
      Object.assign(record, { promptTokens, tokens })
      const refusal = gatekeeper.admit(performance.now(), tokens, record.inFlight)
      const fault = refusal ? undefined : this.#nextFault()
      if (refusal) refuse(refusal)
      else if (fault?.kind === 'fail') refuse(fault.error)
      else if (fault?.kind !== 'hang') {
        // Words are no answer where one can't come bit by bit: a vector.
        const told = api.stream && this.#options.answer ? scriptedBy(this.#options.answer, asked) : asked
        if ('status' in told) refuse(told)
        else await this.#answer(api, response, record, told, fault, leave)
      }
    }
  }

  #failure(code: string): Fault {
    if (code.startsWith(LATE)) return { kind: 'late', error: this.#profile.injected(code.slice(LATE.length)) }
    return { kind: 'fail', error: this.#profile.injected(code) }
  }

  #nextFault(): Fault | undefined {
    const scripted = this.#faults.shift()
    if (scripted) return scripted
    for (const { share, code } of this.#options.errors ?? []) {
      if (this.#random() < share) return this.#failure(code)
    }
    return undefined
  }

  async #answer(
    api: Api,
    response: ServerResponse,
    record: ArrivalRecord,
    asked: ModelRequest,
    fault: Exclude<Fault, { kind: 'hang' | 'fail' }> | undefined,
    leave: () => void,
  ): Promise<void> {
    const type = asked.stream ? 'text/event-stream; charset=utf-8' : 'application/json; charset=utf-8'
    const headers = { 'content-type': type, ...this.#limitHeaders() }
    if (this.#options.keepAliveMs !== undefined) response.writeHead(200, headers)
    await this.#wait(response, asked.stream ? api.stream?.keepAlive : undefined)
    if (response.destroyed) return
    if (!response.headersSent) response.writeHead(200, headers)
    record.status = 200
    const error = fault?.kind === 'late' ? fault.error : undefined
    if (error) record.code = error.code
    const parts = this.#partsOf(api, asked, error)
    if (fault?.kind === 'cut') {
      response.write(parts[0]!.slice(0, Math.ceil(parts[0]!.length / 2)), () => {
        leave()
        response.socket?.destroy()
      })
      return
    }
    if (this.#profile.countsCompletion === 'as-produced')
      this.#gatekeeper.produce(performance.now(), asked.completionTokens)
    for (const part of parts.slice(0, -1)) response.write(part)
    // No longer in flight once the last byte is on its way.
    leave()
    response.end(parts.at(-1))
  }

  /** What is written after the headers; with an error half of a stream and then that, or that alone. */
  #partsOf({ body, stream }: Api, asked: ModelRequest, error: WireError | undefined): string[] {
    const id = `sim-${++this.#answers}`
    if (!asked.stream || !stream) return [JSON.stringify(error ? error.body : body(asked, id, Date.now()))]
    const events = [...stream.events(asked, id, Date.now())]
    const half = events.slice(0, events.length / 2)
    return error ? [...half, stream.failure(error, half.length)] : events
  }

  /** Waits the latency out, with keep-alive lines where asked; ends early when the caller hangs up. */
  #wait(response: ServerResponse, keepAlive = '\n'): Promise<void> {
    const { latencyMs: latency = 0, keepAliveMs } = this.#options
    const delayMs = latencyMs(latency, this.#random)
    if (delayMs <= 0) return Promise.resolve()
    return new Promise((resolve) => {
      const beat = keepAliveMs === undefined ? undefined : setInterval(() => response.write(keepAlive), keepAliveMs)
      const finish = () => {
        clearTimeout(timer)
        clearInterval(beat)
        response.off('close', finish)
        resolve()
      }
      const timer = setTimeout(finish, delayMs)
      response.once('close', finish)
    })
  }

  #refuse(response: ServerResponse, error: WireError, record: ArrivalRecord | undefined): void {
    if (record) Object.assign(record, { status: error.status, code: error.code })
    sendJson(response, error.status, error.body, { ...this.#limitHeaders(), ...error.headers })
  }

  #limitHeaders(): Record<string, string> {
    return this.#gatekeeper.headers(performance.now())
  }
}
