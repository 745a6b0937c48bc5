import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createHeadgate, type GateRequest, type Headgate } from '../../src/index.js'

/** A provider that says what the test tells it to, when it does. */
let server: Server
let calls: ServerResponse[] = []
let gate: Headgate

beforeEach(async () => {
  calls = []
  server = createServer((incoming, response) => {
    incoming.resume().on('end', () => calls.push(response))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const pool = { provider: 'openai-compatible', apiKey: 'any', baseURL, limits: { concurrency: 1 }, guardMs: 0 }
  gate = createHeadgate({
    cache: { coalesce: true },
    pools: { m: { ...pool, adaptive: false, queue: { maxActive: 2, maxQueued: 2 }, retry: { maxAttempts: 1 } } },
  })
})
afterEach(async () => {
  await gate.close()
  server.closeAllConnections()
  server.close()
})

const ask = (more: object = {}) =>
  gate.spawn({ pool: 'm', messages: [{ role: 'user', content: 'x' }], stream: true, ...more })
const callsToBe = (count: number) => expect.poll(() => calls.length).toBe(count)

function say(call: ServerResponse, content: string) {
  if (!call.headersSent) call.writeHead(200, { 'content-type': 'text/event-stream' })
  call.write(`data: ${JSON.stringify({ model: 'm', choices: [{ index: 0, delta: { content } }] })}\n\n`)
}

/** Reads a stream word by word. */
function wordsOf(request: GateRequest) {
  const chunks = request.chunks[Symbol.asyncIterator]()
  return {
    next: async () => (await chunks.next()).value?.choices[0]?.delta.content,
    leave: () => chunks.return?.(),
  }
}

describe('a streamed answer that several wait for', () => {
  test('reaches each as it comes, whoever joins when; each may do with it what he likes', async () => {
    const [leader, early] = [await ask(), await ask()]
    await callsToBe(1)
    say(calls[0]!, 'one')
    const [first, second] = [leader, early].map(wordsOf)
    expect([await first!.next(), await second!.next()]).toEqual(['one', 'one'])
    const late = await ask()
    expect(late.state).toBe('queued')
    expect(await late.stream!.started).toMatchObject({ via: 'cache', head: { status: 200 } })
    const chunk = (await late.chunks[Symbol.asyncIterator]().next()).value
    chunk!.choices[0]!.delta.content = 'changed'
    say(calls[0]!, 'two')
    expect([await first!.next(), await second!.next()]).toEqual(['two', 'two'])
    calls[0]!.end('data: [DONE]\n\n')
    expect([await first!.next(), await second!.next()]).toEqual([undefined, undefined])
    expect(await leader.outcome).not.toHaveProperty('via')
    expect(await early.outcome).toMatchObject({ status: 'completed', via: 'cache', attempts: 0 })
    expect(await late.outcome).toMatchObject({ status: 'completed', via: 'cache' })
    expect(calls).toHaveLength(1)
    const again = wordsOf(await ask())
    expect([await again.next(), await again.next(), await again.next()]).toEqual(['one', 'two', undefined])
  })

  test('goes on when the caller of its call leaves, and is cut when the last one does', async () => {
    const [leader, second, third] = [await ask(), await ask(), await ask()]
    await callsToBe(1)
    say(calls[0]!, 'one')
    const [own, other] = [leader, second].map(wordsOf)
    await own!.next()
    await own!.leave()
    expect(await leader.outcome).toMatchObject({ status: 'cancelled' })
    expect(await other!.next()).toBe('one')
    say(calls[0]!, 'two')
    expect(await other!.next()).toBe('two')
    expect(calls[0]!.closed).toBe(false)
    expect(gate.stats().pools.m).toMatchObject({ active: 0, states: { queued: 2 } })
    const cut = once(calls[0]!, 'close')
    second.cancel()
    third.cancel()
    await cut
    // The slot came back, and the question may be asked anew.
    const next = wordsOf(await ask())
    await callsToBe(2)
    say(calls[1]!, 'anew')
    expect(await next.next()).toBe('anew')
    await next.leave()
    await gate.drain()
  })

  test('that breaks ends for who has a part of it; nobody gets parts of two', async () => {
    const [leader, follower] = [await ask(), await ask({ stream: true })]
    await callsToBe(1)
    say(calls[0]!, 'one')
    const words = wordsOf(follower)
    expect(await words.next()).toBe('one')
    calls[0]!.destroy()
    await expect(words.next()).rejects.toMatchObject({ code: 'PROVIDER_ERROR' })
    expect(await leader.outcome).toMatchObject({ status: 'failed' })
    expect(await follower.outcome).toMatchObject({ status: 'failed', error: { code: 'PROVIDER_ERROR' }, attempts: 0 })
    await gate.drain()
    expect(calls).toHaveLength(1)
  })

  test('that grows too long to be kept still reaches who follows it; who is far behind is left', async () => {
    const [leader, follower, slow] = [await ask(), await ask(), await ask()]
    await callsToBe(1)
    const [own, other] = [leader, follower].map(wordsOf)
    const word = 'x'.repeat(300_000)
    for (let part = 0; part < 6; part++) {
      say(calls[0]!, word)
      expect(await own!.next()).toBe(word)
      expect(await other!.next()).toBe(word)
    }
    expect(await slow.outcome).toMatchObject({ status: 'failed', error: { code: 'OVERLOADED' } })
    calls[0]!.end('data: [DONE]\n\n')
    expect(await other!.next()).toBeUndefined()
    expect(await own!.next()).toBeUndefined()
    expect(await follower.outcome).toMatchObject({ status: 'completed', via: 'cache' })
    expect(gate.stats().cache).toMatchObject({ stored: 0 })
  })
})

test('a whole answer goes to those who wait, though the caller of its call left', async () => {
  const [leader, follower] = [await ask({ stream: false }), await ask({ stream: false })]
  await callsToBe(1)
  leader.cancel()
  await leader.outcome
  const answer = { choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }
  calls[0]!.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  expect(await follower.outcome).toMatchObject({ status: 'completed', via: 'cache', value: answer })
  expect(calls).toHaveLength(1)
})

test('a call that was left and fails is nobody’s answer: each then goes its own way', async () => {
  const [leader, follower] = [await ask(), await ask()]
  await callsToBe(1)
  leader.cancel()
  calls[0]!.writeHead(500).end('{}')
  await callsToBe(2)
  say(calls[1]!, 'own')
  calls[1]!.end('data: [DONE]\n\n')
  expect(await wordsOf(follower).next()).toBe('own')
  expect(await follower.outcome).toMatchObject({ status: 'completed', attempts: 1 })
})
