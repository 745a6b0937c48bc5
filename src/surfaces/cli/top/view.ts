import cliTruncate from 'cli-truncate'
import stringWidth from 'string-width'
import type { LimitStatus, MonitoringStats, PoolStatus, ProcessStatus } from '../../../monitoring.js'
import type { outputColors } from '../terminal.js'

type Colors = ReturnType<typeof outputColors>

const BAR_MIN = 8
const BAR_MAX = 40
/** Of a limit line besides its bar. */
const LIMIT_FIXED = 60
const FULL_SHARE = 0.95
/** A process that was not heard of for so long, though asked, is worth a colour. */
const SILENT_MS = 5_000
const MAX_TENANTS = 8

export interface Frame {
  readonly source: string
  readonly colors: Colors
  readonly columns: number
  /** Lines that there is room for; `Infinity` for all. */
  readonly rows: number
}

/** The fleet at a glance: lines no wider than the terminal, and no more than it has. */
export function renderFleet(stats: MonitoringStats, frame: Frame): string[] {
  const { colors, columns, rows } = frame
  const lines = [
    ...headLines(stats, frame),
    ...alertLines(stats, colors),
    ...Object.entries(stats.pools).flatMap(([name, pool]) => ['', ...poolLines(name, pool, frame)]),
    ...tenantLines(stats, colors),
    ...processLines(stats.processes, colors),
  ]
  const shown =
    lines.length > rows ? [...lines.slice(0, rows - 1), colors.dim(`… ${lines.length - rows + 1} more lines`)] : lines
  return shown.map((line) => cliTruncate(line, columns))
}

function headLines(stats: MonitoringStats, { source, colors }: Frame): string[] {
  const { totals, processes, pools, generatedAt, namespace } = stats
  const sum = (of: (pool: PoolStatus) => number) => Object.values(pools).reduce((all, pool) => all + of(pool), 0)
  const calling = sum(({ states }) => states.calling ?? 0)
  const waiting = sum((pool) => waitingIn(pool))
  const success = totals.successRate === null ? '' : ` (${(totals.successRate * 100).toFixed(2)} %)`
  const title = `${colors.bold('headgate')}  ${source}  namespace ${shown(namespace)}  ${stateText(stats, colors)}`
  return [
    `${title}  ${colors.dim(generatedAt.slice(11, 19))}`,
    [
      `${counted(processes.length, 'process', 'processes')}, ${calling} calling, ${waiting} waiting`,
      `completed ${number(totals.completed)}${success}, degraded ${number(totals.degraded)}, failed ${number(totals.failed)}, expired ${number(totals.expired)}`,
    ].join('   '),
  ]
}

function stateText({ isolated, scope, state, store }: MonitoringStats, colors: Colors): string {
  if (isolated) return colors.bold(colors.red('ISOLATED FROM REDIS'))
  if (store === 'memory') return colors.yellow('no Redis: this process alone')
  if (scope === 'process') return colors.yellow('this process alone')
  if (state === undefined) return colors.yellow('no process answers')
  return state === 'synced' ? colors.green(state) : colors.yellow(state)
}

function alertLines({ alerts }: MonitoringStats, colors: Colors): string[] {
  return alerts
    .filter(({ state }) => state === 'firing')
    .map(({ rule, message, sinceMs }) => colors.red(`! ${shown(rule)}: ${shown(message)} (for ${duration(sinceMs)})`))
}

function poolLines(name: string, pool: PoolStatus, frame: Frame): string[] {
  const { colors } = frame
  const { waitMs, provider429PerHour } = pool
  const refused = Object.entries(provider429PerHour).filter(([, count]) => count > 0)
  const refusals = refused.map(([code, count]) => `${shown(code)} × ${count}`).join(', ')
  const waits = waitMs.p50 === null ? '' : `   wait p50 ${duration(waitMs.p50)}, p99 ${duration(waitMs.p99 ?? 0)}`
  const backingOff = pool.states['backing-off'] ?? 0
  const parts = [
    `calling ${pool.states.calling ?? 0}`,
    `waiting ${waitingIn(pool)}`,
    ...(backingOff > 0 ? [`backing off ${backingOff}`] : []),
    ...(pool.atGate > 0 ? [colors.yellow(`at the gate ${pool.atGate}`)] : []),
  ]
  const refusalText = refusals === '' ? colors.dim('429s/h 0') : colors.red(`429s/h ${refusals}`)
  const head = `${colors.bold(shown(name))}${pauseText(pool, colors)}   ${refusalText}   ${parts.join(', ')}${waits}`
  return [head, ...pool.limits.map((limit) => limitLine(name, limit, frame))]
}

function pauseText({ paused, coolDownMs }: PoolStatus, colors: Colors): string {
  if (paused) return `   ${colors.bold(colors.yellow('PAUSED'))}`
  return coolDownMs > 0 ? `   ${colors.yellow(`cooling down ${duration(coolDownMs)}`)}` : ''
}

/** `50 requests/1m  ██████░░░··  38 / 50  76 %`: taken, free, and what the provider showed not to be there. */
function limitLine(pool: string, { id, kind, windowMs, limit, used, ceiling }: LimitStatus, frame: Frame): string {
  const { colors, columns } = frame
  const width = Math.max(BAR_MIN, Math.min(BAR_MAX, columns - LIMIT_FIXED))
  const owner = id.startsWith(`pool:${pool}:`) ? '' : `${id.split(':')[1]} `
  const what = kind === 'concurrency' ? 'in flight' : `${kind}/${duration(windowMs ?? 0)}`
  const label = padded(`  ${shown(owner)}${what}`, 24)
  const most = ceiling ?? limit
  if (used === undefined) return `${label}${colors.dim('?'.padEnd(width))}  ? / ${number(limit)}`
  const share = most === 0 ? 1 : used / most
  const taken = Math.min(width, Math.round((used / limit) * width))
  const open = Math.max(0, Math.round((most / limit) * width) - taken)
  const paint = share >= FULL_SHARE ? colors.yellow : colors.green
  const bar = paint('█'.repeat(taken)) + colors.dim('░'.repeat(open) + '·'.repeat(Math.max(0, width - taken - open)))
  const figures = `  ${number(used)} / ${number(most)}`.padStart(19)
  const percent = `${Math.round(share * 100)} %`.padStart(6)
  const learned = ceiling === undefined ? '' : colors.yellow(`  of ${number(limit)} configured`)
  return `${label}${bar}${figures}${percent}${learned}`
}

function tenantLines({ pools }: MonitoringStats, colors: Colors): string[] {
  const rows = Object.entries(pools).flatMap(([pool, { tenants }]) =>
    Object.entries(tenants).map(([tenant, its]) => ({ pool, tenant, ...its })),
  )
  if (rows.length === 0) return []
  const most = [...rows].sort((a, b) => b.share - a.share).slice(0, MAX_TENANTS)
  const more = rows.length > most.length ? [colors.dim(`  … ${rows.length - most.length} more`)] : []
  const line = (cells: readonly [string, string, string, string, string]) => {
    const [tenant, pool, ...figures] = cells
    return `  ${padded(tenant, 20)} ${padded(pool, 18)}${figures.map((cell) => cell.padStart(12)).join('')}`
  }
  return [
    '',
    colors.bold(line(['TENANT', 'POOL', 'SHARE', 'COMPLETED', 'TOKENS'])),
    ...most.map((row) =>
      line([
        shown(row.tenant),
        row.pool,
        `${(row.share * 100).toFixed(1)} %`,
        number(row.completed),
        number(row.tokensUsed),
      ]),
    ),
    ...more,
  ]
}

function processLines(processes: readonly ProcessStatus[], colors: Colors): string[] {
  if (processes.length === 0) return []
  const line = (cells: readonly [string, string, string, string, string]) => {
    const [host, pid, ...figures] = cells
    return `  ${padded(host, 28)} ${padded(pid, 10)}${figures.map((cell) => cell.padStart(12)).join('')}`
  }
  return [
    '',
    colors.bold(line(['PROCESS', 'PID', 'CALLING', 'WAITING', 'SEEN'])),
    ...processes.map(({ host, pid, inFlight, queued, seenMsAgo }) => {
      const text = line([shown(host), String(pid), String(inFlight), String(queued), `${duration(seenMsAgo)} ago`])
      return seenMsAgo > SILENT_MS ? colors.red(text) : text
    }),
  ]
}

/** For a pipe or a file: a line a pool, the time first. */
export function plainLines({ generatedAt, pools, isolated, processes }: MonitoringStats): string[] {
  return Object.entries(pools).map(([name, pool]) => {
    const limits = pool.limits.map(({ kind, windowMs, limit, used, ceiling }) => {
      const what = kind === 'concurrency' ? 'in flight' : `${kind}/${duration(windowMs ?? 0)}`
      return `${used ?? '?'}/${ceiling ?? limit} ${what}`
    })
    const refused = Object.values(pool.provider429PerHour).reduce((all, count) => all + count, 0)
    const parts = [
      ...limits,
      `calling ${pool.states.calling ?? 0}`,
      `waiting ${waitingIn(pool)}`,
      `wait p99 ${pool.waitMs.p99 === null ? '-' : duration(pool.waitMs.p99)}`,
      `completed ${pool.completed}`,
      `failed ${pool.failed + pool.expired}`,
      `429s/h ${refused}`,
      `processes ${processes.length}`,
      ...(pool.paused ? ['PAUSED'] : pool.coolDownMs > 0 ? [`cooling down ${duration(pool.coolDownMs)}`] : []),
      ...(isolated ? ['ISOLATED FROM REDIS'] : []),
    ]
    return `${generatedAt.slice(0, 19)}Z ${shown(name)}: ${parts.join(', ')}`
  })
}

/** Accepted, not calling, not backing off; and at the gate. */
function waitingIn({ atGate, states }: PoolStatus): number {
  return atGate + (states.queued ?? 0) + (states['waiting-for-token'] ?? 0)
}

/** Tenants' names come from requests: what a terminal might obey is shown as a question mark. */
function shown(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?')
}

function padded(text: string, width: number): string {
  const short = cliTruncate(text, width - 1)
  return short + ' '.repeat(Math.max(0, width - stringWidth(short)))
}

function counted(amount: number, one: string, many: string): string {
  return `${amount} ${amount === 1 ? one : many}`
}

function number(value: number): string {
  return value.toLocaleString('en-US')
}

/** `250ms`, `3.2s`, `1m`, `2h`, `1d`. */
function duration(valueMs: number): string {
  if (valueMs < 1_000) return `${Math.round(valueMs)}ms`
  for (const [unit, unitMs] of [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
  ] as const) {
    if (valueMs >= unitMs) return `${Math.round((valueMs / unitMs) * 10) / 10}${unit}`
  }
  return `${Math.round(valueMs / 100) / 10}s`
}
