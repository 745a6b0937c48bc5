import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { latencyMs, seededRandom } from '../../src/testing/simulator/random.js'
import { answerOf, chat, hold, post, start } from './harness.js'

describe('scripted faults', () => {
  test('come in the order they were asked for, each as often as it was', async () => {
    const simulator = await start('glm')
    simulator.failNext('1305', 2)
    simulator.failNext('1234')
    const codes: (string | undefined)[] = []
    for (let i = 0; i < 4; i++) codes.push((await chat(simulator)).body.error?.code)
    expect(codes).toEqual(['1305', '1305', '1234', undefined])
    expect(simulator.report()).toMatchObject({
      requests: 4,
      accepted: 1,
      errorsByCode: { '1305': 2, '1234': 1 },
      errors429ByCode: { '1305': 2 },
    })
  })

  test('are not spent on a request that is refused anyway', async () => {
    const simulator = await start('glm', { requests: [{ limit: 1, windowMs: 3_600_000 }] })
    simulator.failNext('1234', 2)
    expect((await chat(simulator, { headers: { authorization: '' } })).body.error.code).toBe('1001')
    expect((await chat(simulator)).body.error.code).toBe('1234')
    expect((await chat(simulator)).body.error.code).toBe('1302')
    simulator.setLimits({ requests: [] })
    expect((await chat(simulator)).body.error.code).toBe('1234')
    expect((await chat(simulator)).status).toBe(200)
  })

  test('hangNext: no answer; hanging up frees the slot and is logged as 499', async () => {
    const simulator = await start('glm', { concurrency: 1 })
    simulator.hangNext()
    const held = await hold(simulator)
    expect(simulator.log).toMatchObject([{ status: 0, code: null, inFlight: 1 }])
    expect((await chat(simulator)).body.error.code).toBe('1302')
    await held.hangUp()
    expect(await held.settled).toMatchObject({ name: 'AbortError' })
    expect((await chat(simulator)).status).toBe(200)
    expect(simulator.log.map(({ status, inFlight }) => [status, inFlight])).toEqual([
      [499, 1],
      [429, 2],
      [200, 1],
    ])
  })

  test('hanging up while an answer is due does the same, also after the headers', async () => {
    const simulator = await start('deepseek', { concurrency: 1, latencyMs: 3_600_000, keepAliveMs: 1 })
    const held = await hold(simulator, { stream: true })
    expect((await held.response).status).toBe(200)
    expect((await chat(simulator)).status).toBe(429)
    await held.hangUp()
    const next = await hold(simulator)
    expect(simulator.log.map(({ status }) => status)).toEqual([499, 429, 0])
    await next.hangUp()
  })

  test('closing the simulator ends what hangs', async () => {
    const simulator = await start('glm')
    simulator.hangNext()
    const held = await hold(simulator)
    await simulator.close()
    await expect(held.response).rejects.toThrow(TypeError)
  })

  test.each([true, false])('cutNext: half of a body, then the end of the connection (stream: %s)', async (stream) => {
    const simulator = await start('glm', { concurrency: 1 })
    simulator.cutNext()
    const response = await post(simulator, { body: { stream } })
    expect(response.status).toBe(200)
    let received = ''
    const read = async () => {
      for await (const part of response.body!) received += Buffer.from(part).toString()
    }
    await expect(read()).rejects.toThrow(TypeError)
    // Whatever of it arrived is no whole answer.
    expect(received).not.toContain('[DONE]')
    expect(() => JSON.parse(received.replace(/^data: /, ''))).toThrow(SyntaxError)
    // Nobody hung up: the provider did it, and the slot is free.
    expect(simulator.log).toMatchObject([{ status: 200, code: null }])
    expect((await chat(simulator)).status).toBe(200)
  })
})

describe('seeds', () => {
  const draw = (seed: number, count: number) => Array.from({ length: count }, seededRandom(seed))

  test('the same seed, the same numbers; another, others; all within [0, 1)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 2 }), (seed) => {
        const numbers = draw(seed, 20)
        expect(draw(seed, 20)).toEqual(numbers)
        expect(draw(seed + 1, 20)).not.toEqual(numbers)
        expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true)
      }),
    )
  })

  test('spread evenly', () => {
    const counts = Array<number>(10).fill(0)
    for (const number of draw(7, 10_000)) counts[Math.floor(number * 10)]!++
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150)
  })

  test('a latency is constant, or log-normal with these percentiles', () => {
    expect(latencyMs(250, seededRandom(1))).toBe(250)
    const latency = { p50Ms: 200, p99Ms: 2000 }
    const sample = (seed: number) => {
      const random = seededRandom(seed)
      return Array.from({ length: 20_000 }, () => latencyMs(latency, random))
    }
    const drawn = sample(3)
    expect(sample(3)).toEqual(drawn)
    expect(sample(4)).not.toEqual(drawn)
    const below = (ms: number) => drawn.filter((one) => one < ms).length / drawn.length
    expect(below(200)).toBeCloseTo(0.5, 1)
    expect(below(2000)).toBeCloseTo(0.99, 2)
    expect(Math.min(...drawn)).toBeGreaterThan(0)
  })

  test('without a spread the latency is the median', () => {
    expect(latencyMs({ p50Ms: 80, p99Ms: 80 }, seededRandom(5))).toBe(80)
    expect(latencyMs({ p50Ms: 80, p99Ms: 20 }, seededRandom(5))).toBe(80)
  })

  test('the share of errors falls on the same requests each time', async () => {
    const statuses = async (seed: number) => {
      const simulator = await start('glm', { seed, errors: [{ share: 0.3, code: '1305' }] })
      const all: number[] = []
      for (let i = 0; i < 40; i++) all.push((await chat(simulator)).status)
      return all
    }
    // An answer draws once for the error, and not for a constant latency.
    const expected = draw(11, 40).map((number) => (number < 0.3 ? 429 : 200))
    expect(new Set(expected).size).toBe(2)
    expect(await statuses(11)).toEqual(expected)
    expect(await statuses(11)).toEqual(expected)
    expect(await statuses(12)).not.toEqual(expected)
  })

  test('a share of 1 fails every request', async () => {
    const simulator = await start('openai', { errors: [{ share: 1, code: '503' }] })
    for (let i = 0; i < 5; i++) expect((await chat(simulator)).status).toBe(503)
  })
})

test('the report and the log are also there over HTTP', async () => {
  const simulator = await start('glm', { requests: [{ limit: 4, windowMs: 3_600_000 }] })
  await chat(simulator)
  await chat(simulator)
  const [report, log] = await Promise.all(
    ['report', 'log'].map(async (name) => answerOf(await fetch(`${simulator.url}/__sim/${name}`))),
  )
  expect(report).toMatchObject({ status: 200, body: { requests: 2, accepted: 2, worstWindowRatio: 0.5 } })
  expect(report!.body).toEqual(simulator.report())
  expect(log!.body).toEqual(simulator.log)
})
