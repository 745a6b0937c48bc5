import { availableParallelism } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { Command } from 'commander'
import { loadDotEnv } from '../../config.js'
import { createLogger } from '../../observe/logger.js'
import { portOption } from '../cli/parse.js'
import { configured, SIMULATED_MODEL } from '../configured.js'
import { startServer } from './serve.js'

interface ServeFlags {
  readonly config?: string
  readonly port: number
  readonly host: string
}

/** `headgate serve`: an OpenAI-compatible gateway in front of the configured pools, until it is told to stop. */
export function serveCommand(): Command {
  return new Command('serve')
    .description('serve an OpenAI-compatible gateway in front of the configured pools; prints its URL')
    .option(
      '--config <file>',
      "the gate's options, JSON or a module; default: the environment alone, and without a pool there the simulator",
    )
    .option('--port <port>', 'port; 0 for a free one', portOption, 8000)
    .option('--host <host>', 'address to bind; off loopback HEADGATE_API_KEYS is required', '127.0.0.1')
    .action(serve)
}

async function serve(flags: ServeFlags): Promise<void> {
  const { env } = process
  // V8 takes what outlives the first small collections for long-lived, and allocates more of its kind among the old, where
  // each holds all it points to until a full collection: half of the collector's work, in a gateway.
  setFlagsFromString('--no-allocation-site-pretenuring')
  // On one core a marker beside the requests has it to itself for tens of ms, while they wait; among them it goes in small
  // steps.
  if (availableParallelism() === 1) setFlagsFromString('--no-concurrent-marking')
  loadDotEnv(process.cwd(), env)
  const { config, simulator } = await configured(flags.config, env)
  try {
    const server = await startServer({ ...flags, config, env, logger: createLogger() })
    const told = signalled()
    process.stdout.write(`${server.url}\n`)
    if (simulator) process.stderr.write(introduction(server.url, env))
    process.send?.({ type: 'listening', url: server.url })
    await told
    await server.close()
  } finally {
    await simulator?.close()
  }
}

function introduction(url: string, env: NodeJS.ProcessEnv): string {
  const body = JSON.stringify({ model: SIMULATED_MODEL, messages: [{ role: 'user', content: 'hello' }] })
  // The shell fills the key in: it is not for a terminal's history.
  const key = env.HEADGATE_API_KEYS ? `-H "authorization: Bearer \${HEADGATE_API_KEYS%%,*}" ` : ''
  return [
    'headgate: no pool is configured (GLM_API_KEY, DEEPSEEK_API_KEY, OPENAI_API_KEY or --config):',
    'headgate: serving a simulated provider, whose answers mean nothing. Try it:',
    `curl -s ${url}/v1/chat/completions -H 'content-type: application/json' ${key}-d '${body}'`,
    '',
  ].join('\n')
}

/** Resolves at the first signal, which lets requests end; a second one doesn't wait for them. */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    let before = false
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (before) process.exit(1)
        before = true
        resolve()
      })
    }
  })
}
