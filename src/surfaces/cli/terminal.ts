import picocolors from 'picocolors'
import { HeadgateError } from '../../errors.js'
import { CliError } from './errors.js'

const PAGE_COLUMNS = 100

/** A line for the person at the terminal: stdout is the result's alone. */
export function note(line: string): void {
  process.stderr.write(`headgate: ${line}\n`)
}

/** Ctrl-C ends the command, and with it every child: each hangs on this process's exit. */
export function exitOnSignals(): void {
  process.once('SIGINT', () => process.exit(130))
  process.once('SIGTERM', () => process.exit(143))
}

/** The one line that an error is worth. A defect of ours keeps its stack, since nobody could find it otherwise. */
export function explain(error: unknown): string {
  if (error instanceof CliError || error instanceof HeadgateError) return error.message
  if (process.env.HEADGATE_DEBUG && error instanceof Error) return error.stack ?? error.message
  return error instanceof Error ? error.message : String(error)
}

/** Colours for stdout: none unless it is a terminal (or FORCE_COLOR is set), nor under NO_COLOR. */
export function outputColors(): ReturnType<typeof picocolors.createColors> {
  const wanted = process.stdout.isTTY || process.env.FORCE_COLOR !== undefined
  return picocolors.createColors(wanted && picocolors.isColorSupported)
}

/** Columns of the terminal; where there is none, those of a page. */
export function outputColumns(): number {
  return process.stdout.columns || PAGE_COLUMNS
}
