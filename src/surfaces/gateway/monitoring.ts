import { Hono } from 'hono'
import { HeadgateError } from '../../errors.js'
import type { Headgate } from '../../gate.js'
import { errorAnswer } from '../../http/openai-error.js'
import { responseOf } from '../../http/respond.js'

const MAX_SHOWN = 100
const DEFAULT_WINDOW_MINUTES = 60
const WINDOW = 'window_minutes'
const FRESH = { 'cache-control': 'no-store' }

/** The monitoring API: `stats` and `rate-limit-stats`, as `docs/monitoring.schema.json` describes them. */
export function monitoringRoutes(gate: Headgate): Hono {
  const app = new Hono()
  app.get('/stats', async ({ req, json }) => {
    const problem = unexpected(req.queries(), [])
    return problem ?? json(await gate.monitoring(), 200, FRESH)
  })
  app.get('/rate-limit-stats', async ({ req, json }) => {
    const problem = unexpected(req.queries(), [WINDOW])
    if (problem) return problem
    const text = req.query(WINDOW) ?? String(DEFAULT_WINDOW_MINUTES)
    const windowMinutes = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
    if (!(windowMinutes >= 1 && windowMinutes <= 1440)) {
      return refusal(WINDOW, `expected a whole number from 1 to 1440, got ${shown(text)}`)
    }
    return json(await gate.rateLimitStats({ windowMinutes }), 200, FRESH)
  })
  app.onError((error) => {
    if (!(error instanceof HeadgateError && error.code === 'BAD_REQUEST')) throw error
    return responseOf(errorAnswer(404, error.message, { code: 'not_found' }))
  })
  return app
}

/** What is misspelt would be ignored, and figures of another window be taken for those asked for. */
function unexpected(
  queries: Readonly<Record<string, readonly string[]>>,
  known: readonly string[],
): Response | undefined {
  for (const [name, values] of Object.entries(queries)) {
    if (!known.includes(name)) {
      const expected = known.length === 0 ? 'no query parameter' : `no other query parameter than ${known.join(', ')}`
      return refusal(name.slice(0, MAX_SHOWN), `expected ${expected}`)
    }
    if (values.length > 1) return refusal(name, `expected it once, got it ${values.length} times`)
  }
  return undefined
}

function refusal(param: string, expected: string): Response {
  return responseOf(errorAnswer(400, `${param}: ${expected}`, { code: 'bad_request', param }))
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, MAX_SHOWN))
}
