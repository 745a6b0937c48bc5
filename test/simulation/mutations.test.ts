import { describe, expect, it } from 'vitest'
import { MUTATIONS } from './mutations.js'
import { planOf, runPlan } from './run.js'

/** Seeds in which a defect must show up at the latest. */
const SEEDS = 12

describe('the simulation sees each defect that is put in on purpose', () => {
  for (const { name, invariant, faults, options } of MUTATIONS) {
    it(`${name}: invariant ${invariant}`, async () => {
      const seen = new Set<number>()
      for (let seed = 1; seed <= SEEDS && !seen.has(invariant); seed++) {
        const { violations } = await runPlan(planOf(seed, faults), options())
        for (const violation of violations) seen.add(violation.invariant)
      }
      expect([...seen]).toContain(invariant)
    })
  }
})
