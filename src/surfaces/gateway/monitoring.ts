import { type Context, Hono } from 'hono'
import { HeadgateError } from '../../errors.js'
import type { Headgate } from '../../gate.js'
import { type Answer, errorAnswer } from '../../http/openai-error.js'
import { type GatewayEnv, say } from './request-log.js'

const MAX_SHOWN = 100
const DEFAULT_WINDOW_MINUTES = 60
const WINDOW = 'window_minutes'
const FRESH = { 'cache-control': 'no-store' }

/** The monitoring API: `stats` and `rate-limit-stats`, as `docs/monitoring.schema.json` describes them. */
export function monitoringRoutes(gate: Headgate): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>()
  const looked = async (context: Context<GatewayEnv>, problem: Answer | undefined, look: () => Promise<object>) =>
    problem ? say(context, problem) : context.json(await look(), 200, FRESH)
  app.get('/stats', (context) => looked(context, unexpected(context.req.queries(), []), () => gate.monitoring()))
  app.get('/rate-limit-stats', (context) => {
    const text = context.req.query(WINDOW) ?? String(DEFAULT_WINDOW_MINUTES)
    const windowMinutes = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
    const isWrong = !(windowMinutes >= 1 && windowMinutes <= 1440)
    const wrong = isWrong ? refusal(WINDOW, `expected a whole number from 1 to 1440, got ${shown(text)}`) : undefined
    const problem = unexpected(context.req.queries(), [WINDOW]) ?? wrong
    return looked(context, problem, () => gate.rateLimitStats({ windowMinutes }))
  })
  app.onError((error, context) => {
    if (!(error instanceof HeadgateError && error.code === 'BAD_REQUEST')) throw error
    return say(context, errorAnswer(404, error.message, { code: 'not_found' }))
  })
  return app
}

/** What is misspelt would be ignored, and figures of another window be taken for those asked for. */
function unexpected(
  queries: Readonly<Record<string, readonly string[]>>,
  known: readonly string[],
): Answer | undefined {
  for (const [name, values] of Object.entries(queries)) {
    if (!known.includes(name)) {
      const expected = known.length === 0 ? 'no query parameter' : `no other query parameter than ${known.join(', ')}`
      return refusal(name.slice(0, MAX_SHOWN), `expected ${expected}`)
    }
    if (values.length > 1) return refusal(name, `expected it once, got it ${values.length} times`)
  }
  return undefined
}

function refusal(param: string, expected: string): Answer {
  return errorAnswer(400, `${param}: ${expected}`, { code: 'bad_request', param })
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, MAX_SHOWN))
}
