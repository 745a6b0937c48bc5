import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

export interface CliRun {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Starts the built command line, in a process group of its own, without this environment's Redis. */
export function startCli(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  if (!existsSync(CLI)) throw new Error("dist/cli.js is missing: these tests run the built CLI, 'npm run build' first")
  const { REDIS_URL: _, ...inherited } = process.env
  const child = spawn(process.execPath, [CLI, ...args], { env: { ...inherited, ...env }, detached: true })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text
  })
  const ended = once(child, 'close').then(([code]): CliRun => ({ code: code as number | null, ...output }))
  return { child, output, ended }
}

export function runCli(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<CliRun> {
  return startCli(args, env).ended
}

/** A file in a directory of the test's own. */
export async function fileOf(name: string, text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-cli-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  const path = join(dir, name)
  await writeFile(path, text)
  return path
}
