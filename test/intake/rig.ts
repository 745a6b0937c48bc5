import type { HeadgateError } from '../../src/errors.js'
import { type Admission, Intake } from '../../src/intake/intake.js'
import type { GateRequest, RunningRequest } from '../../src/request/request.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

export const MAX_QUEUED = 10

export interface Producer {
  readonly id: string
  state: 'at the gate' | 'queued' | 'active' | 'done' | 'turned away'
  error: HeadgateError | undefined
  /** Ends the request, wherever it is past the gate. */
  finish: () => void
}

/** One intake whose requests end when the test says so. Its own books share nothing with the queue's. */
export class Rig {
  readonly clock = new VirtualClock()
  readonly intake: Intake
  readonly producers: Producer[] = []
  /** Ids in the order in which they got a place, and in which they left the queue. */
  readonly entered: string[] = []
  readonly admitted: string[] = []
  /** Called at every change of state. */
  onChange: (producer: Producer) => void = () => {}

  constructor(maxActive: number, maxQueued = MAX_QUEUED) {
    this.intake = new Intake('pool', this.clock, maxQueued, maxActive)
  }

  admissionOf(producer: Producer, more: Partial<Admission> = {}): Admission {
    const start = () => this.#start(producer)
    const waits = { deadlineMs: undefined, signal: undefined, waitMs: () => 0 }
    return { flowKey: 'flow', weight: 1, ...waits, start, ...more }
  }

  newProducer(id = String(this.producers.length)): Producer {
    const producer: Producer = { id, state: 'at the gate', error: undefined, finish: () => {} }
    this.producers.push(producer)
    return producer
  }

  enter({ id, ...more }: Partial<Admission> & { id?: string } = {}): Producer {
    const producer = this.newProducer(id)
    this.intake.enter(this.admissionOf(producer, more)).catch((error: HeadgateError) => {
      producer.error = error
      this.#move(producer, 'turned away')
    })
    return producer
  }

  in(state: Producer['state']): Producer[] {
    return this.producers.filter((producer) => producer.state === state)
  }

  /** Lets promises settle. */
  settle(): Promise<void> {
    return this.clock.advanceAsync(0)
  }

  #start(producer: Producer): RunningRequest {
    if (producer.state !== 'at the gate') throw new Error(`${producer.id} started in state ${producer.state}`)
    const running: RunningRequest = {
      request: { id: producer.id } as GateRequest,
      admit: () => {
        if (producer.state !== 'queued') throw new Error(`${producer.id} admitted in state ${producer.state}`)
        this.admitted.push(producer.id)
        this.#move(producer, 'active')
      },
      answer: () => {},
      listener: () => false,
      breakOff: () => {},
      onLeave: () => false,
      seat: undefined,
      listening: undefined,
    }
    producer.finish = () => {
      this.#move(producer, 'done')
      running.seat!.leave()
    }
    this.entered.push(producer.id)
    this.#move(producer, 'queued')
    return running
  }

  #move(producer: Producer, state: Producer['state']): void {
    producer.state = state
    this.onChange(producer)
  }
}
