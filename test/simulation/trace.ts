/** What happened, as a hash of everything and, if wanted, as lines. */
export class Trace {
  #hash = 2166136261
  #events = 0
  readonly lines: string[] = []

  constructor(
    private readonly nowMs: () => number,
    private readonly keep: boolean,
  ) {}

  /** `text` is called only when lines are kept; `mark` alone is hashed. */
  event(mark: string, text?: () => string): void {
    this.#mix(mark)
    if (this.keep && text) this.note(text())
  }

  note(line: string): void {
    if (this.keep) this.lines.push(`${this.nowMs().toFixed(1).padStart(9)} ${line}`)
  }

  get digest(): string {
    return `${(this.#hash >>> 0).toString(16).padStart(8, '0')}-${this.#events}`
  }

  #mix(mark: string): void {
    this.#events++
    const text = `${this.nowMs()}${mark}`
    let hash = this.#hash
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619)
    this.#hash = hash
  }
}
