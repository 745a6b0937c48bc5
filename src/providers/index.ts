import { anthropic } from './anthropic.js'
import { azure } from './azure.js'
import { dashscope } from './dashscope.js'
import { deepseek } from './deepseek.js'
import { gemini } from './gemini.js'
import { glm, glmCoding, glmIntl } from './glm.js'
import { groq } from './groq.js'
import { mistral } from './mistral.js'
import { moonshot } from './moonshot.js'
import { ollama } from './ollama.js'
import { openai, openaiCompatible } from './openai-compatible.js'
import { openrouter } from './openrouter.js'
import type { Profile } from './provider.js'
import { vllm } from './vllm.js'

export type { LimitObservation } from './limit-headers.js'
export type {
  CompletionCount,
  FailureClass,
  Provider,
  ProviderFailure,
  ProviderResponse,
  Usage,
} from './provider.js'
export { deepseek, glm, glmCoding, glmIntl, openai, openaiCompatible }

const ALL = [
  ...[glm, glmIntl, glmCoding, deepseek, openai, azure, anthropic, gemini, mistral, groq],
  ...[moonshot, dashscope, openrouter, vllm, ollama, openaiCompatible],
]
const PROFILES: ReadonlyMap<string, Profile> = new Map(ALL.map((profile) => [profile.name, profile]))

/** The names that a pool's `provider` may take. */
export const PROVIDER_NAMES: readonly string[] = [...PROFILES.keys()]

export function providerByName(name: string): Profile | undefined {
  return PROFILES.get(name)
}
