import { describe, expect, test } from 'vitest'
import { problemsOf } from '../observe/schema.js'
import { COMPLETION, MESSAGES, reply, simulatorOf, startGateway, upstreamOf } from './harness.js'

const STATS = '/api/v1/monitoring/stats'
const MINUTES = '/api/v1/monitoring/rate-limit-stats'

describe('the monitoring API', () => {
  test('answers as its schema says', async () => {
    const gateway = await startGateway(await simulatorOf())
    expect((await gateway.chat()).status).toBe(200)
    const stats = await fetch(`${gateway.url}${STATS}`)
    expect([stats.status, stats.headers.get('cache-control')]).toEqual([200, 'no-store'])
    const body = await stats.json()
    expect(problemsOf('stats', body)).toEqual([])
    expect(body).toMatchObject({ totals: { completed: 1 }, pools: { glm: { completed: 1 } } })
    const minutes = await (await fetch(`${gateway.url}${MINUTES}?window_minutes=1440`)).json()
    expect(problemsOf('rateLimitStats', minutes)).toEqual([])
    expect(minutes).toMatchObject({ windowMinutes: 1440, pools: { glm: { requests: 1 } } })
    expect(await (await fetch(`${gateway.url}${MINUTES}`)).json()).toMatchObject({ windowMinutes: 60 })
  })

  test('outlives a client that asks for more LLM tokens than a number can hold', async () => {
    const gateway = await startGateway(await upstreamOf((received) => reply(received, 200, COMPLETION)))
    for (const max_tokens of [1.7e308, 1.7e308, 5]) {
      expect((await gateway.chat({ model: 'glm-4', messages: MESSAGES, max_tokens })).status).toBe(200)
    }
    expect((await fetch(`${gateway.url}/metrics`)).status).toBe(200)
    const body = await (await fetch(`${gateway.url}${STATS}`)).json()
    expect(problemsOf('stats', body)).toEqual([])
  })

  test.each(['0', '1441', '-1', '1.5', 'an hour', ''])('turns a window of "%s" away, clearly', async (window) => {
    const gateway = await startGateway(await simulatorOf())
    const response = await fetch(`${gateway.url}${MINUTES}?window_minutes=${encodeURIComponent(window)}`)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      error: {
        message: `window_minutes: expected a whole number from 1 to 1440, got "${window}"`,
        param: 'window_minutes',
      },
    })
  })

  test.each([
    [MINUTES, '?windowMinutes=5', 'windowMinutes: expected no other query parameter than window_minutes'],
    [MINUTES, '?window_minutes=5&pool=glm', 'pool: expected no other query parameter than window_minutes'],
    [MINUTES, '?window_minutes=5&window_minutes=60', 'window_minutes: expected it once, got it 2 times'],
    [STATS, '?window_minutes=5', 'window_minutes: expected no query parameter'],
  ])('turns what it would have to ignore away: %s%s', async (path, query, message) => {
    const gateway = await startGateway(await simulatorOf())
    const response = await fetch(`${gateway.url}${path}${query}`)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      error: { message, param: message.split(':')[0], code: 'bad_request' },
    })
  })

  test('needs a key where there are keys', async () => {
    const gateway = await startGateway(await simulatorOf(), { env: { HEADGATE_API_KEYS: 'k1' } })
    for (const path of [STATS, MINUTES]) {
      expect((await fetch(`${gateway.url}${path}`)).status).toBe(401)
      expect((await fetch(`${gateway.url}${path}`, { headers: { authorization: 'Bearer k1' } })).status).toBe(200)
    }
  })

  test('is not there where it is turned off', async () => {
    const gateway = await startGateway(await simulatorOf(), { monitoring: false })
    const response = await fetch(`${gateway.url}${STATS}`)
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining('monitoring: false') } })
  })
})
