import type { Clock, TimerHandle } from '../clock.js'
import type { Grant, TokenRequest } from './grant.js'

/** Grants handed out in one turn of the event loop: each runs its receiver, so a larger burst would block it. */
const GRANTS_PER_TURN = 32

/** Hands grants to those who waited for them: in order, a few per turn, and never to one who withdrew meanwhile. */
export class Handout {
  readonly #due = new Map<TokenRequest, Grant>()
  #timer: TimerHandle | undefined

  constructor(private readonly clock: Clock) {}

  add(request: TokenRequest, grant: Grant): void {
    this.#due.set(request, grant)
  }

  /** Takes a grant out that its request no longer wants. */
  remove(request: TokenRequest): Grant | undefined {
    const grant = this.#due.get(request)
    this.#due.delete(request)
    return grant
  }

  /** Hands out this turn's share, unless earlier grants still wait for theirs. */
  go(): void {
    if (this.#timer === undefined) this.#turn()
  }

  #turn(): void {
    this.#timer = undefined
    let left = GRANTS_PER_TURN
    for (const [request, grant] of this.#due) {
      if (left-- === 0) {
        this.#timer = this.clock.setTimeout(() => this.#turn(), 0)
        return
      }
      this.#due.delete(request)
      request.onGrant(grant)
    }
  }
}
