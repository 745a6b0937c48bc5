// The dashboard under load in Debian's Chromium: frames a second, the page's heap after a collection every minute, what a viewer
// costs the gateway, and what the gateway's process holds. `node bench/dashboard.mjs [--minutes 10] [--rate 1000]`; prints one JSON object.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium } from 'playwright-core'
import { bundle } from '../scripts/bundle.mjs'
import { flags } from '../scripts/flags.mjs'

const ALONE_MS = 5_000
const WARM_UP_MS = 5_000
const SAMPLE_MS = 5_000
const HEAP_EVERY = 12

const { minutes, rate } = flags({ minutes: 10, rate: 1_000 })
const WATCHED_MS = minutes * 60_000

const COUNT_FRAMES = `(() => {
  let last = performance.now()
  window.benchFrames = []
  requestAnimationFrame(function frame(now) {
    window.benchFrames.push(now - last)
    last = now
    requestAnimationFrame(frame)
  })
})()`

const child = fork(join(await bundle({ child: 'bench/dashboard/child.ts' }), 'child.js'), [`${rate}`])
const [{ url }] = await once(child, 'message')
async function gateway() {
  const told = once(child, 'message')
  child.send('tell')
  return (await told)[0]
}
/** Of a core, and of what was counted, over a while. */
async function costOver(ms, meanwhile = () => sleep(ms)) {
  await gateway()
  const sinceMs = performance.now()
  await meanwhile()
  const { transitions, cpuMs, rssMB } = await gateway()
  const tookMs = performance.now() - sinceMs
  return { cpuShare: round(cpuMs / tookMs), transitionsPerSecond: Math.round((transitions * 1000) / tookMs), rssMB }
}
const round = (value) => Math.round(value * 1000) / 1000
const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
try {
  await sleep(WARM_UP_MS)
  const alone = await costOver(ALONE_MS)
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 } })
  await page.goto(url)
  await page.locator('.pool').first().waitFor()
  const session = await page.context().newCDPSession(page)
  await session.send('Performance.enable')
  const heapMB = async () => {
    await session.send('HeapProfiler.collectGarbage')
    const { metrics } = await session.send('Performance.getMetrics')
    return round(metrics.find(({ name }) => name === 'JSHeapUsedSize').value / 1024 / 1024)
  }
  await sleep(WARM_UP_MS)
  const heap = [await heapMB()]
  await page.evaluate(COUNT_FRAMES)
  const gaps = []
  const persecond = []
  const watched = await costOver(WATCHED_MS, async () => {
    const endMs = performance.now() + WATCHED_MS
    for (let sample = 1; performance.now() < endMs; sample++) {
      await sleep(SAMPLE_MS)
      const frames = await page.evaluate('window.benchFrames.splice(0)')
      gaps.push(...frames)
      persecond.push((frames.length * 1000) / frames.reduce((sum, gap) => sum + gap, 0))
      if (sample % HEAP_EVERY === 0) heap.push(await heapMB())
    }
  })
  gaps.sort((a, b) => a - b)
  const frames = {
    mean: round((gaps.length * 1000) / gaps.reduce((sum, gap) => sum + gap, 0)),
    worst5s: round(Math.min(...persecond)),
    gapP50Ms: round(quantile(gaps, 0.5)),
    gapP99Ms: round(quantile(gaps, 0.99)),
    longestGapMs: round(gaps.at(-1)),
  }
  const result = { minutes: minutes, framesPerSecond: frames, heapMB: heap }
  console.log(JSON.stringify({ ...result, gateway: { alone, watched } }, null, 2))
} finally {
  await browser.close()
  child.disconnect()
}
