import { SingleBar } from 'cli-progress'
import type { ReplayMode } from './protocol.js'

/** Where one mode of a replay stands. */
export interface ReplayProgress {
  readonly mode: ReplayMode
  readonly rows: number
  readonly ended: number
  /** Share of the trace's time that has passed. */
  readonly share: number
  /** Answers with HTTP 429 that the callers saw. */
  readonly refused: number
}

export interface ProgressView {
  show(progress: ReplayProgress): void
  /** Ends the line of a mode. */
  end(): void
}

const PLAIN_EVERY_MS = 10_000
const FORMAT = '{mode} |{bar}| {value}/{total} done · {share} of the trace · 429s {refused}'

/** A bar on a terminal, else a plain line every ten seconds. stderr only. */
export function progressView(stream: NodeJS.WriteStream = process.stderr): ProgressView {
  return stream.isTTY ? barView(stream) : lineView(stream)
}

function barView(stream: NodeJS.WriteStream): ProgressView {
  let bar: SingleBar | undefined
  return {
    show(progress) {
      const texts = textsOf(progress)
      if (bar) bar.update(progress.ended, texts)
      else {
        bar = new SingleBar({ stream, format: FORMAT, hideCursor: true, barsize: 24 })
        bar.start(progress.rows, progress.ended, texts)
      }
    },
    end() {
      bar?.stop()
      bar = undefined
    },
  }
}

function lineView(stream: NodeJS.WriteStream): ProgressView {
  let shownMs = performance.now()
  return {
    show(progress) {
      if (performance.now() - shownMs < PLAIN_EVERY_MS) return
      shownMs = performance.now()
      const { mode, share, refused } = textsOf(progress)
      stream.write(
        `${mode.trim()}: ${progress.ended}/${progress.rows} done · ${share} of the trace · 429s ${refused}\n`,
      )
    },
    end() {},
  }
}

function textsOf({ mode, share, refused }: ReplayProgress) {
  return { mode: mode.padEnd('unprotected'.length), share: `${Math.round(share * 100)} %`, refused: String(refused) }
}
