// The README's pictures of the dashboard, taken in Debian's Chromium against a simulated fleet under load: light and dark, desktop and
// phone, one request, and Redis lost. `npm run screenshots [-- --warm-up 40]`, after a build.
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { startSimulator } from '../dist/testing.js'
import { startFleet } from './dashboard-fleet.mjs'
import { flags } from './flags.mjs'

const FOLDER = fileURLToPath(new URL('../docs/images/', import.meta.url))
const DESKTOP = { width: 1440, height: 1180 }
const PHONE = { width: 390, height: 844 }

const { 'warm-up': warmUp } = flags({ 'warm-up': 40 })

const glm = await startSimulator({
  profile: 'glm',
  latencyMs: 900,
  concurrency: 5,
  requests: [{ limit: 240, windowMs: 60_000 }],
  ceiling: { values: [5, 4, 5], everyMs: 15_000 },
  errors: [{ share: 0.02, code: '1200' }],
})
const deepseek = await startSimulator({ profile: 'deepseek', latencyMs: 400 })
const fleet = await startFleet({
  gateways: 3,
  tenants: ['web', 'web', 'batch', 'web', 'research', 'batch', 'web'],
  config: {
    namespace: 'headgate',
    tenants: { web: { weight: 4 }, research: { weight: 2 }, batch: { weight: 1 } },
    pools: {
      'glm-4-plus': {
        provider: 'glm',
        apiKey: 'simulated',
        baseURL: glm.baseURL,
        limits: { requests: '240/1m', tokens: ['60000/1m', '5000000/1d'], concurrency: 5 },
        degradedMessage: 'Busy: please try again in a moment.',
        retry: { baseMs: 800, capMs: 5_000 },
      },
      'deepseek-chat': {
        provider: 'deepseek',
        apiKey: 'simulated',
        baseURL: deepseek.baseURL,
        limits: { requests: '600/1m', tokens: '120000/1m', concurrency: 12 },
      },
    },
  },
})
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })

async function open(viewport, colorScheme, deviceScaleFactor = 1) {
  const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor })
  const page = await context.newPage()
  await page.goto(fleet.urls[0])
  await page.locator('.pool').first().waitFor()
  await page.locator('#rate .u-legend').waitFor()
  return page
}

async function shoot(page, name, options = {}) {
  const path = join(FOLDER, `${name}.png`)
  await page.screenshot({ path, ...options })
  console.log(`${path}  ${Math.round(statSync(path).size / 1024)} KB`)
}

try {
  mkdirSync(FOLDER, { recursive: true })
  const loads = [fleet.load('glm-4-plus', 4.4, 0.5), fleet.load('deepseek-chat', 7, 0.4)]
  const page = await open(DESKTOP, 'light')
  const dark = await open(DESKTOP, 'dark')
  const phone = await open(PHONE, 'light')
  await sleep(warmUp * 1000)
  await shoot(page, 'dashboard-light')
  await shoot(dark, 'dashboard-dark')
  await shoot(phone, 'dashboard-phone', { fullPage: true, clip: { x: 0, y: 0, width: PHONE.width, height: 1700 } })
  await page.getByRole('button', { name: 'failed', exact: true }).click()
  await page.locator('button.row').first().click()
  await sleep(700)
  await shoot(page, 'dashboard-request')
  await page.keyboard.press('Escape')
  await fleet.redis.kill()
  await page.locator('.banner.bad').waitFor()
  await page.evaluate(() => scrollTo(0, 0))
  await page.getByText('? of 240').waitFor()
  await sleep(700)
  await shoot(page, 'dashboard-isolated', { clip: { x: 0, y: 0, width: DESKTOP.width, height: 620 } })
  for (const stop of loads) stop()
} finally {
  await browser.close()
  await fleet.stop()
  await Promise.all([glm.close(), deepseek.close()])
}
