// What a request counts for against a limit of LLM tokens, by the provider's own way of counting. Pure.
import type { TokenEstimate } from './estimate.js'
import type { Provider, Usage } from './provider.js'

type Counting = Pick<Provider, 'countsCompletion'>

/** What to reserve before a request is sent. Where the answer counts as it is produced, it becomes debt at settlement. */
export function tokensToReserve(
  { countsCompletion = 'up-front' }: Counting,
  estimate: Pick<TokenEstimate, 'promptTokens' | 'total'>,
): number {
  return countsCompletion === 'up-front' ? estimate.total : estimate.promptTokens
}

/** What to settle on once it has ended. */
export function tokensCounted({ countsCompletion = 'up-front' }: Counting, usage: Usage): number {
  return countsCompletion === 'never' ? usage.promptTokens : usage.totalTokens
}
