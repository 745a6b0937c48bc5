// Stately's own receiver reads what the inspector sends.
import { once } from 'node:events'
import { createWebSocketReceiver } from '@statelyai/inspect'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { requestMachine } from '../../machines/request-machine.js'
import { createHeadgate, type GateOptions, type Headgate } from '../../src/index.js'
import { Inspector } from '../../src/observe/inspector.js'
import { serveInspector } from '../../src/surfaces/inspector/index.js'
import { type SimulatorOptions, startSimulator } from '../../src/testing/index.js'

const PROMPT = 'a very private prompt'
const KEY = 'pool-secret-0123456789'
const MESSAGES = [{ role: 'user', content: PROMPT }]

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function gateOf(
  simulated: Partial<SimulatorOptions> = {},
  options: Partial<GateOptions> = {},
): Promise<Headgate> {
  const simulator = await startSimulator({ profile: 'glm', latencyMs: 1, ...simulated })
  const retry = { maxAttempts: 2, baseMs: 1, capMs: 1 }
  const gate = createHeadgate({
    pools: { glm: { provider: 'glm', apiKey: KEY, baseURL: simulator.baseURL, retry, guardMs: 1 } },
    inspect: true,
    ...options,
  })
  cleanups.push(
    () => simulator.close(),
    () => gate.close(),
  )
  return gate
}

interface Received {
  readonly type: string
  readonly sessionId: string
  readonly name?: string
  readonly definition?: string
  readonly event?: { readonly type: string; readonly events?: number }
  readonly snapshot?: { readonly value?: string; readonly status: string; readonly output?: unknown }
}

/** Keeps what Stately's receiver gets, and resolves when there is what is waited for. */
function receive(server: string) {
  const received: Received[] = []
  let look = () => {}
  createWebSocketReceiver({ server }).subscribe((event) => {
    received.push(event as unknown as Received)
    look()
  })
  const until = (enough: (all: readonly Received[]) => boolean) =>
    new Promise<readonly Received[]>((resolve) => {
      look = () => enough(received) && resolve(received)
      look()
    })
  return { received, until }
}

const doneOf = (all: readonly Received[]) =>
  all.filter(({ type, snapshot }) => type === '@xstate.snapshot' && snapshot?.status === 'done')
const actorsOf = (all: readonly Received[]) => all.filter(({ type }) => type === '@xstate.actor')

/** A viewer in this process. */
function viewerOf(inspector: Inspector, sample?: number) {
  const received: Received[] = []
  let open = true
  const stop = inspector.connect((text) => open && received.push(JSON.parse(text)) > 0, sample)
  return {
    /** All that it was told, up to now. */
    get received() {
      inspector.flush()
      return received
    },
    stop,
    block: (blocked: boolean) => {
      open = !blocked
    },
  }
}

describe('the inspector', () => {
  test("speaks to Stately's receiver: definition, events and snapshots, of a request under way too", async () => {
    const gate = await gateOf()
    const inspector = await serveInspector(gate)
    cleanups.push(() => inspector.close())
    let finish = () => {}
    const started = new Promise<void>((begun) => {
      void gate.run(
        { pool: 'glm' },
        () =>
          new Promise<void>((resolve) => {
            finish = resolve
            begun()
          }),
      )
    })
    await started
    const { until } = receive(inspector.url)
    const [actor] = actorsOf(await until((all) => all.length > 0))
    expect(actor).toMatchObject({ name: gate.requests()[0]!.id, snapshot: { value: 'calling', status: 'active' } })
    const definition = JSON.parse(actor!.definition!)
    expect(Object.keys(definition.states)).toEqual(Object.keys(requestMachine.states))
    expect(definition.states.queued.on.ADMITTED).toBe('waiting-for-token')
    finish()
    const all = await until((messages) => doneOf(messages).length === 1)
    expect(all.filter(({ type }) => type === '@xstate.event').map(({ event }) => event!.type)).toEqual([
      'CALL_COMPLETED',
    ])
    expect(doneOf(all)[0]).toMatchObject({
      sessionId: actor!.sessionId,
      event: { type: 'CALL_COMPLETED' },
      snapshot: {
        value: 'done',
        context: { pool: 'glm', attempt: 1, status: 'completed' },
        output: { status: 'completed' },
      },
    })
  })

  test('a late viewer gets the definitions and the last events, and the state that they begin with', async () => {
    const gate = await gateOf()
    const inspector = new Inspector(gate)
    const first = viewerOf(inspector)
    for (let n = 0; n < 3; n++) await gate.complete({ pool: 'glm', messages: MESSAGES })
    const late = viewerOf(inspector)
    // All actors come first: they were kept apart, so that no event is of an actor nobody has heard of.
    expect(late.received).toHaveLength(first.received.length)
    expect(actorsOf(late.received.slice(0, 3))).toHaveLength(3)
    for (const { definition } of actorsOf(late.received))
      expect(definition).toBe(actorsOf(first.received)[0]!.definition)
    expect(doneOf(late.received)).toHaveLength(3)
    // Long after, the buffer still is bounded, and every session it tells of is defined.
    for (let n = 0; n < 450; n++) await gate.run({ pool: 'glm' }, async () => n)
    const later = viewerOf(inspector)
    expect(later.received.length).toBeLessThan(2_000)
    const defined = new Set(actorsOf(later.received).map(({ sessionId }) => sessionId))
    for (const { sessionId } of later.received) expect(defined).toContain(sessionId)
  })

  test('never passes on a payload, whatever a request came to', async () => {
    const gate = await gateOf({
      errors: [
        { share: 0.5, code: '1200' },
        { share: 0.2, code: '1301' },
      ],
      seed: 3,
    })
    const texts: string[] = []
    const inspector = new Inspector(gate)
    inspector.connect((text) => texts.push(text) > 0)
    const asked = Array.from({ length: 12 }, () => gate.spawn({ pool: 'glm', messages: MESSAGES }))
    const outcomes = await Promise.all(asked.map(async (request) => (await request).outcome))
    const fail = () => Promise.reject(Object.assign(new Error(PROMPT), { status: 400, body: PROMPT }))
    await gate.run({ pool: 'glm' }, fail).catch(() => {})
    await gate.run({ pool: 'glm' }, async () => ({ answer: PROMPT }))
    const request = await gate.spawn({ pool: 'glm', messages: MESSAGES })
    request.actor.send({ type: 'CANCEL', secret: PROMPT } as never)
    expect(new Set(outcomes.map(({ status }) => status)).size).toBeGreaterThan(1)
    inspector.flush()
    const all = texts.join('\n')
    expect(all).toContain('CALL_FAILED')
    expect(all).toContain('"code":"PROVIDER_ERROR"')
    const answer = outcomes.find(({ status }) => status === 'completed')!.value as {
      choices: [{ message: { content: string } }]
    }
    for (const secret of [PROMPT, KEY, answer.choices[0].message.content]) expect(all).not.toContain(secret)
  })

  test('shows the share of requests that is asked for, each whole or not at all', async () => {
    const gate = await gateOf()
    const inspector = new Inspector(gate)
    const all = viewerOf(inspector)
    const some = viewerOf(inspector, 0.25)
    const none = viewerOf(inspector, 0)
    await Promise.all(Array.from({ length: 150 }, () => gate.run({ pool: 'glm' }, async () => {})))
    expect(actorsOf(all.received)).toHaveLength(150)
    const share = actorsOf(some.received).length
    expect(share).toBeGreaterThan(0)
    expect(share).toBeLessThan(75)
    expect(doneOf(some.received)).toHaveLength(share)
    expect(none.received).toEqual([])
    expect(() => inspector.connect(() => true, 1.5)).toThrow('sample: expected a number from 0 to 1, got 1.5')
  })

  test('a viewer without room misses events, is told, and then sees what is kept', async () => {
    const gate = await gateOf()
    const inspector = new Inspector(gate)
    const viewer = viewerOf(inspector)
    viewer.block(true)
    await gate.run({ pool: 'glm' }, async () => {})
    expect(viewer.received).toEqual([])
    viewer.block(false)
    await gate.run({ pool: 'glm' }, async () => {})
    const [, told] = viewer.received
    expect(told).toMatchObject({ type: '@xstate.event', sessionId: 'headgate-inspector', event: { type: 'MISSED' } })
    expect(told!.event!.events).toBeGreaterThan(3)
    expect(doneOf(viewer.received)).toHaveLength(2)
  })

  test('tells what happened a moment later, all of it in a row, in order', async () => {
    const gate = await gateOf()
    const inspector = new Inspector(gate)
    const texts: string[] = []
    let tell = (_: readonly string[]) => {}
    const told = new Promise<readonly string[]>((resolve) => {
      tell = resolve
    })
    inspector.connect((text) => {
      if (texts.push(text) === 1) queueMicrotask(() => tell([...texts]))
      return true
    })
    await gate.run({ pool: 'glm' }, async () => {})
    const events = (await told).map((text) => JSON.parse(text) as Received)
    const values = events.flatMap(({ snapshot }) => snapshot?.value ?? [])
    expect(values).toEqual(['queued', 'queued', 'waiting-for-token', 'calling', 'done'])
  })

  test('a viewer that reads no more misses what is beyond its bound, is told, and holds up nobody', async () => {
    const gate = await gateOf()
    const server = await serveInspector(gate)
    cleanups.push(() => server.close())
    const open = async () => {
      const viewer = new WebSocket(server.url)
      const received: Received[] = []
      viewer.on('message', (text) => received.push(JSON.parse(String(text))))
      await once(viewer, 'open')
      return { viewer, received }
    }
    const [stalled, reading] = [await open(), await open()]
    stalled.viewer.pause()
    // Both ends' socket buffers and the bound of 4 MiB have to be full.
    const requests = 4_000
    // A hundred at a time: many more at once would be beyond the bound of who reads, too.
    for (let done = 100; done <= requests; done += 100) {
      await Promise.all(Array.from({ length: 100 }, () => gate.run({ pool: 'glm' }, async () => {})))
      await expect.poll(() => doneOf(reading.received).length, { interval: 5, timeout: 30_000 }).toBe(done)
    }
    stalled.viewer.resume()
    const missed = () => stalled.received.find(({ event }) => event?.type === 'MISSED')
    await expect
      .poll(
        async () => {
          await gate.run({ pool: 'glm' }, async () => {})
          return missed()?.event?.events
        },
        { timeout: 30_000 },
      )
      .toBeGreaterThan(0)
    expect(reading.received.some(({ event }) => event?.type === 'MISSED')).toBe(false)
  })

  test('watches nothing before the first viewer and after the last', async () => {
    const gate = await gateOf()
    const inspector = new Inspector(gate)
    const spawn = () => gate.spawn({ pool: 'glm', messages: MESSAGES })
    const before = await spawn()
    expect(inspector.watched).toBe(0)
    const { received, stop } = viewerOf(inspector)
    expect(inspector.watched).toBe(1)
    await spawn()
    expect(inspector.watched).toBe(2)
    inspector.flush()
    stop()
    const told = received.length
    expect(told).toBeGreaterThan(0)
    expect(inspector.watched).toBe(0)
    await Promise.all([before.outcome, (await spawn()).outcome])
    expect(received).toHaveLength(told)
  })

  test('a gate made without it says so', async () => {
    const gate = await gateOf({}, { inspect: false })
    expect(() => new Inspector(gate).connect(() => true)).toThrow('inspect: expected true to watch machines, got false')
  })
})
