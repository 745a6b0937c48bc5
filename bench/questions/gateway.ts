import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Bench, Case, Metrics, Question } from '../harness/question.js'

interface Figures {
  readonly perCpuSecond?: number
  readonly ofProxy?: number
  readonly latencyMs: { readonly p50: number; readonly p99: number }
  readonly coldLatencyMs: { readonly p50: number; readonly p99: number }
  readonly firstByteMs?: { readonly p50: number }
}

/** `bench/gateway.mjs` on one of them: processes pinned to cores, the built command line, a bare upstream. */
async function asked(bench: Bench, who: string): Promise<Metrics> {
  const args = [join(bench.root, 'bench/gateway.mjs'), '--json', '--only', who, '--seconds', `${bench.seconds}`]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  const results = JSON.parse(stdout) as Record<string, Figures>
  const [its, direct] = [results[who]!, results.direct!]
  return {
    perCpuSecond: its.perCpuSecond!,
    ofProxy: its.ofProxy!,
    p50Ms: its.latencyMs.p50 - direct.latencyMs.p50,
    p99Ms: its.latencyMs.p99 - direct.latencyMs.p99,
    coldP99Ms: its.coldLatencyMs.p99 - direct.coldLatencyMs.p99,
    ...(its.firstByteMs && direct.firstByteMs && { firstByteMs: its.firstByteMs.p50 - direct.firstByteMs.p50 }),
  }
}

const row = (name: string, side: Case['side'], who: string): Case => ({
  name,
  side,
  run: (bench) => asked(bench, who),
})

export const gateway: Question = {
  name: 'gateway',
  what: 'What a gateway costs on the way, on loopback, 50 connections, one core; times are above calling the upstream directly',
  metrics: {
    perCpuSecond: 'requests for a second of its CPU, at saturation',
    ofProxy: 'the same, × that of a bare proxy in turns with it',
    p50Ms: 'at 1,000 requests per second, ms above direct',
    p99Ms: 'the same, 99th percentile',
    coldP99Ms: 'the same in its first two seconds',
    firstByteMs: 'first byte of a stream, median, ms above direct',
  },
  cases: [
    row('headgate serve', 'headgate', 'headgate'),
    row('a bare proxy of undici', 'limit', 'proxy'),
    row('@portkey-ai/gateway', 'peer', 'portkey'),
  ],
  goals: [
    { what: 'p50 ≤ 1 ms', value: (look) => look('headgate serve', 'p50Ms'), atMost: 1 },
    { what: 'p99 ≤ 5 ms', value: (look) => look('headgate serve', 'p99Ms'), atMost: 5 },
    { what: 'first byte ≤ 2 ms', value: (look) => look('headgate serve', 'firstByteMs'), atMost: 2 },
    {
      what: '≥ 3 × Portkey’s',
      value: (look) => look('headgate serve', 'ofProxy') / look('@portkey-ai/gateway', 'ofProxy'),
      atLeast: 3,
    },
    {
      what: '≥ 0.4 × the bare proxy’s',
      value: (look) => look('headgate serve', 'ofProxy'),
      atLeast: 0.4,
    },
  ],
}
