import { expect, test } from 'vitest'
import { resolveConfig } from '../../src/config.js'
import { planGroups } from '../../src/limits/plan.js'
import { operationsOf } from '../../src/observe/monitoring/operation.js'
import { judgeStanding, standingsOf } from '../../src/surfaces/cli/doctor/limits.js'

const config = resolveConfig({ pools: { glm: { provider: 'glm', limits: { concurrency: 5 } } } })
const groups = planGroups(config)
const { spec } = groups[0]!

/** What the store says of the pool's one limit. */
function usageOf(ceiling: number, proven: number, reserved = 0) {
  const limits = [{ id: 'pool:glm:concurrency', used: 3, limit: 5, ceiling, proven, reserved }]
  return { nowMs: 0, limits, processes: {}, pausedUntilMs: {} }
}
const shown = (...its: Parameters<typeof usageOf>) => operationsOf(groups, [usageOf(...its)]).get('glm')?.limits[0]
const judged = (...its: Parameters<typeof usageOf>) =>
  standingsOf(config, [{ spec, usage: usageOf(...its), configuredOtherwise: 0 }]).flatMap(judgeStanding)[0]

test('monitoring tells of a lowered ceiling, of a probe and of what is reserved, each only where there is one', () => {
  expect(shown(5, 5)).toEqual({ id: 'pool:glm:concurrency', kind: 'concurrency', limit: 5, used: 3 })
  expect(shown(4, 4, 2)).toMatchObject({ ceiling: 4, reserved: 2 })
  expect(shown(4, 4)).not.toHaveProperty('proven')
  expect(shown(4, 3)).toMatchObject({ ceiling: 4, proven: 3 })
})

test('doctor names what was refused, not what a probe under way asks for', () => {
  expect(judged(4, 4)?.said).toBe('configured 5 in flight, the provider refused more than 4')
  expect(judged(4, 3)).toMatchObject({
    said: 'configured 5 in flight, the provider refused more than 3',
    advice: expect.stringContaining('set concurrency: 3;'),
  })
  // The probe of the configured limit itself.
  expect(judged(5, 4)?.status).toBe('warning')
  expect(judged(5, 5)?.status).toBe('ok')
})
