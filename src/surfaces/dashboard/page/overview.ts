import { html, nothing } from 'lit-html'
import type { ProcessStatus } from '../../../monitoring.js'
import { count, duration, percent } from './format.js'
import type { Model } from './model.js'
import { shareBar } from './share-bar.js'

/** What states of the dispatcher mean, besides isolated. */
const STATE_WORDS: Readonly<Record<string, string>> = {
  learning: 'Redis lost its memory: little or nothing is sent until the fleet has told it again what was spent.',
  draining: 'This process accepts nothing more, and ends when its requests have.',
  stopped: 'This process has ended: it sends nothing.',
}
const LINKS = { connecting: 'connecting…', live: 'live', lost: 'reconnecting…', locked: 'key needed' }
/** Rows drawn of each table, which scrolls. */
const MAX_TENANTS = 50
const MAX_PROCESSES = 100
const MAX_CODES = 2
/** A process that was not heard of for so long. */
const SILENT_MS = 5_000
export const THEMES = ['auto', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

interface TopActions {
  readonly onTheme: () => void
  readonly onKey: () => void
}

export function topView({ stats, link, process, isolated }: Model, theme: Theme, { onTheme, onKey }: TopActions) {
  const processes = stats?.processes.length ?? 1
  return html`<h1><svg viewBox="0 0 20 20" aria-hidden="true"><path d="M4 2v16M16 2v16M4 6h12"></path><path d="M4 13c2-2 4-2 6 0s4 2 6 0"></path></svg>headgate</h1>
    <span class="where">${stats ? html`<b>${stats.namespace}</b> ` : nothing}${process}</span>
    ${stats || isolated ? html`<span class="chip ${isolated ? 'bad' : stats?.state === 'synced' ? 'good' : 'warn'}" id="store">${isolated || !stats ? 'isolated' : `${stats.store} · ${stats.state}`}</span>` : nothing}
    ${stats ? html`<span class="chip">${processes === 1 ? '1 process' : `${processes} processes`}</span>` : nothing}
    <span class="link ${link}" id="link" role="status">${link === 'locked' ? html`<button class="ask" @click=${onKey}>${LINKS.locked}</button>` : LINKS[link]}</span>
    <button class="theme" @click=${onTheme} aria-label="Colours: ${theme}. Change">${theme === 'dark' ? '☾' : theme === 'light' ? '☀' : '◐'}</button>`
}

/** What must not be overlooked. */
export function bannerView({ isolated, health, stats, link, missed }: Model) {
  const firing = stats?.alerts.filter(({ state }) => state === 'firing') ?? []
  const states = [...new Set(Object.values(health?.dispatchers ?? {}))].filter((state) => state !== 'synced')
  return html`
    ${link === 'lost' ? html`<p class="banner warn"><b>The line to the gateway is broken.</b> What you see is how it was; trying again.</p>` : nothing}
    ${isolated && link !== 'lost' ? html`<p class="banner bad"><b>Isolated from Redis.</b> ${health?.sending ? 'This process goes on from its own floor of each limit.' : 'This process may send nothing: requests wait until Redis is back.'} Figures are this process’s alone.</p>` : nothing}
    ${!isolated && states.length > 0 && link !== 'lost' ? states.map((state) => html`<p class="banner warn"><b>${state[0]!.toUpperCase() + state.slice(1)}.</b> ${STATE_WORDS[state] ?? 'Nothing is sent meanwhile.'}</p>`) : nothing}
    ${firing.map(({ message, rule, pool, sinceMs }) => html`<p class="banner bad"><b>${rule}${pool ? ` · ${pool}` : ''}</b> ${message} <i>for ${duration(sinceMs)}</i></p>`)}
    ${missed > 0 ? html`<p class="banner quiet">This page was too slow for ${count(missed)} updates; it began anew.</p>` : nothing}`
}

export function tilesView(model: Model) {
  const { stats } = model
  if (!stats) return nothing
  const pools = Object.values(stats.pools)
  const sum = (of: (pool: (typeof pools)[number]) => number) => pools.reduce((all, pool) => all + of(pool), 0)
  const worst = (of: (pool: (typeof pools)[number]) => number | null) =>
    pools.reduce<number | null>((most, pool) => {
      const its = of(pool)
      return its === null ? most : Math.max(most ?? 0, its)
    }, null)
  const refused: Record<string, number> = {}
  for (const { provider429PerHour } of pools) {
    for (const [code, times] of Object.entries(provider429PerHour)) refused[code] = (refused[code] ?? 0) + times
  }
  const refusals = Object.values(refused).reduce((all, times) => all + times, 0)
  const { totals } = stats
  const ended = totals.completed + totals.degraded + totals.failed + totals.cancelled + totals.expired
  let perSecond = 0
  for (const [edge, rate] of model.perSecond) if (edge.endsWith('>done')) perSecond += rate
  return html`
    ${tile('requests ended', count(ended), `${count(totals.degraded)} degraded · ${count(totals.failed + totals.expired)} failed`)}
    ${tile('success', percent(totals.successRate), `${count(totals.cancelled)} cancelled`)}
    ${tile('in flight', count(sum(({ states }) => states.calling ?? 0)), `${perSecond.toFixed(1)} answers/s here`)}
    ${tile('waiting', count(sum(({ queued }) => queued) + sum(({ states }) => states['waiting-for-token'] ?? 0)), `${count(sum(({ atGate }) => atGate))} at the gate`)}
    ${tile('wait p50', duration(worst(({ waitMs }) => waitMs.p50)), `p99 ${duration(worst(({ waitMs }) => waitMs.p99))}`)}
    <div class="tile ${refusals > 0 ? 'bad' : ''}"><span>429s, last hour</span><b>${count(refusals)}</b><small>${refusals > 0 ? worstOf(refused) : 'none'}</small></div>`
}

/** Refusals by code, the commonest first; each pool has all of its own. */
function worstOf(byCode: Readonly<Record<string, number>>): string {
  const sorted = Object.entries(byCode).sort(([, a], [, b]) => b - a)
  const named = sorted.slice(0, MAX_CODES).map(([code, times]) => `${code} ×${count(times)}`)
  return [...named, ...(sorted.length > MAX_CODES ? [`${sorted.length - MAX_CODES} more`] : [])].join(' · ')
}

function tile(name: string, value: string, more: string) {
  return html`<div class="tile"><span>${name}</span><b>${value}</b><small>${more}</small></div>`
}

export function fleetView({ stats, nowMs }: Model) {
  if (!stats) return nothing
  // Who is silent is what one looks for.
  const processes = [...stats.processes].sort((a, b) => Number(isSilent(b)) - Number(isSilent(a)))
  return html`<article class="panel"><div class="head"><h2>Processes</h2>${processes.some(isSilent) ? html`<span class="chip bad">${count(processes.filter(isSilent).length)} silent</span>` : nothing}</div>
      <div class="scroll" tabindex="0" role="region" aria-label="Processes"><table class="processes"><thead><tr><th>process</th><th>host</th><th class="n">in flight</th><th class="n">waiting</th><th class="n">up</th><th class="n">seen</th></tr></thead>
      <tbody>${processes.slice(0, MAX_PROCESSES).map((process) => {
        const { name, host, pid, startedAt, seenMsAgo, inFlight, queued } = process
        return html`<tr class=${isSilent(process) ? 'gone' : ''}>
          <td><code>${name.slice(0, 8)}</code></td><td class="name" title="${host}:${pid}">${host}:${pid}</td><td class="n">${count(inFlight)}</td><td class="n">${count(queued)}</td>
          <td class="n">${duration(Math.max(0, nowMs - Date.parse(startedAt)))}</td><td class="n">${isSilent(process) ? html`<span class="chip bad">silent ${duration(seenMsAgo)}</span>` : 'now'}</td></tr>`
      })}</tbody></table></div>
      ${processes.length > MAX_PROCESSES ? html`<p class="note">and ${count(processes.length - MAX_PROCESSES)} more</p>` : nothing}</article>
    <article class="panel"><div class="head"><h2>Tenants</h2><p class="note">of what ended, over all pools</p></div>${tenants(stats.pools)}</article>`
}

function isSilent({ seenMsAgo }: ProcessStatus): boolean {
  return seenMsAgo > SILENT_MS
}

type Pools = NonNullable<Model['stats']>['pools']

function tenants(pools: Pools) {
  const rows = new Map<string, { ended: number; completed: number; tokens: number }>()
  for (const { tenants } of Object.values(pools)) {
    for (const [name, { completed, degraded, failed, cancelled, expired, tokensUsed }] of Object.entries(tenants)) {
      const row = rows.get(name) ?? { ended: 0, completed: 0, tokens: 0 }
      row.ended += completed + degraded + failed + cancelled + expired
      row.completed += completed
      row.tokens += tokensUsed
      rows.set(name, row)
    }
  }
  const all = [...rows.values()].reduce((sum, { ended }) => sum + ended, 0)
  if (all === 0) return html`<p class="note">nothing has ended yet</p>`
  const sorted = [...rows].sort(([, a], [, b]) => b.ended - a.ended)
  return html`${shareBar(sorted.map(([name, { ended }]) => ({ name, share: ended / all })))}
    <div class="scroll" tabindex="0" role="region" aria-label="Tenants"><table><thead><tr><th>tenant</th><th class="n">ended</th><th class="n">completed</th><th class="n">LLM tokens</th></tr></thead>
    <tbody>${sorted.slice(0, MAX_TENANTS).map(([name, { ended, completed, tokens }]) => html`<tr><td class="name" title=${name}>${name}</td><td class="n">${count(ended)}</td><td class="n">${count(completed)}</td><td class="n">${count(tokens)}</td></tr>`)}</tbody></table></div>
    ${sorted.length > MAX_TENANTS ? html`<p class="note">and ${count(sorted.length - MAX_TENANTS)} more, each with less</p>` : nothing}`
}
