import { describe, expect, test } from 'vitest'
import { GLM_CODES } from '../../src/testing/index.js'
import { chat, expectNoHints, HOUR_MS, hold, start } from './harness.js'

/** From provider-limits.md, section 2; not from the simulator. */
const CODES_BY_STATUS: Readonly<Record<number, string>> = {
  400: '1210 1211 1212 1213 1214 1215 1221 1222 1231 1261 1301',
  401: '1000 1001 1002 1003 1004 1005',
  403: '1220',
  429: '1110 1111 1112 1113 1121 1302 1303 1304 1305 1308 1309 1310 1311 1312 1313 1314 1315 1316 1317 1318 1319 1320 1321',
  500: '500 1200 1230 1234',
}
const TABLE = Object.entries(CODES_BY_STATUS).flatMap(([status, codes]) =>
  codes.split(' ').map((code) => ({ code, status: Number(status) })),
)
const WITH_RESET = ['1308', '1310', '1316', '1317', '1318', '1319', '1320', '1321']

describe('the table of codes', () => {
  test('is whole', () => {
    expect([...GLM_CODES].sort()).toEqual(TABLE.map(({ code }) => code).sort())
  })

  test.each(TABLE)('$code comes with status $status, and as a string', async ({ code, status }) => {
    const simulator = await start('glm')
    simulator.failNext(code)
    const answer = await chat(simulator)
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expectNoHints(answer.headers)
    const filtered = { contentFilter: [{ role: 'user', level: 1 }] }
    const error = { code, message: expect.stringMatching(/\S/) }
    expect(answer.body).toStrictEqual(code === '1301' ? { error, ...filtered } : { error })
    const reset = /您的限额将在 \d{4}-\d\d-\d\d \d\d:\d\d:\d\d 重置/.test(answer.body.error.message)
    expect(reset).toBe(WITH_RESET.includes(code))
    expect(simulator.log).toMatchObject([{ status, code }])
    // Once only.
    expect((await chat(simulator)).status).toBe(200)
  })

  test.each([
    ['1113', '您的账户已欠费，请充值后重试'],
    ['1211', '模型不存在，请检查模型代码'],
    ['1261', 'Prompt 超长'],
    ['1302', '您的账户已达到速率限制'],
    ['1305', '该模型当前访问量过大，请您稍后再试'],
    ['1308', '已达到 5 小时的使用上限'],
    ['1313', '不符合公平使用策略，请求频率已受到限制'],
  ])('%s says %s', async (code, words) => {
    const simulator = await start('glm')
    simulator.failNext(code)
    expect((await chat(simulator)).body.error.message).toContain(words)
  })

  test('has no others', async () => {
    const simulator = await start('glm')
    expect(() => simulator.failNext('1322')).toThrow(/^GLM code: expected one of .*1302.*, got 1322$/)
    expect(() => simulator.failNext('rate_limit_exceeded')).toThrow(RangeError)
    await expect(start('glm', { errors: [{ share: 0.5, code: 'nope' }] })).rejects.toThrow(RangeError)
  })
})

describe('what is refused', () => {
  test('too many in flight: 1302 in its older wording', async () => {
    const simulator = await start('glm', { concurrency: 2 })
    simulator.hangNext(2)
    const first = await hold(simulator)
    await hold(simulator)
    const refused = await chat(simulator)
    expect(refused).toMatchObject({
      status: 429,
      body: { error: { code: '1302', message: '您当前使用该API的并发数过高，请降低并发' } },
    })
    expectNoHints(refused.headers)
    await first.hangUp()
    expect((await chat(simulator)).status).toBe(200)
    expect(simulator.log.map(({ inFlight }) => inFlight)).toEqual([1, 2, 3, 2])
    expect(simulator.report()).toMatchObject({ maxInFlight: 3, errors429ByCode: { '1302': 1 }, accepted: 3 })
  })

  test('too many requests in a window: 1302 in the current wording, and refused ones do not count', async () => {
    const simulator = await start('glm', { requests: [{ limit: 2, windowMs: HOUR_MS }] })
    const statuses: number[] = []
    for (let i = 0; i < 4; i++) statuses.push((await chat(simulator)).status)
    expect(statuses).toEqual([200, 200, 429, 429])
    const refused = await chat(simulator)
    expect(refused.body.error).toEqual({ code: '1302', message: '您的账户已达到速率限制,请您控制请求频率' })
    expectNoHints(refused.headers)
    const window = { limit: 'requests', windowMs: HOUR_MS, allowed: 2, worst: 5, ratio: 2.5 }
    expect(simulator.report()).toMatchObject({ requests: 5, worstWindowRatio: 2.5, windows: [window] })
  })

  test('too many tokens in a window: 1303, prompt and max_tokens counted', async () => {
    const simulator = await start('glm', { tokens: [{ limit: 13, windowMs: HOUR_MS }] })
    expect((await chat(simulator)).status).toBe(200)
    expect((await chat(simulator)).status).toBe(200)
    expect(await chat(simulator)).toMatchObject({ status: 429, body: { error: { code: '1303' } } })
    // What still fits is let in: 1 is left.
    const small = { messages: [], max_tokens: 1 }
    expect((await chat(simulator, { body: small })).status).toBe(200)
    expect((await chat(simulator, { body: small })).status).toBe(429)
    expect(simulator.log.map(({ promptTokens, tokens }) => [promptTokens, tokens])).toEqual([
      [2, 6],
      [2, 6],
      [2, 6],
      [0, 1],
      [0, 1],
    ])
  })

  test('the tightest of several windows decides', async () => {
    const requests = [
      { limit: 100, windowMs: 1000 },
      { limit: 1, windowMs: HOUR_MS },
    ]
    const simulator = await start('glm', { requests })
    expect((await chat(simulator)).status).toBe(200)
    expect((await chat(simulator)).body.error.code).toBe('1302')
  })
})
