import { readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { CliError } from '../errors.js'

/** Who holds a lock: a process, and when it began, where that can be known. */
interface Holder {
  readonly pid: number
  readonly began: string
}

/**
 * Keeps a file for this process by a second one beside it, so that two batches never write one output. The lock of a
 * process that is gone (killed, or of a container that was) is taken over. Returns what gives it back.
 */
export async function lock(path: string): Promise<() => Promise<void>> {
  // A link to it is the same file.
  const lockPath = `${await realpath(path).catch(() => path)}.lock`
  const self: Holder = { pid: process.pid, began: await beginningOf(process.pid) }
  for (let attempt = 0; ; attempt++) {
    try {
      await writeFile(lockPath, JSON.stringify(self), { flag: 'wx' })
      return () => rm(lockPath, { force: true })
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'EEXIST') throw new CliError(`${path}: can't be written, for ${lockPath} can't: ${code}`)
    }
    const holder = await holderOf(lockPath)
    if (attempt > 0 || (holder && (await isAlive(holder)))) {
      const who = holder ? `process ${holder.pid}` : 'another process'
      throw new CliError(`${path} is being written by ${who}. If there is none, remove ${lockPath}`)
    }
    await rm(lockPath, { force: true })
  }
}

/** Undefined where it can't be read: its writer was killed in the middle, or has taken it away. */
async function holderOf(lockPath: string): Promise<Holder | undefined> {
  try {
    const { pid, began } = JSON.parse(await readFile(lockPath, 'utf8'))
    return Number.isSafeInteger(pid) && pid > 0 ? { pid, began: String(began) } : undefined
  } catch {
    return undefined
  }
}

async function isAlive({ pid, began }: Holder): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // A process of somebody else's is one.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  // Numbers are given anew, and in every container the first few are.
  return (await beginningOf(pid)) === began
}

/** On Linux when a living process began, in ticks since the machine did; elsewhere nothing, and its number has to do. */
async function beginningOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The name before it may hold anything, parentheses too.
  const [state = '', ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  // Killed, but nobody has asked how it ended.
  if (state === 'Z' || state === 'X') return ''
  return fields[18] ?? ''
}
