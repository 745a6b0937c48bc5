import { Hono } from 'hono'
import { HeadgateError } from '../../errors.js'
import type { Headgate } from '../../gate.js'
import { errorAnswer } from '../../http/openai-error.js'
import { responseOf } from '../../http/respond.js'

const DEFAULT_WINDOW_MINUTES = 60
const FRESH = { 'cache-control': 'no-store' }

/** The monitoring API: `stats` and `rate-limit-stats`, as `docs/monitoring.schema.json` describes them. */
export function monitoringRoutes(gate: Headgate): Hono {
  const app = new Hono()
  app.get('/stats', async (context) => context.json(await gate.monitoring(), 200, FRESH))
  app.get('/rate-limit-stats', async (context) => {
    const text = context.req.query('window_minutes') ?? String(DEFAULT_WINDOW_MINUTES)
    const windowMinutes = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
    if (!(windowMinutes >= 1 && windowMinutes <= 1440)) {
      const got = JSON.stringify(text.slice(0, 100))
      const message = `window_minutes: expected a whole number from 1 to 1440, got ${got}`
      return responseOf(errorAnswer(400, message, { code: 'bad_request', param: 'window_minutes' }))
    }
    return context.json(await gate.rateLimitStats({ windowMinutes }), 200, FRESH)
  })
  app.onError((error) => {
    if (!(error instanceof HeadgateError && error.code === 'BAD_REQUEST')) throw error
    return responseOf(errorAnswer(404, error.message, { code: 'not_found' }))
  })
  return app
}
