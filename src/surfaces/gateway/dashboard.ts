import { Hono } from 'hono'
import { errorAnswer } from '../../http/openai-error.js'
import type { DashboardFeed } from '../dashboard/feed.js'
import { inspectPage } from './inspect-page.js'
import { type Page, pageOf } from './page.js'
import { type GatewayEnv, say } from './request-log.js'

/** Put together by the build; loaded when somebody opens it. */
let page: Promise<Page> | undefined

/** The dashboard and Stately's inspector: pages, which tell nothing by themselves, and the events that the dashboard shows. */
export function dashboardRoutes(feed: DashboardFeed): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>()
  app.get('/', async (context) => {
    page ??= load()
    const { html, headers } = await page
    return context.body(html, 200, headers)
  })
  app.get('/inspect', (context) => context.body(inspectPage.html, 200, inspectPage.headers))
  app.get('/events', (context) => {
    const stream = feed.open()
    if (!stream) return say(context, errorAnswer(503, 'too many viewers, or the gateway is closing', { code: 'busy' }))
    const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' }
    return new Response(stream, { headers })
  })
  return app
}

async function load(): Promise<Page> {
  const { default: html } = await import('../dashboard/page/index.html')
  return pageOf(html)
}
