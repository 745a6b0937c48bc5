/** What may be in hand at once. Who takes waits while there is no room; what is larger than all of it passes alone. */
export class Budget {
  #out = 0
  #wake: (() => void) | undefined

  constructor(private readonly limit: number) {}

  /** One at a time. */
  async take(amount: number): Promise<void> {
    while (this.#out > 0 && this.#out + amount > this.limit) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#out += amount
  }

  give(amount: number): void {
    this.#out -= amount
    this.#wake?.()
    this.#wake = undefined
  }
}
