import { SingleBar } from 'cli-progress'

export interface BatchProgress {
  readonly lines: number
  readonly done: number
  readonly failed: number
}

const BAR_EVERY_MS = 250
const LINE_EVERY_MS = 10_000
/** The rate is that of the last half minute: what a limit lets through changes. */
const SAMPLES = 30
const SAMPLE_MS = 1_000
const FORMAT = '{bar} {percentage} % · {value}/{total} lines · {failed} failed · {rate} · {left}'

/** Shows how far a batch is, on stderr: a bar on a terminal, else a plain line every ten seconds. Returns what ends it. */
export function showProgress(
  read: () => BatchProgress,
  stream: NodeJS.WriteStream = process.stderr,
  now: () => number = () => performance.now(),
): () => void {
  const pace = new Pace(read().done, now())
  const texts = ({ lines, done, failed }: BatchProgress) => {
    const perMs = pace.perMs(done, now())
    return { failed: String(failed), rate: rateText(perMs), left: leftText(lines - done, perMs) }
  }
  if (!stream.isTTY) {
    const timer = setInterval(() => {
      const progress = read()
      const { failed, rate, left } = texts(progress)
      stream.write(`${progress.done}/${progress.lines} lines · ${failed} failed · ${rate} · ${left}\n`)
    }, LINE_EVERY_MS)
    return () => clearInterval(timer)
  }
  const bar = new SingleBar({ stream, format: FORMAT, hideCursor: true, barsize: 24 })
  bar.start(read().lines, read().done, texts(read()))
  const update = () => bar.update(read().done, texts(read()))
  const timer = setInterval(update, BAR_EVERY_MS)
  const end = () => {
    clearInterval(timer)
    process.off('exit', end)
    update()
    bar.stop()
  }
  // Whoever doesn't wait for the end is to have a cursor and line breaks, too.
  process.once('exit', end)
  return end
}

/** A note while the progress is shown. A bar's line is cleared for it, and the cursor's place kept below. */
export function noteOverBar(line: string, stream: NodeJS.WriteStream = process.stderr): void {
  const text = `headgate: ${line}\n`
  stream.write(stream.isTTY ? `\r\x1b[K${text}\x1b7` : text)
}

/** How fast a count has grown lately. */
export class Pace {
  readonly #samples: { readonly done: number; readonly atMs: number }[]

  constructor(done: number, nowMs: number) {
    this.#samples = [{ done, atMs: nowMs }]
  }

  /** Per ms, since the oldest sample kept. */
  perMs(done: number, nowMs: number): number {
    const samples = this.#samples
    if (nowMs - samples.at(-1)!.atMs >= SAMPLE_MS) samples.push({ done, atMs: nowMs })
    if (samples.length > SAMPLES) samples.shift()
    const { done: before, atMs } = samples[0]!
    return nowMs > atMs ? (done - before) / (nowMs - atMs) : 0
  }
}

function rateText(perMs: number): string {
  const perSecond = perMs * 1000
  if (perSecond >= 10) return `${Math.round(perSecond)}/s`
  return perSecond >= 1 ? `${perSecond.toFixed(1)}/s` : `${(perSecond * 60).toFixed(1)}/min`
}

/** The time that so many lines will take at this pace. */
export function leftText(lines: number, perMs: number): string {
  if (lines === 0) return 'done'
  if (perMs <= 0) return 'time left not known yet'
  const seconds = Math.ceil(lines / perMs / 1000)
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)]
  if (hours > 0) return `${hours} h ${minutes} min left`
  return minutes > 0 ? `${minutes} min ${seconds % 60} s left` : `${seconds} s left`
}
