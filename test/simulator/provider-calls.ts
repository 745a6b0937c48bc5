// Calls to a simulator the way its provider's profile says, and what that profile makes of the answers.
import { chatUrlOf } from '../../src/providers/chat-url.js'
import { providerByName } from '../../src/providers/index.js'
import type { Profile, ProviderFailure, Usage } from '../../src/providers/provider.js'
import { parseBody } from '../../src/providers/wire.js'
import type { ProfileName, Simulator, SimulatorOptions } from '../../src/testing/index.js'
import { BODY, start } from './harness.js'

export const providerOf = (name: ProfileName): Profile => {
  const provider = providerByName(name)
  if (!provider) throw new Error(`no profile for ${name}`)
  return provider
}

export async function startFor(name: ProfileName, options: Omit<SimulatorOptions, 'profile'> = {}) {
  const simulator = await start(name, options)
  const provider = providerOf(name)
  return { simulator, provider, call: (more?: Call) => callTo(simulator, provider, more) }
}

interface Call {
  readonly body?: object | string
  readonly headers?: Record<string, string>
  readonly path?: string
}

async function callTo(simulator: Simulator, provider: Profile, { body, headers, path }: Call = {}) {
  const response = await fetch(
    path === undefined ? chatUrlOf(simulator.baseURL, provider.chatPath) : simulator.url + path,
    {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...provider.authHeaders('key'), ...headers },
      body: typeof body === 'string' ? body : JSON.stringify({ ...BODY, ...body }),
    },
  )
  const text = await response.text()
  const answer = { status: response.status, headers: Object.fromEntries(response.headers), body: parseBody(text) }
  return { ...answer, text, failure: provider.classify(answer) }
}

/** The chunks of a stream, parsed, and what the profile makes of them one after the other. */
export function followStream(provider: Profile, text: string) {
  const payloads = text
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => parseBody(line.slice('data:'.length).trim()))
  let usage: Usage | undefined
  const failures: ProviderFailure[] = []
  for (const payload of payloads) {
    usage = provider.streamUsage(payload, usage) ?? usage
    const failure = provider.classifyChunk(payload)
    if (failure) failures.push(failure)
  }
  return { payloads, usage, failures }
}
