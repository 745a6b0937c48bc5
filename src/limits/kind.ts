import { createHash } from 'node:crypto'
import type { GroupSpec } from './store.js'

const IN_NAME = /~([0-9a-f]+)/

/**
 * What tells apart processes that keep different limits under one group: all of them but their values, of which the store
 * keeps one for all. The order of a config says nothing.
 */
export function kindOf({ pools, limits, draws }: GroupSpec): string {
  const kept = limits.map(({ id, holdMs, adaptive }) => [id, holdMs, adaptive] as const).sort(byFirst)
  const drawn = pools.map((pool, index) => [pool, draws[index]!.map((at) => limits[at]!.id).sort()] as const)
  const text = JSON.stringify([kept, drawn.sort(byFirst)])
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}

/** A process's name, which the store tells all others, with the kind in it. */
export function nameOfKind(unique: string, kind: string): string {
  return `${unique}~${kind}`
}

/** The kind of the process of this name, or id; '' if it doesn't say. */
export function kindIn(name: string): string {
  return IN_NAME.exec(name)?.[1] ?? ''
}

function byFirst(a: readonly [string, ...unknown[]], b: readonly [string, ...unknown[]]): number {
  return a[0] < b[0] ? -1 : 1
}
