import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { GateEmitter } from '../../src/events.js'
import { countCode } from '../../src/gate-stats.js'
import type { GateStats } from '../../src/gate-types.js'
import { createHeadgate } from '../../src/index.js'
import { gateMetrics } from '../../src/observe/metrics.js'
import { startSimulator } from '../../src/testing/index.js'
import { simulatorOf, startGateway } from '../gateway/harness.js'

const EXAMPLES = 'examples/monitoring'
const hasPromtool = spawnSync('promtool', ['--version']).status === 0
// scripts/test.mjs installs it where it may.
if (!hasPromtool) process.stderr.write("promtool is missing ('apt-get install prometheus'): its checks are skipped\n")

async function measured() {
  const provider = await startSimulator({ profile: 'glm' })
  const { baseURL } = provider
  const glm = { provider: 'glm', apiKey: 'any', baseURL, guardMs: 5, retry: { baseMs: 1, capMs: 2 } }
  const gate = createHeadgate({ pools: { glm } })
  const metrics = gateMetrics(gate)
  onTestFinished(async () => {
    await gate.close()
    await provider.close()
  })
  return { gate, provider, metrics }
}

describe('metrics', () => {
  test('count requests, failed attempts, LLM tokens and times', async () => {
    const { gate, provider, metrics } = await measured()
    provider.failNext('1302')
    await gate.complete({
      pool: 'glm',
      messages: [{ role: 'user', content: 'hello there' }],
      maxTokens: 3,
      tenant: 'web',
    })
    const lines = (await metrics.text()).split('\n')
    for (const line of [
      'headgate_requests_total{pool="glm",tenant="web",status="completed",via=""} 1',
      'headgate_failed_attempts_total{pool="glm",code="RATE_LIMITED",http_status="429",provider_code="1302"} 1',
      'headgate_llm_tokens_total{pool="glm",kind="used"} 7',
      'headgate_llm_tokens_total{pool="glm",kind="completion"} 3',
      'headgate_wait_seconds_count{pool="glm"} 1',
      'headgate_call_seconds_bucket{le="+Inf",pool="glm"} 1',
      'headgate_queue_length{pool="glm"} 0',
      'headgate_synced{pool="glm"} 1',
    ]) {
      expect(lines).toContain(line)
    }
    // Each scrape goes on from the one before.
    expect((await metrics.text()).split('\n')).toContain('headgate_llm_tokens_total{pool="glm",kind="used"} 7')
    await gate.complete({ pool: 'glm', messages: [{ role: 'user', content: 'hello there' }], maxTokens: 3 })
    expect((await metrics.text()).split('\n')).toContain('headgate_llm_tokens_total{pool="glm",kind="used"} 14')
    metrics.close()
    await gate.run({ pool: 'glm' }, async () => {})
    expect(await metrics.text()).toBe('\n')
  })

  test('callers who make up tenants make no more series', async () => {
    const { gate, metrics } = await measured()
    for (let i = 0; i < 120; i++) await gate.run({ pool: 'glm', tenant: `t${i}` }, async () => {})
    const series = (await metrics.text()).split('\n').filter((line) => line.startsWith('headgate_requests_total'))
    expect(series).toHaveLength(101)
    expect(series).toContain('headgate_requests_total{pool="glm",tenant="others",status="completed",via=""} 20')
  })

  test('are served, to who has a key where there are keys', async () => {
    const gateway = await startGateway(await simulatorOf(), { env: { HEADGATE_API_KEYS: 'k1' } })
    expect((await fetch(`${gateway.url}/metrics`)).status).toBe(401)
    const authorization = 'Bearer k1'
    expect((await gateway.chat(undefined, { authorization })).status).toBe(200)
    const response = await fetch(`${gateway.url}/metrics`, { headers: { authorization } })
    expect(response.headers.get('content-type')).toContain('version=0.0.4')
    expect(await response.text()).toContain(
      'headgate_requests_total{pool="glm",tenant="default",status="completed",via=""} 1',
    )
  })

  test('the dashboard asks for metrics that there are', async () => {
    const { metrics } = await measured()
    const known = (await metrics.registry.getMetricsAsJSON()).map(({ name }) => name)
    const texts = [`${EXAMPLES}/grafana-dashboard.json`, `${EXAMPLES}/alerts.yml`].map((path) =>
      readFileSync(path, 'utf8'),
    )
    const asked = texts.flatMap((text) => [...text.matchAll(/headgate_\w+/g)].map(([name]) => name))
    expect(asked.length).toBeGreaterThan(15)
    expect(asked.filter((name) => !known.includes(name.replace(/_bucket$/, '')))).toEqual([])
    const { panels } = JSON.parse(texts[0]!) as { panels: { title: string; targets: unknown[] }[] }
    expect(panels.filter(({ targets }) => targets.length === 0)).toEqual([])
  })
})

test('Grafana’s panels say what the monitoring API says of the same requests', async () => {
  const [glm, deepseek] = [await startSimulator({ profile: 'glm' }), await startSimulator({ profile: 'deepseek' })]
  const poolOf = (provider: string, baseURL: string) => ({
    ...{ provider, apiKey: 'any', baseURL, guardMs: 5, adaptive: false, retry: { maxAttempts: 1 } },
  })
  const gate = createHeadgate({
    pools: {
      glm: { ...poolOf('glm', glm.baseURL), fallback: ['deep'], degradedMessage: 'busy' },
      deep: poolOf('deepseek', deepseek.baseURL),
      bare: poolOf('glm', glm.baseURL),
    },
  })
  const metrics = gateMetrics(gate)
  onTestFinished(async () => {
    await gate.close()
    await Promise.all([glm.close(), deepseek.close()])
  })
  const ask = async (pool: string, cancel = false) => {
    const request = await gate.spawn({ pool, messages: [{ role: 'user', content: 'hi' }], maxTokens: 1 })
    if (cancel) request.cancel()
    const { status, via } = await request.outcome
    return via ?? status
  }
  expect(await ask('glm')).toBe('completed')
  glm.failNext('1302')
  expect(await ask('glm')).toBe('fallback')
  glm.failNext('1302')
  deepseek.failNext('503')
  expect(await ask('glm')).toBe('message')
  glm.failNext('500')
  expect(await ask('bare')).toBe('failed')
  expect(await ask('bare', true)).toBe('cancelled')
  const { pools } = await gate.monitoring()
  const values = (await metrics.registry.getMetricsAsJSON()).flatMap(({ name, values: of }) =>
    of.map(({ value, labels }) => ({ name, value, labels: labels as Record<string, string | undefined> })),
  )
  const panels = JSON.parse(readFileSync(`${EXAMPLES}/grafana-dashboard.json`, 'utf8')).panels as {
    title: string
    targets: { expr: string }[]
  }[]
  /** What the nth selector of a panel's query selects of a pool. */
  const selected = (title: string, nth: number, pool: string) => {
    const { expr } = panels.find((panel) => panel.title.startsWith(title))!.targets[0]!
    const [, name, matchers] = [...expr.matchAll(/(headgate_\w+)\{(.*?)\}/g)][nth]!
    const all = [...matchers!.replace('$pool', pool).matchAll(/(\w+)(=~|!=|=)"(.*?)"/g)]
    const isMatch = (text: string, operator: string, wanted: string) =>
      operator === '=~' ? new RegExp(`^(?:${wanted})$`).test(text) : (text === wanted) === (operator === '=')
    return values
      .filter((one) => one.name === name)
      .filter(({ labels }) =>
        all.every(([, label, operator, wanted]) => isMatch(labels[label!] ?? '', operator!, wanted!)),
      )
      .reduce((sum, { value }) => sum + value, 0)
  }
  for (const pool of ['glm', 'deep', 'bare']) {
    expect([pool, selected('Success', 0, pool) / selected('Success', 2, pool)]).toEqual([
      pool,
      pools[pool]!.successRate,
    ])
    const refused = Object.values(pools[pool]!.provider429PerHour).reduce((sum, count) => sum + count, 0)
    expect([pool, selected('Refusals', 0, pool)]).toEqual([pool, refused])
  }
  expect(pools.glm).toMatchObject({ successRate: 2 / 3, provider429PerHour: { 1302: 2 } })
})

test('names that others make up are bounded: tenants, codes, statuses', async () => {
  const events = new GateEmitter()
  const stats = (): GateStats => ({ ...idle.stats(), pools: {} })
  const idle = createHeadgate({ pools: { p: { provider: 'openai' } } })
  onTestFinished(() => idle.close())
  const metrics = gateMetrics({
    on: (event, listener) => {
      events.on(event, listener as never)
      return () => events.off(event, listener as never)
    },
    stats,
  })
  const refused: Record<string, number> = Object.create(null)
  for (let n = 0; n < 10_000; n++) {
    const common = { requestId: 'r', pool: 'p', attempt: 1, code: 'PROVIDER_ERROR' as const, message: '' }
    const named = { status: 1_000 + n, providerCode: `code-${n}`, causeCode: undefined }
    events.emitSafely('attempt-failed', { ...common, ...named })
    countCode(refused, named.providerCode)
  }
  const series = (await metrics.text()).match(/^headgate_failed_attempts_total\{.*/gm)!
  // Those that are known, then the others as one.
  expect(series).toHaveLength(101)
  expect(series.at(-1)).toContain('http_status="others",provider_code="others"} 9900')
  expect(Object.keys(refused)).toHaveLength(101)
  expect(refused['(others)']).toBe(9_900)
})

describe.runIf(hasPromtool)('promtool', () => {
  test('finds nothing wrong with the metrics', async () => {
    const { gate, provider, metrics } = await measured()
    provider.failNext('1302')
    await gate.complete({ pool: 'glm', messages: [{ role: 'user', content: 'hello there' }] })
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: await metrics.text(),
      encoding: 'utf8',
    })
    expect([status, stdout, stderr]).toEqual([0, '', ''])
  })

  test.each([
    ['check', 'rules', 'alerts.yml'],
    ['check', 'config', 'prometheus.yml'],
    ['test', 'rules', 'alerts.test.yml'],
  ])('%s %s %s', (...args) => {
    expect(execFileSync('promtool', args, { cwd: EXAMPLES, encoding: 'utf8' })).toContain('SUCCESS')
  })
})
