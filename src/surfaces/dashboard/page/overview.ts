import { html, nothing } from 'lit-html'
import { count, duration, percent } from './format.js'
import type { Model } from './model.js'
import { codes } from './pools.js'
import { shareBar } from './share-bar.js'

const LINKS = { connecting: 'connecting…', live: 'live', lost: 'reconnecting…', locked: 'key needed' }
export const THEMES = ['auto', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

export function topView({ stats, link, process, isolated }: Model, theme: Theme, onTheme: () => void) {
  const processes = stats?.processes.length ?? 1
  const store = isolated ? 'isolated' : stats ? `${stats.store} · ${stats.state}` : '…'
  return html`<h1><svg viewBox="0 0 20 20" aria-hidden="true"><path d="M4 2v16M16 2v16M4 6h12"></path><path d="M4 13c2-2 4-2 6 0s4 2 6 0"></path></svg>headgate</h1>
    <span class="where">${stats ? html`<b>${stats.namespace}</b> ` : nothing}${process}</span>
    <span class="chip ${isolated ? 'bad' : 'good'}" id="store">${store}</span>
    <span class="chip">${processes === 1 ? '1 process' : `${processes} processes`}</span>
    <span class="link ${link}" id="link" role="status">${LINKS[link]}</span>
    <button class="theme" @click=${onTheme} aria-label="Colours: ${theme}. Change">${theme === 'dark' ? '☾' : theme === 'light' ? '☀' : '◐'}</button>`
}

/** What must not be overlooked. */
export function bannerView({ isolated, health, stats, link, missed }: Model) {
  const firing = stats?.alerts.filter(({ state }) => state === 'firing') ?? []
  const states = [...new Set(Object.values(health?.dispatchers ?? {}))].filter((state) => state !== 'synced')
  return html`
    ${link === 'lost' ? html`<p class="banner warn"><b>The line to the gateway is broken.</b> What you see is how it was; trying again.</p>` : nothing}
    ${isolated && link !== 'lost' ? html`<p class="banner bad"><b>Isolated from Redis.</b> ${health?.sending ? 'This process goes on from its own floor of each limit.' : 'This process may send nothing: requests wait until Redis is back.'} Figures are this process’s alone.</p>` : nothing}
    ${!isolated && states.length > 0 && link !== 'lost' ? html`<p class="banner warn"><b>Not synced:</b> the dispatcher is ${states.join(', ')}.</p>` : nothing}
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
    <div class="tile ${refusals > 0 ? 'bad' : ''}"><span>429s, last hour</span><b>${count(refusals)}</b><small>${refusals > 0 ? codes(refused) : 'none'}</small></div>`
}

function tile(name: string, value: string, more: string) {
  return html`<div class="tile"><span>${name}</span><b>${value}</b><small>${more}</small></div>`
}

export function fleetView({ stats, nowMs }: Model) {
  if (!stats) return nothing
  return html`<article class="panel"><div class="head"><h2>Processes</h2></div>
      <div class="scroll" tabindex="0" role="region" aria-label="Processes"><table><thead><tr><th>process</th><th>host</th><th class="n">in flight</th><th class="n">waiting</th><th class="n">up</th><th class="n">seen</th></tr></thead>
      <tbody>${stats.processes.map(
        ({
          name,
          host,
          pid,
          startedAt,
          seenMsAgo,
          inFlight,
          queued,
        }) => html`<tr class=${seenMsAgo > 5_000 ? 'gone' : ''}>
          <td><code>${name.slice(0, 8)}</code></td><td>${host}:${pid}</td><td class="n">${count(inFlight)}</td><td class="n">${count(queued)}</td>
          <td class="n">${duration(Math.max(0, nowMs - Date.parse(startedAt)))}</td><td class="n">${seenMsAgo > 5_000 ? html`<span class="chip bad">silent ${duration(seenMsAgo)}</span>` : 'now'}</td></tr>`,
      )}</tbody></table></div></article>
    <article class="panel"><div class="head"><h2>Tenants</h2><p class="note">of what ended, over all pools</p></div>${tenants(stats.pools)}</article>`
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
    <tbody>${sorted.slice(0, 12).map(([name, { ended, completed, tokens }]) => html`<tr><td>${name}</td><td class="n">${count(ended)}</td><td class="n">${count(completed)}</td><td class="n">${count(tokens)}</td></tr>`)}</tbody></table></div>`
}
