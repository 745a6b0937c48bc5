import type { FailureClass, Provider, ProviderFailure, ProviderResponse } from './provider.js'
import * as wire from './wire.js'

const DAY_MS = 24 * 3_600_000
/** GLM names its resets without a zone; its console is in Beijing time. */
const ZONE_MS = 8 * 3_600_000

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

function classify(name: string, response: ProviderResponse, nowMs: number = Date.now()): ProviderFailure | undefined {
  const error = wire.wireErrorOf(response.body)
  if (error) {
    const failureClass = CLASS_OF_CODE.get(error.code) ?? wire.classOfStatus(wire.effectiveStatus(response, error))
    const retryAfterMs = failureClass === 'QUOTA' ? msUntilReset(error, nowMs) : undefined
    return wire.failureFrom(name, response, error, { class: failureClass, retryAfterMs }, nowMs)
  }
  if (!wire.isSuccess(response)) {
    return wire.failureFrom(name, response, undefined, { class: wire.classOfStatus(response.status) }, nowMs)
  }
  for (const [reason, failureClass] of [
    ['sensitive', 'FILTER'],
    ['network_error', 'SRV'],
  ] as const) {
    if (!wire.finishedBy(response.body, reason)) continue
    const finish = { code: reason, type: '', message: `the answer ended with finish_reason ${reason}` }
    return wire.failureFrom(name, response, finish, { class: failureClass }, nowMs)
  }
  return undefined
}

/** The latest time that the prose names (`您的限额将在 2026-08-25 07:41:44 重置。`); for 1304 (per day) the next midnight. */
function msUntilReset(error: wire.WireError, nowMs: number): number | undefined {
  let resetMs: number | undefined
  for (const match of error.message.matchAll(/(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2}))?/g)) {
    const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
      .slice(1)
      .map((part) => Number(part ?? 0))
    if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 24 || minute > 59 || second > 60) continue
    const namedMs = Date.UTC(year, month - 1, day, hour, minute, second) - ZONE_MS
    if (resetMs === undefined || namedMs > resetMs) resetMs = namedMs
  }
  if (resetMs === undefined && error.code === '1304') {
    resetMs = Math.floor((nowMs + ZONE_MS) / DAY_MS + 1) * DAY_MS - ZONE_MS
  }
  return resetMs !== undefined && resetMs > nowMs ? Math.ceil(resetMs - nowMs) : undefined
}

function profile(name: string, baseURL: string): Provider {
  return {
    name,
    baseURL,
    chatPath: wire.CHAT_PATH,
    limitsConcurrency: true,
    refundsEstimate: true,
    authHeaders: wire.bearer,
    classify: (response, nowMs) => classify(name, response, nowMs),
    usage: wire.usageOf,
  }
}

export const glm: Provider = profile('glm', 'https://open.bigmodel.cn/api/paas/v4')
export const glmIntl: Provider = profile('glm-intl', 'https://api.z.ai/api/paas/v4')
export const glmCoding: Provider = profile('glm-coding', 'https://open.bigmodel.cn/api/coding/paas/v4')
