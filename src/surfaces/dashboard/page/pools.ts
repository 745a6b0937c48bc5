import { html, nothing, svg } from 'lit-html'
import type { LimitStatus, PoolStatus } from '../../../monitoring.js'
import { count, duration, limitName, percent } from './format.js'
import type { Model } from './model.js'
import { shareBar } from './share-bar.js'

export function poolsView({ stats, health, link }: Model) {
  if (!stats) {
    const why = link === 'locked' ? 'Nothing is shown without a key.' : 'Waiting for the first figures…'
    return html`<p class="panel empty">${why}</p>`
  }
  return Object.entries(stats.pools).map(([name, pool]) => poolView(name, pool, health?.dispatchers[name]))
}

function poolView(name: string, pool: PoolStatus, dispatcher: string | undefined) {
  const { atGate, queued, active, waitMs, latencyMs, provider429PerHour, tokens, cost, limits } = pool
  return html`<article class="panel pool" aria-label="Pool ${name}">
    <div class="head"><h2>${name}</h2>${condition(pool, dispatcher)}</div>
    <div class="limits">${limits.length === 0 ? html`<p class="note">no limits configured</p>` : limits.map(limitView)}</div>
    <dl class="facts">
      ${fact('at the gate', count(atGate), atGate > 0)} ${fact('queued', count(queued))} ${fact('active', count(active))}
      ${fact('success', percent(pool.successRate))}
      ${fact('wait p50', duration(waitMs.p50))} ${fact('p99', duration(waitMs.p99))}
      ${fact('answer p50', duration(latencyMs.p50))} ${fact('p99', duration(latencyMs.p99))}
    </dl>
    <p class="codes">${codes(provider429PerHour)}</p>
    ${tokens.used > 0 ? html`<p class="note">${count(tokens.used)} LLM tokens used, ${count(tokens.estimated)} estimated${tokens.refunded > 0 ? `, ${count(tokens.refunded)} given back` : ''}${cost ? ` · ${cost.currency} ${cost.amount.toFixed(2)}` : ''}</p>` : nothing}
    ${tenantsView(pool)}
  </article>`
}

function condition({ paused, coolDownMs }: PoolStatus, dispatcher = 'synced') {
  if (dispatcher !== 'synced') return html`<span class="chip bad">${dispatcher}</span>`
  if (paused) return html`<span class="chip bad">paused</span>`
  if (coolDownMs > 0) return html`<span class="chip warn">cools down, ${duration(coolDownMs)}</span>`
  return html`<span class="chip good">open</span>`
}

/** The bar is the limit as configured; what a learned ceiling takes off it is hatched. */
function limitView(limit: LimitStatus) {
  const { limit: most, used, reserved = 0, ceiling } = limit
  const part = (value: number) => `${Math.max(0, Math.min(100, (value / most) * 100))}%`
  const full = (used ?? 0) + reserved
  const level = full >= (ceiling ?? most) ? 'full' : ''
  const lowered = ceiling !== undefined && ceiling < most
  const text = `${used === undefined ? '?' : count(used)} of ${count(most)}`
  return html`<div class="limit">
    <div class="line"><span>${limitName(limit)}</span>
      <span class="value">${reserved > 0 ? html`<i>${count(reserved)} reserved</i> ` : nothing}${lowered ? html`<i class="lowered">ceiling ${count(ceiling)}</i> ` : nothing}<b>${text}</b></span></div>
    <svg class="bar ${level}" role="img" aria-label="${limitName(limit)}: ${text} used">
      <rect class="track" width="100%" height="100%"></rect>
      ${lowered ? svg`<rect class="off" x=${part(ceiling)} width=${part(most - ceiling)} height="100%"></rect>` : nothing}
      <rect class="used" width=${part(used ?? 0)} height="100%"></rect>
      ${reserved > 0 ? svg`<rect class="reserved" x=${part(used ?? 0)} width=${part(reserved)} height="100%"></rect>` : nothing}
      ${lowered ? svg`<rect class="ceiling" x=${part(ceiling)} width="2" height="100%"></rect>` : nothing}
    </svg>
  </div>`
}

function fact(name: string, value: string, loud = false) {
  return html`<div class=${loud ? 'loud' : ''}><dt>${name}</dt><dd>${value}</dd></div>`
}

function codes(byCode: Readonly<Record<string, number>>) {
  const entries = Object.entries(byCode)
  if (entries.length === 0) return html`<span class="chip good">no 429 in the last hour</span>`
  return entries.map(([code, times]) => html`<span class="chip bad">429 · ${code} <b>×${count(times)}</b></span> `)
}

function tenantsView({ tenants }: PoolStatus) {
  const shares = Object.entries(tenants).map(([name, { share }]) => ({ name, share }))
  return shares.length > 1 ? html`<div class="tenants">${shareBar(shares)}</div>` : nothing
}
