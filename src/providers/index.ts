import { deepseek } from './deepseek.js'
import { glm, glmCoding, glmIntl } from './glm.js'
import { openai, openaiCompatible } from './openai-compatible.js'
import type { Provider } from './provider.js'

export type { FailureClass, Provider, ProviderFailure, ProviderResponse, Usage } from './provider.js'
export { deepseek, glm, glmCoding, glmIntl, openai, openaiCompatible }

const PROFILES: ReadonlyMap<string, Provider> = new Map(
  [glm, glmIntl, glmCoding, deepseek, openai, openaiCompatible].map((profile) => [profile.name, profile]),
)

/** The names that a pool's `provider` may take. */
export const PROVIDER_NAMES: readonly string[] = [...PROFILES.keys()]

export function providerByName(name: string): Provider | undefined {
  return PROFILES.get(name)
}
