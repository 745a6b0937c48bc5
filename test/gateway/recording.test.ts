import { describe, expect, test } from 'vitest'
import { Recording } from '../../src/surfaces/gateway/recording.js'

/** A source that is counted, of texts of ten characters. */
function sourceOf(count: number) {
  const made = { count: 0 }
  async function* texts() {
    for (; made.count < count; ) yield String(made.count++).padStart(10, '0')
  }
  return { made, texts: texts() }
}

function recordingOf(count: number, { maxChars = 100, maxCharsOfAll = 1_000, kept = { chars: 0 } } = {}) {
  const { made, texts } = sourceOf(count)
  return { made, kept, recording: new Recording(texts, { maxChars, maxCharsOfAll, kept }) }
}

async function all(texts: AsyncGenerator<string, void, undefined>): Promise<number[]> {
  const read: number[] = []
  for await (const text of texts) read.push(Number(text))
  return read
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)
const turns = async () => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('a recording of a stream', () => {
  test('gives all of it to each reader, also to one that comes when it is over', async () => {
    const { recording, made } = recordingOf(10)
    const readers = [recording.read(), recording.read()]
    expect(await Promise.all(readers.map(({ texts }) => all(texts)))).toEqual([upTo(10), upTo(10)])
    expect(await recording.rest()).toBe(100)
    expect(await all(recording.read().texts)).toEqual(upTo(10))
    expect([made.count, recording.isWhole]).toEqual([10, true])
  })

  test('of any length keeps no more than it may for its one reader', async () => {
    const { recording, kept } = recordingOf(1_000)
    const { texts } = recording.read()
    let most = 0
    const read: number[] = []
    for await (const text of texts) {
      most = Math.max(most, kept.chars)
      read.push(Number(text))
    }
    expect(read).toEqual(upTo(1_000))
    expect(most).toBeLessThanOrEqual(110)
    expect([recording.isWhole, kept.chars]).toEqual([false, 0])
  })

  test('that is too long waits for the slowest reader, who loses nothing', async () => {
    const { recording, made, kept } = recordingOf(100)
    const slow = recording.read()
    const fast = all(recording.read().texts)
    await turns()
    expect([made.count, kept.chars]).toEqual([11, 110])
    expect(await slow.texts.next()).toMatchObject({ value: '0000000000' })
    await turns()
    expect(made.count).toBe(12)
    expect(await all(slow.texts)).toEqual(upTo(100).slice(1))
    expect(await fast).toEqual(upTo(100))
  })

  test('waits for nobody who left', async () => {
    const { recording, kept } = recordingOf(100)
    const slow = recording.read()
    const fast = all(recording.read().texts)
    await turns()
    slow.leave()
    expect(await fast).toEqual(upTo(100))
    expect(kept.chars).toBe(0)
  })

  test('gives up what all of them together have no room for', async () => {
    const kept = { chars: 0 }
    const bounds = { maxCharsOfAll: 150, kept }
    const [one, other] = [recordingOf(10, bounds), recordingOf(10, bounds)]
    await all(one.recording.read().texts)
    await all(other.recording.read().texts)
    expect([one.recording.isWhole, other.recording.isWhole, kept.chars]).toEqual([true, false, 100])
    one.recording.release()
    one.recording.release()
    expect(kept.chars).toBe(0)
  })

  test('that breaks off says so to every reader', async () => {
    async function* broken() {
      yield 'one'
      throw new Error('gone')
    }
    const recording = new Recording(broken(), { maxChars: 100, maxCharsOfAll: 100, kept: { chars: 0 } })
    const readers = [recording.read(), recording.read()].map(({ texts }) => all(texts))
    for (const reader of readers) await expect(reader).rejects.toThrow('gone')
  })
})
