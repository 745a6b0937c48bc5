import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Budget } from '../../src/surfaces/cli/batch/budget.js'
import { DoneLines, TextSet } from '../../src/surfaces/cli/batch/compact.js'
import { digestOf, linesOf } from '../../src/surfaces/cli/batch/lines.js'
import { leftText, noteOverBar, Pace, showProgress } from '../../src/surfaces/cli/batch/progress.js'
import { ResultWriter, readResults } from '../../src/surfaces/cli/batch/results.js'
import { fileOf } from './cli.js'

async function read(path: string, maxBytes: number) {
  const lines = []
  for await (const { number, bytes, totalBytes, whole } of linesOf(path, maxBytes)) {
    lines.push({ number, text: bytes.toString(), totalBytes, whole })
  }
  return lines
}

describe('the lines of a file', () => {
  it('come one by one, however they fall into chunks', async () => {
    const texts = ['a', '', 'b'.repeat(300_000), 'c'.repeat(262_143), 'd', 'e'.repeat(262_144), '字']
    const path = await fileOf('lines', texts.join('\n'))
    const lines = await read(path, 1_000_000)
    expect(lines.map(({ text }) => text)).toEqual(texts)
    expect(lines.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(lines.map(({ whole }) => whole)).toEqual([true, true, true, true, true, true, false])
    const bytes = lines.reduce((sum, { totalBytes }) => sum + totalBytes, 0)
    expect(bytes + 6).toBe((await stat(path)).size)
  })

  it('keep no more than their beginning where they are too long', async () => {
    const path = await fileOf('lines', `${'x'.repeat(600_000)}\nshort\n`)
    expect(await read(path, 5)).toEqual([
      { number: 1, text: 'xxxxx', totalBytes: 600_000, whole: true },
      { number: 2, text: 'short', totalBytes: 5, whole: true },
    ])
    expect(await read(await fileOf('empty', ''), 5)).toEqual([])
  })
})

describe('what a batch remembers', () => {
  it('lines that are done, with their digests', () => {
    const done = new DoneLines()
    const [one, other] = [digestOf('one'), digestOf('other')]
    expect([done.add(3, one), done.add(3, one), done.add(70_000, other)]).toEqual([true, false, true])
    expect([done.size, done.last]).toEqual([2, 70_000])
    expect([done.has(2), done.has(3), done.has(70_000), done.has(1e9)]).toEqual([false, true, true, false])
    expect([done.matches(3, one), done.matches(3, other)]).toEqual([true, false])
  })

  it('texts, as a set does', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (texts) => {
        const [compact, plain] = [new TextSet(), new Set<string>()]
        for (const text of texts) {
          expect(compact.add(text)).toBe(!plain.has(text))
          plain.add(text)
        }
      }),
      { numRuns: 200 },
    )
    const many = new TextSet()
    for (let index = 0; index < 20_000; index++) expect(many.add(`line-${index}`)).toBe(true)
    for (let index = 0; index < 20_000; index += 97) expect(many.add(`line-${index}`)).toBe(false)
  })
})

describe('the budget of a batch', () => {
  it('holds up whoever takes more than there is, and lets what is larger than all of it pass alone', async () => {
    const budget = new Budget(10)
    await budget.take(6)
    let taken = false
    const second = budget.take(50).then(() => {
      taken = true
    })
    await Promise.resolve()
    expect(taken).toBe(false)
    budget.give(6)
    await second
    expect(taken).toBe(true)
  })
})

describe('the writer of results', () => {
  it('resolves when a line is in the file, and adds nothing after a write that failed', async () => {
    const path = await fileOf('out', '')
    const writer = await ResultWriter.open(path)
    await Promise.all([writer.append('one\n'), writer.append('two\n')])
    expect(await readFile(path, 'utf8')).toBe('one\ntwo\n')
    await writer.close()
    await expect(writer.append('three\n')).rejects.toThrow()
    await expect(writer.append('four\n')).rejects.toThrow()
    expect(await readFile(path, 'utf8')).toBe('one\ntwo\n')
  })

  it.runIf(existsSync('/dev/full'))('names the file that can’t be written', async () => {
    const writer = await ResultWriter.open('/dev/full')
    await expect(writer.append('one\n')).rejects.toThrow("/dev/full: can't be written: ENOSPC")
    await expect(ResultWriter.open('/nowhere/out')).rejects.toThrow("/nowhere/out: can't be written: ENOENT")
  })
})

describe('an output that was torn', () => {
  const whole = '{"id":"batch_req_1_0123456789abcdef","custom_id":"a","response":null,"error":null}\n'

  it.each(['{', '{"id":"batch', '{"id":"batch_req_2_01', '{"id":"batch_req_12_0123456789abcdef","custom_id":"好'])(
    'loses no more than its last line: %s',
    async (torn) => {
      for (const before of ['', whole]) {
        const path = await fileOf('out', before + torn)
        expect((await readResults(path)).done.size).toBe(before === '' ? 0 : 1)
        expect(await readFile(path, 'utf8')).toBe(before)
      }
    },
  )

  it('by a loss of power, behind results that are there', async () => {
    const path = await fileOf('out', `${whole}\0\0\0`)
    await readResults(path)
    expect(await readFile(path, 'utf8')).toBe(whole)
  })
})

describe('the progress of a batch', () => {
  const streamOf = (isTTY: boolean) => {
    const written: string[] = []
    const write = (text: string) => written.push(text) > 0
    return { stream: { isTTY, columns: 100, write } as unknown as NodeJS.WriteStream, written }
  }

  it('gives the terminal its cursor and its line breaks back, also where the process exits in the middle', () => {
    for (const exits of [true, false]) {
      const { stream, written } = streamOf(true)
      const before = process.listeners('exit')
      const end = showProgress(() => ({ lines: 10, done: 3, failed: 0 }), stream)
      const added = process.listeners('exit').filter((listener) => !before.includes(listener))
      expect(written.join('')).toContain('\x1b[?25l')
      if (exits) for (const listener of added) listener.call(process, 130)
      else end()
      expect(written.join('')).toContain('\x1b[?25h\x1b[?7h')
      end()
      expect(process.listeners('exit')).toEqual(before)
      expect(written.join('').split('\x1b[?25h')).toHaveLength(2)
    }
  })

  it('clears its line for a note, and goes on below it', () => {
    const { stream, written } = streamOf(true)
    noteOverBar('stopping', stream)
    expect(written.join('')).toBe('\r\x1b[Kheadgate: stopping\n\x1b7')
    const file = streamOf(false)
    noteOverBar('stopping', file.stream)
    expect(file.written.join('')).toBe('headgate: stopping\n')
  })

  it('goes by the pace of the last half minute', () => {
    const pace = new Pace(100, 0)
    expect(pace.perMs(100, 0)).toBe(0)
    for (let second = 1; second <= 60; second++) pace.perMs(100 + second * 10, second * 1000)
    for (let second = 61; second <= 120; second++) pace.perMs(700 + (second - 60) * 50, second * 1000)
    expect(pace.perMs(3700, 120_000)).toBeCloseTo(0.05)
  })

  it.each([
    [10, 0.001, '10 s left'],
    [90, 0.001, '1 min 30 s left'],
    [7_300, 0.001, '2 h 1 min left'],
    [5, 0, 'time left not known yet'],
    [0, 1, 'done'],
  ])('%i lines at %f a ms: %s', (lines, perMs, text) => {
    expect(leftText(lines, perMs)).toBe(text)
  })
})
