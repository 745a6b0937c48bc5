import { failureOf, type ProviderFailure } from '../../src/providers/provider.js'
import type { LimitSpec } from '../../src/limits/store.js'
import type { VirtualClock } from '../../src/testing/virtual-clock.js'
import type { RequestPlan } from './plan.js'
import type { Random } from './random.js'

/** One call as it was written to a socket. */
export interface Call {
  readonly request: RequestPlan
  readonly process: string
  readonly draws: readonly number[]
  readonly sentMs: number
  /** When the provider saw it; NaN while it is on its way. */
  arrivedMs: number
  /** When it stopped being in flight there. */
  overMs: number
  /** Told to the caller; not after the caller hung up. */
  answer: ((answer: Answer) => void) | undefined
}

export type Answer =
  | { readonly type: 'answered'; readonly usedTokens: number }
  | { readonly type: 'refused'; readonly failure: ProviderFailure }
  | { readonly type: 'cut' }

/** What happens to the calls of a pool at the moment. */
export interface PoolWeather {
  /** Calls it lets in at a time, whatever it promised. */
  slots: number
  storm: { readonly failure: 'OVL' | 'RLR'; readonly retryAfterMs: number | undefined } | undefined
  hang: number
  cut: number
  error: number
}

export interface ProviderWatcher {
  arrived(call: Call, refused: boolean): void
  over(call: Call): void
  /** The provider counted more or less than was announced. */
  counted(call: Call, delta: number): void
}

const RETURN_MS = 8

/** The provider, as far as limits go: it knows nothing of Headgate, and counts for itself. */
export class ProviderModel {
  readonly inFlight = new Set<Call>()
  readonly #underWay = new Set<Call>()
  readonly weather = new Map<string, PoolWeather>()

  constructor(
    private readonly truth: VirtualClock,
    private readonly random: Random,
    readonly limits: readonly LimitSpec[],
    private readonly guardMs: number,
    private readonly watcher: ProviderWatcher,
  ) {}

  weatherOf(pool: string): PoolWeather {
    let weather = this.weather.get(pool)
    if (!weather) {
      weather = { slots: Number.POSITIVE_INFINITY, storm: undefined, hang: 0, cut: 0, error: 0 }
      this.weather.set(pool, weather)
    }
    return weather
  }

  /** Bytes were written: they arrive within the guard. */
  send(call: Call): void {
    // The worst case is worth trying: much of the time the first byte is at once there, or as late as may be.
    const shape = this.random.next()
    const jitterMs = shape < 0.3 ? 0 : shape > 0.85 ? this.guardMs : this.random.between(0, this.guardMs)
    this.#underWay.add(call)
    this.truth.setTimeout(() => this.#arrive(call), jitterMs)
  }

  /** The caller closed its socket: the provider notices within the guard. */
  hangUp(call: Call): void {
    call.answer = undefined
    this.truth.setTimeout(() => this.#end(call), this.random.between(0, this.guardMs))
  }

  /**
   * The caller died: to the provider its calls are over `afterMs` from now, at once where it sees connections close, at
   * their own deadline where it does not.
   */
  die(process: string, afterMs: (call: Call) => number): void {
    // Its sockets closed: what is still under way is over when it arrives.
    for (const call of this.#underWay) if (call.process === process) call.overMs = this.truth.now()
    for (const call of [...this.inFlight]) {
      if (call.process !== process) continue
      call.answer = undefined
      const delayMs = afterMs(call)
      if (delayMs > 0) this.truth.setTimeout(() => this.#end(call), delayMs)
      else this.#end(call)
    }
  }

  #arrive(call: Call): void {
    this.#underWay.delete(call)
    // A socket closed before its bytes were read is over all the same, but what arrived counts.
    const gone = !Number.isNaN(call.overMs)
    call.arrivedMs = this.truth.now()
    const { request } = call
    const weather = this.weatherOf(request.pool)
    const failure = this.#refusal(request.pool, weather)
    this.watcher.arrived(call, failure !== undefined)
    if (gone) return
    if (failure) {
      call.overMs = this.truth.now()
      this.#answer(call, { type: 'refused', failure })
      return
    }
    this.inFlight.add(call)
    this.#serve(call, weather)
  }

  #serve(call: Call, weather: PoolWeather): void {
    const { request } = call
    const fate = this.random.next()
    if (fate < weather.hang) return
    if (fate < weather.hang + weather.cut) {
      this.truth.setTimeout(() => this.#finish(call, { type: 'cut' }), request.serviceMs * this.random.next())
    } else if (fate < weather.hang + weather.cut + weather.error) {
      const failure = failureOf('SRV', 'the provider failed', { status: 500 })
      this.truth.setTimeout(() => this.#finish(call, { type: 'refused', failure }), request.serviceMs / 2)
    } else {
      this.truth.setTimeout(
        () => this.#finish(call, { type: 'answered', usedTokens: request.usedTokens }),
        request.serviceMs,
      )
    }
  }

  #finish(call: Call, answer: Answer): void {
    if (!this.#end(call)) return
    if (answer.type === 'answered') this.watcher.counted(call, answer.usedTokens - call.request.tokens)
    this.#answer(call, answer)
  }

  #end(call: Call): boolean {
    if (!Number.isNaN(call.overMs)) return false
    call.overMs = this.truth.now()
    if (this.inFlight.delete(call)) this.watcher.over(call)
    return true
  }

  #answer(call: Call, answer: Answer): void {
    this.truth.setTimeout(() => call.answer?.(answer), this.random.between(0.2, RETURN_MS))
  }

  #refusal(pool: string, weather: PoolWeather): ProviderFailure | undefined {
    if (weather.storm) {
      const { failure, retryAfterMs } = weather.storm
      const details = { status: 429, ...(retryAfterMs !== undefined && { retryAfterMs }) }
      return failureOf(failure, 'slow down', details)
    }
    let running = 0
    for (const { request } of this.inFlight) if (request.pool === pool) running++
    if (running < weather.slots) return undefined
    return failureOf('CONC', 'too many in flight', { status: 429, providerCode: '1302' })
  }
}
