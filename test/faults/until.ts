import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 10
const LIMIT_MS = 60_000

/** Waits for a condition; when it does not come, says which and how things stand. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  standing: () => string = () => '',
): Promise<void> {
  const giveUpMs = performance.now() + LIMIT_MS
  while (!(await condition())) {
    if (performance.now() > giveUpMs) throw new Error(`waited ${LIMIT_MS} ms in vain for ${what}: ${standing()}`)
    await sleep(POLL_MS)
  }
}
