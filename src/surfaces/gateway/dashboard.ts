import { createHash } from 'node:crypto'
import { Hono } from 'hono'
import { errorAnswer } from '../../http/openai-error.js'
import { responseOf } from '../../http/respond.js'
import type { DashboardFeed } from '../dashboard/feed.js'

/** What the page is made of, as the build puts it together; loaded when somebody opens it. */
interface Page {
  readonly html: string
  readonly headers: Record<string, string>
}

let page: Promise<Page> | undefined

/** The dashboard: its page, which tells nothing by itself, and the events that it shows. */
export function dashboardRoutes(feed: DashboardFeed): Hono {
  const app = new Hono()
  app.get('/', async (context) => {
    page ??= load()
    const { html, headers } = await page
    return context.body(html, 200, headers)
  })
  app.get('/events', () => {
    const stream = feed.open()
    if (!stream) return responseOf(errorAnswer(503, 'too many viewers, or the gateway is closing', { code: 'busy' }))
    const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' }
    return new Response(stream, { headers })
  })
  return app
}

async function load(): Promise<Page> {
  const { default: html } = await import('../dashboard/page/index.html')
  const hashes = (tag: string) => {
    const parts = [...html.matchAll(new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`, 'g'))].map(([, text]) => text!)
    return parts.map((text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`).join(' ')
  }
  const policy = [
    "default-src 'none'",
    `script-src ${hashes('script')}`,
    `style-src ${hashes('style')}`,
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ]
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': policy.join('; '),
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  }
  return { html, headers }
}
