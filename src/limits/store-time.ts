/** Store time never goes back and never stands still: after a backward step it continues from where it was. */
export class StoreTime {
  #lastMs = 0
  #offsetMs = 0

  /** How far this runs ahead of the clock by now. */
  get setBackMs(): number {
    return this.#offsetMs
  }

  /** What `read` would say. */
  peek(rawMs: number): number {
    return Math.max(this.#lastMs, Math.floor(rawMs) + this.#offsetMs)
  }

  /** Whole ms of store time at the raw clock reading `rawMs`. */
  read(rawMs: number): number {
    let nowMs = Math.floor(rawMs) + this.#offsetMs
    if (nowMs < this.#lastMs) {
      this.#offsetMs += this.#lastMs - nowMs
      nowMs = this.#lastMs
    }
    this.#lastMs = nowMs
    return nowMs
  }
}
