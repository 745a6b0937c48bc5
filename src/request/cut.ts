/**
 * Whether a call is to be cut. Few calls ever are, and an AbortSignal weighs more than all else of a request: one is made
 * for who asks for it only.
 */
export class Cut {
  #made = false
  #controller: AbortController | undefined
  /** Called when it is made; one hearer, who may also leave. */
  onMade: (() => void) | undefined = undefined

  get isMade(): boolean {
    return this.#made
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#made) this.#controller.abort()
    }
    return this.#controller.signal
  }

  make(): void {
    if (this.#made) return
    this.#made = true
    this.onMade?.()
    this.#controller?.abort()
  }
}
