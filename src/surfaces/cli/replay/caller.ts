import type { RowStatus } from './protocol.js'

/** What became of one request. */
export interface CallReport {
  readonly status: RowStatus
  /** What the last call itself took, in wall ms; 0 when there was none. */
  readonly callMs: number
}

/** How a worker makes its requests: through a gate, or without. */
export interface Caller {
  /** Never rejects. */
  call(contextTokens: number, generatedTokens: number): Promise<CallReport>
  /** Answers with HTTP 429 so far. */
  readonly refused: number
  /** Requests that may be begun and not ended: beyond it rows wait outside, without a prompt. */
  readonly maxOpen: number
  close(): Promise<void>
}

/** As many tokens as asked for, by the simulator's tokenizer and about so by any other. */
export function promptOf(tokens: number): string {
  return 'word '.repeat(tokens)
}
