import { readFileSync } from 'node:fs'
import { test } from 'vitest'
import { memoryKind, redisKind } from '../driver.js'
import { play } from '../random-fleet.js'
test('one', async () => {
  const ops = JSON.parse(readFileSync('/tmp/ops.json', 'utf8'))[0]
  const r = redisKind(); await r.start()
  const [a, b] = [await (await memoryKind()).fresh(), await r.fresh()]
  const audA: any[] = [], audB: any[] = []
  const ta = await play(a, ops, (x) => { audA.push(x) }, true)
  let tb: any
  try { tb = await play(b, ops, (x) => { audB.push(x) }, true) } catch (e) { console.log(e); return }
  for (let i = 0; i < ta.trail.length; i++) {
    const x = JSON.stringify(ta.trail[i]), y = JSON.stringify(tb.trail[i])
    console.log(i, x === y ? 'same' : 'DIFF', '\nM', x, x === y ? '' : '\nR ' + y)
  }
  await r.stop()
})
