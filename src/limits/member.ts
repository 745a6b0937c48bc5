import type { ExchangeReply } from './store.js'

/** One process as its group knows it. */
export interface Member {
  expiresMs: number
  holdUntilMs: number
  seq: number
  dead: boolean
  reply: ExchangeReply | undefined
  readonly open: Set<number>
  readonly slots: Map<string, number>
}

export function newMember(): Member {
  return { expiresMs: 0, holdUntilMs: 0, seq: 0, dead: false, reply: undefined, open: new Set(), slots: new Map() }
}
