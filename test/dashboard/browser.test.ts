// The dashboard in a real Chromium, over a real gateway.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import axe from 'axe-core'
import { type Browser, chromium, type Page } from 'playwright-core'
import { type Plugin, rolldown } from 'rolldown'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type RunningServer, startServer } from '../../src/surfaces/gateway/serve.js'
import { startRedisServer } from '../../src/testing/index.js'
import { cleanups, LogBook, MESSAGES, simulatorOf, startGateway, upstreamOf } from '../gateway/harness.js'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)

/** A page that lists what Stately's receiver for browsers receives. */
const RECEIVER: Plugin = {
  name: 'receiver',
  resolveId: (id) => (id === 'receiver' ? resolve('receiver.js') : undefined),
  load: (id) =>
    id === resolve('receiver.js')
      ? `import { createBrowserReceiver } from '@statelyai/inspect'
         createBrowserReceiver().subscribe(({ type, snapshot }) => {
           const item = document.createElement('li')
           item.textContent = type + ' ' + (snapshot?.value ?? '')
           document.querySelector('ol').append(item)
         })`
      : undefined,
}

let browser: Browser
beforeAll(async () => {
  if (!CHROMIUM) throw new Error("these tests look at the page in Chromium: 'apt-get install chromium'")
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
})
afterAll(() => browser?.close())

/** What went wrong in the pages of a test. */
const troubles: string[] = []
afterEach(() => {
  expect(troubles.splice(0)).toEqual([])
})

interface Opened {
  readonly page: Page
  /** What the page asked for, wherever. */
  readonly asked: string[]
}

/** Opens the dashboard; whatever it asks of anybody but its gateway is refused, and noted. */
async function open(url: string, options: Parameters<Browser['newContext']>[0] = {}, expected = /^$/): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  cleanups.push(() => context.close())
  const asked: string[] = []
  await context.route('**/*', (route) => {
    asked.push(route.request().url())
    return route.request().url().startsWith(url) ? route.continue() : route.abort()
  })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  page.on('pageerror', (error) => troubles.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error' && !expected.test(message.text())) troubles.push(message.text())
  })
  await page.goto(url)
  return { page, asked }
}

const count = (page: Page, state: string) => page.locator(`#count-${state}`)

/** Expressions for the page are strings: the tests are typed for Node. */
async function violationsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  const told = "({ id, nodes: [{ failureSummary, html }] }) => [id, failureSummary, html].join(' ')"
  return page.evaluate<string[]>(`axe.run().then(({ violations }) => violations.map(${told}))`)
}

describe('the dashboard', () => {
  test('loads from its gateway alone; counts move, a request is found and followed', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream, { pool: { limits: { requests: '50/1m', concurrency: 2 } } })
    const { page, asked } = await open(gateway.url)
    await page.locator('#link.live').waitFor()
    const calls = [1, 2, 3].map((n) => gateway.chat(undefined, { 'x-headgate-tenant': `tenant-${n}` }))
    await count(page, 'calling').getByText('2', { exact: true }).waitFor()
    await count(page, 'waiting-for-token').getByText('1', { exact: true }).waitFor()
    const { response } = await upstream.arrival(0)
    response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"code":"1210","message":"secret"}}')
    await count(page, 'done').getByText('1', { exact: true }).waitFor()
    await page.getByRole('article', { name: 'Pool glm' }).getByText('3 of 50').waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('tenant-1 BAD_REQUEST')
    const rows = page.locator('button.row')
    await page.getByText('1 shown').waitFor()
    expect(await rows.count()).toBe(1)
    await rows.first().click()
    const detail = page.getByRole('dialog')
    for (const text of ['TOKEN_GRANTED', 'CALL_FAILED', 'HTTP 400', '1210']) {
      await detail.getByText(text).first().waitFor()
    }
    expect(await detail.textContent()).not.toContain('secret')
    await page.keyboard.press('Escape')
    expect(new Set(asked.map((url) => new URL(url).pathname))).toEqual(
      new Set(['/', '/events', '/api/v1/monitoring/rate-limit-stats']),
    )
    expect(asked.filter((url) => !url.startsWith(gateway.url))).toEqual([])
    for (const { response: each } of [await upstream.arrival(1), await upstream.arrival(2)]) each.destroy()
    await Promise.all(calls)
  })

  test.each(['light', 'dark'] as const)(
    'passes axe in %s, on a desktop and on a phone without scrolling sideways',
    async (colorScheme) => {
      const gateway = await startGateway(await simulatorOf())
      const { page } = await open(gateway.url, { colorScheme, reducedMotion: 'reduce' })
      await page.locator('#link.live').waitFor()
      await (await gateway.chat()).text()
      await page.locator('button.row').first().click()
      await page.getByRole('dialog').waitFor()
      expect(await violationsOf(page)).toEqual([])
      await page.keyboard.press('Escape')
      await page.setViewportSize({ width: 375, height: 740 })
      await page.locator('.chart svg[viewBox]').waitFor()
      expect(await violationsOf(page)).toEqual([])
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(375)
    },
  )

  test('draws its charts in the colours of the theme, whichever was chosen or is the system’s', async () => {
    const gateway = await startGateway(await simulatorOf())
    const { page } = await open(gateway.url, { colorScheme: 'dark' })
    await page.locator('#rate .u-legend').waitFor()
    /** How many pixels of the canvas have a colour of the style sheet, by theme. */
    const pixelsOf = ([r, g, b]: number[]) =>
      page.evaluate<number>(`(() => {
        const canvas = document.querySelector('#rate canvas')
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
        let count = 0
        for (let at = 0; at < data.length; at += 4) {
          if (Math.abs(data[at] - ${r}) + Math.abs(data[at + 1] - ${g}) + Math.abs(data[at + 2] - ${b}) < 4 && data[at + 3] > 250) count++
        }
        return count
      })()`)
    const [light, dark] = [
      [0xe3, 0xe0, 0xd8],
      [0x24, 0x30, 0x38],
    ] as const // --line
    const expectTheme = async (own: readonly number[], other: readonly number[]) => {
      await expect.poll(() => pixelsOf([...own])).toBeGreaterThan(500)
      expect(await pixelsOf([...other])).toBe(0)
    }
    await expectTheme(dark, light)
    await page.getByRole('button', { name: /^Colours/ }).click()
    await expectTheme(light, dark)
    await page.getByRole('button', { name: /^Colours/ }).click()
    await expectTheme(dark, light)
    await page.getByRole('button', { name: /^Colours/ }).click()
    await page.emulateMedia({ colorScheme: 'light' })
    await expectTheme(light, dark)
  })

  test('is usable by keyboard alone', async () => {
    const gateway = await startGateway(await simulatorOf())
    const { page } = await open(gateway.url)
    await page.locator('#link.live').waitFor()
    for (let n = 0; n < 3; n++) await (await gateway.chat()).text()
    await page.locator('button.row').nth(2).waitFor()
    await page.locator('button.row').first().focus()
    await page.keyboard.press('ArrowDown')
    // Who arrives meanwhile moves the row, and the focus with it.
    const focusedFirst = await page.evaluate<string>("document.activeElement.querySelector('code').textContent")
    await (await gateway.chat()).text()
    await page.locator('button.row').nth(3).waitFor()
    expect(focusedFirst).toBe(await page.locator('button.row code').nth(2).textContent())
    const focused = await page.evaluate<string>("document.activeElement.querySelector('code').textContent")
    expect(focused).toBe(focusedFirst)
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').getByText(focused).waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'hidden' })
    await page.getByRole('button', { name: /^Colours/ }).focus()
    await page.keyboard.press('Enter')
    expect(await page.evaluate('document.documentElement.dataset.theme')).toBe('light')
  })

  test('says that the line is broken, and goes on when the gateway is back', async () => {
    const { baseURL } = await simulatorOf()
    const pools = { glm: { provider: 'glm', apiKey: 'any', baseURL } }
    const start = (port: number) =>
      startServer({ config: { pools }, port, host: '127.0.0.1', env: {}, logger: new LogBook() })
    let server: RunningServer = await start(0)
    cleanups.push(() => server.close())
    const { page } = await open(server.url, {}, /ERR_|Failed to load resource/)
    await page.locator('#link.live').waitFor()
    await server.close()
    await page.getByText('The line to the gateway is broken.').waitFor()
    server = await start(Number(new URL(server.url).port))
    await page.locator('#link.live').waitFor()
    await page.getByText('The line to the gateway is broken.').waitFor({ state: 'detached' })
    await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'glm', messages: MESSAGES }),
    })
    await page.locator('button.row').getByText('completed').waitFor()
  })

  test('says loudly when Redis is lost, and stops when it is back', async () => {
    const redis = await startRedisServer()
    cleanups.push(() => redis.stop())
    const gateway = await startGateway(await simulatorOf(), { redis: redis.url })
    const { page } = await open(gateway.url)
    await page.locator('#store').getByText('redis · synced').waitFor()
    await redis.kill()
    await page.getByRole('alert').getByText('Isolated from Redis.').waitFor()
    expect(await page.title()).toBe('⚠ isolated · Headgate')
    await redis.restart()
    await page.getByText('Isolated from Redis.').waitFor({ state: 'detached' })
  })

  test('asks for the key again, after Escape', async () => {
    const gateway = await startGateway(await simulatorOf(), { env: { HEADGATE_API_KEYS: 'the-key' } })
    const { page } = await open(gateway.url, {}, /401/)
    const field = page.getByLabel('One of HEADGATE_API_KEYS')
    await field.waitFor()
    await page.keyboard.press('Escape')
    await field.waitFor({ state: 'hidden' })
    await page.getByText('Nothing is shown without a key.').waitFor()
    await page.getByRole('button', { name: 'key needed' }).focus()
    await page.keyboard.press('Enter')
    await field.fill('the-key')
    await page.keyboard.press('Enter')
    await page.locator('.pool').first().waitFor()
  })

  test('works in a browser that keeps nothing for it', async () => {
    const gateway = await startGateway(await simulatorOf(), { env: { HEADGATE_API_KEYS: 'the-key' } })
    const { page } = await open(gateway.url, {}, /401/)
    await page.addInitScript(`for (const name of ['localStorage', 'sessionStorage'])
      Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError') } })`)
    await page.reload()
    await page.getByLabel('One of HEADGATE_API_KEYS').fill('the-key')
    await page.keyboard.press('Enter')
    await page.locator('#link.live').waitFor()
    await page.locator('#rate .u-legend').waitFor()
    await page.getByRole('button', { name: /^Colours/ }).click()
    expect(await page.evaluate('document.documentElement.dataset.theme')).toBe('light')
  })

  test('cuts off no number beside a chart', async () => {
    const gateway = await startGateway(await simulatorOf())
    const { page } = await open(gateway.url)
    await page.locator('#link.live').waitFor()
    const minute = (ago: number) => new Date(Math.floor(Date.now() / 60_000 - ago) * 60_000).toISOString()
    const counts = { completed: 1_234_567, degraded: 0, failed: 0, cancelled: 0, expired: 0, provider429: {} }
    const perMinute = [2, 1, 0].map((ago) => ({ minute: minute(ago), ...counts, waitP50Ms: 1, waitP99Ms: 500_000 }))
    await page.route('**/rate-limit-stats*', (route) => route.fulfill({ json: { pools: { p: { perMinute } } } }))
    await page.reload()
    await page.locator('#waits .u-legend').getByText('8 min 20 s').waitFor()
    // Axes' texts end at the chart: one that is too long begins at the canvas' edge, or beyond it.
    const firstPainted = (chart: string) =>
      page.evaluate<number>(`(() => {
        const canvas = document.querySelector('${chart} canvas')
        const { data, width } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
        for (let x = 0; x < width; x++) for (let at = x * 4 + 3; at < data.length; at += width * 4) if (data[at] > 0) return x
      })()`)
    for (const chart of ['#rate', '#waits']) expect(await firstPainted(chart)).toBeGreaterThan(3)
  })

  test('shows on a phone whose a request is, and who is silent', async () => {
    const gateway = await startGateway(await simulatorOf())
    const { page } = await open(gateway.url, { viewport: { width: 375, height: 740 } })
    await page.locator('#link.live').waitFor()
    await (await gateway.chat(undefined, { 'x-headgate-tenant': 'tenant-1' })).text()
    await page.locator('button.row').getByText('tenant-1').waitFor()
    await page.getByRole('columnheader', { name: 'seen' }).waitFor()
    const right = "document.querySelector('.processes').getBoundingClientRect().right"
    expect(await page.evaluate(right)).toBeLessThanOrEqual(375)
    const size = `document.querySelector('.state .name').getBoundingClientRect().height`
    expect(await page.evaluate(size), 'legible').toBeGreaterThan(11)
  })

  test('asks for a key where the gateway has keys, and shows nothing without', async () => {
    const gateway = await startGateway(await simulatorOf(), { env: { HEADGATE_API_KEYS: 'the-key' } })
    const { page } = await open(gateway.url, {}, /401/)
    await page.getByLabel('One of HEADGATE_API_KEYS').fill('wrong')
    await page.keyboard.press('Enter')
    await page.getByText('key needed').waitFor()
    await page.getByText('It does not take that one.').waitFor()
    expect(await page.locator('.pool').count()).toBe(0)
    await page.getByLabel('One of HEADGATE_API_KEYS').fill('the-key')
    await page.keyboard.press('Enter')
    await page.locator('.pool').first().waitFor()
    await page.reload()
    await page.locator('.pool').first().waitFor()
    // Nothing has happened yet, and that is what it says.
    await page.getByText('No request yet').waitFor()
    expect(await page.locator('.tile', { hasText: 'wait p50' }).locator('b').textContent()).toBe('–')
    const legend = page.locator('#rate .u-legend')
    await legend.getByText('completed / min').waitFor()
    expect(await legend.locator('.u-value').allTextContents()).toEqual([
      expect.stringMatching(/^\d\d:\d\d$/),
      '0',
      '0',
      '0',
      '0',
    ])
  })
})

test("Stately's inspector opens at /inspect, and its own receiver gets the machines", async () => {
  const gateway = await startGateway(await simulatorOf(), { env: { HEADGATE_API_KEYS: 'the-key' } })
  const receiver = await rolldown({ input: 'receiver', platform: 'browser', plugins: [RECEIVER] })
  const { output } = await receiver.generate({ format: 'iife' })
  const context = await browser.newContext()
  cleanups.push(() => context.close())
  // stately.ai is out of reach here: in its place a page with the receiver that it is built on.
  await context.route('https://stately.ai/**', (route) =>
    route.fulfill({ contentType: 'text/html', body: `<ol></ol><script>${output[0].code}</script>` }),
  )
  const page = await context.newPage()
  page.on('pageerror', (error) => troubles.push(String(error)))
  await page.goto(gateway.url)
  await page.evaluate("sessionStorage.setItem('headgate-key', 'the-key')")
  await page.goto(`${gateway.url}/inspect`)
  const told = page.frameLocator('iframe').locator('li')
  const call = () => gateway.chat(undefined, { authorization: 'Bearer the-key' })
  while ((await told.getByText('@xstate.snapshot done').count()) === 0) await (await call()).text()
  await told.getByText('@xstate.actor').first().waitFor()
})
