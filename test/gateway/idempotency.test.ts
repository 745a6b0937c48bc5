import { describe, expect, test } from 'vitest'
import { type Answer, type AnswerTexts, HUNG_UP } from '../../src/http/openai-error.js'
import { Repeats } from '../../src/surfaces/gateway/idempotency.js'
import { COMPLETION, type Gateway, MESSAGES, reply, startGateway, upstreamOf } from './harness.js'

const CHAT = { model: 'glm-4', messages: MESSAGES }
const KEY = { 'idempotency-key': 'k1' }
const CHUNK = 'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'

describe('a repeated request', () => {
  test('gets the same answer, and its provider no second call', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, COMPLETION))
    const gateway = await startGateway(upstream)
    const answers = [await gateway.chat(CHAT, KEY), await gateway.chat(CHAT, KEY)]
    const ids = answers.map(({ headers }) => headers.get('x-headgate-request-id'))
    expect(ids[1]).toBe(ids[0])
    for (const answer of answers) expect(await answer.json()).toEqual(COMPLETION)
    expect(upstream.received).toHaveLength(1)
    expect(gateway.log.requests()).toMatchObject([{ outcome: 'completed' }, { outcome: 'completed', repeated: true }])
  })

  test('shares the call that is still running', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const answers = [gateway.chat(CHAT, KEY), gateway.chat(CHAT, KEY)]
    const received = await upstream.arrival(0)
    await arrived(gateway)
    reply(received, 200, COMPLETION)
    for (const answer of answers) expect(await (await answer).json()).toEqual(COMPLETION)
    expect(upstream.received).toHaveLength(1)
  })

  test('shares a stream, from its beginning, and has it again when it is over', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const stream = { ...CHAT, stream: true }
    const first = gateway.chat(stream, KEY)
    const { response } = await upstream.arrival(0)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(CHUNK)
    const reader = (await first).body!.getReader()
    await reader.read()
    const second = await gateway.chat(stream, KEY)
    response.end('data: [DONE]\n\n')
    const whole = `${CHUNK}data: [DONE]\n\n`
    expect(await second.text()).toBe(whole)
    await gateway.chat(stream, KEY).then(async (third) => expect(await third.text()).toBe(whole))
    expect(upstream.received).toHaveLength(1)
  })

  test('of a stream that has answered more than is kept: 409, until it is over', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const stream = { ...CHAT, stream: true }
    const first = gateway.chat(stream, KEY)
    const { response } = await upstream.arrival(0)
    const part = `data: {"choices":[],"pad":"${'x'.repeat(1_000_000)}"}\n\n`
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let i = 0; i < 5; i++) response.write(part)
    const reader = (await first).body!.getReader()
    for (let bytes = 0; bytes < 5 * part.length; ) bytes += (await reader.read()).value!.length
    const late = await gateway.chat(stream, KEY)
    expect(late.status).toBe(409)
    expect(await late.json()).toMatchObject({ error: { code: 'idempotency_key_in_use', param: 'idempotency-key' } })
    response.end('data: [DONE]\n\n')
    const { value } = await reader.read()
    expect(Buffer.from(value!).toString()).toBe('data: [DONE]\n\n')
    const again = gateway.chat(stream, KEY)
    ;(await upstream.arrival(1)).response
      .writeHead(200, { 'content-type': 'text/event-stream' })
      .end(`${CHUNK}data: [DONE]\n\n`)
    expect((await again).status).toBe(200)
  })

  test('goes on for who stays when the other hangs up', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const controller = new AbortController()
    const leaving = gateway.chat(CHAT, KEY, controller.signal)
    const received = await upstream.arrival(0)
    const staying = gateway.chat(CHAT, KEY)
    await arrived(gateway)
    controller.abort()
    await expect(leaving).rejects.toThrow('aborted')
    reply(received, 200, COMPLETION)
    expect((await staying).status).toBe(200)
    expect(upstream.received).toHaveLength(1)
  })

  test('is cut when the last one hangs up, and made anew for the next', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const controller = new AbortController()
    const leaving = gateway.chat(CHAT, KEY, controller.signal)
    const { closed } = await upstream.arrival(0)
    controller.abort()
    await expect(leaving).rejects.toThrow('aborted')
    await closed
    const next = gateway.chat(CHAT, KEY)
    reply(await upstream.arrival(1), 200, COMPLETION)
    expect((await next).status).toBe(200)
  })

  test('after a failure, or a message in place of an answer, is tried again', async () => {
    const upstream = await upstreamOf((received) => reply(received, 500, { error: { code: '500', message: 'no' } }))
    for (const pool of [{}, { degradedMessage: 'busy' }]) {
      const gateway = await startGateway(upstream, { pool })
      for (const _ of [1, 2]) await (await gateway.chat(CHAT, KEY)).text()
    }
    expect(upstream.received).toHaveLength(4)
  })

  test('with another body: 422', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, COMPLETION))
    const gateway = await startGateway(upstream)
    await gateway.chat(CHAT, KEY)
    const response = await gateway.chat({ ...CHAT, temperature: 1 }, KEY)
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({ error: { code: 'idempotency_key_reused' } })
  })

  test('of another caller or tenant, or under another key, is another request', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, COMPLETION))
    const gateway = await startGateway(upstream, { env: { HEADGATE_API_KEYS: 'one,two' } })
    const authorization = 'Bearer one'
    for (const headers of [
      { ...KEY, authorization },
      { ...KEY, authorization: 'Bearer two' },
      { ...KEY, authorization, 'x-headgate-tenant': 'web' },
      { 'idempotency-key': 'k2', authorization },
    ]) {
      expect((await gateway.chat(CHAT, headers)).status).toBe(200)
    }
    expect(upstream.received).toHaveLength(4)
  })

  test('under a key of too many characters, or without a body: 400', async () => {
    const gateway = await startGateway(await upstreamOf())
    expect((await gateway.chat(CHAT, { 'idempotency-key': 'x'.repeat(256) })).status).toBe(400)
    expect((await gateway.chat('{', KEY)).status).toBe(400)
  })
})

/** Whatever was sent before has been read: one more request went there and back behind it. */
async function arrived({ url }: Gateway): Promise<void> {
  for (let i = 0; i < 5; i++) await fetch(`${url}/healthz`).then((response) => response.text())
}

describe('what is remembered', () => {
  function repeats(options: { ttlMs?: number; maxChars?: number }) {
    const clock = { nowMs: 0 }
    const memory = new Repeats({ now: () => clock.nowMs, ...options })
    let made = 0
    const ask = async (id: string, more: Partial<Answer> = {}) => {
      const answer = { status: 200, body: 'x'.repeat(10), headers: {}, log: { outcome: 'completed' }, ...more }
      const { signal } = new AbortController()
      const make = async () => {
        made++
        return answer
      }
      await memory.answer({ id, digest: 'd', signal, make })
      // Keeping it comes after the answer.
      await new Promise((resolve) => setImmediate(resolve))
      return made
    }
    return { clock, ask, memory }
  }

  test('is forgotten after its time', async () => {
    const { clock, ask } = repeats({ ttlMs: 100 })
    expect(await ask('a')).toBe(1)
    clock.nowMs = 99
    expect(await ask('a')).toBe(1)
    clock.nowMs = 100
    expect(await ask('a')).toBe(2)
  })

  test('has a size: the oldest goes first', async () => {
    const { ask } = repeats({ maxChars: 25 })
    for (const id of ['a', 'b', 'c']) await ask(id)
    expect(await ask('b')).toBe(3)
    expect(await ask('a')).toBe(4)
  })

  test('is nothing that is larger than an answer should be', async () => {
    const { ask } = repeats({})
    const body = 'x'.repeat(4 * 1024 * 1024 + 1)
    await ask('a', { body })
    expect(await ask('a', { body })).toBe(2)
  })

  test('is a stream that ended, whoever left before reading it to its end', async () => {
    const { memory } = repeats({})
    let made = 0
    const make = async (): Promise<Answer> => {
      made++
      const texts = (async function* () {
        yield* ['one', 'two']
      })()
      const ended = Promise.resolve({ outcome: 'completed' })
      return { status: 200, body: { texts, cancel: () => {}, ended }, headers: {}, log: {} }
    }
    const ask = async () => {
      const { body } = await memory.answer({ id: 'a', digest: 'd', signal: new AbortController().signal, make })
      return body as AnswerTexts
    }
    const { cancel } = await ask()
    await new Promise((resolve) => setImmediate(resolve))
    cancel()
    const heard: string[] = []
    for await (const text of (await ask()).texts) heard.push(text)
    expect(heard).toEqual(['one', 'two'])
    expect(made).toBe(1)
  })

  test('who hangs up before the answer gets none', async () => {
    const { memory } = repeats({})
    const controller = new AbortController()
    let answerIt: (answer: Answer) => void = () => {}
    const make = () =>
      new Promise<Answer>((resolve) => {
        answerIt = resolve
      })
    const gone = memory.answer({ id: 'a', digest: 'd', signal: controller.signal, make })
    const { signal } = new AbortController()
    const stays = memory.answer({ id: 'a', digest: 'd', signal, make })
    controller.abort()
    const answer = { status: 200, body: '{}', headers: {}, log: { outcome: 'completed' } }
    answerIt(answer)
    expect(await gone).toBe(HUNG_UP)
    expect(await stays).toMatchObject({ status: 200 })
  })
})

test('a body that is nested too deep to be sent is refused with a key as without', async () => {
  const gateway = await startGateway(await upstreamOf())
  const deep = `{"model":"glm-4","messages":[{"role":"user","content":"hi"}],"metadata":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
  for (const headers of [undefined, KEY]) {
    const response = await gateway.chat(deep, headers)
    expect([response.status, await response.json()]).toMatchObject([400, { error: { code: 'bad_request' } }])
  }
})
