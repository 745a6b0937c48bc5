import { realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Command } from 'commander'
import { type GateOptions, loadDotEnv, resolveConfig } from '../../../config.js'
import type { Headgate } from '../../../gate.js'
import { createHeadgate } from '../../../headgate.js'
import { configured, SIMULATED_MODEL } from '../../configured.js'
import { gatewayView } from '../../gateway/routes.js'
import { CliError } from '../errors.js'
import { oneOf } from '../parse.js'
import { note } from '../terminal.js'
import { MAX_LINE_BYTES } from './format.js'
import { digestOf, isBlank, linesOf } from './lines.js'
import { lock } from './lock.js'
import { noteOverBar, showProgress } from './progress.js'
import { type Found, ResultWriter, readResults } from './results.js'
import { BatchRun } from './run.js'

interface BatchFlags {
  readonly output: string
  readonly config?: string
  readonly tenant?: string
  readonly priority: 'high' | 'normal' | 'low'
  readonly json?: boolean
}

/** Every line has a result, but not every result is an answer. */
const SOME_FAILED = 3
const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const

const HELP = `
Each line of the input is a request as OpenAI's Batch API takes it: {"custom_id", "method": "POST", "url", "body"}; url is
/v1/chat/completions, /v1/embeddings, /v1/responses or /v1/messages, and body.model picks the pool as with serve. Each gets
one line in the output, in the order of completion: {"id", "custom_id", "response": {"status_code", "request_id", "body"},
"error"}. A provider's error is a response with its status; "error" is for what was never sent.
Stopped in any way, the same command goes on where it was: the output says what is done (id holds the number and a digest
of the line), and only what was in flight is sent again.
Exit code: 0 all answered, 3 some failed, 1 stopped by trouble, 130 or 143 by a signal (a second one doesn't wait).`

/** `headgate batch`: a file of requests through the gate, a file of results out of it. */
export function batchCommand(): Command {
  return new Command('batch')
    .description("send a file of requests in OpenAI's batch format, within the limits; resumable at any point")
    .argument('<requests.jsonl>', 'the requests, one a line')
    .requiredOption('-o, --output <results.jsonl>', 'the results; what is in it already is not done again')
    .option(
      '--config <file>',
      "the gate's options, JSON or a module; default: the environment alone, and without a pool there the simulator",
    )
    .option('--tenant <name>', 'whose work it is')
    .option('--priority <class>', 'high, normal or low', oneOf('high', 'normal', 'low'), 'low')
    .option('--json', 'print the summary as one JSON object')
    .addHelpText('after', HELP)
    .action(batch)
}

async function batch(input: string, flags: BatchFlags): Promise<void> {
  const { env } = process
  const { output } = flags
  loadDotEnv(process.cwd(), env)
  await checkPaths(input, output)
  // Before anything is written: who mistyped its name is not to find an output.
  const { config: options, simulator } = await configured(flags.config, env)
  const config = { ...options, pools: patient(options.pools) }
  try {
    resolveConfig(config)
    await sendTo(output, { input, flags, config, simulated: simulator !== undefined })
  } finally {
    await simulator?.close()
  }
}

async function sendTo(output: string, job: Given): Promise<void> {
  const gate = createHeadgate(job.config)
  try {
    // Before anything is written: where Redis can't be reached there is no output to find.
    await gate.ready()
    await sendThrough(gate, output, job)
  } finally {
    await gate.close()
  }
}

async function sendThrough(gate: Headgate, output: string, job: Given): Promise<void> {
  const unlock = await lock(output)
  try {
    await writeResults(gate, output, job)
  } finally {
    await unlock()
  }
}

async function writeResults(gate: Headgate, output: string, job: Given): Promise<void> {
  const writer = await ResultWriter.open(output)
  try {
    const found = await readResults(output)
    const lines = await checkInput(job.input, output, found)
    if (found.done.size > 0) note(`${output} has ${found.done.size} of ${lines} results already`)
    if (job.simulated) {
      note('no pool is configured (GLM_API_KEY, DEEPSEEK_API_KEY, OPENAI_API_KEY or --config):')
      note(`a simulated provider answers, which has the model ${SIMULATED_MODEL}; its answers mean nothing`)
    }
    await send(gate, { ...job, found, lines, writer })
  } finally {
    await writer.close()
  }
}

/** Nobody waits for a line: a pool may pause for as long as it has to. */
function patient(pools: GateOptions['pools']): GateOptions['pools'] {
  const patience = { maxPause: false } as const
  // What is no pool is for the check of the whole to name.
  const all = Object.entries(pools).map(([name, pool]) => [
    name,
    Object(pool) === pool ? { ...patience, ...pool } : pool,
  ])
  return Object.fromEntries(all)
}

interface Given {
  readonly input: string
  readonly flags: BatchFlags
  readonly config: GateOptions
  readonly simulated: boolean
}

interface Job extends Given {
  readonly found: Found
  readonly lines: number
  readonly writer: ResultWriter
}

async function send(gate: Headgate, { input, flags, config, found, lines, writer }: Job): Promise<void> {
  const startMs = performance.now()
  try {
    const view = gatewayView(resolveConfig(config), process.env)
    const { tenant, priority } = flags
    const run = new BatchRun({ gate, view, input, found, writer, tenant, priority, note: noteOverBar })
    const counts = () => {
      const answered = found.answered + run.counts.answered
      const failed = found.done.size - found.answered + run.counts.failed
      return { lines, answered, failed, done: answered + failed }
    }
    const told = stopOnSignals(() => run.stop())
    const endProgress = showProgress(counts)
    try {
      await run.run()
    } finally {
      endProgress()
      const { answered, failed, done } = counts()
      const { promptTokens, completionTokens } = run.counts
      const seconds = (performance.now() - startMs) / 1000
      print({ lines, answered, failed, left: lines - done, seconds, promptTokens, completionTokens }, flags)
      process.exitCode = told.signal ? SIGNAL_CODES[told.signal] : failed > 0 ? SOME_FAILED : 0
    }
  } finally {
    // Before the output is closed: what may still be in flight writes to it.
    await gate.close()
  }
}

interface Summary {
  readonly lines: number
  readonly answered: number
  readonly failed: number
  readonly left: number
  /** Of this run, as the tokens. */
  readonly seconds: number
  readonly promptTokens: number
  readonly completionTokens: number
}

function print(summary: Summary, { json, output }: BatchFlags): void {
  const { lines, answered, failed, left, seconds, promptTokens, completionTokens } = summary
  const rounded = { ...summary, seconds: Math.round(seconds * 1000) / 1000 }
  const text = [
    `${output}: ${lines} lines, ${answered} answered, ${failed} failed, ${left} left`,
    `${rounded.seconds} s, ${promptTokens} prompt and ${completionTokens} completion tokens in this run`,
  ]
  process.stdout.write(json ? `${JSON.stringify(rounded)}\n` : `${text.join('\n')}\n`)
  if (left > 0) note('the same command again goes on from here')
}

/** It is read twice: to know how much there is, and to send it. */
async function checkPaths(input: string, output: string): Promise<void> {
  const found = await stat(input).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`${input}: can't be read: ${error.code === 'ENOENT' ? 'no such file' : error.code}`)
  })
  if (!found.isFile()) throw new CliError(`${input}: expected a file, which can be read from its beginning again`)
  const folder = await stat(dirname(output)).catch(() => undefined)
  if (!folder?.isDirectory()) throw new CliError(`${output}: can't be written: no such folder`)
  // What is in it is read first: a device may never end.
  const before = await stat(output).catch(() => undefined)
  if (before && !before.isFile()) throw new CliError(`${output}: expected a file, or a name that is free`)
  const same = (await realpath(output).catch(() => undefined)) === (await realpath(input))
  if (same) throw new CliError(`${output} is the input: name another output with -o`)
}

/** Counts the lines, and checks that those with a result are the ones it was for. */
async function checkInput(input: string, output: string, { done }: Found): Promise<number> {
  let lines = 0
  let matched = 0
  for await (const line of linesOf(input, MAX_LINE_BYTES)) {
    if (isBlank(line)) continue
    lines++
    if (!done.has(line.number)) continue
    matched++
    if (!done.matches(line.number, digestOf(line.bytes))) throw anotherInput(input, output, line.number)
  }
  if (matched < done.size) throw anotherInput(input, output, done.last)
  return lines
}

function anotherInput(input: string, output: string, number: number): CliError {
  return new CliError(`${output} has results for another input (see line ${number} of ${input}): name another with -o`)
}

/** The first signal lets what is in flight end; a second one doesn't wait. */
function stopOnSignals(stop: () => void): { signal?: keyof typeof SIGNAL_CODES } {
  const told: { signal?: keyof typeof SIGNAL_CODES } = {}
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (told.signal) process.exit(SIGNAL_CODES[signal])
      told.signal = signal
      noteOverBar('stopping; what is in flight ends first')
      stop()
    })
  }
  return told
}
