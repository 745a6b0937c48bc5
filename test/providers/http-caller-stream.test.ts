import type http from 'node:http'
import v8 from 'node:v8'
import { describe, expect, test } from 'vitest'
import type { StreamSink } from '../../src/providers/http-answer.js'
import { callerOf, closeOf, echo, inputOf, serve } from './http-harness.js'
import { Cut } from '../../src/request/cut.js'

/** Answers with a stream whose pieces are sent by hand. */
async function streaming(type = 'text/event-stream; charset=utf-8') {
  let arrive: (response: http.ServerResponse) => void = () => {}
  const response = new Promise<http.ServerResponse>((resolve) => {
    arrive = resolve
  })
  const server = await serve((request, answer) => {
    request.resume()
    if (request.url === '/echo') return echo(request, answer)
    answer.writeHead(200, { 'content-type': type })
    answer.flushHeaders()
    arrive(answer)
  })
  return { ...server, response }
}

/** Keeps what it gets, and is through with each piece when told. */
function sinkOf(write: (text: string) => Promise<void> = async () => {}) {
  const seen = { statuses: [] as number[], texts: [] as string[] }
  const sink: StreamSink = {
    open: ({ status }) => void seen.statuses.push(status),
    write: (text) => {
      seen.texts.push(text)
      return write(text)
    },
    end: (text) => void seen.texts.push(text),
  }
  return { sink, seen }
}

describe('a streamed answer', () => {
  test('goes to the sink, with characters whole wherever the bytes were cut; the response has no body', async () => {
    const { url, response } = await streaming()
    const { sink, seen } = sinkOf()
    const call = callerOf().call(inputOf(url, { sink }))
    const answer = await response
    for (const byte of Buffer.from('data: 你好\n')) answer.write(Buffer.from([byte]))
    answer.end()
    expect(await call).toMatchObject({ type: 'response', response: { status: 200, body: undefined } })
    expect(seen.texts.join('')).toBe('data: 你好\n')
    expect(seen.statuses).toEqual([200])
  })

  test('holds no more memory the more pieces it had', async () => {
    const { url, response } = await streaming()
    const { sink, seen } = sinkOf()
    const call = callerOf().call(inputOf(url, { sink }))
    const answer = await response
    const promisesAfter = async (pieces: number) => {
      while (seen.texts.length < pieces) {
        const before = seen.texts.length
        answer.write('data: x\n\n')
        while (seen.texts.length === before) await new Promise((resolve) => setImmediate(resolve))
      }
      return v8.queryObjects(Promise, { format: 'count' }) as unknown as number
    }
    const few = await promisesAfter(10)
    expect(await promisesAfter(1_010)).toBeLessThan(few + 500)
    answer.end()
    expect(await call).toMatchObject({ type: 'response' })
  })

  test('is read on only when the sink is through with what it has', async () => {
    const { url, host, response } = await streaming()
    const through: (() => void)[] = []
    const { sink, seen } = sinkOf(() => new Promise((resolve) => through.push(resolve)))
    const caller = callerOf()
    const call = caller.call(inputOf(url, { sink }))
    const answer = await response
    await new Promise((resolve) => answer.write('first', resolve))
    // More than undici's buffer and those of the sockets hold.
    for (let i = 0; i < 30; i++) answer.write('x'.repeat(1_000_000))
    answer.end()
    while (through.length === 0) await caller.call(inputOf(`http://${host}/echo`))
    for (let i = 0; i < 20; i++) await caller.call(inputOf(`http://${host}/echo`))
    expect(seen.texts).toHaveLength(1)
    expect(answer.writableFinished).toBe(false)
    const release = setInterval(() => through.shift()?.(), 0)
    expect(await call).toMatchObject({ type: 'response' })
    clearInterval(release)
    expect(seen.texts.join('').length).toBe('first'.length + 30_000_000)
  })

  test('a sink that throws ends the call and its socket', async () => {
    const { url, seen, response } = await streaming()
    const { sink } = sinkOf(() => Promise.reject(new Error('enough')))
    const call = callerOf().call(inputOf(url, { sink }))
    const answer = await response
    const closed = closeOf(seen.sockets[0]!)
    answer.write('data: x\n\n')
    expect(await call).toMatchObject({ type: 'failed', sent: true })
    await closed
  })

  test('a call that is stopped while its sink is busy ends with its socket', async () => {
    const { url, seen, response } = await streaming()
    const cut = new Cut()
    let reach: () => void = () => {}
    const reached = new Promise<void>((resolve) => {
      reach = resolve
    })
    const { sink } = sinkOf(() => {
      reach()
      return new Promise(() => {})
    })
    const call = callerOf().call(inputOf(url, { sink, cut }))
    const answer = await response
    const closed = closeOf(seen.sockets[0]!)
    answer.write('data: x\n\n')
    await reached
    cut.make()
    expect(await call).toMatchObject({ type: 'failed', sent: true, failure: { code: 'CANCELLED' } })
    await closed
  })

  test('that is cut in the middle is a failure', async () => {
    const { url, response } = await streaming()
    const { sink, seen } = sinkOf()
    const call = callerOf().call(inputOf(url, { sink }))
    const answer = await response
    answer.write('data: x\n\n', () => answer.socket!.destroy())
    expect(await call).toMatchObject({ type: 'failed', sent: true, failure: { class: 'NET', retryable: true } })
    expect(seen.texts.join('')).toMatch(/^(data: x\n\n)?$/)
  })

  test('an answer that is no event stream comes whole', async () => {
    const { url, response } = await streaming('application/json')
    const { sink, seen } = sinkOf()
    const call = callerOf().call(inputOf(url, { sink }))
    ;(await response).end('{"a":1}')
    expect(await call).toMatchObject({ type: 'response', response: { body: { a: 1 } } })
    expect(seen.statuses).toEqual([])
  })
})
