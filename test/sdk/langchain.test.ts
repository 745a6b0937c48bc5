// The real LangChain.js: its OpenAI client on a governed fetch.
import { tool } from '@langchain/core/tools'
import { ChatOpenAI } from '@langchain/openai'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { PoolOptions } from '../../src/config.js'
import { createHeadgate } from '../../src/index.js'
import { COMPLETION, cleanups, reply, simulatorOf, upstreamOf } from '../gateway/harness.js'

function chatOf({ baseURL }: { baseURL: string }, pool: Partial<PoolOptions> = {}, maxRetries = 0) {
  const retry = { maxAttempts: 2, baseMs: 1, capMs: 2 }
  const main = { provider: 'glm', apiKey: 'k', baseURL, guardMs: 5, retry, ...pool }
  const gate = createHeadgate({ pools: { main } })
  cleanups.push(() => gate.close())
  const configuration = { fetch: gate.fetch('main') }
  return { gate, chat: new ChatOpenAI({ model: 'glm-4', apiKey: 'any', maxRetries, maxTokens: 20, configuration }) }
}

describe('ChatOpenAI', () => {
  test('invokes, with the retries of the gate', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302')
    const { chat, gate } = chatOf(simulator)
    const { content, usage_metadata } = await chat.invoke('hello')
    expect(content).toBe('word '.repeat(20).trim())
    expect(usage_metadata).toMatchObject({ output_tokens: 20 })
    expect(gate.stats().pools.main).toMatchObject({ outcomes: { completed: 1 }, provider429: { '1302': 1 } })
  })

  test('is warned of, once, where it retries on its own, which no header says', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1305', 4)
    const { chat, gate } = chatOf(simulator, {}, 1)
    const warnings: string[] = []
    const listen = ({ message }: Error) => warnings.push(message)
    process.on('warning', listen)
    cleanups.push(() => process.off('warning', listen))
    await chat.invoke('another').catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))
    expect(gate.stats().pools.main!.outcomes.failed).toBeGreaterThan(0)
    expect(warnings).toEqual([expect.stringContaining('maxRetries')])
  })

  test('is not warned of where it sends something again that was answered', async () => {
    const { chat } = chatOf(await simulatorOf(), {}, 1)
    const warnings: Error[] = []
    const listen = (warning: Error) => warnings.push(warning)
    process.on('warning', listen)
    cleanups.push(() => process.off('warning', listen))
    for (const _ of [1, 2]) await chat.invoke('hello')
    await new Promise((resolve) => setImmediate(resolve))
    expect(warnings).toEqual([])
  })

  test.each(['glm', 'openai'] as const)('streams from %s', async (profile) => {
    const { chat } = chatOf(await simulatorOf({ profile }), { provider: profile })
    let text = ''
    for await (const { content } of await chat.stream('hello')) text += content
    expect(text).toBe('word '.repeat(20))
  })

  test('a batch is kept within the limit', async () => {
    const simulator = await simulatorOf({ concurrency: 2 })
    const { chat } = chatOf(simulator, { limits: { concurrency: 2 }, adaptive: false })
    expect(await chat.batch(Array.from({ length: 8 }, () => 'hello'))).toHaveLength(8)
    // Beyond 2 in flight the simulator refuses.
    expect(simulator.report()).toMatchObject({ requests: 8, accepted: 8, errorsByCode: {} })
  })

  test('calls tools', async () => {
    const call = { id: 'call-1', type: 'function', function: { name: 'now', arguments: '{"zone":"UTC"}' } }
    const message = { role: 'assistant', content: null, tool_calls: [call] }
    const choices = [{ index: 0, message, finish_reason: 'tool_calls' }]
    const upstream = await upstreamOf((received) => reply(received, 200, { ...COMPLETION, choices }))
    const { chat } = chatOf(upstream)
    const now = tool(async () => '12:00', {
      name: 'now',
      description: 'the time',
      schema: z.object({ zone: z.string() }),
    })
    const { tool_calls } = await chat.bindTools([now]).invoke('what time is it?')
    expect(tool_calls).toMatchObject([{ name: 'now', args: { zone: 'UTC' } }])
    expect(upstream.received[0]!.body.tools).toMatchObject([{ function: { name: 'now' } }])
  })

  test('an abort cuts the call', async () => {
    const upstream = await upstreamOf()
    const { chat, gate } = chatOf(upstream)
    const controller = new AbortController()
    const call = chat.invoke('hello', { signal: controller.signal })
    const { closed } = await upstream.arrival(0)
    controller.abort()
    await expect(call).rejects.toThrow(/abort/i)
    await closed
    expect(gate.stats().pools.main!.outcomes.cancelled).toBe(1)
  })
})
