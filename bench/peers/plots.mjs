import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const WIDTH = 560
const COLOURS = {
  domain: ['Headgate', 'ideal', 'peer', 'broke the limit'],
  range: ['#1a7f64', '#8c959f', '#4c78a8', '#cf222e'],
}

/** The plots of docs/performance.md as SVG, by name, drawn with Vega from the runs of each row. */
export async function plots(home, { limit, throughput }) {
  const { resolve } = createRequire(join(home, 'package.json'))
  const [vega, { compile }] = await Promise.all(
    ['vega', 'vega-lite'].map((name) => import(pathToFileURL(resolve(name)).href)),
  )
  const draw = (spec) => new vega.View(vega.parse(compile(spec).spec), { renderer: 'none' }).toSVG()
  const charts = {
    ...(limit && {
      window: bars(limit, 'worstWindow', 'fullest sliding window, × limit (above 1 the provider refuses)', 1),
      use: bars(limit, 'utilisation', 'share of the limit used', 1),
    }),
    ...(throughput && {
      throughput: bars(throughput, 'perSecond', 'requests per second, one process, no limit binding', 0),
    }),
  }
  const drawn = await Promise.all(Object.entries(charts).map(async ([name, spec]) => [name, `${await draw(spec)}\n`]))
  return Object.fromEntries(drawn)
}

/** A bar a row, a whisker over its runs, and a line where the limit is. */
function bars({ rows, overrun }, metric, title, rule) {
  const values = Object.entries(rows).flatMap(([row, { side, runs }]) => {
    const broke = overrun && runs.some((run) => run[overrun] > 1)
    const kind = broke ? 'broke the limit' : { headgate: 'Headgate', limit: 'ideal', peer: 'peer' }[side]
    return runs.map((run) => ({ row, kind, value: run[metric] }))
  })
  const y = { field: 'row', type: 'nominal', sort: null, title: null, axis: { labelLimit: 220 } }
  const x = { field: 'value', type: 'quantitative', title }
  const ends = { x: { ...x, aggregate: 'min' }, x2: { field: 'value', aggregate: 'max' } }
  const line = {
    mark: { type: 'rule', strokeDash: [4, 3] },
    data: { values: [{ limit: rule }] },
    encoding: { x: { field: 'limit', type: 'quantitative' } },
  }
  return {
    width: WIDTH,
    height: { step: 22 },
    background: 'white',
    padding: 12,
    data: { values },
    layer: [
      {
        mark: { type: 'bar', height: 14 },
        encoding: {
          y,
          x: { ...x, aggregate: 'median', stack: null },
          color: {
            field: 'kind',
            type: 'nominal',
            scale: COLOURS,
            legend: { title: null, orient: 'bottom', labelLimit: 300 },
          },
        },
      },
      { mark: { type: 'rule', strokeWidth: 1.5 }, encoding: { y, ...ends } },
      ...(rule > 0 ? [line] : []),
    ],
    config: { font: 'sans-serif', view: { stroke: null } },
  }
}
