import { html, svg } from 'lit-html'
import { percent } from './format.js'

const MAX_PARTS = 8

export interface Share {
  readonly name: string
  /** 0 to 1. */
  readonly share: number
}

/** Shares of a whole as one bar with its legend; small ones together. */
export function shareBar(shares: readonly Share[]) {
  const sorted = [...shares].sort((a, b) => b.share - a.share)
  const shown = sorted.slice(0, MAX_PARTS)
  const rest = sorted.slice(MAX_PARTS).reduce((sum, { share }) => sum + share, 0)
  if (rest > 0) shown.push({ name: 'others', share: rest })
  let from = 0
  const parts = shown.map((part, index) => {
    const x = from
    from += part.share
    return { ...part, x, index: index < MAX_PARTS ? index : 'rest' }
  })
  return html`<svg class="bar shares" aria-hidden="true">
      ${parts.map(({ x, share, index }) => svg`<rect class="part part-${index}" x="${x * 100}%" width="${share * 100}%" height="100%"></rect>`)}
    </svg>
    <ul class="legend">${parts.map(({ name, share, index }) => html`<li><span class="dot part-${index}"></span><span class="name" title=${name}>${name}</span> <b>${percent(share)}</b></li>`)}</ul>`
}
