// The AI SDK's types alone: whoever imports this module has the package.
import type { LanguageModelMiddleware } from 'ai'
import { HeadgateError } from '../../errors.js'
import type { Headgate } from '../../gate.js'
import type { CallInput } from '../../intake/input.js'
import { estimateTokens } from '../../providers/estimate.js'
import type { RunContext } from '../../request/work.js'
import { pipe } from './ai-sdk-stream.js'

type WrapGenerate = NonNullable<LanguageModelMiddleware['wrapGenerate']>
type Params = Parameters<WrapGenerate>[0]['params']
type Streaming = Awaited<ReturnType<NonNullable<LanguageModelMiddleware['wrapStream']>>>

/** Whose calls they are, and how urgent; the signal is each call's own. */
export type MiddlewareInput = Omit<CallInput, 'signal' | 'estimatedTokens'>

/**
 * Governs a model of the AI SDK: `wrapLanguageModel({ model, middleware: headgateMiddleware(gate, { pool: 'glm' }) })`.
 * Each call waits for the pool's permission and is retried through the dispatcher; a stream holds its slot to its end, and
 * is not retried once it has begun. Set `maxRetries: 0` in the SDK's calls.
 */
export function headgateMiddleware(gate: Headgate, input: MiddlewareInput): LanguageModelMiddleware {
  return {
    middlewareVersion: 'v2',
    wrapGenerate: ({ model, params }) => {
      return governed(gate, callOf(input, params), params.abortSignal, async ({ signal, reportUsage }) => {
        const result = await model.doGenerate({ ...params, abortSignal: signal })
        report(reportUsage, result.usage)
        return result
      })
    },
    wrapStream: ({ model, params }) =>
      new Promise<Streaming>((resolve, reject) => {
        // Fires when the reader goes away, which the caller's own signal doesn't say.
        const reader = new AbortController()
        const leave = () => reader.abort(params.abortSignal?.reason)
        params.abortSignal?.addEventListener('abort', leave, { once: true })
        if (params.abortSignal?.aborted) leave()
        let fail: (error: unknown) => void = reject
        const run = governed(gate, callOf(input, params), reader.signal, async ({ signal, reportUsage }) => {
          const result = await model.doStream({ ...params, abortSignal: signal })
          await pipe(result.stream, {
            begin: (begun) => {
              fail = (error) => begun.end(error, reader.signal.aborted ? 'break' : 'part')
              resolve({ ...result, stream: begun.stream })
            },
            finish: (part) => report(reportUsage, part.usage),
            leave: () => reader.abort(),
            signal,
          })
        })
        const done = () => params.abortSignal?.removeEventListener('abort', leave)
        run.catch((error: unknown) => fail(error)).finally(done)
      }),
  }
}

function callOf(input: MiddlewareInput, { prompt, tools, maxOutputTokens }: Params): CallInput {
  return { ...input, estimatedTokens: estimateTokens({ messages: prompt, tools, maxTokens: maxOutputTokens }).total }
}

/** An abort is thrown as the SDK knows it; all else is a HeadgateError, which the SDK does not retry. */
async function governed<T>(
  gate: Headgate,
  call: CallInput,
  signal: AbortSignal | undefined,
  fn: (context: RunContext) => Promise<T>,
): Promise<T> {
  try {
    return await gate.run(signal ? { ...call, signal } : call, fn)
  } catch (error) {
    if (signal?.aborted && error instanceof HeadgateError && error.code === 'CANCELLED') throw signal.reason
    throw error
  }
}

/** A number in `ai` 5, in 6 an object with the total. */
type TokenCount = number | { readonly total?: number | undefined } | undefined

function report(
  reportUsage: RunContext['reportUsage'],
  usage: { readonly inputTokens: TokenCount; readonly outputTokens: TokenCount },
): void {
  const promptTokens = totalOf(usage.inputTokens)
  if (promptTokens !== undefined) reportUsage({ promptTokens, completionTokens: totalOf(usage.outputTokens) ?? 0 })
}

function totalOf(count: TokenCount): number | undefined {
  return typeof count === 'object' ? count.total : count
}
