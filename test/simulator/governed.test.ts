import { expect, onTestFinished, test } from 'vitest'
import { createHeadgate } from '../../src/headgate.js'
import { PROFILE_NAMES } from '../../src/testing/index.js'
import { start } from './harness.js'

test.each(PROFILE_NAMES)('a gate calls %s through its profile: path, key, answer, usage, and a retry', async (name) => {
  const simulator = await start(name)
  const gate = createHeadgate({
    pools: {
      p: {
        provider: name,
        apiKey: 'key',
        baseURL: simulator.baseURL,
        limits: { requests: '10/1m', tokens: '1000/1m', concurrency: 2 },
        retry: { baseMs: 1, capMs: 1 },
      },
    },
  })
  onTestFinished(() => gate.close())
  const outcome = async () => {
    const request = await gate.spawn({
      pool: 'p',
      model: 'm',
      messages: [{ role: 'user', content: '你好' }],
      maxTokens: 4,
    })
    return request.outcome
  }
  expect(await outcome()).toMatchObject({ status: 'completed', attempts: 1, usage: { totalTokens: 6 } })
  simulator.failNext(name === 'anthropic' ? 'api_error' : '500')
  expect(await outcome()).toMatchObject({ status: 'completed', attempts: 2 })
  expect(simulator.log.map(({ status }) => status)).toEqual([200, expect.any(Number), 200])
})
