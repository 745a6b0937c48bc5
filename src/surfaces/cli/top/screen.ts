import ansi from 'ansi-escapes'

const ESCAPE = '\u001b'
/** The last is Ctrl-C, which is no signal in raw mode. */
const QUITTING = ['q', 'Q', '\u0003']

/** The whole terminal for a while: what was on it comes back at the end. */
export class Screen {
  #open = false
  readonly #onResize: () => void
  readonly #onInput: (bytes: Buffer) => void
  readonly #onExit = () => this.close()

  /** `onQuit` for q, escape and Ctrl-C; `onResize` when there is another number of columns or rows. */
  constructor({ onQuit, onResize }: { readonly onQuit: () => void; readonly onResize: () => void }) {
    this.#onResize = onResize
    // Escape by itself: an arrow key begins with it and goes on.
    this.#onInput = (bytes) => {
      const keys = bytes.toString('latin1')
      if (keys === ESCAPE || [...keys].some((key) => QUITTING.includes(key))) onQuit()
    }
  }

  open(): void {
    this.#open = true
    process.stdout.write(ansi.enterAlternativeScreen + ansi.cursorHide)
    process.stdout.on('resize', this.#onResize)
    if (process.stdin.isTTY) process.stdin.setRawMode(true).on('data', this.#onInput).resume()
    // However this process ends, the terminal is given back as it was.
    process.once('exit', this.#onExit)
  }

  /** Columns and rows. */
  get size(): { readonly columns: number; readonly rows: number } {
    return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 }
  }

  paint(lines: readonly string[]): void {
    // A terminal that is behind gets the next frame instead.
    if (!this.#open || process.stdout.writableNeedDrain) return
    const body = lines.map((line) => line + ansi.eraseEndLine).join('\r\n')
    process.stdout.write(ansi.cursorTo(0, 0) + body + ansi.eraseDown)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    process.off('exit', this.#onExit)
    process.stdout.off('resize', this.#onResize)
    if (process.stdin.isTTY) process.stdin.setRawMode(false).off('data', this.#onInput).pause()
    process.stdout.write(ansi.cursorShow + ansi.exitAlternativeScreen)
  }
}
