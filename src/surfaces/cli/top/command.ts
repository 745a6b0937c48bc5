import { setTimeout as sleep } from 'node:timers/promises'
import { Command, Option } from 'commander'
import { loadDotEnv } from '../../../config.js'
import type { MonitoringStats } from '../../../monitoring.js'
import { CliError } from '../errors.js'
import { durationOption } from '../parse.js'
import { explain, note, outputColors, outputColumns } from '../terminal.js'
import { Screen } from './screen.js'
import { gatewaySource, redisSource, type Source } from './source.js'
import { plainLines, renderFleet } from './view.js'

const LEAST_EVERY_MS = 100

interface TopFlags {
  readonly url: string
  readonly key?: string
  readonly redis?: true
  readonly config?: string
  readonly every: number
  readonly once?: true
  readonly json?: true
}

/** `headgate top`: how the fleet stands, again and again, until q. */
export function topCommand(): Command {
  return new Command('top')
    .description('watch a running gateway, or Redis itself: pools, limits, waits, 429s, tenants, processes; q ends it')
    .option('--url <url>', 'the gateway to ask', 'http://127.0.0.1:8000')
    .option('--key <key>', "the gateway's key; default: the first of HEADGATE_API_KEYS")
    .option('--redis', 'read Redis instead, as the environment (or --config) names it; joins nothing')
    .option('--config <file>', "read Redis instead, with the gate's options from this file")
    .addOption(new Option('--every <duration>', 'how often to look').argParser(durationOption).default(1_000, '1s'))
    .option('--once', 'look once, print it, and end')
    .option('--json', "print each look as one line of JSON, as the gateway's monitoring API has it")
    .action(top)
}

async function top(flags: TopFlags): Promise<void> {
  const { env } = process
  loadDotEnv(process.cwd(), env)
  const fromRedis = flags.redis === true || flags.config !== undefined
  const source = fromRedis
    ? await redisSource(flags.config, env)
    : flags.key === undefined
      ? gatewaySource(flags.url, keyIn(env), 'HEADGATE_API_KEYS here')
      : gatewaySource(flags.url, flags.key, '--key')
  const everyMs = Math.max(LEAST_EVERY_MS, flags.every)
  try {
    if (flags.once) print(await source.read(), flags, source)
    else if (process.stdout.isTTY && env.TERM !== 'dumb' && !flags.json) await watchOnScreen(source, everyMs)
    else await watchInLines(source, everyMs, flags)
  } finally {
    await source.close()
  }
}

function keyIn({ HEADGATE_API_KEYS: keys = '' }: NodeJS.ProcessEnv): string | undefined {
  return keys.split(',')[0]?.trim() || undefined
}

function print(stats: MonitoringStats, { json, once }: TopFlags, { name }: Source): void {
  if (json) process.stdout.write(`${JSON.stringify(stats)}\n`)
  else if (once) {
    const frame = { source: name, colors: outputColors(), columns: outputColumns(), rows: Number.POSITIVE_INFINITY }
    process.stdout.write(`${renderFleet(stats, frame).join('\n')}\n`)
  } else process.stdout.write(`${plainLines(stats).join('\n')}\n`)
}

/** For pipes, files and logs. Whoever reads no more ends it. */
async function watchInLines(source: Source, everyMs: number, flags: TopFlags): Promise<void> {
  const stop = stopped()
  process.stdout.on('error', () => stop.abort())
  let isFirst = true
  await repeatedly(everyMs, stop.signal, async () => {
    try {
      print(await source.read(), flags, source)
    } catch (error) {
      // What never worked will not work by itself; what did may come back.
      if (isFirst || error instanceof CliError) throw error
      note(`${explain(error)}; trying again`)
    }
    isFirst = false
  })
}

async function watchOnScreen(source: Source, everyMs: number): Promise<void> {
  const stop = stopped()
  let stats: MonitoringStats | undefined
  let trouble = ''
  const colors = outputColors()
  const paint = () => {
    const { columns, rows } = screen.size
    const warning = trouble === '' ? [] : [colors.bold(colors.red(trouble))]
    const room = rows - warning.length
    const lines = stats
      ? renderFleet(stats, { source: source.name, colors, columns, rows: room })
      : [`${source.name} …`]
    screen.paint([...warning, ...lines])
  }
  const screen = new Screen({ onQuit: () => stop.abort(), onResize: paint })
  screen.open()
  try {
    await repeatedly(everyMs, stop.signal, async () => {
      try {
        stats = await source.read()
        trouble = ''
      } catch (error) {
        if (error instanceof CliError) throw error
        trouble = `${explain(error)}; trying again`
      }
      paint()
    })
  } finally {
    screen.close()
  }
}

/** Aborted by Ctrl-C and its like. */
function stopped(): AbortController {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())
  return stop
}

/** Never two at a time; `signal` ends the wait, and does not wait for a look that hangs. */
async function repeatedly(everyMs: number, signal: AbortSignal, look: () => Promise<void>): Promise<void> {
  const ended = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  while (!signal.aborted) {
    await Promise.race([look(), ended])
    if (!signal.aborted) await sleep(everyMs, undefined, { signal }).catch(() => {})
  }
}
