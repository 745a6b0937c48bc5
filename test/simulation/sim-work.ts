import { failureOf } from '../../src/providers/provider.js'
import type { CallContext, CallEnd, Work } from '../../src/request/work.js'
import type { ProcessClock } from './process-clock.js'
import type { Call, ProviderModel } from './provider.js'
import type { RequestPlan } from './plan.js'
import type { Random } from './random.js'

const CANCELLED = { ...failureOf('UNKNOWN', 'cancelled'), code: 'CANCELLED' as const, mendable: false }
/** From the abort of a call to its socket's close. */
const CLOSE_MS = 20

export interface Line {
  readonly provider: ProviderModel
  readonly clock: ProcessClock
  readonly random: Random
  readonly process: string
  readonly nowMs: () => number
  /** Writes the call; undefined when nothing stands for it, which nobody should see. */
  readonly write: (request: RequestPlan, attempt: number) => Call
}

/** A call over the modelled provider: connect, ask, write, wait. */
export function simWork(line: Line, request: RequestPlan): Work {
  return {
    answersInWords: true,
    async call(context): Promise<CallEnd> {
      await connect(line)
      if (context.cut.signal.aborted) return { type: 'failed', failure: CANCELLED, sent: 'nothing' }
      if (!context.maySend()) return { type: 'unsent' }
      return exchange(line, line.write(request, context.attempt), context)
    },
  }
}

/** Most connections are open; some have to be opened, and now and then that takes longer than a grant is good for. */
function connect({ random, clock }: Line): Promise<void> | undefined {
  const shape = random.next()
  if (shape < 0.7) return undefined
  const delayMs = shape < 0.97 ? random.between(0, 30) : random.between(30, 120)
  return new Promise((resolve) => clock.setTimeout(resolve, delayMs))
}

function exchange(line: Line, call: Call, { cut: { signal }, callTimeoutMs }: CallContext): Promise<CallEnd> {
  const { clock, provider, random } = line
  return new Promise((resolve) => {
    const end = (how: CallEnd) => {
      clock.clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      resolve(how)
    }
    const stop = (failure: (CallEnd & { type: 'failed' })['failure']) => {
      call.answer = undefined
      const over = new Promise<void>((closed) => {
        clock.setTimeout(
          () => {
            provider.hangUp(call)
            closed()
          },
          random.between(0, CLOSE_MS),
        )
      })
      end({ type: 'failed', failure, sent: 'cut', over })
    }
    const abort = () => stop(CANCELLED)
    const timer = clock.setTimeout(() => stop(failureOf('TMO', 'no answer in time')), callTimeoutMs)
    signal.addEventListener('abort', abort, { once: true })
    call.answer = (answer) =>
      clock.run(() => {
        if (call.answer === undefined) return
        call.answer = undefined
        if (answer.type === 'answered') {
          const { usedTokens } = answer
          const usage = { promptTokens: usedTokens, completionTokens: 0, totalTokens: usedTokens }
          end({ type: 'completed', value: 'done', usage })
        } else if (answer.type === 'refused') end({ type: 'failed', failure: answer.failure, sent: 'whole' })
        else end({ type: 'failed', failure: failureOf('NET', 'the connection was cut'), sent: 'cut' })
      })
    provider.send(call)
  })
}
