import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { TimerHandle } from '../../src/clock.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

describe('VirtualClock', () => {
  it('stands still until told, and runs each timer at its own time', () => {
    const clock = new VirtualClock({ startMs: 100, wallStartMs: 1_000_000 })
    const seen: [string, number, number][] = []
    const note = (name: string) => () => seen.push([name, clock.now(), clock.wallMs()])
    clock.setTimeout(note('late'), 30)
    clock.setTimeout(note('early'), 10.5)
    clock.setTimeout(note('never in this advance'), 30.1)
    expect(seen).toEqual([])
    clock.advance(30)
    expect(seen).toEqual([
      ['early', 110.5, 1_000_010.5],
      ['late', 130, 1_000_030],
    ])
    expect(clock.now()).toBe(130)
    expect(clock.pendingTimers).toBe(1)
  })

  it('breaks ties by insertion, also for timers armed by timers', () => {
    const clock = new VirtualClock()
    const seen: string[] = []
    clock.setTimeout(() => {
      seen.push('a')
      clock.setTimeout(() => seen.push('a at once'), 0)
      clock.setTimeout(() => seen.push('a negative'), -5)
    }, 5)
    clock.setTimeout(() => seen.push('b'), 5)
    clock.advanceTo(5)
    expect(seen).toEqual(['a', 'b', 'a at once', 'a negative'])
  })

  it('runs timers armed meanwhile when they are due before the end', () => {
    const clock = new VirtualClock()
    const ticks: number[] = []
    const tick = () => {
      ticks.push(clock.now())
      clock.setTimeout(tick, 10)
    }
    clock.setTimeout(tick, 10)
    clock.advance(35)
    expect(ticks).toEqual([10, 20, 30])
  })

  it('runNext jumps to the next live timer, and says when there is none', () => {
    const clock = new VirtualClock()
    const cleared = clock.setTimeout(() => expect.unreachable('it was cleared'), 1)
    clock.setTimeout(() => {}, 7)
    clock.clearTimeout(cleared)
    expect(clock.runNext()).toBe(true)
    expect(clock.now()).toBe(7)
    expect(clock.runNext()).toBe(false)
    expect(clock.now()).toBe(7)
  })

  it('clears once: twice, too late or nothing has no effect', () => {
    const clock = new VirtualClock()
    let ran = 0
    const first = clock.setTimeout(() => ran++, 1)
    clock.setTimeout(() => ran++, 2)
    clock.clearTimeout(first)
    clock.clearTimeout(first)
    clock.clearTimeout(undefined)
    expect(clock.pendingTimers).toBe(1)
    clock.advance(2)
    clock.clearTimeout(first)
    expect([ran, clock.pendingTimers]).toEqual([1, 0])
  })

  it('a timer may clear another of the same time', () => {
    const clock = new VirtualClock()
    let ran = false
    clock.setTimeout(() => clock.clearTimeout(second), 5)
    const second = clock.setTimeout(() => {
      ran = true
    }, 5)
    clock.advance(5)
    expect([ran, clock.pendingTimers]).toEqual([false, 0])
  })

  it('clamps an endless delay as Node’s longest timer', () => {
    const clock = new VirtualClock()
    clock.setTimeout(() => {}, Number.POSITIVE_INFINITY)
    expect(clock.runNext()).toBe(true)
    expect(clock.now()).toBe(2 ** 31 - 1)
  })

  it('gives up on a timer that re-arms itself without end', () => {
    const clock = new VirtualClock({ maxTimersPerAdvance: 100 })
    let ran = 0
    const again = () => {
      ran++
      clock.setTimeout(again, 0)
    }
    clock.setTimeout(again, 3)
    expect(() => clock.advance(5)).toThrow(/ran 100 timers in one advance to 5 ms and more are due at 3 ms/)
    expect(ran).toBe(100)
  })

  it('takes exactly the maximum when nothing more is due', () => {
    const clock = new VirtualClock({ maxTimersPerAdvance: 3 })
    for (const delayMs of [1, 2, 3, 99]) clock.setTimeout(() => {}, delayMs)
    clock.advance(3)
    expect(clock.pendingTimers).toBe(1)
  })

  it('refuses bad input and advancing from within a timer', async () => {
    const clock = new VirtualClock()
    expect(() => clock.setTimeout(() => {}, Number.NaN)).toThrow('delayMs must be a number, got NaN')
    for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => clock.advance(ms)).toThrow(`ms must be a finite number >= 0, got ${ms}`)
    }
    clock.advance(10)
    expect(() => clock.advanceTo(9)).toThrow('time never runs back: it is 10, asked for 9')
    expect(() => new VirtualClock({ maxTimersPerAdvance: 0 })).toThrow('maxTimersPerAdvance must be a positive integer')
    expect(() => new VirtualClock({ startMs: Number.NaN })).toThrow('startMs must be a finite number')
    expect(() => new VirtualClock({ wallStartMs: Number.NaN })).toThrow('wallStartMs must be a finite number')

    clock.setTimeout(() => clock.advance(1), 1)
    expect(() => clock.advance(1)).toThrow('already advancing')
    const running = clock.advanceAsync(1)
    expect(() => clock.advance(1)).toThrow('already advancing')
    await running
    clock.advance(1)
    expect(clock.now()).toBe(13)
  })

  it('keeps going after a timer that threw', () => {
    const clock = new VirtualClock()
    clock.setTimeout(() => {
      throw new Error('boom')
    }, 4)
    let ranAtMs = 0
    clock.setTimeout(() => {
      ranAtMs = clock.now()
    }, 6)
    expect(() => clock.advance(10)).toThrow('boom')
    expect(clock.now()).toBe(4)
    clock.advance(6)
    expect([ranAtMs, clock.now()]).toEqual([6, 10])
  })

  it('sweeps cleared timers out, and keeps the order of the rest', () => {
    const clock = new VirtualClock()
    const seen: number[] = []
    const handles = Array.from({ length: 1000 }, (_, i) => clock.setTimeout(() => seen.push(i), (i * 7919) % 1000))
    handles.forEach((handle, i) => {
      if (i % 10 !== 0) clock.clearTimeout(handle)
    })
    expect(clock.pendingTimers).toBe(100)
    clock.advance(1000)
    const expected = Array.from({ length: 100 }, (_, i) => i * 10).sort(
      (a, b) => ((a * 7919) % 1000) - ((b * 7919) % 1000),
    )
    expect(seen).toEqual(expected)
  })
})

describe('VirtualClock.advanceAsync', () => {
  const sleep = (clock: VirtualClock, ms: number) => new Promise<void>((resolve) => clock.setTimeout(resolve, ms))

  it('lets async code arm its next timer at the right time', async () => {
    const clock = new VirtualClock()
    const seen: number[] = []
    const work = async () => {
      for (let i = 0; i < 3; i++) {
        await sleep(clock, 10)
        for (let hop = 0; hop < 50; hop++) await Promise.resolve()
        await new Promise((resolve) => setImmediate(resolve))
        seen.push(clock.now())
      }
    }
    const done = work()
    await clock.advanceAsync(25)
    expect(seen).toEqual([10, 20])
    await clock.advanceAsync(5)
    expect(seen).toEqual([10, 20, 30])
    await done
    expect(clock.now()).toBe(30)
  })

  it('settles before the first timer and after the last', async () => {
    const clock = new VirtualClock()
    const seen: string[] = []
    void Promise.resolve().then(() => clock.setTimeout(() => seen.push(`armed late, ran at ${clock.now()}`), 5))
    clock.setTimeout(() => void Promise.resolve().then(() => seen.push('after the last')), 8)
    await clock.advanceAsync(8)
    expect(seen).toEqual(['armed late, ran at 5', 'after the last'])
  })

  it('gives up on endless timers, and can be used again after', async () => {
    const clock = new VirtualClock({ maxTimersPerAdvance: 10 })
    const again = () => void clock.setTimeout(again, 0)
    const first = clock.setTimeout(again, 1)
    await expect(clock.advanceAsync(5)).rejects.toThrow('re-arm itself without end')
    clock.clearTimeout(first)
    expect(clock.runNext()).toBe(true)
    await expect(clock.advanceAsync(-1)).rejects.toThrow('ms must be a finite number >= 0')
  })
})

/** The reference: an unordered list, searched and sorted on every step. */
class SortedReference {
  nowMs = 0
  timers: { id: number; dueMs: number; seq: number }[] = []
  #seq = 0

  arm(id: number, delayMs: number) {
    this.timers.push({ id, dueMs: this.nowMs + delayMs, seq: this.#seq++ })
  }

  clear(id: number) {
    this.timers = this.timers.filter((timer) => timer.id !== id)
  }

  advance(ms: number, onRun: (id: number) => void) {
    const targetMs = this.nowMs + ms
    for (;;) {
      this.timers.sort((a, b) => a.dueMs - b.dueMs || a.seq - b.seq)
      const next = this.timers[0]
      if (next === undefined || next.dueMs > targetMs) break
      this.timers.shift()
      this.nowMs = next.dueMs
      onRun(next.id)
    }
    this.nowMs = targetMs
  }
}

describe('VirtualClock against a sorted reference', () => {
  const command = fc.oneof(
    // A timer may arm a child when it runs.
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant('arm' as const), ms: fc.nat(50), childMs: fc.option(fc.nat(20)) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('clear' as const), pick: fc.nat(500) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.nat(40) }) },
  )

  it('runs the same timers at the same times in the same order', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 400 }), (commands) => {
        const clock = new VirtualClock()
        const reference = new SortedReference()
        const handles: TimerHandle[] = []
        const seen: string[] = []
        const expected: string[] = []
        const childOf = new Map<number, number>()
        let nextId = 0
        const childId = (id: number) => 1_000_000 + id

        for (const step of commands) {
          if (step.do === 'arm') {
            const id = nextId++
            if (step.childMs !== null) childOf.set(id, step.childMs)
            handles[id] = clock.setTimeout(() => {
              seen.push(`${id}@${clock.now()}`)
              const childMs = childOf.get(id)
              if (childMs !== undefined) {
                clock.setTimeout(() => seen.push(`${childId(id)}@${clock.now()}`), childMs)
              }
            }, step.ms)
            reference.arm(id, step.ms)
          } else if (step.do === 'clear') {
            const id = nextId === 0 ? 0 : step.pick % nextId
            clock.clearTimeout(handles[id])
            reference.clear(id)
          } else {
            clock.advance(step.ms)
            reference.advance(step.ms, (id) => {
              expected.push(`${id}@${reference.nowMs}`)
              const childMs = childOf.get(id)
              if (childMs !== undefined) reference.arm(childId(id), childMs)
            })
          }
          expect(clock.pendingTimers).toBe(reference.timers.length)
          expect(clock.now()).toBe(reference.nowMs)
        }
        expect(seen).toEqual(expected)
      }),
      { numRuns: 300 },
    )
  })
})
