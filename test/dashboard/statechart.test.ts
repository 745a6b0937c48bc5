import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { requestMachine } from '../../machines/request-machine.js'
import { layoutOf } from '../../scripts/statechart-layout.mjs'

test('the drawn machine is the machine: `npm run statechart` writes it anew', async () => {
  const drawn = JSON.parse(readFileSync('src/surfaces/dashboard/page/statechart.json', 'utf8'))
  expect(drawn).toEqual(await layoutOf(requestMachine))
  expect(drawn.wide.states.map(({ name }: { name: string }) => name)).toEqual(Object.keys(requestMachine.states))
})
