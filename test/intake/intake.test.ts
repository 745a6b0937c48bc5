import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HeadgateError } from '../../src/errors.js'
import { MAX_QUEUED, Rig } from './rig.js'

const ids = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => String(from + i))

describe('backpressure', () => {
  test('of 1,000 producers the queue never holds an 11th', async () => {
    const rig = new Rig(3)
    let changes = 0
    rig.onChange = () => {
      changes++
      expect(rig.intake.queued).toBeLessThanOrEqual(MAX_QUEUED)
      expect(rig.in('queued').length).toBeLessThanOrEqual(MAX_QUEUED)
      expect(rig.in('active').length).toBeLessThanOrEqual(3)
    }
    for (let i = 0; i < 1_000; i++) rig.enter()
    expect([rig.intake.active, rig.intake.queued, rig.intake.atGate]).toEqual([3, MAX_QUEUED, 987])
    for (let turn = 0; rig.in('done').length < 1_000; turn++) {
      const active = rig.in('active')
      active[turn % active.length]!.finish()
      await rig.settle()
      // Each place is used at once, as long as anyone wants it.
      const left = 1_000 - rig.in('done').length
      expect(rig.in('active')).toHaveLength(Math.min(3, left))
      expect(rig.in('queued')).toHaveLength(Math.min(MAX_QUEUED, left - rig.in('active').length))
    }
    expect(changes).toBe(3_000)
    expect(rig.entered).toEqual(ids(0, 1_000))
    expect(rig.admitted).toEqual(ids(0, 1_000))
    expect([rig.intake.active, rig.intake.queued, rig.intake.atGate]).toEqual([0, 0, 0])
  })

  test('whatever ends, and in whatever order: bounds hold, order holds, and no place is left unused', async () => {
    const op = fc.oneof(
      { weight: 3, arbitrary: fc.record({ do: fc.constant('enter' as const), who: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('try' as const), who: fc.nat(2) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('finish' as const), who: fc.nat(100) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), who: fc.nat(100) }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(op, { maxLength: 120 }), async (ops) => {
        const rig = new Rig(2, 3)
        const aborts = new Map<string, AbortController>()
        rig.onChange = () => {
          expect(rig.intake.queued).toBeLessThanOrEqual(3)
          expect(rig.in('queued').length).toBeLessThanOrEqual(3)
          expect(rig.in('active').length).toBeLessThanOrEqual(2)
        }
        for (const { do: kind, who } of ops) {
          if (kind === 'enter') {
            const abort = new AbortController()
            const id = `${who}:${rig.producers.length}`
            aborts.set(id, abort)
            rig.enter({ id, flowKey: `flow ${who}`, signal: abort.signal })
          } else if (kind === 'try') {
            const producer = rig.newProducer(`${who}:${rig.producers.length}`)
            const full = rig.intake.atGate > 0 || rig.intake.queued >= 3
            const running = rig.intake.tryEnter(rig.admissionOf(producer, { flowKey: `flow ${who}` }))
            expect(running === undefined).toBe(full)
            if (!running) producer.state = 'turned away'
          } else {
            const candidates = rig.producers.filter(({ state }) =>
              kind === 'finish' ? state === 'active' : state === 'queued' || state === 'at the gate',
            )
            const producer = candidates[who % Math.max(1, candidates.length)]
            if (producer?.state === 'at the gate') aborts.get(producer.id)!.abort()
            else producer?.finish()
          }
          await rig.settle()
          expect(rig.intake.queued).toBe(rig.in('queued').length)
          expect(rig.intake.active).toBe(rig.in('active').length)
          expect(rig.intake.atGate).toBe(rig.in('at the gate').length)
          if (rig.in('at the gate').length > 0) expect(rig.in('queued')).toHaveLength(3)
          if (rig.in('queued').length > 0) expect(rig.in('active')).toHaveLength(2)
        }
        for (const order of [rig.entered, rig.admitted]) {
          for (const flow of ['0', '1', '2']) {
            const numbers = order.filter((id) => id.startsWith(flow)).map((id) => Number(id.slice(2)))
            expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  test('tryEnter takes a place or says no at once, and never overtakes those at the gate', async () => {
    const rig = new Rig(1, 2)
    const tryEnter = () => rig.intake.tryEnter(rig.admissionOf(rig.newProducer()))
    expect([1, 2, 3, 4].map(() => tryEnter() !== undefined)).toEqual([true, true, true, false])
    const waiting = rig.enter()
    const answers: boolean[] = []
    // At this moment a place is free, and it belongs to whoever waits.
    rig.onChange = ({ state }) => {
      if (state !== 'active') return
      expect(rig.intake.queued).toBe(1)
      answers.push(tryEnter() !== undefined)
    }
    rig.in('active')[0]!.finish()
    await rig.settle()
    expect(answers).toEqual([false])
    expect(waiting.state).toBe('queued')
  })
})

describe('order', () => {
  test('within a flow first come, first served, at the gate and in the queue, whatever others do', async () => {
    const rig = new Rig(1)
    for (let i = 0; i < 300; i++) rig.enter({ id: `${'abc'[i % 3]}${i}`, flowKey: 'abc'[i % 3]! })
    while (rig.in('active').length > 0) {
      rig.in('active')[0]!.finish()
      await rig.settle()
    }
    for (const order of [rig.entered, rig.admitted]) {
      expect(order).toHaveLength(300)
      for (const flow of 'abc') {
        const numbers = order.filter((id) => id.startsWith(flow)).map((id) => Number(id.slice(1)))
        expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
      }
    }
  })

  test.each([
    ['at the gate', 1, 'entered'],
    ['in the queue', 400, 'admitted'],
  ] as const)('%s tenants take turns by weight', async (_, maxQueued, order) => {
    const rig = new Rig(1, maxQueued)
    // Somebody is active already, so that all of these wait.
    rig.enter({ id: 'first' })
    if (maxQueued === 1) rig.enter({ id: 'second' })
    for (let i = 0; i < 100; i++) rig.enter({ flowKey: 'light', weight: 1, id: `light ${i}` })
    for (let i = 0; i < 100; i++) rig.enter({ flowKey: 'heavy', weight: 3, id: `heavy ${i}` })
    for (let turn = 0; turn < 82; turn++) {
      rig.in('active')[0]!.finish()
      await rig.settle()
    }
    const served = rig[order].filter((id) => id.startsWith('light') || id.startsWith('heavy')).slice(0, 80)
    expect(served).toHaveLength(80)
    for (let length = 4; length <= 80; length += 4) {
      const light = served.slice(0, length).filter((id) => id.startsWith('light')).length
      expect(Math.abs(light - length / 4)).toBeLessThanOrEqual(1)
    }
  })
})

describe('leaving early', () => {
  test('cancelled at the gate: never accepted, and the others keep their order', async () => {
    const rig = new Rig(1, 1)
    const abort = new AbortController()
    const [, , first, cancelled, last] = [
      rig.enter(),
      rig.enter(),
      rig.enter(),
      rig.enter({ signal: abort.signal }),
      rig.enter(),
    ]
    abort.abort()
    await rig.settle()
    expect(cancelled.error).toMatchObject({ code: 'CANCELLED' })
    expect(rig.intake.atGate).toBe(2)
    for (let i = 0; i < 4; i++) {
      rig.in('active')[0]!.finish()
      await rig.settle()
    }
    expect(rig.entered).toEqual(['0', '1', first.id, last.id])
    expect(rig.in('done')).toHaveLength(4)
  })

  test('a signal aborted already, and one that aborts after the gate', async () => {
    const rig = new Rig(1, 1)
    expect(rig.enter({ signal: AbortSignal.abort() }).state).toBe('at the gate')
    await rig.settle()
    expect(rig.producers[0]).toMatchObject({ state: 'turned away', error: { code: 'CANCELLED' } })
    const abort = new AbortController()
    const admitted = rig.enter({ signal: abort.signal })
    abort.abort()
    await rig.settle()
    // From here on it is the request's own matter.
    expect(admitted.state).toBe('active')
  })

  test('ended while queued it frees its place at once and is never admitted', async () => {
    const rig = new Rig(1, 2)
    const [, queued, behind, waiting] = [rig.enter(), rig.enter(), rig.enter(), rig.enter()]
    queued.finish()
    expect([rig.intake.queued, rig.intake.atGate]).toEqual([2, 0])
    expect(waiting.state).toBe('queued')
    for (let i = 0; i < 3; i++) {
      rig.in('active')[0]!.finish()
      await rig.settle()
    }
    expect(rig.admitted).toEqual(['0', behind.id, waiting.id])
    expect([rig.intake.active, rig.intake.queued]).toEqual([0, 0])
  })

  test('a deadline that passes at the gate ends the wait, exactly then', async () => {
    const rig = new Rig(1, 1)
    const [, , patient, hasty] = [
      rig.enter(),
      rig.enter(),
      rig.enter({ deadlineMs: 5_000 }),
      rig.enter({ deadlineMs: 1_000 }),
    ]
    await rig.clock.advanceAsync(999)
    expect(hasty.state).toBe('at the gate')
    await rig.clock.advanceAsync(1)
    expect(hasty).toMatchObject({ state: 'turned away', error: { code: 'DEADLINE_EXCEEDED', retryable: true } })
    rig.in('active')[0]!.finish()
    await rig.settle()
    expect(patient.state).toBe('queued')
    // Past the gate the deadline is the request's own matter.
    expect(rig.clock.pendingTimers).toBe(0)
  })

  test.each([
    [1_234.5, 1_235],
    [0, 0],
    [Number.POSITIVE_INFINITY, undefined],
  ])(
    'whoever is turned away hears how long the wait is, as far as it is known: %d ms',
    async (waitMs, retryAfterMs) => {
      const rig = new Rig(1, 1)
      let nowMs = 9_999
      const [, , hasty] = [rig.enter(), rig.enter(), rig.enter({ deadlineMs: 1_000, waitMs: () => nowMs })]
      nowMs = waitMs // As it is when the deadline passes.
      await rig.clock.advanceAsync(1_000)
      expect(hasty.error).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
      expect(hasty.error!.retryAfterMs).toBe(retryAfterMs)
    },
  )

  test('close turns everyone at the gate away, and whoever comes later; who has a place keeps it', async () => {
    const rig = new Rig(1, 2)
    for (let i = 0; i < 103; i++) rig.enter({ deadlineMs: 60_000, signal: new AbortController().signal })
    const reason = new HeadgateError('CANCELLED', 'closed for the night')
    rig.intake.close(reason)
    await rig.settle()
    expect(rig.in('turned away')).toHaveLength(100)
    for (const { error } of rig.in('turned away')) expect(error).toBe(reason)
    expect(rig.intake.atGate).toBe(0)
    expect(rig.clock.pendingTimers).toBe(0)
    const late = rig.enter()
    await rig.settle()
    expect(late.error).toBe(reason)
    expect(rig.intake.tryEnter(rig.admissionOf(rig.newProducer()))).toBeUndefined()
    for (let i = 0; i < 3; i++) {
      rig.in('active')[0]!.finish()
      await rig.settle()
    }
    expect(rig.admitted).toEqual(['0', '1', '2'])
  })
})
