import { describe, expect, test } from 'vitest'
import { startFleet, TIMEOUT_MS } from './fleet.js'
import type { GateProcess } from './process.js'
import { until } from './until.js'

const FOLLOWERS = 5
const LIMITS = { concurrency: 8 }

/** Processes that ask the same question: the first calls the provider, which does not answer; all others wait for it. */
async function followersOfOne(context: Parameters<typeof startFleet>[0], processes: number, hung: number) {
  const fleet = await startFleet(context, { processes, limits: LIMITS, cache: { store: 'redis', coalesce: true } })
  const { provider } = fleet
  provider.hangNext(hung)
  const [leader, ...others] = fleet.processes
  await leader!.spawn(1 + FOLLOWERS)
  await until('the call', () => provider.log.length === 1)
  await Promise.all(others.map((process) => process.spawn(FOLLOWERS)))
  const question = (await fleet.admin.keys('headgate:answering:*'))[0]!
  await until('each to listen for its end', async () => {
    const heard = (await fleet.admin.pubsub('NUMSUB', question)) as [string, number]
    return heard[1] === others.length
  })
  expect(provider.log).toHaveLength(1)
  return { ...fleet, leader: leader!, others }
}

/** Each request got one answer. */
async function expectOneAnswerEach(processes: readonly GateProcess[]) {
  await until('all answers', () => processes.every(({ unended }) => unended === 0))
  const ends = processes.flatMap((process) => [...process.ends.values()])
  expect(ends).toEqual(Array.from({ length: processes.length * FOLLOWERS }, () => ['completed']))
}

describe.concurrent('a call that several processes share', { timeout: TIMEOUT_MS }, () => {
  test('whose process is killed is made anew by one of those who wait, and answers all of them', async (context) => {
    const { leader, others, provider } = await followersOfOne(context, 3, 1)
    await leader.kill()
    await expectOneAnswerEach(others)
    expect(provider.log.map(({ status }) => status)).toEqual([499, 200])
  })

  test('… and again, when that one is killed too', async (context) => {
    const { leader, others, provider } = await followersOfOne(context, 3, 2)
    await leader.kill()
    await until('a second call', () => provider.log.length === 2)
    const calling = others.find(({ accepted }) => accepted.has(provider.log[1]!.id!))!
    await calling.kill()
    await expectOneAnswerEach(others.filter((process) => process !== calling))
    expect(provider.log.map(({ status }) => status)).toEqual([499, 499, 200])
  })
})
