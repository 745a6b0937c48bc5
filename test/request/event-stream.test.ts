import { describe, expect, test } from 'vitest'
import { HeadgateError } from '../../src/errors.js'
import { EventStream } from '../../src/request/event-stream.js'

const START = { head: undefined, attempts: 1, queuedMs: 0, waitedMs: 0 }
const eventOf = (data: string) => ({ data, json: undefined })
const LARGE = eventOf('x'.repeat(64 * 1024))

/** Whether a promise has settled by now. */
function settled(promise: Promise<unknown>): Promise<boolean> {
  const no = Symbol('no')
  return Promise.race([promise, Promise.resolve(no)]).then((value) => value !== no)
}

describe('the way of a streamed answer', () => {
  test('has room until its reader lags behind, and again when it has caught up', async () => {
    const stream = new EventStream()
    stream.begin(START)
    const events = stream.events()
    stream.put(eventOf('small'))
    expect(stream.room()).toBeUndefined()
    stream.put(LARGE)
    const room = stream.room()!
    expect(await settled(room)).toBe(false)
    await events.next()
    expect(await settled(room)).toBe(false)
    await events.next()
    await room
  })

  test('keeps its order, and gives what was put in before the end', async () => {
    const stream = new EventStream()
    const reading = (async () => {
      const seen: (string | undefined)[] = []
      for await (const { data } of stream.events()) seen.push(data)
      return seen
    })()
    stream.begin(START)
    for (const data of ['1', '2']) stream.put(eventOf(data))
    await Promise.resolve()
    stream.put(eventOf('3'))
    stream.end()
    stream.put(eventOf('4'))
    expect(await reading).toEqual(['1', '2', '3'])
  })

  test('an error comes after what was there before it', async () => {
    const stream = new EventStream()
    stream.begin(START)
    stream.put(eventOf('1'))
    stream.end(new HeadgateError('PROVIDER_ERROR', 'cut'))
    const events = stream.events()
    expect(await events.next()).toMatchObject({ value: { data: '1' } })
    await expect(events.next()).rejects.toMatchObject({ code: 'PROVIDER_ERROR' })
  })

  test('tells whether it ever began', async () => {
    const [begun, never] = [new EventStream(), new EventStream()]
    begun.begin(START)
    begun.end()
    never.end()
    expect([await begun.started, await never.started]).toEqual([START, undefined])
    expect([begun.begun, never.begun]).toEqual([true, false])
  })

  test('a reader that leaves is told of, one that read to the end is not; nobody waits for it any more', async () => {
    const told: string[] = []
    for (const name of ['left', 'stayed']) {
      const stream = new EventStream()
      stream.onAbandon = () => {
        told.push(name)
        stream.end()
      }
      stream.begin(START)
      stream.put(LARGE)
      const room = stream.room()
      if (name === 'stayed') stream.end()
      for await (const _ of stream.events()) if (name === 'left') break
      await room
    }
    expect(told).toEqual(['left'])
  })
})
