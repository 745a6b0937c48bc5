import type { MonitoringStats, PoolStatus } from '../../../monitoring.js'
import { type Check, checkOf, msText } from './check.js'

const MAX_NAMED = 4
/** A probe upwards may cost one refusal; more in an hour means that a limit is wrong. */
const FEW_REFUSALS = 1
/** Waits below this are nobody's trouble. */
const SHORT_WAIT_MS = 100

/** What the fleet counted: who is in it, and what providers refused in the last hour. */
export function judgeCounts({ processes, pools }: MonitoringStats): Check[] {
  const fleet = checkOf('redis.fleet', 'fleet')
  const names = processes.map(({ host, pid }) => `${host} ${pid}`)
  const more = names.length > MAX_NAMED ? `, and ${names.length - MAX_NAMED} more` : ''
  const members =
    names.length === 0
      ? fleet.skipped('no process of this namespace runs now')
      : fleet.ok(
          `${names.length === 1 ? '1 process' : `${names.length} processes`}: ${names.slice(0, MAX_NAMED).join(', ')}${more}`,
        )
  return [members, ...Object.entries(pools).flatMap(([name, pool]) => judgeRefusals(name, pool))]
}

function judgeRefusals(name: string, { provider429PerHour, completed }: PoolStatus): Check[] {
  const check = checkOf(`pool.${name}.refusals`, `${name}: 429s`)
  const codes = Object.entries(provider429PerHour).filter(([, count]) => count > 0)
  if (codes.length === 0) return completed === 0 ? [] : [check.ok('none in the last hour')]
  const said = `${codes.map(([code, count]) => `${code} × ${count}`).join(', ')} in the last hour`
  const worst = codes.sort((a, b) => b[1] - a[1])[0]!
  return [worst[1] > FEW_REFUSALS ? check.warning(said, adviceFor(worst[0])) : check.ok(said)]
}

function adviceFor(code: string): string {
  if (code === '1302')
    return 'too many in flight: lower concurrency to what the account allows, or find out who else uses the key'
  if (code === '1113') return 'the balance is empty: top up the account'
  if (code === '1305' || code === '1312')
    return 'the provider is overloaded: nothing to configure; a fallback elsewhere helps'
  if (code === '1313') return 'fair use: lower the rate for good, retries deepen it'
  return 'lower the limit that it names to what the account allows, or find out who else uses the key'
}

/** Where the time of calls goes, by what the fleet counted. */
export function waitsOf({ pools }: MonitoringStats): string[] {
  return Object.entries(pools).flatMap(([name, { atGate, waitMs, latencyMs }]) => {
    const lines: string[] = []
    if (atGate > 0) {
      lines.push(
        `${name}: its queue is full, ${atGate} callers stand at the gate. Spread the load, or raise queue.maxQueued.`,
      )
    }
    const [wait, whole] = [waitMs.p50 ?? 0, latencyMs.p50 ?? 0]
    if (wait >= SHORT_WAIT_MS && wait * 2 >= whole) {
      const tail = waitMs.p99 === null ? '' : ` (p99 ${msText(waitMs.p99)})`
      lines.push(
        `${name}: of all calls counted half waited ${msText(wait)} and more for their turn${tail}: the limit is what holds them back.`,
      )
    } else if (whole > 0) {
      lines.push(
        `${name}: of all calls counted half took ${msText(whole)}, ${msText(wait)} of it waiting: it is the provider that takes the time.`,
      )
    }
    return lines
  })
}
