import type { Dispatcher } from '../../src/dispatch/dispatcher.js'
import type { GroupSpec, LimitSpec } from '../../src/limits/store.js'
import { virtualFleet } from './virtual-fleet.js'

const STAGE_MS = 60_000
const STAGES = [5, 2, 1, 5, 5]
const CALL_MS = [500, 900] as const
/** Until the provider has noticed that a call is over. */
const REFUSED_MS = 30
const BACKOFF_MS = 500
const PROCESSES = 4
const OUTSTANDING = 10
const ID = 'pool:glm:concurrency'

/**
 * A provider that moves its limit on calls in flight 5 → 2 → 1 → 5 without a word, a minute each, under a backlog of four
 * processes on a virtual clock: refusals in each stage, and the share of the true limit in use from a minute after the rise.
 */
export async function silentCeiling(): Promise<Record<string, number>> {
  const limit: LimitSpec = { id: ID, dimension: 'concurrency', limit: 5, windowMs: 0, holdMs: 200, adaptive: true }
  const spec: GroupSpec = { namespace: 'bench', group: 'glm', pools: ['glm'], limits: [limit], draws: [[0]] }
  const { clock, dispatchers, random } = virtualFleet(spec, PROCESSES)
  await clock.advanceAsync(10)
  const startMs = clock.now()
  const stageAt = () => Math.floor((clock.now() - startMs) / STAGE_MS)
  const refused = STAGES.map(() => 0)
  const busyMs = STAGES.map(() => 0)
  let inFlight = 0
  for (const dispatcher of dispatchers) for (let i = 0; i < OUTSTANDING; i++) ask(dispatcher)
  await clock.advanceAsync(STAGES.length * STAGE_MS)
  const last = STAGES.length - 1
  return {
    refusedAt5: refused[0]!,
    refusedAt2: refused[1]!,
    refusedAt1: refused[2]!,
    refusedAfterRise: refused[3]! + refused[4]!,
    useAfterRise: busyMs[last]! / (STAGES[last]! * STAGE_MS),
  }

  function ask(dispatcher: Dispatcher): void {
    dispatcher.request({
      line: undefined,
      cost: 0,
      at: 0,
      order: 0,
      pool: 0,
      flowKey: 'glm',
      tenant: 'default',
      tenantWeight: 1,
      classWeight: 2,
      draws: [0],
      tokens: 0,
      sinceMs: clock.now(),
      callTimeoutMs: 60_000,
      onRefused: () => {},
      onGrant: (grant) => {
        const stage = stageAt()
        if (!dispatcher.maySend(grant)) {
          dispatcher.settle(grant, { unsent: true })
          ask(dispatcher)
        } else if (inFlight >= (STAGES[stage] ?? 0)) {
          refused[stage] = (refused[stage] ?? 0) + 1
          clock.setTimeout(() => dispatcher.settle(grant, { cuts: [0] }), REFUSED_MS)
          clock.setTimeout(() => ask(dispatcher), REFUSED_MS + BACKOFF_MS * random())
        } else {
          inFlight++
          const callMs = CALL_MS[0] + random() * (CALL_MS[1] - CALL_MS[0])
          busyMs[stage] = (busyMs[stage] ?? 0) + callMs
          clock.setTimeout(() => {
            inFlight--
            dispatcher.settle(grant, {})
            ask(dispatcher)
          }, callMs)
        }
      },
    })
  }
}
