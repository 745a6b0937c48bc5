import type { Profile, ProfileName } from './profile.js'
import { anthropic } from './wires/anthropic.js'
import { azure } from './wires/azure.js'
import { dashscope } from './wires/dashscope.js'
import { deepseek } from './wires/deepseek.js'
import { gemini } from './wires/gemini.js'
import { glm } from './wires/glm.js'
import { groq } from './wires/groq.js'
import { ollama, vllm } from './wires/local.js'
import { mistral } from './wires/mistral.js'
import { moonshot } from './wires/moonshot.js'
import { openai } from './wires/openai.js'
import { openrouter } from './wires/openrouter.js'

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  glm,
  deepseek,
  openai,
  azure,
  anthropic,
  gemini,
  mistral,
  groq,
  moonshot,
  dashscope,
  openrouter,
  vllm,
  ollama,
}

/** The wires the simulator speaks. */
export const PROFILE_NAMES = Object.keys(PROFILES) as readonly ProfileName[]
