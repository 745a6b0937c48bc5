import type { Ledger } from './ledger.js'
import { limitOf, type Round } from './round.js'

/** Tells of pools in which nobody waits, and whoever comes will have to: a window is full. */
export function reportFull(round: Round, ledger: Ledger): void {
  const told = new Set(round.queues.map(([pool]) => pool))
  for (const [index, draws] of round.spec.draws.entries()) {
    if (told.has(index)) continue
    let roomAtMs = 0
    let tokensAtMs = 0
    for (const its of draws) {
      const limit = limitOf(round, its)
      if (limit.windowMs === 0) continue
      const atMs = ledger.roomAtMs(limit, round.nowMs)
      if (limit.dimension === 'tokens') tokensAtMs = Math.max(tokensAtMs, atMs)
      else roomAtMs = Math.max(roomAtMs, atMs)
    }
    if (roomAtMs === 0 && tokensAtMs === 0) continue
    const frontAtMs = Math.max(round.nowMs, roomAtMs)
    round.queues.push([index, frontAtMs, Math.max(0, tokensAtMs - frontAtMs) * 1000, 0])
  }
}
