import { describe, expect, test } from 'vitest'
import { resolveConfig } from '../../src/config.js'
import { kindIn, kindOf, nameOfKind } from '../../src/limits/kind.js'
import { planGroups } from '../../src/limits/plan.js'

const pool = (limits: object, more: object = {}) => ({
  provider: 'openai',
  limits: { also: ['all'], ...limits },
  ...more,
})
const A = pool({ requests: ['5/1s', '90/1m'] })
const B = pool({ tokens: '100/1m' })

function kind(pools: object): string {
  const [group] = planGroups(resolveConfig({ pools, limitSets: { all: { concurrency: 9 } } }))
  return kindOf(group!.spec)
}

describe('the kind of a process', () => {
  test.each([
    ['values', { a: pool({ requests: ['7/1s', '80/1m'] }), b: B }],
    ['the order of pools and windows', { b: B, a: pool({ requests: ['90/1m', '5/1s'] }) }],
  ])('is the same whatever %s', (_, pools) => {
    expect(kind(pools)).toBe(kind({ a: A, b: B }))
  })

  test.each([
    ['dimension', { a: pool({ requests: ['5/1s', '90/1m'], tokens: '1/1m' }), b: B }],
    ['window', { a: pool({ requests: ['5/1s', '90/2m'] }), b: B }],
    ['guard', { a: A, b: { ...B, guardMs: 151 } }],
    ['slack', { a: { ...A, slackMs: 51 }, b: B }],
    ['pool', { a: A, b: B, c: B }],
    ['pool that learns its slots', { a: { ...A, adaptive: true }, b: B }],
  ])('is another with another %s', (_, pools) => {
    expect(kind(pools)).not.toBe(kind({ a: A, b: B }))
  })

  test('is read from a name, or an id, that was made with it', () => {
    expect(kindIn(`${nameOfKind('p-1', kind({ a: A }))}.12`)).toBe(kind({ a: A }))
    expect(kindIn('p-1.12')).toBe('')
  })
})
