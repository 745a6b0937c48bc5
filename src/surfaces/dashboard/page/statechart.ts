import { html, nothing, render, svg } from 'lit-html'
import type { RequestState } from '../../../../machines/vocabulary.js'
import { palette } from './colors.js'
import { count, shortCount } from './format.js'
import type { Model } from './model.js'
import layout from './statechart.json'

type Layout = Pick<(typeof layout)['wide'], 'width' | 'height' | 'states'> & {
  readonly transitions: readonly Transition[]
}

interface Transition {
  readonly id: string
  readonly events: readonly string[]
  readonly path: string
  readonly labels: readonly { readonly text: string; readonly x: number; readonly y: number }[]
  /** Of an edge without a label: where its rate goes. */
  readonly rate?: { readonly x: number; readonly y: number } | undefined
}

/** Dots under way at once, over all transitions. */
const MAX_DOTS = 150
const DOT_MS = 900
const DOT_RADIUS = 2.6
/** Dots a second on one transition, however busy it is. */
const MAX_DOTS_PER_SECOND = 14
const NARROW = window.matchMedia('(max-width: 1100px)')
const PHONE = window.matchMedia('(max-width: 760px)')
const CALM = window.matchMedia('(prefers-reduced-motion: reduce)')

interface Track {
  readonly id: string
  readonly element: SVGPathElement
  /** Points at equal distances, so that a frame has nothing to work out. */
  readonly points: Float32Array
  /** Dots owed, a fraction of one left over. */
  owed: number
}

interface Dot {
  readonly track: Track
  readonly sinceMs: number
}

/** The request machine with live counts; transitions light up and carry dots as they are taken. */
export class Statechart {
  readonly #root: HTMLElement
  #layout: Layout = layout.wide
  #tracks: Track[] = []
  #dots: Dot[] = []
  #canvas: HTMLCanvasElement | undefined
  #color = ''
  #shown = new Map<string, string>()

  constructor(
    root: HTMLElement,
    private readonly model: Model,
  ) {
    this.#root = root
    const draw = () => this.#draw()
    for (const query of [NARROW, PHONE]) query.addEventListener('change', draw)
    new ResizeObserver(() => this.#fit()).observe(root)
    draw()
  }

  /** Reads colours anew: the theme changed. */
  retheme(): void {
    this.#color = palette()('flow')
  }

  /** Counts and warmth, as the model now has them. */
  update(): void {
    const several = (this.model.stats?.processes.length ?? 0) > 1
    for (const { name } of this.#layout.states) {
      const state = name as RequestState
      const here = this.model.inState(state)
      const ended = this.model.stats?.totals
      const all = ended ? ended.completed + ended.degraded + ended.failed + ended.cancelled + ended.expired : 0
      const done = state === 'done'
      this.#text(`count-${name}`, done ? count(all) : shortCount(here))
      this.#text(`fleet-${name}`, done ? 'ended' : several ? `fleet ${shortCount(this.model.fleetInState(state))}` : '')
      this.#root.querySelector(`#state-${name}`)?.classList.toggle('busy', here > 0)
      // Beside a long number of the fleet there is less room.
      document.getElementById(`count-${name}`)?.classList.toggle('long', !done && several && here > 999)
    }
    for (const { id, element } of this.#tracks) {
      const rate = this.model.perSecond.get(id) ?? 0
      const warmth = rate === 0 ? 0 : Math.min(5, 1 + Math.floor(Math.log2(1 + rate)))
      const level = String(warmth)
      if (element.dataset.warmth !== level) element.dataset.warmth = level
      this.#text(`rate-${id}`, rate >= 0.1 ? `${rate < 9.95 ? rate.toFixed(1) : count(Math.round(rate))}/s` : '')
    }
  }

  /** One frame of the dots. */
  frame(nowMs: number, tookMs: number): void {
    const context = this.#canvas?.getContext('2d')
    if (!context) return
    if (!CALM.matches) this.#spawn(nowMs, tookMs)
    const { width, height } = context.canvas
    context.setTransform(1, 0, 0, 1, 0, 0)
    if (this.#dots.length === 0) {
      if (this.#drawn) context.clearRect(0, 0, width, height)
      this.#drawn = false
      return
    }
    context.clearRect(0, 0, width, height)
    this.#drawn = true
    const scale = width / this.#layout.width
    context.setTransform(scale, 0, 0, scale, 0, 0)
    context.fillStyle = this.#color
    context.beginPath()
    this.#dots = this.#dots.filter(({ track, sinceMs }) => {
      const part = (nowMs - sinceMs) / DOT_MS
      if (part >= 1) return false
      const at = Math.floor(part * (track.points.length / 2 - 1)) * 2
      const x = track.points[at]!
      const y = track.points[at + 1]!
      context.moveTo(x + DOT_RADIUS, y)
      context.arc(x, y, DOT_RADIUS, 0, 2 * Math.PI)
      return true
    })
    context.fill()
  }

  #drawn = false

  #spawn(nowMs: number, tookMs: number): void {
    for (const track of this.#tracks) {
      const rate = this.model.perSecond.get(track.id) ?? 0
      if (rate === 0) continue
      track.owed += (Math.min(rate, MAX_DOTS_PER_SECOND) * Math.min(tookMs, 100)) / 1000
      for (; track.owed >= 1; track.owed--) {
        if (this.#dots.length < MAX_DOTS) this.#dots.push({ track, sinceMs: nowMs - Math.random() * tookMs })
      }
    }
  }

  #text(id: string, text: string): void {
    if (this.#shown.get(id) === text) return
    this.#shown.set(id, text)
    const element = document.getElementById(id)
    if (element) element.textContent = text
  }

  #draw(): void {
    this.#layout = PHONE.matches ? layout.phone : NARROW.matches ? layout.tall : layout.wide
    const { width, height, states, transitions } = this.#layout
    this.#shown.clear()
    this.#dots = []
    // The two drawings share no node, so the old one goes first.
    render(nothing, this.#root)
    render(
      html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="The states of a request, with the number of requests in each">
          <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7.5" markerHeight="7.5" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0,0.6 L8,4 L0,7.4 z"></path></marker></defs>
          ${transitions.map(transition)} ${states.map(state)}
        </svg>
        <canvas aria-hidden="true"></canvas>`,
      this.#root,
    )
    this.#canvas = this.#root.querySelector('canvas') ?? undefined
    this.#tracks = transitions.map(({ id }) => {
      const element = document.getElementById(`edge-${id}`) as unknown as SVGPathElement
      const points = pointsOf(element)
      return { id, element, points, owed: 0 }
    })
    this.#fit()
    this.retheme()
    this.update()
  }

  #fit(): void {
    const canvas = this.#canvas
    if (!canvas) return
    const width = Math.round(this.#root.clientWidth * Math.min(2, window.devicePixelRatio))
    if (canvas.width === width) return
    canvas.width = width
    canvas.height = Math.round((width * this.#layout.height) / this.#layout.width)
  }
}

function state({ name, x, y, width, height }: Layout['states'][number]) {
  return svg`<g id="state-${name}" class="state ${name}">
    <rect x=${x} y=${y} width=${width} height=${height} rx="11"></rect>
    <circle cx=${x + 14} cy=${y + 17} r="4.5"></circle>
    <text class="name" x=${x + 25} y=${y + 21}>${name}</text>
    <text class="count" id="count-${name}" x=${x + 14} y=${y + 50}></text>
    <text class="fleet" id="fleet-${name}" x=${x + width - 10} y=${y + (name === 'done' ? 21 : 49)}></text>
  </g>`
}

function transition({ id, events, path, labels, rate }: Transition) {
  const quiet = events.every((event) => event === 'CANCEL' || event === 'DEADLINE')
  const last = labels.at(-1)
  return svg`<g class="transition ${quiet ? 'quiet' : ''}">
    <title>${id.replace('>', ' → ')}: ${events.join(', ')}</title>
    <path id="edge-${id}" d=${path} marker-end="url(#arrow)" data-warmth="0"></path>
    ${labels.map(
      (label) =>
        svg`<text x=${label.x} y=${label.y}>${label.text}${
          label === last ? svg`<tspan class="rate" id="rate-${id}" dx="5"></tspan>` : nothing
        }</text>`,
    )}
    ${rate ? svg`<text class="rate" x=${rate.x} y=${rate.y} id="rate-${id}"></text>` : nothing}
  </g>`
}

function pointsOf(path: SVGPathElement): Float32Array {
  const length = path.getTotalLength()
  const steps = Math.max(2, Math.min(240, Math.round(length / 3)))
  const points = new Float32Array((steps + 1) * 2)
  for (let step = 0; step <= steps; step++) {
    const { x, y } = path.getPointAtLength((length * step) / steps)
    points[step * 2] = x
    points[step * 2 + 1] = y
  }
  return points
}
