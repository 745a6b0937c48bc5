import { describe, expect, test } from 'vitest'
import { glm, glmCoding, glmIntl } from '../../src/providers/index.js'
import type { FailureClass, ProviderResponse } from '../../src/providers/provider.js'

/** 2026-08-25 03:00:00 in Beijing. */
const NOW_MS = Date.UTC(2026, 7, 24, 19, 0, 0)
const RETRYABLE = new Set<FailureClass>(['CONC', 'RLR', 'OVL', 'SRV'])

const response = (status: number, body: unknown, headers: ProviderResponse['headers'] = {}): ProviderResponse => ({
  status,
  headers,
  body,
})
const errorBody = (code: unknown, message = '…') => ({ error: { code, message } })

const table: [codes: number[], status: number, failureClass: FailureClass][] = [
  [[500, 1200, 1230, 1234], 500, 'SRV'],
  [[1000, 1001, 1002, 1003, 1004, 1005], 401, 'AUTH'],
  [[1110, 1111, 1112, 1121], 429, 'AUTH'],
  [[1113], 429, 'BAL'],
  [[1210, 1211, 1212, 1213, 1214, 1215, 1221, 1222, 1231], 400, 'BAD'],
  [[1220], 403, 'AUTH'],
  [[1261], 400, 'CTX'],
  [[1301], 400, 'FILTER'],
  [[1302], 429, 'CONC'],
  [[1303], 429, 'RLR'],
  [[1304, 1308, 1310, 1316, 1317, 1318, 1319, 1320, 1321], 429, 'QUOTA'],
  [[1305, 1312], 429, 'OVL'],
  [[1309, 1311, 1314, 1315], 429, 'BAL'],
  [[1313], 429, 'RESTRICTED'],
]
const rows = table.flatMap(([codes, status, failureClass]) => codes.map((code) => ({ code, status, failureClass })))

describe('GLM codes', () => {
  test.each(rows)('$code under $status is $failureClass', ({ code, status, failureClass }) => {
    for (const given of [String(code), code]) {
      const failure = glm.classify(response(status, errorBody(given)), NOW_MS)
      expect(failure).toMatchObject({
        class: failureClass,
        status,
        providerCode: String(code),
        retryable: RETRYABLE.has(failureClass),
      })
    }
  })

  test.each(rows)('$code decides, whatever the status', ({ code, failureClass }) => {
    for (const status of [200, 400, 429, 500]) {
      expect(glm.classify(response(status, errorBody(String(code))))?.class).toBe(failureClass)
    }
  })

  test.each([
    [500, {}, 'SRV'],
    [500, errorBody('', '内部错误'), 'SRV'],
    [502, '<html>bad gateway</html>', 'SRV'],
    [503, undefined, 'OVL'],
    [429, errorBody('1399'), 'RLR'],
    [401, errorBody(null), 'AUTH'],
    [400, {}, 'BAD'],
    [404, '', 'BAD'],
    [200, { code: 500, msg: '404 NOT_FOUND', success: false }, 'SRV'],
    [200, '<html>captive portal</html>', 'SRV'],
    [200, '', 'SRV'],
    [302, undefined, 'UNKNOWN'],
  ] as const)('without a known code, status %i with %j is %s', (status, body, failureClass) => {
    expect(glm.classify(response(status, body))?.class).toBe(failureClass)
  })
})

describe('GLM bodies as they were seen', () => {
  test.each([
    ['1302', '您的账户已达到速率限制，请您控制请求频率', 'RATE_LIMITED', true],
    ['1302', '您当前使用该API的并发数过高，请降低并发，或联系客服增加限额', 'RATE_LIMITED', true],
    ['1113', '余额不足或无可用资源包,请充值。', 'INSUFFICIENT_BALANCE', false],
    ['1113', '您的账户已欠费，请充值后重试', 'INSUFFICIENT_BALANCE', false],
    ['1313', '不符合公平使用策略，请求频率已受到限制', 'RATE_LIMITED', false],
    ['1305', '该模型当前访问量过大，请您稍后再试', 'OVERLOADED', true],
  ])('%s %s → %s', (code, message, errorCode, retryable) => {
    const failure = glm.classify(response(429, errorBody(code, message)))
    expect(failure).toMatchObject({
      code: errorCode,
      retryable,
      mendable: true,
      message: `glm 429 ${code}: ${message}`,
    })
    expect(failure).not.toHaveProperty('retryAfterMs')
  })

  test('a content filter is not mendable, and keeps the body', () => {
    const body = {
      contentFilter: [{ role: 'user', level: 1 }],
      ...errorBody('1301', '系统检测到输入或生成内容可能包含不安全或敏感内容'),
    }
    expect(glm.classify(response(400, body))).toMatchObject({ code: 'CONTENT_FILTERED', mendable: false, body })
  })

  test('blank lines before a body that came as text', () => {
    expect(glm.classify(response(429, `\n\r\n\n${JSON.stringify(errorBody('1302'))}`))?.class).toBe('CONC')
  })
})

describe('GLM resets, in Beijing time', () => {
  test.each([
    ['1308', '已达到 5 小时的使用上限。您的限额将在 2026-08-25 07:41:44 重置。', (4 * 60 + 41) * 60_000 + 44_000],
    ['1310', 'Weekly limit exhausted. Your limit will reset at 2026-08-31T00:00:00', (5 * 24 + 21) * 3_600_000],
    ['1316', '5 小时限额 2026-08-25 04:00:00，7 天限额 2026-08-26 03:00:00，消费已达上限', 24 * 3_600_000],
    ['1304', '该 API 已达今日调用次数限额', 21 * 3_600_000],
    ['1317', '您的限额将在 2026-08-25 07:41 重置。', (4 * 60 + 41) * 60_000],
    ['1318', '您的限额将在 2026年8月25日 07:41:44 重置。', (4 * 60 + 41) * 60_000 + 44_000],
    ['1319', 'Spend limit reached. Your limit will reset at 2026/8/25 07:41:44.', (4 * 60 + 41) * 60_000 + 44_000],
    ['1320', '您的限额将在 2026-08-31 00:00:00 重置。', (5 * 24 + 21) * 3_600_000],
    ['1321', 'Your limit will reset at 2026-08-25 07:00:00 (UTC+8).', 4 * 3_600_000],
    // Where a zone is said, it counts.
    ['1308', 'Your limit will reset at 2026-08-24T23:00:00Z.', 4 * 3_600_000],
    ['1308', 'Your limit will reset at 2026-08-24T23:00:00.5+00:00.', 4 * 3_600_000],
    ['1308', 'Your limit will reset at 2026-08-24 23:00:00 UTC.', 4 * 3_600_000],
    ['1308', 'Your limit will reset at 2026-08-24 16:00:00 UTC-7.', 4 * 3_600_000],
    ['1308', 'Your limit will reset at 2026-08-24T19:30:00-0330.', 4 * 3_600_000],
    // A day's quota is never back before midnight, and later where the text says so.
    ['1304', '今日限额 2026-08-25 04:00:00', 21 * 3_600_000],
    ['1304', '今日限额 2026-08-26 03:00:00', 24 * 3_600_000],
    ['1308', '您的限额将在 2026-08-25 02:00:00 重置。', undefined],
    ['1308', '您的限额将在 2026-99-25 02:00:00 重置。', undefined],
    ['1308', '已达到 5 小时的使用上限。', undefined],
    ['1305', '2026-08-25 07:41:44', undefined],
  ])('%s %s → %s ms', (code, message, retryAfterMs) => {
    expect(glm.classify(response(429, errorBody(code, message)), NOW_MS)?.retryAfterMs).toBe(retryAfterMs)
  })

  test('at midnight itself the next reset is a day away', () => {
    const midnightMs = Date.UTC(2026, 7, 24, 16)
    expect(glm.classify(response(429, errorBody('1304')), midnightMs)?.retryAfterMs).toBe(24 * 3_600_000)
    expect(glm.classify(response(429, errorBody('1304')), midnightMs - 1)?.retryAfterMs).toBe(1)
  })

  test('a longer header wins, a shorter one does not', () => {
    const body = errorBody('1308', '您的限额将在 2026-08-25 03:01:00 重置。')
    expect(glm.classify(response(429, body, { 'retry-after': '90' }), NOW_MS)?.retryAfterMs).toBe(90_000)
    expect(glm.classify(response(429, body, { 'retry-after': '5' }), NOW_MS)?.retryAfterMs).toBe(60_000)
  })

  test('abroad and on the coding plan too, and in a stream', () => {
    const body = errorBody('1308', 'Your limit will reset at 2026-08-25 03:01:00')
    for (const provider of [glm, glmIntl, glmCoding]) {
      for (const failure of [provider.classify(response(429, body), NOW_MS), provider.classifyChunk(body, NOW_MS)]) {
        expect(failure).toMatchObject({ class: 'QUOTA', retryable: false, retryAfterMs: 60_000 })
      }
    }
  })
})

describe('GLM under 200', () => {
  const completion = (finish_reason: string | null) => ({ choices: [{ index: 0, finish_reason, message: {} }] })

  test.each([
    ['sensitive', 'FILTER', false],
    ['network_error', 'SRV', true],
  ])('finish_reason %s is %s', (reason, failureClass, retryable) => {
    const failure = glm.classify(response(200, completion(reason)))
    expect(failure).toMatchObject({ class: failureClass, retryable, status: 200, providerCode: reason })
  })

  test.each(['stop', 'length', 'tool_calls', null])('finish_reason %s is a success', (reason) => {
    expect(glm.classify(response(200, completion(reason)))).toBeUndefined()
  })
})

describe('GLM in a stream', () => {
  test.each(rows)('$code is $failureClass', ({ code, failureClass }) => {
    expect(glm.classifyChunk(errorBody(String(code)))?.class).toBe(failureClass)
  })

  test.each([
    ['sensitive', 'FILTER'],
    ['network_error', 'SRV'],
    ['stop', undefined],
    [null, undefined],
  ])('finish_reason %s is %s', (finish_reason, failureClass) => {
    expect(glm.classifyChunk({ choices: [{ index: 0, delta: {}, finish_reason }] })?.class).toBe(failureClass)
  })

  test('usage is on the chunk that ends it', () => {
    const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 }
    const expected = { promptTokens: 5, completionTokens: 7, totalTokens: 12 }
    expect(glm.streamUsage({ choices: [{ delta: {}, finish_reason: 'stop' }], usage })).toEqual(expected)
    expect(glm.streamUsage({ choices: [{ delta: { content: '好' } }] })).toBeUndefined()
  })
})

test('the three GLM endpoints', () => {
  expect([glm, glmIntl, glmCoding].map(({ name, baseURL, chatPath }) => [name, baseURL + chatPath])).toEqual([
    ['glm', 'https://open.bigmodel.cn/api/paas/v4/chat/completions'],
    ['glm-intl', 'https://api.z.ai/api/paas/v4/chat/completions'],
    ['glm-coding', 'https://open.bigmodel.cn/api/coding/paas/v4/chat/completions'],
  ])
  expect(glm.authHeaders('id.secret')).toEqual({ authorization: 'Bearer id.secret' })
  expect(glm).toMatchObject({ limitsConcurrency: true, refundsEstimate: true })
})

test('a key echoed by the provider does not reach the message', () => {
  const key = `${'0a'.repeat(16)}.AbCdEfGhIjKlMnOp`
  expect(glm.classify(response(401, errorBody('1002', `token ${key} invalid`)))?.message).not.toContain('AbCd')
  expect(glm.classify(response(401, errorBody('1002', 'Bearer abcdefgh123')))?.message).not.toContain('abcdefgh')
})
