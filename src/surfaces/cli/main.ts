#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { explain } from './terminal.js'

const BAD_USAGE = 2

/** Of the commands' modules only the one that is called for is loaded; for an overview, all. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('../gateway/serve-command.js')).serveCommand(),
  batch: async () => (await import('./batch/command.js')).batchCommand(),
  replay: async () => (await import('./replay/command.js')).replayCommand(),
  simulate: async () => (await import('./simulate.js')).simulateCommand(),
  doctor: async () => (await import('./doctor/command.js')).doctorCommand(),
  top: async () => (await import('./top/command.js')).topCommand(),
  demo: async () => (await import('./demo.js')).demoCommand(),
}

async function program(argument: string | undefined): Promise<Command> {
  const root = new Command('headgate')
    .description("Keeps every LLM call of a whole fleet inside its provider's limits.")
    .version(version())
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'headgate: ')) })
    .exitOverride()
  const wanted = argument !== undefined && Object.hasOwn(COMMANDS, argument) ? [argument] : Object.keys(COMMANDS)
  for (const name of wanted) {
    const command = await COMMANDS[name]!()
    root.addCommand(command.exitOverride().copyInheritedSettings(root))
  }
  return root
}

function version(): string {
  // One up from dist, in the package and in the project alike.
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  return String(version)
}

async function main(): Promise<number> {
  try {
    await (await program(process.argv[2])).parseAsync()
    // A command that found something to complain of says so here.
    return Number(process.exitCode ?? 0)
  } catch (error) {
    // Commander has printed its own.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : BAD_USAGE
    process.stderr.write(`headgate: ${explain(error)}\n`)
    return 1
  }
}

// What is still open (a child's pipe, a pooled connection) must not keep a finished command alive, and what it printed
// must be out before it goes.
const code = await main()
process.stdout.write('', () => process.exit(code))
