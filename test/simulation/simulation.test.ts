import { describe, expect, it } from 'vitest'
import { MUTATIONS } from './mutations.js'
import { planOf, runPlan } from './run.js'
import { shrink } from './shrink.js'
import { timeline } from './timeline.js'

/** As many of these as fit into the time: a slow machine must not fail for being slow. */
const SEEDS = 300
const AT_LEAST = 40
const TIME_MS = 25_000

describe('the simulation', () => {
  it('finds no violation in a fixed range of seeds, all faults on', async () => {
    const endMs = performance.now() + TIME_MS
    for (let seed = 1; seed <= SEEDS && (seed <= AT_LEAST || performance.now() < endMs); seed++) {
      const { violations } = await runPlan(planOf(seed))
      expect(violations.slice(0, 3), `node scripts/simulate.mjs --seed ${seed}`).toEqual([])
    }
  }, 240_000)

  it.each([
    [47772, 'a limit that is lowered while learning, and raised again'],
    [41866, 'a process on its floor while the clock jumps'],
    [70115, 'a process on its floor while the state is lost'],
    [72304, 'a lost tail with the return of a process in it'],
    [75904, 'a clock that is set back, then a loss of state'],
    [100347, 'a first batch that comes twice, the second time after its process took a new id'],
    [102166, 'a share that is set aside until long after the clock jumped'],
    [203598, 'a process that was away while the clock jumped over a whole window'],
    [400267, 'a call that outlives its process and a jump of the clock'],
    [300272, 'a slot handed on by the word of a reply that was older than a cool-down'],
    [509438, 'a clock that is set back by less than a slow reply is on its way'],
    [920270, 'a provider that notices at the guard’s end that a call was cut, and a timer that rings early'],
    [808234, 'slots of a process that died while something waited there, held for longer than the run went on'],
    [101650, 'a failover, after which one comes first that misses nothing'],
  ])('seed %d, that once failed: %s', async (seed) => {
    expect((await runPlan(planOf(seed))).violations.slice(0, 3)).toEqual([])
  })

  it('is as large as it should be: 60 virtual seconds, 3 processes, 300 requests, 5 faults', async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const plan = planOf(seed)
      expect(plan.processes).toBeGreaterThanOrEqual(3)
      expect(plan.requests.length).toBeGreaterThanOrEqual(300)
      expect(plan.faults.length).toBeGreaterThanOrEqual(5)
      expect(plan.healMs).toBeGreaterThanOrEqual(60_000)
    }
  })

  it('replays a seed exactly', async () => {
    for (const seed of [3, 11, 19]) {
      const first = await runPlan(planOf(seed), { keepTrace: true })
      const second = await runPlan(planOf(seed), { keepTrace: true })
      expect(second.lines).toEqual(first.lines)
      expect(second.digest).toBe(first.digest)
    }
  })

  it('shrinks a failing schedule and tells its story', async () => {
    const { options } = MUTATIONS.find(({ name }) => name === 'slots that are freed twice')!
    const plan = planOf(6)
    const { plan: small, result } = await shrink(plan, (its) => runPlan(its, { ...options(), keepTrace: true }), 60)
    expect(result.violations[0]?.invariant).toBe(3)
    expect(small.requests.length).toBeLessThan(plan.requests.length / 4)
    expect(small.faults).toEqual([])
    const story = timeline(small, result)
    expect(story).toContain('violates invariant 3')
    expect(story.split('\n').length).toBeLessThan(450)
  })
})
