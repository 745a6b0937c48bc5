import { describe, expect, test } from 'vitest'
import { glm } from '../../src/providers/glm.js'
import { openai } from '../../src/providers/openai-compatible.js'
import type { Provider } from '../../src/providers/provider.js'
import { Cut } from '../../src/request/cut.js'
import { type CallEnd, functionWork, type RunContext } from '../../src/request/work.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

const TIMEOUT_MS = 5_000

/** One call of a function that ends when the test says so. */
function callOf(provider: Provider = glm, { timeoutMs = TIMEOUT_MS, maySend = true } = {}) {
  const clock = new VirtualClock()
  const cut = new Cut()
  const contexts: RunContext[] = []
  let resolve: (value: unknown) => void = () => {}
  let reject: (error: unknown) => void = () => {}
  const work = functionWork({ name: 'glm', provider }, clock, (context) => {
    contexts.push(context)
    return new Promise((onValue, onError) => {
      resolve = onValue
      reject = onError
    })
  })
  const seen = { end: undefined as CallEnd | undefined, over: false }
  const call = work
    .call({
      requestId: 'r1',
      attempt: 3,
      callTimeoutMs: timeoutMs,
      cut,
      maySend: () => maySend,
      begin: () => {},
    })
    .then(async (end) => {
      seen.end = end
      if (end.type !== 'failed' || !end.over) return
      await end.over
      seen.over = true
    })
  return {
    clock,
    cut,
    contexts,
    seen,
    call,
    resolve: (value: unknown) => resolve(value),
    reject: (error: unknown) => reject(error),
    settle: () => clock.advanceAsync(0),
  }
}

async function thrown(error: unknown, provider: Provider = glm): Promise<Extract<CallEnd, { type: 'failed' }>> {
  const { reject, call, seen } = callOf(provider)
  reject(error)
  await call
  if (seen.end?.type !== 'failed') throw new Error('expected a failure')
  return seen.end
}

/** As the openai SDK throws: an Error with the status, the headers and the body's `error`. */
class APIError extends Error {
  readonly code: unknown
  readonly type: unknown

  constructor(
    readonly status: number | undefined,
    readonly error: Record<string, unknown> | undefined,
    readonly headers: Headers | undefined,
  ) {
    super(`${status} ${error?.message ?? 'status code (no body)'}`)
    this.code = error?.code
    this.type = error?.type
  }
}

describe('functionWork', () => {
  test('calls the function in the same turn, with its attempt and a signal', async () => {
    const { contexts, resolve, call, seen, clock } = callOf()
    expect(contexts.map(({ attempt, signal }) => [attempt, signal.aborted])).toEqual([[3, false]])
    resolve(42)
    await call
    expect(seen.end).toEqual({ type: 'completed', value: 42, usage: undefined })
    expect(clock.pendingTimers).toBe(0)
  })

  test('without permission it is not called', async () => {
    const { contexts, call, seen, clock } = callOf(glm, { maySend: false })
    await call
    expect(seen.end).toEqual({ type: 'unsent' })
    expect(contexts).toEqual([])
    expect(clock.pendingTimers).toBe(0)
  })

  test('a function that throws before it returns a promise failed like any other', async () => {
    const error = new RangeError('at once')
    const work = functionWork({ name: 'glm', provider: glm }, new VirtualClock(), () => {
      throw error
    })
    const end = await work.call({
      requestId: 'r1',
      attempt: 1,
      callTimeoutMs: 1,
      cut: new Cut(),
      maySend: () => true,
      begin: () => {},
    })
    expect(end).toMatchObject({ type: 'failed', sent: 'whole', failure: { class: 'UNKNOWN', cause: error } })
  })

  test('an abort ends the call at once and reaches the function; the slot stays until the function settles', async () => {
    const { cut, contexts, seen, resolve, settle, clock } = callOf()
    cut.make()
    expect(contexts[0]!.signal.aborted).toBe(true)
    await settle()
    expect(seen.end).toMatchObject({
      type: 'failed',
      sent: 'cut',
      failure: { code: 'CANCELLED', retryable: false, mendable: false },
    })
    await clock.advanceAsync(TIMEOUT_MS - 1)
    expect(seen.over).toBe(false)
    resolve('too late')
    await settle()
    expect(seen.over).toBe(true)
    expect(seen.end!.type).toBe('failed')
    expect(clock.pendingTimers).toBe(0)
  })

  test('who asks for the signal early hears of the cut, who asks late finds it made, and a copy of the context has it', () => {
    const { cut, contexts } = callOf()
    const [context] = contexts as [RunContext]
    const early = { ...context }.signal
    let aborts = 0
    early.addEventListener('abort', () => aborts++)
    cut.make()
    cut.make()
    expect(aborts).toBe(1)
    expect(context.signal).toBe(early)

    const late = new Cut()
    late.make()
    expect(late.signal.aborted).toBe(true)
  })

  test('aborted and rejecting it gives the slot back just the same', async () => {
    const { cut, seen, reject, settle, clock } = callOf()
    cut.make()
    reject(new Error('AbortError'))
    await settle()
    expect(seen).toMatchObject({ over: true, end: { sent: 'cut', failure: { code: 'CANCELLED' } } })
    expect(clock.pendingTimers).toBe(0)
  })

  test('aborted and deaf to it, it keeps the slot until its time is up', async () => {
    const { cut, seen, clock } = callOf()
    await clock.advanceAsync(1_000)
    cut.make()
    await clock.advanceAsync(TIMEOUT_MS - 1_001)
    expect(seen.over).toBe(false)
    await clock.advanceAsync(1)
    expect(seen.over).toBe(true)
    expect(seen.end).toMatchObject({ failure: { code: 'CANCELLED' } })
  })

  test('its time up: TIMEOUT, retryable, the function aborted, the slot back', async () => {
    const { contexts, seen, resolve, settle, clock } = callOf()
    await clock.advanceAsync(TIMEOUT_MS - 1)
    expect([seen.end, contexts[0]!.signal.aborted]).toEqual([undefined, false])
    await clock.advanceAsync(1)
    expect(seen).toMatchObject({
      over: true,
      end: { type: 'failed', sent: 'cut', failure: { class: 'TMO', code: 'TIMEOUT', retryable: true } },
    })
    expect(contexts[0]!.signal.aborted).toBe(true)
    resolve('too late')
    await settle()
    expect(seen.end!.type).toBe('failed')
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('what a function throws', () => {
  test.each([
    ['1302', { class: 'CONC', code: 'RATE_LIMITED', retryable: true, mendable: true }],
    ['1303', { class: 'RLR', code: 'RATE_LIMITED', retryable: true, mendable: true }],
    ['1113', { class: 'BAL', code: 'INSUFFICIENT_BALANCE', retryable: false, mendable: true }],
    ['1301', { class: 'FILTER', code: 'CONTENT_FILTERED', retryable: false, mendable: false }],
  ])("GLM's %s through the openai SDK is classified by its code", async (code, expected) => {
    const error = new APIError(429, { code, message: 'said the provider' }, new Headers())
    const { failure, sent } = await thrown(error)
    expect(sent).toBe('whole')
    expect(failure).toMatchObject({ ...expected, status: 429, providerCode: code })
    expect(failure.cause).toBe(error)
    expect(failure.message).toContain('said the provider')
  })

  test('headers count, a Headers object as well as a plain one', async () => {
    const body = { code: 'rate_limit_exceeded', type: 'tokens', message: 'slow down' }
    for (const headers of [new Headers({ 'Retry-After': '7' }), { 'Retry-After': '7', other: 1 }]) {
      const { failure } = await thrown(Object.assign(new Error('x'), { status: 429, error: body, headers }), openai)
      expect(failure).toMatchObject({ class: 'RLT', retryAfterMs: 7_000, retryable: true })
    }
  })

  test.each([
    [401, 'AUTH', false, false],
    [400, 'BAD', false, false],
    [500, 'SRV', true, true],
    [503, 'OVL', true, true],
    [408, 'TMO', true, true],
  ])('a bare status %d is class %s', async (status, failureClass, retryable, mendable) => {
    const { failure } = await thrown(new APIError(status, undefined, undefined), openai)
    expect(failure).toMatchObject({ class: failureClass, status, retryable, mendable })
  })

  test('a code beside the status counts where there is no body', async () => {
    const error = Object.assign(new Error('too many'), { status: 429, code: '1302' })
    expect((await thrown(error)).failure).toMatchObject({ class: 'CONC', providerCode: '1302' })
  })

  test.each([
    ['an error of its own', new TypeError('mine'), 'mine'],
    ['an SDK connection error without a status', new APIError(undefined, undefined, undefined), 'no body'],
    ['a status that is no failure', Object.assign(new Error('odd'), { status: 200 }), 'odd'],
    ['a status that is no number', Object.assign(new Error('odd'), { status: '429' }), 'odd'],
    ['a string', 'just text', 'just text'],
    ['nothing', undefined, 'undefined'],
    ['null', null, 'null'],
  ])('%s is not retried and keeps its cause', async (_, error, text) => {
    const { failure, sent } = await thrown(error)
    expect(failure).toMatchObject({ class: 'UNKNOWN', code: 'PROVIDER_ERROR', retryable: false, mendable: false })
    expect(failure.cause).toBe(error)
    expect(failure.message).toContain(text)
    expect(sent).toBe('whole')
  })
})
