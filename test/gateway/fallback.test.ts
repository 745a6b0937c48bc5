import { expect, test } from 'vitest'
import { COMPLETION, MESSAGES, reply, startGateway, upstreamOf } from './harness.js'

const REFUSED = { error: { code: '1302', message: 'too many' } }
const KEY = 'key-of-the-fallback-0123456789'

/** Two upstreams: the pool's own always refuses, its fallback answers as told. */
async function twoPools(...answer: Parameters<typeof upstreamOf>) {
  const own = await upstreamOf((received) => reply(received, 429, REFUSED))
  const other = await upstreamOf(...answer)
  const deep = { provider: 'deepseek', apiKey: KEY, baseURL: other.baseURL, models: ['deepseek-chat'], guardMs: 5 }
  const gateway = await startGateway(own, {
    pool: { fallback: ['deep'] },
    pools: { deep: { ...deep, retry: { maxAttempts: 1 } } },
  })
  return { own, other, gateway }
}
const ASK = { model: 'glm-4', messages: MESSAGES, top_p: 0.5 }

test("the fallback's status and body, and headers that say so", async () => {
  const { gateway, other } = await twoPools((received) => reply(received, 202, COMPLETION))
  const response = await gateway.chat(ASK, { 'openai-organization': 'org-of-the-first' })
  expect(response.status).toBe(202)
  expect(await response.json()).toEqual(COMPLETION)
  const header = (name: string) => response.headers.get(`x-headgate-${name}`)
  expect([header('outcome'), header('via'), header('attempts')]).toEqual(['degraded', 'fallback', '2'])
  const [{ body, headers }] = other.received as [(typeof other.received)[number]]
  expect(body).toEqual({ ...ASK, model: 'deepseek-chat' })
  expect([headers.authorization, headers['openai-organization']]).toEqual([`Bearer ${KEY}`, undefined])
  await gateway.close()
  expect(gateway.log.requests()).toMatchObject([{ outcome: 'degraded', via: 'fallback', httpStatus: 202 }])
})

test('a stream from the fallback', async () => {
  const chunk = { ...COMPLETION, object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'hi' } }] }
  const { gateway } = await twoPools(({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`)
  })
  const response = await gateway.chat({ ...ASK, stream: true })
  expect([response.status, response.headers.get('x-headgate-via')]).toEqual([200, 'fallback'])
  expect(response.headers.get('x-headgate-outcome')).toBe('degraded')
  expect(await response.text()).toBe(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`)
})

test('a stream that breaks off in the fallback ends with an error, which quotes no key', async () => {
  const { gateway } = await twoPools(({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(`data: ${JSON.stringify({ ...COMPLETION, choices: [] })}\n\n`)
    response.end(`data: ${JSON.stringify({ error: { message: `Bearer ${KEY} broke`, code: 'x' } })}\n\n`)
  })
  const texts = await (await gateway.chat({ ...ASK, stream: true })).text()
  expect(texts.split('\n\n')).toHaveLength(3)
  expect(texts).toMatch(/data: \{"error":\{"message":".*broke/)
  expect(texts).not.toContain(KEY)
})

test('who asks for no stand-in gets the error', async () => {
  const { gateway, other } = await twoPools((received) => reply(received, 200, COMPLETION))
  const response = await gateway.chat(ASK, { 'x-headgate-degrade': 'false' })
  expect(response.status).toBe(429)
  expect(await response.json()).toEqual(REFUSED)
  expect(other.received).toHaveLength(0)
  const wrong = await gateway.chat(ASK, { 'x-headgate-degrade': 'no' })
  expect(wrong.status).toBe(400)
  expect(await wrong.json()).toMatchObject({
    error: { message: 'x-headgate-degrade: expected true or false, got "no"' },
  })
})

test.each([{}, { stream: true }])(
  'a pool that pauses for long, and nothing else to go to %j: 429 at once',
  async (more) => {
    const upstream = await upstreamOf((received) =>
      reply(received, 429, { error: { code: '1113', message: 'no money' } }),
    )
    const gateway = await startGateway(upstream)
    const first = await gateway.chat({ ...ASK, ...more })
    expect([first.status, first.headers.get('retry-after')]).toEqual([429, '300'])
    const next = await gateway.chat({ ...ASK, ...more })
    expect([next.status, next.headers.get('x-headgate-attempts')]).toEqual([429, '0'])
    expect(Number(next.headers.get('retry-after'))).toBeGreaterThan(290)
    expect(await next.json()).toMatchObject({ error: { type: 'rate_limit_error', code: 'rate_limited' } })
    expect(upstream.received).toHaveLength(1)
  },
)

test('a deadline that can’t be made: 504 at once, with the time to come back', async () => {
  const upstream = await upstreamOf((received) =>
    reply(received, 429, { error: { code: '1113', message: 'no money' } }),
  )
  const gateway = await startGateway(upstream)
  await gateway.chat()
  const late = await gateway.chat(undefined, { 'x-headgate-deadline': '10s' })
  expect(late.status).toBe(504)
  // As soon as it would be 10 s again: the pool pauses for five minutes.
  expect(Number(late.headers.get('retry-after'))).toBeGreaterThan(200)
  expect(await late.json()).toMatchObject({ error: { code: 'deadline_exceeded' } })
})

test.each([{}, { stream: true }])('… or the degraded message at once, where there is one (%j)', async (more) => {
  const upstream = await upstreamOf((received) =>
    reply(received, 429, { error: { code: '1113', message: 'no money' } }),
  )
  const gateway = await startGateway(upstream, { pool: { degradedMessage: 'busy' } })
  await gateway.chat()
  const answer = await gateway.chat({ ...ASK, ...more }, { 'x-headgate-deadline': '10s' })
  const { status, headers } = answer
  expect([status, headers.get('x-headgate-outcome'), headers.get('x-headgate-via')]).toEqual([
    200,
    'degraded',
    'message',
  ])
  expect(await answer.text()).toContain('busy')
  const without = await gateway.chat(ASK, { 'x-headgate-deadline': '10s', 'x-headgate-degrade': 'false' })
  expect(without.status).toBe(504)
  expect(upstream.received).toHaveLength(1)
})
