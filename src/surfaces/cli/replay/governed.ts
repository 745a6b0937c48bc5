import { createHeadgate, type Headgate, type Outcome } from '../../../index.js'
import { type Caller, type CallReport, promptOf } from './caller.js'
import type { WorkerSetup } from './protocol.js'

/** Prompts held at once, in the queue and at the gate together; a process has memory for so many. */
const MAX_OPEN = 2_000
const RETRY = { maxAttempts: 6, baseMs: 500, capMs: 30_000 }

/** The gate of one process of the replayed fleet, with waits that fit a time line `speed` times faster. */
export function replayGate({ pool, baseURL, limits, guardMs, speed, namespace, redis }: WorkerSetup): Headgate {
  const { model, provider, adaptive, slackMs, degradedMessage, queue } = pool
  const { maxAttempts, baseMs, capMs } = pool.retry ?? RETRY
  const rates = (dimension: WorkerSetup['limits']['requests']) =>
    dimension.map(({ limit, windowMs }) => ({ limit, per: windowMs }))
  return createHeadgate({
    ...(redis !== undefined && { redis }),
    namespace,
    pools: {
      [model]: {
        provider,
        apiKey: 'replay',
        baseURL,
        limits: {
          requests: rates(limits.requests),
          tokens: rates(limits.tokens),
          ...(limits.concurrency !== undefined && { concurrency: limits.concurrency }),
        },
        guardMs,
        ...(slackMs !== undefined && { slackMs }),
        retry: { maxAttempts, baseMs: Math.round(baseMs / speed), capMs: Math.round(capMs / speed) },
        ...(adaptive !== undefined && { adaptive }),
        ...(degradedMessage !== undefined && { degradedMessage }),
        ...(queue && { queue }),
      },
    },
  })
}

/** Producers behind a gate: they wait for a place, then for the outcome. */
export async function governedCaller(setup: WorkerSetup): Promise<Caller> {
  const gate = replayGate(setup)
  await gate.ready()
  const calls = new Map<string, { sinceMs: number; callMs: number }>()
  let refused = 0
  gate.on('transition', ({ requestId, from, to }) => {
    const nowMs = performance.now()
    const call = calls.get(requestId)
    if (from === 'calling' && call) call.callMs = nowMs - call.sinceMs
    if (to === 'calling') calls.set(requestId, { sinceMs: nowMs, callMs: 0 })
  })
  gate.on('attempt-failed', ({ status }) => {
    if (status === 429) refused++
  })
  return {
    maxOpen: MAX_OPEN,
    get refused() {
      return refused
    },
    async call(contextTokens, generatedTokens): Promise<CallReport> {
      const maxTokens = Math.max(1, generatedTokens)
      let id: string
      let outcome: Outcome
      try {
        const request = await gate.spawn({
          pool: setup.pool.model,
          messages: [{ role: 'user', content: promptOf(contextTokens) }],
          maxTokens,
          estimatedTokens: contextTokens + maxTokens,
        })
        id = request.id
        outcome = await request.outcome
      } catch {
        // Never accepted: it costs more than a limit allows.
        return { status: 'failed', callMs: 0 }
      }
      const callMs = calls.get(id)?.callMs ?? 0
      calls.delete(id)
      const { status } = outcome
      return { status: status === 'completed' || status === 'degraded' ? status : 'failed', callMs }
    },
    close: () => gate.close(),
  }
}
