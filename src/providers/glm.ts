import { classifierOf, type Reading } from './classifier.js'
import type { FailureClass, Profile } from './provider.js'
import { beijingMidnightMs, latestDateMs } from './resets.js'
import { longestMs } from './retry-after.js'
import * as wire from './wire.js'

/** Every code of GLM's documentation. Status alone says nothing: a 429 can mean balance, plan or a restriction. */
const CLASS_OF_CODE: ReadonlyMap<string, FailureClass> = new Map<string, FailureClass>([
  ...entries('SRV', 500, 1200, 1230, 1234),
  ...entries('AUTH', 1000, 1001, 1002, 1003, 1004, 1005, 1110, 1111, 1112, 1121, 1220),
  ...entries('BAL', 1113), // no balance
  ...entries('BAL', 1309, 1311, 1314, 1315), // plan expired, or the model is not on it: another pool may serve
  ...entries('BAD', 1210, 1211, 1212, 1213, 1214, 1215, 1221, 1222, 1231),
  ...entries('CTX', 1261),
  ...entries('FILTER', 1301),
  ...entries('CONC', 1302),
  ...entries('RLR', 1303),
  ...entries('OVL', 1305, 1312),
  ...entries('RESTRICTED', 1313), // fair use: every retry deepens it
  ...entries('QUOTA', 1304, 1308, 1310, 1316, 1317, 1318, 1319, 1320, 1321),
])

function entries(failureClass: FailureClass, ...codes: number[]): [string, FailureClass][] {
  return codes.map((code) => [String(code), failureClass])
}

const verdict: Reading['verdict'] = (error, status, _response, nowMs) => {
  const failureClass = CLASS_OF_CODE.get(error.code) ?? wire.classOfStatus(status)
  return {
    class: failureClass,
    retryAfterMs: failureClass === 'QUOTA' ? msUntilReset(error, nowMs) : undefined,
    usualStatus: UNDER_429.has(failureClass) ? 429 : undefined,
  }
}

/** What others say under 402 or 503, too. */
const UNDER_429: ReadonlySet<FailureClass> = new Set(['OVL', 'BAL'])

/**
 * The latest time that the prose names (`您的限额将在 2026-08-25 07:41:44 重置。`), for 1304 (per day) never before midnight.
 * No zone is given: Beijing time (UTC+8) is assumed, its console's, abroad too.
 */
function msUntilReset(error: wire.WireError, nowMs: number): number | undefined {
  const midnightMs = error.code === '1304' ? beijingMidnightMs(nowMs) : undefined
  const resetMs = longestMs(latestDateMs(error.message), midnightMs)
  return resetMs !== undefined && resetMs > nowMs ? Math.ceil(resetMs - nowMs) : undefined
}

function profile(name: string, baseURL: string): Profile {
  return {
    name,
    baseURL,
    chatPath: wire.CHAT_PATH,
    limitsConcurrency: true,
    refundsEstimate: true,
    countsCompletion: 'up-front',
    streamUsageOnRequest: false,
    authHeaders: wire.bearer,
    ...classifierOf(name, { verdict, finishes: { sensitive: 'FILTER', network_error: 'SRV' } }),
    usage: wire.usageOf,
    streamUsage: wire.usageOf,
    endsStream: wire.endsStream,
  }
}

export const glm: Profile = profile('glm', 'https://open.bigmodel.cn/api/paas/v4')
export const glmIntl: Profile = profile('glm-intl', 'https://api.z.ai/api/paas/v4')
export const glmCoding: Profile = profile('glm-coding', 'https://open.bigmodel.cn/api/coding/paas/v4')
