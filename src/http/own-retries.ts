import { createHash } from 'node:crypto'

/** An SDK's own retry comes within seconds: so many failures are remembered, for so long. */
const MAX_REMEMBERED = 64
const REMEMBERED_MS = 60_000

/** Knows a body again that failed in a way a retry may mend: not every SDK says of a request that it is its own retry. */
export class OwnRetries {
  /** When it failed, by digest; the oldest first. */
  readonly #failed = new Map<string, number>()

  failed(text: string, nowMs: number): void {
    const digest = digestOf(text)
    this.#failed.delete(digest)
    this.#failed.set(digest, nowMs)
    const [oldest] = this.#failed.keys()
    if (this.#failed.size > MAX_REMEMBERED) this.#failed.delete(oldest!)
  }

  /** Costs nothing while nothing fails. */
  isOne(text: string, nowMs: number): boolean {
    if (this.#failed.size === 0) return false
    const digest = digestOf(text)
    const failedMs = this.#failed.get(digest)
    this.#failed.delete(digest)
    return failedMs !== undefined && nowMs - failedMs <= REMEMBERED_MS
  }
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64')
}
