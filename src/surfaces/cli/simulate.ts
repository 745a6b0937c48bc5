import { Command, Option } from 'commander'
import type { Rate } from '../../durations.js'
import {
  PROFILE_NAMES,
  type SimulatorOptions,
  startSimulator,
  WINDOW_KINDS,
  type WindowKind,
} from '../../testing/index.js'
import { CliError } from './errors.js'
import { ceilingOption, countOption, durationOption, errorRateOption, oneOf, portOption, rateOption } from './parse.js'

interface SimulateFlags {
  readonly profile: SimulatorOptions['profile']
  readonly port: number
  readonly host: string
  readonly requests?: Rate
  readonly tokens?: Rate
  readonly concurrency?: number
  readonly latency: number
  readonly ceiling?: { values: number[]; everyMs: number }
  readonly window?: WindowKind
  readonly keepAlive?: number
  readonly errorRate?: { share: number; code: string }
  readonly seed: number
}

/** `headgate simulate`: a provider on a port, until it is told to stop. */
export function simulateCommand(): Command {
  return new Command('simulate')
    .description('run the simulated provider; prints its base URL, and its report on stderr when it ends')
    .option('--profile <name>', `wire and errors: ${PROFILE_NAMES.join(', ')}`, oneOf(...PROFILE_NAMES), 'glm')
    .option('--port <port>', 'port; 0 for a free one', portOption, 0)
    .option('--host <host>', 'address to bind', '127.0.0.1')
    .option('--requests <rate>', 'requests per window, e.g. 50/1m', rateOption)
    .option('--tokens <rate>', 'LLM tokens per window, e.g. 100000/1m', rateOption)
    .option('--concurrency <n>', 'requests in flight', countOption)
    .addOption(
      new Option('--latency <duration>', 'how long an answer takes').argParser(durationOption).default(200, '200ms'),
    )
    .option('--ceiling <steps>', 'concurrency that moves without a word, e.g. 5,2,1@30s', ceilingOption)
    .option('--window <kind>', `${WINDOW_KINDS.join(', ')}; default: as the profile does it`, oneOf(...WINDOW_KINDS))
    .option('--error-rate <share:code>', 'fail this share, e.g. 0.01:1305; 0.01:late-1305 after a 200', errorRateOption)
    .option('--keep-alive <duration>', 'while an answer is due, keep the connection alive this often', durationOption)
    .option('--seed <n>', 'seed of latency and errors', countOption, 1)
    .action(simulate)
}

async function simulate(flags: SimulateFlags): Promise<void> {
  const { profile, port, host, requests, tokens, concurrency, latency, ceiling, errorRate, keepAlive, seed } = flags
  const kind = flags.window && { kind: flags.window }
  const simulator = await startSimulator({
    profile,
    port,
    host,
    seed,
    latencyMs: latency,
    ...(requests && { requests: [{ ...requests, ...kind }] }),
    ...(tokens && { tokens: [{ ...tokens, ...kind }] }),
    ...(concurrency !== undefined && { concurrency }),
    ...(ceiling && { ceiling }),
    ...(errorRate && { errors: [errorRate] }),
    ...(keepAlive && { keepAliveMs: keepAlive }),
  }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') throw new CliError(`port ${port} on ${host} is in use`)
    throw error instanceof RangeError ? new CliError(error.message) : error
  })
  process.stdout.write(`${simulator.baseURL}\n`)
  process.send?.({ type: 'listening', url: simulator.url, baseURL: simulator.baseURL })
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve)
    process.once('disconnect', resolve)
  })
  process.stderr.write(`${JSON.stringify(simulator.report())}\n`)
  await simulator.close()
}
