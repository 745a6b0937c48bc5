import { createHeadgate } from 'headgate'
import { startSimulator } from 'headgate/testing'

// A stand-in for the provider, so that this runs without a key. Yours: leave it out, and baseURL with it.
const provider = await startSimulator({ profile: 'glm', concurrency: 2, latencyMs: 100 })

const gate = createHeadgate({
  redis: process.env.REDIS_URL, // left out: this process alone, same semantics
  pools: {
    'glm-4-plus': {
      provider: 'glm',
      apiKey: process.env.GLM_API_KEY ?? 'any',
      baseURL: provider.baseURL,
      limits: { requests: { limit: 50, per: '1m' }, tokens: { limit: 100_000, per: '1m' }, concurrency: 2 },
      degradedMessage: '抱歉,系统繁忙,请稍后重试。',
    },
  },
  tenants: { web: { weight: 4 }, batch: { weight: 1 } },
})
await gate.ready() // rejects within 5 s if Redis does not answer

// Every step of every request:
gate.on('transition', ({ requestId, from, to, event }) => {
  console.log(`${requestId.slice(0, 8)} ${from ?? '·'} → ${to} (${event})`)
})

// Spawn a request actor. This line waits while the pool's queue is full: that is the backpressure.
const request = await gate.spawn({
  pool: 'glm-4-plus',
  messages: [{ role: 'user', content: '你好' }],
  maxTokens: 20,
  tenant: 'web',
  priority: 'high',
  deadline: '30s',
})
request.actor.subscribe((snapshot) => console.log('actor:', snapshot.value)) // a real XState actor
const outcome = await request.outcome // never rejects
console.log(outcome.status, outcome.usage, `waited ${Math.round(outcome.waitedMs)} ms`)

// Or in one line: the provider's response, or a thrown HeadgateError.
const answer = await gate.complete({ pool: 'glm-4-plus', messages: [{ role: 'user', content: 'hello' }], maxTokens: 5 })
console.log(answer.choices[0].message.content)

// Or govern any async function: an SDK call, a script, a tool.
const sum = await gate.run({ pool: 'glm-4-plus', estimatedTokens: 100 }, async ({ signal, attempt }) => {
  return signal.aborted ? 0 : 41 + attempt
})
console.log('sum', sum)

// At once or not at all, for callers who would rather turn away than wait:
const maybe = gate.trySpawn({ pool: 'glm-4-plus', messages: [{ role: 'user', content: 'now?' }], maxTokens: 5 })
console.log(maybe ? (await maybe.outcome).status : 'full')

console.log(gate.stats().pools['glm-4-plus'].outcomes)
await gate.drain({ timeout: '30s' }) // finish what was accepted
await gate.close()
await provider.close()
