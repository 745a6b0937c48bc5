import type { AnswerCache } from './answers/answer-cache.js'
import type { Admission, Intake } from './intake/intake.js'
import type { Outcome, RunningRequest } from './request/request.js'
import type { Tape } from './request/tape.js'

/** A request on its way to its pool's queue. */
export interface Admitted {
  /** Waits for a place. */
  enter(): Promise<RunningRequest>
  /** Takes a place now, or none. */
  tryEnter(standing?: Parameters<Intake['tryEnter']>[1]): RunningRequest | undefined
}

export interface Asking {
  /** Of what determines the answer. */
  readonly key: string
  readonly admission: Admission
  /** On to the pool's queue. */
  readonly place: (admission: Admission) => Admitted
  readonly tape: Tape | undefined
}

/** Looks for an answer that is there already before a request takes a place in its queue, and keeps those that come. */
export class AnswersFirst {
  constructor(private readonly cache: AnswerCache) {}

  admitted(asking: Asking): Admitted {
    const { key, admission, place } = asking
    return {
      enter: async () => {
        const running = this.#fromMemory(asking)
        if (running) return running
        if (this.cache.isShared && !admission.signal?.aborted) {
          const known = await this.cache.find(key)
          if (known) return answered(admission.start(), known)
        }
        return this.#kept(asking, await place(admission).enter())
      },
      tryEnter: (standing) => {
        const known = this.#fromMemory(asking)
        if (known) return known
        const start = () => this.#held(asking, admission.start())
        const running = place(this.cache.isShared ? { ...admission, start } : admission).tryEnter(standing)
        return running && this.#kept(asking, running)
      },
    }
  }

  /** Needs no place: nobody waits for it. */
  #fromMemory({ key, admission }: Asking): RunningRequest | undefined {
    if (admission.signal?.aborted) return undefined
    const known = this.cache.peek(key)
    return known && answered(admission.start(), known)
  }

  /** It has its place already: when its turn comes, it first asks who else may know. */
  #held({ key }: Asking, running: RunningRequest): RunningRequest {
    const { admit } = running
    running.admit = async () => {
      const known = await this.cache.find(key)
      if (running.request.state === 'done') return
      if (!known) return admit()
      running.answer(known)
    }
    return running
  }

  #kept({ key, tape }: Asking, running: RunningRequest): RunningRequest {
    void running.request.outcome.then((outcome) => {
      const events = outcome.value === undefined ? tape?.events : undefined
      if (isOwn(outcome) && (outcome.value !== undefined || events)) {
        const { httpStatus = 200, value } = outcome
        void this.cache.keep(key, { httpStatus, value, events })
      }
    })
    return running
  }
}

function answered(running: RunningRequest, known: Parameters<RunningRequest['answer']>[0]): RunningRequest {
  running.answer(known)
  return running
}

/** What came whole from the request's own call. */
function isOwn({ status, via }: Outcome): boolean {
  return status === 'completed' && via === undefined
}
