import { html, nothing, svg } from 'lit-html'
import { repeat } from 'lit-html/directives/repeat.js'
import { REQUEST_STATES, type RequestState } from '../../../../machines/vocabulary.js'
import type { RequestView } from '../wire.js'
import { clockTime, count, duration } from './format.js'
import type { Model } from './model.js'

/** Rows drawn; the search narrows down what is kept. */
const MAX_ROWS = 80

export interface Filter {
  text: string
  state: RequestState | 'live' | 'failed' | 'all'
}

const FILTERS = ['all', 'live', 'failed', ...REQUEST_STATES] as const

export function searchView(filter: Filter, onChange: () => void) {
  const set = (state: Filter['state']) => () => {
    filter.state = state
    onChange()
  }
  return html`<div class="filter">
    <input id="query" type="search" placeholder="Search id, pool, tenant, outcome, code  ( / )" aria-label="Search requests" autocomplete="off" spellcheck="false" .value=${filter.text}
      @input=${(event: Event) => {
        filter.text = (event.target as HTMLInputElement).value
        onChange()
      }}>
    <div class="chips" role="group" aria-label="Which requests">${FILTERS.map(
      (state) => html`<button aria-pressed=${String(filter.state === state)} @click=${set(state)}>${state}</button>`,
    )}</div></div>`
}

export function matching(model: Model, { text, state }: Filter): RequestView[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  const found: RequestView[] = []
  for (const request of model.recent.all()) {
    const now = stateOf(request)
    if (state === 'live' ? request.end : state === 'failed' ? !hasTrouble(request) : state !== 'all' && now !== state)
      continue
    if (words.length > 0) {
      const codes = request.failures.map(({ code, providerCode = '' }) => `${code} ${providerCode}`).join(' ')
      const all =
        `${request.id} ${request.pool} ${request.tenant} ${now} ${request.end?.status ?? ''} ${codes}`.toLowerCase()
      if (!words.every((word) => all.includes(word))) continue
    }
    found.push(request)
  }
  return found.sort((a, b) => beganMs(b) - beganMs(a))
}

export function listView(
  found: readonly RequestView[],
  { nowMs, recent }: Pick<Model, 'nowMs' | 'recent'>,
  onOpen: (id: string) => void,
) {
  if (found.length === 0) {
    const why = recent.isEmpty ? 'No request yet: the next one is shown here at once.' : 'No request matches.'
    return html`<p class="empty">${why} Those that came while no page was open are not kept.</p>`
  }
  return html`<div class="row heading" aria-hidden="true"><span>request</span><span>pool</span><span>tenant</span><span>state</span><span class="n">tries</span><span class="n">age</span><span>time spent</span></div>
    <div class="rows" @keydown=${moveFocus}>${repeat(
      found.slice(0, MAX_ROWS),
      ({ id }) => id,
      (request) => {
        const lastMs = request.end?.atMs ?? nowMs
        return html`<button class="row" @click=${() => onOpen(request.id)}>
        <code>${request.id.slice(0, 8)}</code><span title=${request.pool}>${request.pool}</span><span title=${request.tenant}>${request.tenant}</span>
        <span>${badge(request)}</span><span class="n">${attemptsOf(request)}</span><span class="n">${duration(lastMs - beganMs(request))}</span>${strip(request, nowMs)}</button>`
      },
    )}</div>
    ${found.length > MAX_ROWS ? html`<p class="note">and ${count(found.length - MAX_ROWS)} more: search to narrow down</p>` : nothing}`
}

/** Events that are not the machine's own. */
const EVENT_WORDS: Readonly<Record<string, string>> = { seen: 'as this page found it', 'xstate.init': 'accepted' }

/** Up and down move between rows, as in any list. */
function moveFocus(event: KeyboardEvent): void {
  const step =
    event.key === 'ArrowDown' ? 'nextElementSibling' : event.key === 'ArrowUp' ? 'previousElementSibling' : undefined
  const next = step && (document.activeElement?.[step] as HTMLElement | null)
  if (!next) return
  event.preventDefault()
  next.focus()
}

interface Span {
  readonly state: RequestState
  readonly event: string
  readonly attempt: number
  readonly fromMs: number
  readonly tookMs: number
}

function spansOf({ steps, end }: RequestView, nowMs: number): Span[] {
  const lastMs = end?.atMs ?? nowMs
  return steps.map(([state, event, attempt, fromMs], index) => {
    const toMs = steps[index + 1]?.[3] ?? Math.max(fromMs, lastMs)
    return { state, event, attempt, fromMs, tookMs: state === 'done' ? 0 : toMs - fromMs }
  })
}

function strip(request: RequestView, nowMs: number) {
  const spans = spansOf(request, nowMs)
  const wholeMs = spans.reduce((sum, { tookMs }) => sum + tookMs, 0)
  if (wholeMs <= 0) return html`<svg class="bar strip" aria-hidden="true"></svg>`
  let fromMs = 0
  return html`<svg class="bar strip" aria-hidden="true">${spans.map(({ state, tookMs }) => {
    const x = (fromMs / wholeMs) * 100
    fromMs += tookMs
    return svg`<rect class=${state} x="${x}%" width="${(tookMs / wholeMs) * 100}%" height="100%"></rect>`
  })}</svg>`
}

export function detailView(request: RequestView, nowMs: number, onClose: () => void) {
  const spans = spansOf(request, nowMs)
  const startMs = beganMs(request)
  const wholeMs = Math.max(1, (request.end?.atMs ?? nowMs) - startMs)
  return html`<div class="head"><h2 id="detail-title">Request <code>${request.id}</code></h2><button class="close" @click=${onClose} aria-label="Close">✕</button></div>
    <p class="facts-line">${badge(request)} <span>pool <b>${request.pool}</b></span> <span>tenant <b>${request.tenant}</b></span> <span>tries <b>${attemptsOf(request)}</b></span> <span>took <b>${duration(wholeMs)}</b></span></p>
    ${request.end ? html`<dl class="facts">${(['queuedMs', 'waitedMs', 'calledMs', 'backedOffMs'] as const).map((key, index) => html`<div><dt>${['queued', 'waited', 'called', 'backed off'][index]}</dt><dd>${duration(request.end![key])}</dd></div>`)}</dl>` : nothing}
    <h3>Timeline</h3>
    <ol class="timeline">${spans.map(
      ({ state, event, attempt, fromMs, tookMs }) => html`<li>
        <span class="when">+${duration(fromMs - startMs)}</span>
        <span class="what"><span class="dot ${state}"></span>${state} <small>${EVENT_WORDS[event] ?? event}${attempt > 0 ? ` · try ${attempt}` : ''}</small></span>
        <svg class="bar" role="img" aria-label="${state} for ${duration(tookMs)}"><rect class="track" width="100%" height="100%"></rect><rect class=${state} x="${((fromMs - startMs) / wholeMs) * 100}%" width="${Math.max(0.4, (tookMs / wholeMs) * 100)}%" height="100%"></rect></svg>
        <span class="n">${state === 'done' ? clockTime(fromMs) : duration(tookMs)}</span></li>`,
    )}</ol>
    ${
      request.failures.length > 0
        ? html`<h3>Failed attempts</h3><ol class="failures">${request.failures.map(
            ({ attempt, code, status, providerCode, atMs }) =>
              html`<li><span class="when">+${duration(atMs - startMs)}</span> <span class="chip bad">${code}</span> try ${attempt}${status ? html`, HTTP ${status}` : nothing}${providerCode ? html`, provider’s code <b>${providerCode}</b>` : nothing}</li>`,
          )}</ol>`
        : nothing
    }
    <p class="note">Began at ${clockTime(startMs)}. Prompts and answers never come here.</p>`
}

function badge(request: RequestView) {
  const state = stateOf(request)
  const status = request.end?.status
  return html`<span class="badge"><span class="dot ${status ?? state}"></span>${status ?? state}</span>`
}

function stateOf({ steps }: RequestView): RequestState {
  return steps.at(-1)![0]
}

function beganMs({ steps }: RequestView): number {
  return steps[0]![3]
}

function attemptsOf({ steps }: RequestView): number {
  return steps.at(-1)![2]
}

function hasTrouble({ end, failures }: RequestView): boolean {
  return failures.length > 0 || (end !== undefined && end.status !== 'completed')
}
