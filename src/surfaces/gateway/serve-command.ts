import { Command } from 'commander'
import { configFromEnv, loadConfigFile, loadDotEnv } from '../../config.js'
import { HeadgateError } from '../../errors.js'
import { createLogger } from '../../observe/logger.js'
import { portOption } from '../cli/parse.js'
import { type RunningServer, startServer } from './serve.js'

interface ServeFlags {
  readonly config?: string
  readonly port: number
  readonly host: string
}

/** `headgate serve`: an OpenAI-compatible gateway in front of the configured pools, until it is told to stop. */
export function serveCommand(): Command {
  return new Command('serve')
    .description('serve an OpenAI-compatible gateway in front of the configured pools; prints its URL')
    .option('--config <file>', "the gate's options, JSON or a module; default: the environment alone")
    .option('--port <port>', 'port; 0 for a free one', portOption, 8000)
    .option('--host <host>', 'address to bind; off loopback HEADGATE_API_KEYS is required', '127.0.0.1')
    .action(serve)
}

async function serve(flags: ServeFlags): Promise<void> {
  const server = await start(flags)
  const told = signalled()
  process.stdout.write(`${server.url}\n`)
  process.send?.({ type: 'listening', url: server.url })
  await told
  await server.close()
}

async function start({ config: file, port, host }: ServeFlags): Promise<RunningServer> {
  const { env } = process
  loadDotEnv(process.cwd(), env)
  const config = file === undefined ? configFromEnv(env) : await loadConfigFile(file, env)
  if (config.pools === undefined || Object.keys(config.pools).length === 0) throw noPool(file)
  return startServer({ config, port, host, env, logger: createLogger() })
}

function noPool(file: string | undefined): HeadgateError {
  const keys = 'GLM_API_KEY, DEEPSEEK_API_KEY or OPENAI_API_KEY'
  const where = `set ${keys} in the environment or in .env, or name a file with --config`
  return new HeadgateError('CONFIG_INVALID', `no pool is configured: ${file ? `${file} has no "pools"` : where}`)
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
