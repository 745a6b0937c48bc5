import { SLACK_MS } from '../../src/config.js'
import type { Dispatcher } from '../../src/dispatch/dispatcher.js'
import type { GroupSpec, LimitSpec } from '../../src/limits/store.js'
import { idealWaitsMs } from '../../src/surfaces/cli/replay/ideal.js'
import { deriveLimits } from '../../src/surfaces/cli/replay/limits.js'
import { costOf, summarize, type Trace } from '../../src/surfaces/cli/replay/trace.js'
import { quantile } from '../harness/stats.js'
import { virtualFleet } from './virtual-fleet.js'

const GUARD_MS = 150
const PROCESSES = 4

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

/**
 * Mean wait of a trace's requests under limits of which its mean use is the share `busy`: four real dispatchers on a virtual
 * clock, against one scheduler with an exact log and the same guard, first come first served.
 */
export async function traceWait(trace: Trace, busy: number): Promise<Record<string, number>> {
  const { requests, tokens } = deriveLimits(await summarize(trace), busy, 0)
  const holdMs = SLACK_MS + GUARD_MS
  const widened = (rates: typeof requests) => rates.map((rate) => ({ ...rate, windowMs: rate.windowMs + holdMs }))
  const ideal: number[] = []
  const limits = { requests: widened(requests), tokens: widened(tokens) }
  for await (const waitMs of idealWaitsMs(trace, limits, 0)) ideal.push(waitMs)
  const specs = [...requests.map((rate) => spec('requests', rate)), ...tokens.map((rate) => spec('tokens', rate))]
  const waits = await replay(trace, specs)
  const idealMs = mean(ideal)
  const meanMs = mean(waits)
  return {
    requests: waits.length,
    idealMs,
    meanMs,
    ratio: meanMs / idealMs,
    p99Ratio: quantile(waits, 0.99) / quantile(ideal, 0.99),
    excessMs: meanMs - idealMs,
  }

  function spec(dimension: 'requests' | 'tokens', { limit, windowMs }: { limit: number; windowMs: number }): LimitSpec {
    return { id: `pool:trace:${dimension}:${windowMs}`, dimension, limit, windowMs, holdMs, adaptive: false }
  }
}

async function replay(trace: Trace, limits: readonly LimitSpec[]): Promise<number[]> {
  const draws = limits.map((_, index) => index)
  const spec: GroupSpec = { namespace: 'bench', group: 'trace', pools: ['trace'], limits, draws: [draws] }
  const { clock, dispatchers } = virtualFleet(spec, PROCESSES)
  await clock.advanceAsync(10)
  const waits: number[] = []
  const startMs = clock.now()
  let row = 0
  for await (const arrival of trace.rows()) {
    const dispatcher = dispatchers[row++ % PROCESSES]!
    await clock.advanceAsync(Math.max(0, startMs + arrival.atMs - clock.now()))
    const tokens = costOf(arrival)
    ask(dispatcher, tokens, clock.now())
  }
  while (waits.length < row) await clock.advanceAsync(1_000)
  return waits

  function ask(dispatcher: Dispatcher, tokens: number, sinceMs: number): void {
    dispatcher.request({
      line: undefined,
      cost: 0,
      at: 0,
      order: 0,
      pool: 0,
      flowKey: 'trace',
      tenant: 'default',
      tenantWeight: 1,
      classWeight: 2,
      draws,
      tokens,
      sinceMs,
      callTimeoutMs: 60_000,
      onGrant: (grant) => {
        if (dispatcher.maySend(grant)) {
          waits.push(clock.now() - sinceMs)
          dispatcher.settle(grant, {})
        } else {
          dispatcher.settle(grant, { unsent: true })
          ask(dispatcher, tokens, sinceMs)
        }
      },
      onRefused: () => waits.push(0),
    })
  }
}
