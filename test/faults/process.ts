import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { DISPATCHER_STATES } from '../../machines/vocabulary.js'
import type { GateOptions, Headgate } from '../../src/index.js'
import { until } from './until.js'

const WORKER = fileURLToPath(new URL('worker.mjs', import.meta.url))
const BUILT = fileURLToPath(new URL('../../dist/index.js', import.meta.url))

const STATES: ReadonlySet<string> = new Set(DISPATCHER_STATES)

type Told =
  | { readonly type: 'accepted'; readonly id: string }
  | { readonly type: 'calls'; readonly id: string; readonly atMs: number }
  | { readonly type: 'ended'; readonly id: string; readonly status: string; readonly code?: string }
  | { readonly type: 'news'; readonly news: string }
  | { readonly type: 'done'; readonly call: number; readonly value: unknown }
  | { readonly type: 'refused'; readonly call: number; readonly code: string; readonly message: string }

interface Call {
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** A process of its own with a gate in it. */
export class GateProcess {
  readonly #child: ChildProcess
  readonly #calls: Call[] = []
  /** Ids of the requests it accepted. */
  readonly accepted = new Set<string>()
  /** Wall times at which it was granted a call. */
  readonly grantedMs: number[] = []
  /** Of these, the last of each request. */
  readonly calledMs = new Map<string, number>()
  /** How each of them ended; more than one end would be a fault. */
  readonly ends = new Map<string, string[]>()
  /** States of its dispatcher and what befell it, in order. */
  readonly news: string[] = []

  constructor() {
    if (!existsSync(BUILT)) throw new Error("dist is missing: these tests run the built package, 'npm run build' first")
    // No inherited debugger flags: two processes can't listen on one inspector port.
    this.#child = fork(WORKER, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [] })
    this.#child.on('message', (told: Told) => this.#hear(told))
    this.#child.on('error', () => {})
    this.#child.once('exit', () => {
      for (const { reject } of this.#calls) reject(new Error('the process ended'))
    })
  }

  /** Builds its gate; `ready` tells whether it came up. */
  open(options: GateOptions): Promise<void> {
    return this.#order('open', options)
  }

  ready(): Promise<void> {
    return this.#order('ready')
  }

  /** Resolves when so many more are accepted. */
  spawn(count: number): Promise<void> {
    return this.#order('spawn', count)
  }

  /** Keeps its queue full until `rest`. */
  load(): Promise<void> {
    return this.#order('load')
  }

  rest(): Promise<void> {
    return this.#order('rest')
  }

  usage(): ReturnType<Headgate['usage']> {
    return this.#order('usage')
  }

  /** Exchanges with the store that were answered. */
  roundTrips(): Promise<number> {
    return this.#order('roundTrips')
  }

  monitoring(): ReturnType<Headgate['monitoring']> {
    return this.#order('monitoring')
  }

  get unended(): number {
    return this.accepted.size - this.ends.size
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }

  /** The states its dispatcher went through since `from` (an index into `news`). */
  states(from = 0): string[] {
    return this.news.slice(from).filter((item) => STATES.has(item))
  }

  /** Resolves when it heard this since `from` (an index into `news`). */
  async hears(news: string, from = 0): Promise<void> {
    await until(
      `news '${news}'`,
      () => this.news.indexOf(news, from) >= 0,
      () => this.news.join(' '),
    )
  }

  #order<T>(order: string, argument?: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = this.#calls.push({ resolve: resolve as Call['resolve'], reject }) - 1
      this.#child.send({ call, order, argument })
    })
  }

  #hear(told: Told): void {
    if (told.type === 'accepted') this.accepted.add(told.id)
    else if (told.type === 'calls') {
      this.calledMs.set(told.id, told.atMs)
      this.grantedMs.push(told.atMs)
    } else if (told.type === 'ended')
      this.ends.set(told.id, [...(this.ends.get(told.id) ?? []), told.code ?? told.status])
    else if (told.type === 'news') this.news.push(told.news)
    else if (told.type === 'done') this.#calls[told.call]!.resolve(told.value)
    else this.#calls[told.call]!.reject(Object.assign(new Error(told.message), { code: told.code }))
  }
}
