import uPlot from 'uplot'
import type { MinuteStatus, RateLimitStats } from '../../../monitoring.js'
import { palette } from './colors.js'
import { count, duration } from './format.js'

const HEIGHT = 190
/** A gateway that just began shows what it has, not an hour of nothing. */
const MIN_MINUTES = 10
/** Axes end no lower, so that next to nothing looks like it. */
const LEAST_RATE = 4
const LEAST_WAIT_MS = 100

/** Round times, which decimal steps are not: 20 s, 1 min, 5 min. */
const TIME_STEPS_MS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 21_600, 86_400].map((s) => s * 1_000),
]

type Columns = [xs: number[], ...ys: (number | null)[][]]

/** Rates and waits over the last hour, a point a minute. */
export class Plots {
  readonly #roots: readonly [HTMLElement, HTMLElement]
  #plots: uPlot[] = []
  #stats: RateLimitStats | undefined

  constructor(rate: HTMLElement, waits: HTMLElement) {
    this.#roots = [rate, waits]
    new ResizeObserver(() => {
      this.#plots.forEach((plot, index) => {
        plot.setSize({ width: this.#roots[index]!.clientWidth, height: HEIGHT })
      })
    }).observe(rate)
  }

  update(stats: RateLimitStats): void {
    this.#stats = stats
    const data = dataOf(stats)
    if (this.#plots.length === 0) this.#build()
    this.#plots.forEach((plot, index) => {
      plot.setData(data[index]!)
    })
  }

  /** Colours are the theme's: a canvas has to be told. */
  retheme(): void {
    for (const plot of this.#plots) plot.destroy()
    this.#plots = []
    if (this.#stats) this.update(this.#stats)
  }

  #build(): void {
    const color = palette()
    const line = (label: string, name: string, value: (y: number) => string, fill = false): uPlot.Series => ({
      label,
      stroke: color(name),
      width: 1.6,
      points: { size: 4 },
      spanGaps: true,
      // What the cursor is at; the last minute while it is elsewhere.
      value: ({ data }, y, series, at) => {
        const shown = at == null ? data[series]?.at(-1) : y
        return shown == null ? '–' : value(shown)
      },
      ...(fill && { fill: color(name, 0.15) }),
    })
    const axis = (values?: uPlot.Axis.Values): uPlot.Axis => ({
      stroke: color('muted'),
      grid: { stroke: color('line'), width: 1 },
      ticks: { show: false },
      font: '11px system-ui',
      ...(values && { values }),
    })
    const make = (
      root: HTMLElement,
      series: uPlot.Series[],
      values: (y: number) => string,
      least: number,
      steps?: readonly number[],
    ) =>
      new uPlot(
        {
          width: root.clientWidth,
          height: HEIGHT,
          cursor: { points: { size: 6 } },
          scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.08, least)] } },
          axes: [
            { ...axis((_, ticks) => ticks.map(timeOf)), size: 30 },
            { ...axis((_, ticks) => ticks.map(values)), size: widthOf, ...(steps && { incrs: [...steps] }) },
          ],
          series: [{ label: 'at', value: ({ data }, x) => timeOf(x ?? data[0].at(-1) ?? 0) }, ...series],
        },
        [[]],
        root,
      )
    this.#plots = [
      make(
        this.#roots[0],
        [
          line('completed / min', 'done', count, true),
          line('degraded', 'degraded', count),
          line('failed', 'backing-off', count),
          line('429s', 'bad', count),
        ],
        count,
        LEAST_RATE,
      ),
      make(
        this.#roots[1],
        [line('wait p50', 'calling', duration), line('wait p99', 'waiting-for-token', duration)],
        (y) => (y === 0 ? '0' : duration(y)),
        LEAST_WAIT_MS,
        TIME_STEPS_MS,
      ),
    ]
  }
}

/** As wide as its longest text, so that none is cut off. */
function widthOf(_: uPlot, texts: readonly string[] | null): number {
  const longest = Math.max(0, ...(texts ?? []).map(({ length }) => length))
  return Math.max(46, 16 + longest * 6.4)
}

function timeOf(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
}

/** Sums over pools; of waits the worst pool's. */
function dataOf({ pools }: RateLimitStats): [Columns, Columns] {
  const all = Object.values(pools)
  const xs = (all[0]?.perMinute ?? []).map(({ minute }) => Date.parse(minute) / 1000)
  const rate: Columns = [xs, ...Array.from({ length: 4 }, () => xs.map(() => 0))]
  const waits: Columns = [xs, ...Array.from({ length: 2 }, () => xs.map((): number | null => null))]
  const add = (columns: Columns, row: number, at: number, value: number) => {
    columns[row]![at] = (columns[row]![at] ?? 0) + value
  }
  const worst = (row: number, at: number, value: number | null) => {
    if (value !== null) waits[row]![at] = Math.max(waits[row]![at] ?? 0, value)
  }
  for (const { perMinute } of all) {
    perMinute.forEach(({ completed, degraded, failed, expired, provider429, waitP50Ms, waitP99Ms }, at) => {
      add(rate, 1, at, completed)
      add(rate, 2, at, degraded)
      add(rate, 3, at, failed + expired)
      add(
        rate,
        4,
        at,
        Object.values(provider429).reduce((sum, times) => sum + times, 0),
      )
      worst(1, at, waitP50Ms)
      worst(2, at, waitP99Ms)
    })
  }
  const begun = all.map(({ perMinute }) => perMinute.findIndex((minute) => busy(minute))).filter((at) => at >= 0)
  const from = Math.max(0, Math.min(...begun, xs.length - MIN_MINUTES))
  return [rate.map((column) => column.slice(from)) as Columns, waits.map((column) => column.slice(from)) as Columns]
}

function busy({ completed, degraded, failed, cancelled, expired, provider429 }: MinuteStatus): boolean {
  return completed + degraded + failed + cancelled + expired > 0 || Object.keys(provider429).length > 0
}
