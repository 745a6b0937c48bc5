import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { requestMachine } from '../../machines/request-machine.js'
import { layoutOf } from '../../scripts/statechart-layout.mjs'

/** Of `999/s` in the page's style. */
const RATE = { width: 33.5, height: 12.5 }

interface Drawn {
  readonly width: number
  readonly states: readonly { name: string; x: number; y: number; width: number; height: number }[]
  readonly transitions: readonly { id: string; labels: readonly object[]; rate?: { x: number; y: number } }[]
}

test('the drawn machine is the machine: `npm run statechart` writes it anew', async () => {
  const drawn = JSON.parse(readFileSync('src/surfaces/dashboard/page/statechart.json', 'utf8'))
  expect(drawn).toEqual(await layoutOf(requestMachine))
  expect(drawn.wide.states.map(({ name }: { name: string }) => name)).toEqual(Object.keys(requestMachine.states))
})

test.each(['wide', 'tall', 'phone'] as const)('no rate touches another, a state or the edge: %s', (name) => {
  const { width, states, transitions } = JSON.parse(
    readFileSync('src/surfaces/dashboard/page/statechart.json', 'utf8'),
  )[name] as Drawn
  const rates = transitions.flatMap(({ id, rate }) => (rate ? [{ id, x: rate.x, y: rate.y - 10, ...RATE }] : []))
  expect(rates.length).toBe(transitions.filter(({ labels }) => labels.length === 0).length)
  const boxes = [...rates, ...states.map(({ name: id, ...box }) => ({ id, ...box }))]
  const touching = rates.flatMap((a, index) =>
    boxes
      .slice(index + 1)
      .filter((b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height)
      .map((b) => `${a.id} and ${b.id}`),
  )
  expect(touching).toEqual([])
  for (const { id, x } of rates) expect(x >= 0 && x + RATE.width <= width, id).toBe(true)
})
