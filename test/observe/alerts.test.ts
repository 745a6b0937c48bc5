import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { AlertNotice, AlertOptions } from '../../src/alerts.js'
import { type GateLogger, resolveConfig } from '../../src/config.js'
import { GateEmitter } from '../../src/events.js'
import { createHeadgate } from '../../src/index.js'
import { RedisConnection } from '../../src/limits/redis-store.js'
import { type AlertBook, MemoryAlertBook, RedisAlertBook } from '../../src/observe/alerts/alert-book.js'
import { Alerts } from '../../src/observe/alerts/alerts.js'
import { type FleetView, measureAll } from '../../src/observe/alerts/rules.js'
import { bump, newTally, note, type PoolTally } from '../../src/observe/monitoring/tally.js'
import { startRedisServer, startSimulator } from '../../src/testing/index.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'
import { until } from '../faults/until.js'

const alertsOf = (alerts?: AlertOptions) =>
  resolveConfig({ pools: { p: { provider: 'openai' } }, ...(alerts && { alerts }) }).alerts

/** A fleet of one pool, whose numbers the test sets. */
class Numbers implements FleetView {
  readonly pools = ['p']
  readonly tally: PoolTally = newTally()
  refusals: Record<string, number> = {}
  queued = 0
  used = 0
  recent = () => this.tally
  lastHour429 = () => this.refusals
  live = () => ({ atGate: 0, queued: this.queued, active: 0, states: {} })
  places = () => 100
  limits = () => [
    { id: 'pool:p:requests:60000', kind: 'requests' as const, windowMs: 60_000, limit: 10, used: 10 },
    { id: 'pool:p:tokens:86400000', kind: 'tokens' as const, windowMs: 86_400_000, limit: 1_000, used: this.used },
  ]
}

interface Judge {
  readonly alerts: Alerts
  readonly notices: AlertNotice[]
  readonly logged: string[]
}

function judgeOf(clock: VirtualClock, numbers: FleetView, options?: AlertOptions, more: Partial<Parts> = {}): Judge {
  const events = new GateEmitter()
  const notices: AlertNotice[] = []
  events.on('alert', (notice) => notices.push(notice))
  const logged: string[] = []
  const logger: GateLogger = {
    debug: () => {},
    info: (_, message) => logged.push(`info ${message}`),
    warn: (_, message) => logged.push(`warn ${message}`),
  }
  const { book = new MemoryAlertBook(), isIsolated = () => false, name = 'one' } = more
  const look = async () => numbers
  const config = alertsOf(options)
  const process = { name, host: 'h', pid: 7 }
  const alerts = new Alerts({ config, namespace: 'ns', process, clock, events, logger, book, look, isIsolated })
  onTestFinished(() => alerts.close())
  return { alerts, notices, logged }
}

interface Parts {
  readonly book: AlertBook
  readonly isIsolated: () => boolean
  readonly name: string
}

/** Keeps what is posted; the first `refused` posts get that status. */
async function webhookOf(refused: number[] = []): Promise<{ url: string; posts: AlertNotice[]; tried: () => number }> {
  const posts: AlertNotice[] = []
  let tried = 0
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const status = refused[tried++]
    if (status === undefined) posts.push(JSON.parse(String(Buffer.concat(chunks))))
    response.writeHead(status ?? 204).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}/hook`, posts, tried: () => tried }
}

describe('rules', () => {
  const measured = (options: AlertOptions, numbers: Numbers) =>
    [...measureAll(alertsOf(options).rules, numbers).values()].map(
      ([, found]) => found && [found.breached, found.value],
    )

  test('429s by code, or of all codes', () => {
    const numbers = new Numbers()
    numbers.refusals = { '1302': 2, '1305': 3 }
    const rules = [
      { rule: 'provider-429' as const, code: '1302', above: 1 },
      { rule: 'provider-429' as const, code: '1302', above: 2, name: 'more' },
      { rule: 'provider-429' as const, above: 4 },
    ]
    expect(measured({ rules }, numbers)).toEqual([
      [true, 2],
      [false, 2],
      [true, 5],
    ])
    const said = () => [...measureAll(alertsOf({ rules }).rules, numbers).values()].map(([, found]) => found!.message)
    expect(said()[0]).toContain(': 2 answers with status 429 and code 1302 within an hour (')
    numbers.refusals = { '1305': 1 }
    expect(said()[2]).toContain(': 1 answer with status 429 within an hour (')
  })

  test('success rate, once enough ended; wait; full queue; spent quota', () => {
    const numbers = new Numbers()
    const rules = [
      { rule: 'success-rate' as const, below: 0.9 },
      { rule: 'wait-p99' as const, above: '10s' },
      { rule: 'queue-full' as const },
      { rule: 'quota' as const, above: 0.8 },
    ]
    expect(measured({ rules }, numbers)).toEqual([undefined, undefined, [false, 0], [false, 0]])
    bump(numbers.tally.outcomes, 'completed', 16)
    bump(numbers.tally.outcomes, 'failed', 3)
    bump(numbers.tally.outcomes, 'cancelled', 9)
    note(numbers.tally.waits, 20_000)
    numbers.queued = 91
    numbers.used = 801
    const [success, wait, ...others] = measured({ rules }, numbers)
    expect(success, '19 are not 20').toEqual([false, 16 / 19])
    expect(wait![0]).toBe(true)
    expect(others).toEqual([
      [true, 0.91],
      [true, 0.801],
    ])
    bump(numbers.tally.outcomes, 'failed')
    expect(measured({ rules }, numbers)[0]).toEqual([true, 0.8])
  })

  test('are checked, and a webhook is a secret', () => {
    const alerts = {
      rules: [
        { rule: 'provider-429', above: -1, pool: 'q' },
        { rule: 'wait-p99', above: 'soon', within: '2d' },
      ],
      webhook: 'ftp://secret',
    }
    expect(() => resolveConfig({ pools: { p: { provider: 'openai' } }, alerts })).toThrow(
      [
        'alerts.rules[0].above: expected a number ≥ 0, got -1',
        `alerts.rules[1].above: expected ms (a number) or a duration such as '5m', ≥ 0 ms, got "soon"`,
        `alerts.rules[1].within: expected ms (a number) or a duration such as '5m', ≥ 60000 ms, ≤ 1 day, got "2d"`,
        'alerts.webhook: expected an http or https URL, or { url, headers }, got a string',
        'alerts.rules[0].pool: expected the name of a pool (p), got "q"',
      ].join('\n'),
    )
    const twice = [{ rule: 'isolated' }, { rule: 'isolated' }]
    expect(() => resolveConfig({ pools: {}, alerts: { rules: twice } })).toThrow('rules with different names')
  })

  test('by default more than one 1302 in an hour is one', () => {
    expect(alertsOf().rules).toMatchObject([{ name: 'provider-429:1302', threshold: 1, withinMinutes: 60 }])
    expect(alertsOf({ rules: [] }).rules).toEqual([])
  })
})

describe('an alert', () => {
  test('begins when it was so for long enough, ends when it was not, and is told of once each', async () => {
    const clock = new VirtualClock()
    const numbers = new Numbers()
    const rules = [{ rule: 'queue-full' as const, for: '10s', clear: '20s' }]
    const { alerts, notices, logged } = judgeOf(clock, numbers, { rules })
    const told = () => notices.map(({ state }) => state)
    numbers.queued = 95
    await alerts.check()
    await clock.advanceAsync(9_000)
    numbers.queued = 0
    await clock.advanceAsync(5_000)
    expect(told(), 'a break begins it anew').toEqual([])
    numbers.queued = 95
    await alerts.check()
    await clock.advanceAsync(15_000)
    expect(told()).toEqual(['firing'])
    await clock.advanceAsync(60_000)
    numbers.queued = 0
    await clock.advanceAsync(19_000)
    expect(told()).toEqual(['firing'])
    await clock.advanceAsync(10_000)
    expect(told()).toEqual(['firing', 'ok'])
    expect(clock.pendingTimers, 'nothing to watch any more').toBe(0)
    expect(logged[0]).toContain('warn pool p: 95 % of 100 places in the queue are taken')
    expect(logged[1]).toContain('info over: pool p: 0 %')
    expect(notices[0]).toMatchObject({ namespace: 'ns', rule: 'queue-full', pool: 'p', value: 0.95, threshold: 0.9 })
    expect(notices[0]!.key).toBe(notices[1]!.key)
    expect(await alerts.list(clock.wallMs())).toMatchObject([{ rule: 'queue-full', pool: 'p', state: 'ok', value: 0 }])
  })

  test('of a process that lost Redis is told by itself', async () => {
    const clock = new VirtualClock()
    let isolated = true
    const book: AlertBook = { claim: lost, read: lost, write: lost }
    const parts = { book, isIsolated: () => isolated }
    const { alerts, notices } = judgeOf(
      clock,
      new Numbers(),
      { rules: [{ rule: 'isolated' }, { rule: 'quota' }] },
      parts,
    )
    await alerts.check()
    expect(notices).toMatchObject([{ rule: 'isolated', state: 'firing' }])
    expect(await alerts.list(clock.wallMs())).toMatchObject([{ rule: 'isolated', state: 'firing' }])
    isolated = false
    await clock.advanceAsync(70_000)
    expect(notices.map(({ state }) => state)).toEqual(['firing', 'ok'])
    expect(notices[1]!.key).toBe(notices[0]!.key)
  })

  test('of one that is isolated is not over when another has Redis again', async () => {
    const clock = new VirtualClock()
    const book: AlertBook = { claim: lost, read: lost, write: lost }
    const options: AlertOptions = { rules: [{ rule: 'isolated' }] }
    const told = async (name: string) => {
      const { alerts, notices } = judgeOf(clock, new Numbers(), options, { book, isIsolated: () => true, name })
      await alerts.check()
      return notices[0]!
    }
    const [one, other] = [await told('one'), await told('other')]
    expect([one.key, other.key]).toEqual(['ns/isolated/one', 'ns/isolated/other'])
    expect(one.process).toEqual({ name: 'one', host: 'h', pid: 7 })
    expect(other.text).toContain('process other (h, pid 7) has lost Redis')
  })

  test('goes to the webhook, again when that fails, and not for ever', async () => {
    const clock = new VirtualClock()
    const numbers = new Numbers()
    const { url, posts, tried } = await webhookOf([500, 429])
    const { alerts, logged } = judgeOf(clock, numbers, { webhook: { url, headers: { 'x-key': 'k' } } })
    numbers.refusals = { '1302': 2 }
    await alerts.check()
    for (const [times, delayMs] of [
      [1, 1_000],
      [2, 2_000],
    ] as const) {
      await until('a try', () => tried() === times)
      await until('its pause', () => clock.pendingTimers > 1)
      clock.advance(delayMs)
    }
    await until('the post', () => posts.length === 1)
    expect(posts[0]).toMatchObject({ rule: 'provider-429:1302', pool: 'p', state: 'firing', text: expect.any(String) })

    const refusing = await webhookOf([404])
    const other = judgeOf(clock, numbers, { webhook: refusing.url })
    await other.alerts.check()
    await until('it to be given up', () => other.logged.includes('warn alert not sent: the webhook failed'))
    expect(refusing.tried(), 'what is not there will not be').toBe(1)
    expect(logged.filter((line) => line.includes('not sent'))).toEqual([])
  })

  describe('that turns while its webhook is being retried', () => {
    /** A webhook that refuses for long enough, until told otherwise. */
    async function turning() {
      const clock = new VirtualClock()
      const numbers = new Numbers()
      const rules = [{ rule: 'queue-full' as const, clear: '1s' }]
      const refused = Array<number>(1_000).fill(500)
      const hook = await webhookOf(refused)
      const { alerts, notices } = judgeOf(clock, numbers, { rules, webhook: hook.url })
      const pass = (what: string, isSo: () => boolean) =>
        until(what, async () => {
          await clock.advanceAsync(500)
          return isSo()
        })
      const turn = async (queued: number) => {
        numbers.queued = queued
        for (let seconds = 0; seconds < 3; seconds++) {
          await alerts.check()
          await clock.advanceAsync(1_000)
        }
      }
      const accept = () => refused.splice(0)
      return { ...hook, turn, pass, accept, notices }
    }

    test('ends there too, and the next one is told', async () => {
      const { posts, tried, turn, pass, accept, notices } = await turning()
      await turn(95)
      await pass('a try', () => tried() > 0)
      await turn(0)
      accept()
      await pass('the end', () => posts.at(-1)?.state === 'ok')
      await turn(95)
      await pass('the next beginning', () => posts.at(-1)?.state === 'firing')
      expect(notices.map(({ state }) => state)).toEqual(['firing', 'ok', 'firing'])
    })

    test('and turns back: the receiver has it as it stands, and its end', async () => {
      const { posts, tried, turn, pass, accept } = await turning()
      await turn(95)
      await pass('a try', () => tried() > 0)
      await turn(0)
      await turn(95)
      accept()
      await pass('the post', () => posts.at(-1)?.state === 'firing')
      await turn(0)
      await pass('the end', () => posts.at(-1)?.state === 'ok')
    })
  })
})

async function lost(): Promise<never> {
  throw new Error('no Redis')
}

describe('in a fleet', () => {
  async function redisBooks() {
    const redis = await startRedisServer()
    const connections = [new RedisConnection(redis.url), new RedisConnection(redis.url)]
    const admin = new Redis(redis.url)
    onTestFinished(async () => {
      for (const connection of connections) connection.close()
      admin.disconnect()
      await redis.stop()
    })
    for (const connection of connections) connection.open()
    await until('Redis', () => connections.every(({ commands }) => commands.status === 'ready'))
    const books = connections.map((connection, index) => new RedisAlertBook(connection, 'ns', `process-${index}`))
    return { books, nextTurn: () => admin.del('{ns:monitor}:judge') }
  }

  test('one process tells, whoever judges next', async () => {
    const clock = new VirtualClock()
    const numbers = new Numbers()
    numbers.refusals = { '1302': 2 }
    const { books, nextTurn } = await redisBooks()
    const [one, other] = books.map((book) => judgeOf(clock, numbers, undefined, { book }))
    for (let i = 0; i < 3; i++) {
      await Promise.all([one!.alerts.check(), other!.alerts.check()])
      await nextTurn()
    }
    await other!.alerts.check()
    await nextTurn()
    await one!.alerts.check()
    expect([...one!.notices, ...other!.notices]).toMatchObject([{ rule: 'provider-429:1302', state: 'firing' }])
    for (const { alerts } of [one!, other!])
      expect(await alerts.list(clock.wallMs())).toMatchObject([{ state: 'firing' }])
  })

  test('who dies before the webhook has it is stood in for', async () => {
    const clock = new VirtualClock()
    const numbers = new Numbers()
    numbers.refusals = { '1302': 2 }
    const { books, nextTurn } = await redisBooks()
    const { url, posts, tried } = await webhookOf([500])
    const [one, other] = books.map((book) => judgeOf(clock, numbers, { webhook: url }, { book }))
    await one!.alerts.check()
    await until('its only try', () => tried() === 1)
    one!.alerts.close()
    await nextTurn()
    await other!.alerts.check()
    await until('the post', () => posts.length === 1)
    await until('that it is known', async () => {
      await other!.alerts.check()
      return Object.values(await books[1]!.read()).every(({ told }) => told === 'firing')
    })
    expect(posts).toHaveLength(1)
  })
})

test('a gate tells of two 1302 at once: in the log, as an event, to the webhook and in its monitoring', async () => {
  const provider = await startSimulator({ profile: 'glm' })
  const { url, posts } = await webhookOf()
  const { baseURL } = provider
  const glm = { provider: 'glm', apiKey: 'any', baseURL, guardMs: 5, retry: { baseMs: 1, capMs: 2 } }
  const gate = createHeadgate({ pools: { glm }, alerts: { webhook: url } })
  onTestFinished(async () => {
    await gate.close()
    await provider.close()
  })
  const notices: AlertNotice[] = []
  gate.on('alert', (notice) => notices.push(notice))
  provider.failNext('1302', 2)
  await gate.complete({ pool: 'glm', messages: [{ role: 'user', content: 'hi' }] })
  await until('the post', () => posts.length === 1)
  expect(posts).toEqual(notices)
  expect((await gate.monitoring()).alerts).toMatchObject([
    { rule: 'provider-429:1302', pool: 'glm', state: 'firing', value: 2, threshold: 1 },
  ])
})
