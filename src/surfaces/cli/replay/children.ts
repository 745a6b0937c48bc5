import { type ChildProcess, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CliError } from '../errors.js'

const MAX_LOG_CHARS = 2_000

/** Every child that is alive: they end with this process, however it ends. */
const alive = new Set<ChildProcess>()
let guarded = false

/** A built entry: beside this bundle, or in dist when this runs from the sources. */
function entryPath(file: 'cli.js' | 'replay-worker.js'): string {
  for (const path of [`./${file}`, `../../../../dist/${file}`]) {
    const candidate = fileURLToPath(new URL(path, import.meta.url))
    if (existsSync(candidate)) return candidate
  }
  throw new CliError(`dist/${file} is missing: run 'npm run build'`)
}

export interface Child {
  readonly process: ChildProcess
  /** The end of what it wrote to stderr. */
  log(): string
}

/** Starts a Node process of this package with an IPC channel; it hangs up when this process goes. */
export function startChild(file: 'cli.js' | 'replay-worker.js', args: readonly string[] = []): Child {
  // No inherited debugger flags: two processes can't listen on one inspector port.
  const child = fork(entryPath(file), args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], execArgv: [] })
  let log = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-MAX_LOG_CHARS)
  })
  // An unread pipe would block its writer.
  child.stdout?.resume()
  if (!guarded) process.once('exit', killAll)
  guarded = true
  alive.add(child)
  child.once('exit', () => alive.delete(child))
  // A message to a child that has just gone: its exit is what is handled.
  child.on('error', () => {})
  return { process: child, log: () => log.trim() }
}

/** Ends a child at once and waits until it is gone. */
export async function endChild({ process: child }: Child): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}

function killAll(): void {
  for (const child of alive) child.kill('SIGKILL')
}
