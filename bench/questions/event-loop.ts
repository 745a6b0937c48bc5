import { monitorEventLoopDelay } from 'node:perf_hooks'
import { functionGate, noop, WIDE_OPEN } from '../harness/gate.js'
import type { Metrics, Question } from '../harness/question.js'
import { quantile } from '../harness/stats.js'

const GRANTS = 20_000

/** So many requests wait while the pool is paused; on `resume` all of them may go at the same moment. */
async function burst({ count }: { readonly count: number }): Promise<Metrics> {
  const gate = await functionGate(['p'], WIDE_OPEN, { queue: { maxQueued: 10, maxActive: count } })
  await gate.pause('p')
  let done = 0
  const all = Array.from({ length: count }, () => gate.run({ pool: 'p' }, noop).then(() => done++))
  while (gate.stats().pools.p!.states['waiting-for-token'] !== count) await new Promise((go) => setTimeout(go, 50))
  globalThis.gc?.()
  await new Promise((go) => setTimeout(go, 200))
  if (done > 0) throw new Error('the pause does not hold')
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  const turnsMs: number[] = []
  let lastMs = performance.now()
  const turn = () => {
    const nowMs = performance.now()
    turnsMs.push(nowMs - lastMs)
    lastMs = nowMs
    if (done < count) setImmediate(turn)
  }
  histogram.enable()
  setImmediate(turn)
  const startMs = performance.now()
  await gate.resume('p')
  await Promise.all(all)
  histogram.disable()
  const tookMs = performance.now() - startMs
  await gate.close()
  return {
    p99Ms: histogram.percentile(99) / 1e6,
    maxMs: histogram.max / 1e6,
    turnP99Ms: quantile(turnsMs, 0.99),
    tookMs,
  }
}

export const eventLoop: Question = {
  name: 'event-loop',
  what: '20,000 waiting requests are granted at the same moment, no-op calls, one process, memory store',
  metrics: {
    p99Ms: 'event-loop delay, p99, ms (a timer of 1 ms: an idle loop reads about 1)',
    maxMs: 'the longest, ms',
    turnP99Ms: 'one turn of the loop, p99, ms',
    tookMs: 'ms until all were done',
  },
  tasks: { burst },
  cases: [{ name: 'headgate', side: 'headgate', run: (bench) => bench.child('burst', { count: GRANTS }) }],
  goals: [{ what: 'event-loop delay p99 ≤ 20 ms', value: (look) => look('headgate', 'p99Ms'), atMost: 20 }],
}
