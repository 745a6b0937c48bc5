import { test } from 'vitest'
import { memoryKind, redisKind } from '../driver.js'
import { play } from '../random-fleet.js'
test('one', async () => {
  const f = (flow: number, count: number) => ({ flow, count, costs: [], waited: 0 })
  const ops: any[] = [{ do: 'ask', who: 0, flows: [f(4, 8)] }, ...[0,1,2,3,4,5,6,7].map(() => ({ do: 'settle', who: 0, pick: 0, delta: 0, cut: false, coolMs: 0, service: 0, refund: false })), { do: 'advance', ms: 1100 }, { do: 'ask', who: 0, flows: [f(4, 3)] }, { do: 'ask', who: 1, flows: [f(4, 3)] }, { do: 'advance', ms: 10 }, { do: 'ask', who: 0, flows: []}, {do:'advance',ms:300},{ do: 'ask', who: 0, flows: [f(4,1)]},{ do: 'ask', who: 1, flows: []}, ]
  const r = redisKind(); await r.start()
  for (const k of [memoryKind(), r]) {
    const t = await play(await k.fresh(), ops, () => {}, true)
    for (const x of t.trail as any[]) if (x.grants) console.log(x.nowMs, JSON.stringify(x.grants), x.retryAtMs, x.restate, JSON.stringify(x.queues))
  }
  await r.stop()
})
