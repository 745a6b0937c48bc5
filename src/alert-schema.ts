import * as z from 'zod'
import type { RuleConfig } from './alerts.js'
import { durationMsOf } from './durations.js'
import { strictObject } from './strict-object.js'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
const DEFAULT_CLEAR_MS = MINUTE_MS
const DEFAULT_LEAST = 20
const DEFAULT_SHARE = 0.9

const name = z.string({ error: 'a non-empty string' }).min(1, { error: 'a non-empty string' })
const duration = (leastMs: number, mostMs = Number.MAX_SAFE_INTEGER) =>
  z.unknown().transform((value, context): number => {
    const valueMs = durationMsOf(value)
    if (valueMs !== undefined && valueMs >= leastMs && valueMs <= mostMs) return valueMs
    const most = mostMs === DAY_MS ? ', ≤ 1 day' : ''
    context.addIssue({ code: 'custom', message: `ms (a number) or a duration such as '5m', ≥ ${leastMs} ms${most}` })
    return z.NEVER
  })
const within = duration(MINUTE_MS, DAY_MS)
const share = z
  .number({ error: 'a share from 0 to 1' })
  .min(0, { error: 'a share from 0 to 1' })
  .max(1, { error: 'a share from 0 to 1' })
const number = z.number({ error: 'a number ≥ 0' }).min(0, { error: 'a number ≥ 0' })
const common = {
  name: name.optional(),
  pool: name.optional(),
  for: duration(0).default(0),
  clear: duration(0).default(DEFAULT_CLEAR_MS),
}
const RULES = 'provider-429, success-rate, wait-p99, queue-full, quota or isolated'

const rule = z
  .discriminatedUnion(
    'rule',
    [
      strictObject({
        ...common,
        rule: z.literal('provider-429'),
        code: name.optional(),
        above: number,
        within: within.default(HOUR_MS),
      }),
      strictObject({
        ...common,
        rule: z.literal('success-rate'),
        below: share,
        within: within.default(5 * MINUTE_MS),
        least: number.default(DEFAULT_LEAST),
      }),
      strictObject({
        ...common,
        rule: z.literal('wait-p99'),
        above: duration(0),
        within: within.default(5 * MINUTE_MS),
      }),
      strictObject({ ...common, rule: z.literal('queue-full'), above: share.default(DEFAULT_SHARE) }),
      strictObject({
        ...common,
        rule: z.literal('quota'),
        above: share.default(DEFAULT_SHARE),
        window: duration(0).default(HOUR_MS),
      }),
      strictObject({ ...common, rule: z.literal('isolated') }),
    ],
    { error: `an object whose rule is ${RULES}` },
  )
  .transform((its): RuleConfig => {
    const code = 'code' in its ? its.code : undefined
    const windowMs = 'window' in its ? its.window : 0
    return {
      rule: its.rule,
      name: its.name ?? (code === undefined ? its.rule : `${its.rule}:${code}`),
      pool: its.pool,
      code,
      threshold: 'below' in its ? its.below : 'above' in its ? its.above : 0,
      withinMinutes: 'within' in its ? Math.ceil(its.within / MINUTE_MS) : 0,
      least: 'least' in its ? its.least : 0,
      windowMs,
      forMs: its.for,
      clearMs: its.clear,
    }
  })

const URL_TEXT = 'an http or https URL'
const url = z
  .string({ error: URL_TEXT })
  .refine((text) => /^https?:\/\//i.test(text) && URL.canParse(text), { error: URL_TEXT })
const webhook = z.union(
  [
    url.transform((text) => ({ url: text })),
    strictObject({ url, headers: z.record(name, z.string({ error: 'a string' })).optional() }),
  ],
  { error: `${URL_TEXT}, or { url, headers }` },
)
const RULE_LIST = 'an array of rules with different names'

/** A provider's usual sign that somebody else uses the key, or that a limit is configured above the account's. */
const DEFAULT_RULES = [{ rule: 'provider-429' as const, code: '1302', above: 1 }]

export const alertSchema = strictObject(
  {
    rules: z
      .array(rule, { error: RULE_LIST })
      .refine((all) => new Set(all.map((one) => one.name)).size === all.length, { error: RULE_LIST })
      .prefault(DEFAULT_RULES),
    webhook: webhook.optional(),
  },
  'an object with rules or webhook',
)
  .transform(({ rules, webhook: hook }) => ({ rules, webhook: hook }))
  .prefault({})
