import { fork } from 'node:child_process'
import { once } from 'node:events'

/** Room for 300,000 actors and a million producers; `gc` so that a heap can be weighed. */
const FLAGS = ['--expose-gc', '--max-old-space-size=8192']

/** Runs one job in a process of its own and returns what it answers. */
export async function inChild<T>(file: string, job: unknown, flags: readonly string[] = []): Promise<T> {
  const child = fork(file, {
    execArgv: [...FLAGS, ...flags],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  child.send(job as object)
  const [answer] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`a process of the bench ended with ${code}`))),
  ])
  const { value, error } = answer as { value: T; error?: string }
  if (child.exitCode === null) await once(child, 'exit')
  if (error !== undefined) throw new Error(error)
  return value
}
