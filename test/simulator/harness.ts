// Simulators and plain callers over real HTTP; the simulators end with each test.
import { afterEach, expect, vi } from 'vitest'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/testing/index.js'

/** Windows of an hour: nothing leaves them while a test runs. */
export const HOUR_MS = 3_600_000

const running: Simulator[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((simulator) => simulator.close()))
})

export async function start(
  profile: SimulatorOptions['profile'],
  options: Omit<SimulatorOptions, 'profile'> = {},
): Promise<Simulator> {
  const simulator = await startSimulator({ profile, ...options })
  running.push(simulator)
  return simulator
}

/** Counted as 2 prompt tokens and 4 of `max_tokens`. */
export const BODY = { model: 'glm-4.7', messages: [{ role: 'user', content: '你好' }], max_tokens: 4 }

interface Call {
  readonly body?: unknown
  readonly headers?: Record<string, string>
  readonly signal?: AbortSignal
}

export function post(simulator: Simulator, { body, headers, signal }: Call = {}): Promise<Response> {
  return fetch(`${simulator.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer id.secret', 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify({ ...BODY, ...Object(body) }),
    ...(signal && { signal }),
  })
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: whatever the wire holds.
  readonly body: any
}

export async function answerOf(response: Response): Promise<Answer> {
  const { status, headers } = response
  return { status, headers, body: await response.json() }
}

export async function chat(simulator: Simulator, call: Call = {}): Promise<Answer> {
  return answerOf(await post(simulator, call))
}

/** The payloads of a stream's `data:` lines, as they were sent. */
export async function events(simulator: Simulator, body: object = {}): Promise<string[]> {
  const response = await post(simulator, { body: { stream: true, ...body } })
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  const blocks = (await response.text()).split('\n\n')
  expect(blocks.pop()).toBe('')
  return blocks.map((block) => {
    expect(block).toMatch(/^data:/)
    return block.replace(/^data: ?/, '')
  })
}

/** A call that stays: resolves once the simulator has read it; `hangUp` ends it and waits until the simulator knows. */
export async function hold(simulator: Simulator, body: object = {}) {
  const index = simulator.log.length
  const { signal, abort } = abortable()
  const response = post(simulator, { body, signal })
  const settled = response.catch((error: unknown) => error)
  await vi.waitFor(() => expect(simulator.log[index]?.tokens).toBeGreaterThan(0), { timeout: 30_000, interval: 1 })
  const hangUp = async () => {
    abort()
    await settled
    await vi.waitFor(() => expect(simulator.log[index]?.status).toBe(499), { timeout: 30_000, interval: 1 })
  }
  return { response, settled, hangUp }
}

function abortable() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}

/** No hint of limits in the headers. */
export function expectNoHints(headers: Headers): void {
  const hints = [...headers.keys()].filter((name) => /ratelimit|retry/i.test(name))
  expect(hints).toEqual([])
}
