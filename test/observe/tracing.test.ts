import { context, ProxyTracerProvider, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { PoolOptions } from '../../src/config.js'
import { createHeadgate, type GateOptions } from '../../src/index.js'
import { traceGate } from '../../src/observe/tracing.js'
import { startSimulator } from '../../src/testing/index.js'

const PROMPT = 'a very private prompt'
const CALL = { pool: 'glm', messages: [{ role: 'user', content: PROMPT }], maxTokens: 3, tenant: 'web' }

async function traced(pool: Partial<PoolOptions> = {}, more: Partial<GateOptions> = {}, sampler?: Sampler) {
  const exporter = new InMemorySpanExporter()
  const tracerProvider = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(exporter)],
    ...(sampler && { sampler }),
  })
  const provider = await startSimulator({ profile: 'glm' })
  const { baseURL } = provider
  const glm = { provider: 'glm', apiKey: 'any', baseURL, guardMs: 5, retry: { baseMs: 1, capMs: 2 }, ...pool }
  const gate = createHeadgate({ pools: { glm }, ...more })
  const stop = traceGate(gate, { tracerProvider })
  onTestFinished(async () => {
    stop()
    await gate.close()
    await provider.close()
  })
  const spans = () => exporter.getFinishedSpans()
  return { gate, provider, spans, tracer: tracerProvider.getTracer('test') }
}

const rootsOf = (spans: ReadableSpan[]) => spans.filter(({ kind }) => kind === SpanKind.CLIENT)
const parentOf = ({ parentSpanContext }: ReadableSpan) => parentSpanContext?.spanId

describe('a request as spans', () => {
  test('from when an SDK is there, which may come late', async () => {
    const { gate } = await traced()
    const exporter = new InMemorySpanExporter()
    const late = new ProxyTracerProvider()
    onTestFinished(traceGate(gate, { tracerProvider: late }))
    await gate.complete(CALL)
    late.setDelegate(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
    await gate.complete(CALL)
    const [root, ...more] = rootsOf(exporter.getFinishedSpans())
    expect(root).toMatchObject({ name: 'chat glm', attributes: { 'headgate.outcome': 'completed' } })
    expect(more).toEqual([])
  })

  test('one of its own by the GenAI conventions, and a child for each state', async () => {
    const { gate, provider, spans } = await traced()
    provider.failNext('1302')
    await gate.complete(CALL)
    const [root] = rootsOf(spans())
    expect(root).toMatchObject({
      name: 'chat glm',
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'glm',
        'gen_ai.request.model': 'glm',
        'gen_ai.usage.input_tokens': 6,
        'gen_ai.usage.output_tokens': 3,
        'headgate.pool': 'glm',
        'headgate.tenant': 'web',
        'headgate.outcome': 'completed',
        'headgate.attempts': 2,
        'http.response.status_code': 200,
      },
      status: { code: SpanStatusCode.UNSET },
    })
    const children = spans().filter((span) => parentOf(span) === root!.spanContext().spanId)
    // A machine under load may let a grant go void and wait again.
    const names = children.map(({ name }) => name)
    expect(names[0]).toBe('headgate queued')
    expect(new Set(names)).toEqual(
      new Set(['headgate queued', 'headgate waiting-for-token', 'headgate calling', 'headgate backing-off']),
    )
    const failed = children.filter(({ status }) => status.code === SpanStatusCode.ERROR)
    expect(failed).toMatchObject([
      {
        name: 'headgate calling',
        attributes: {
          'error.type': 'RATE_LIMITED',
          'http.response.status_code': 429,
          'headgate.provider_code': '1302',
        },
      },
    ])
    expect(children).toHaveLength(spans().length - 1)
    expect(JSON.stringify(spans().map(({ name, attributes, events }) => [name, attributes, events]))).not.toContain(
      PROMPT,
    )
  })

  test('an error is one', async () => {
    const { gate, provider, spans } = await traced({ retry: { maxAttempts: 1 } })
    provider.failNext('1302')
    await (await gate.spawn(CALL)).outcome
    expect(rootsOf(spans())).toMatchObject([
      { status: { code: SpanStatusCode.ERROR }, attributes: { 'error.type': 'RATE_LIMITED' } },
    ])
  })

  test('its parent is who spawned it, also where it had to wait at the gate', async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    onTestFinished(() => context.disable())
    const { gate, spans, tracer } = await traced({}, { queue: { maxQueued: 1, maxActive: 1 } })
    const within = (span: Span, work: () => Promise<unknown>) =>
      context.with(trace.setSpan(context.active(), span), work)
    const callers = Array.from({ length: 6 }, (_, index) => tracer.startSpan(`caller ${index}`))
    await Promise.all(callers.map((span) => within(span, () => gate.run({ pool: 'glm' }, async () => {}))))
    expect(rootsOf(spans()).map(parentOf).sort()).toEqual(callers.map((span) => span.spanContext().spanId).sort())
  })

  test('a sampler is told what is asked for, of whom and where', async () => {
    const asked: unknown[] = []
    const sampler: Sampler = {
      shouldSample(_context, _traceId, name, kind, attributes) {
        if (kind === SpanKind.CLIENT) asked.push([name, attributes])
        return { decision: SamplingDecision.NOT_RECORD }
      },
    }
    const { gate, provider } = await traced({}, {}, sampler)
    await gate.complete(CALL)
    await (await gate.spawn({ pool: 'glm', api: 'embeddings', body: { model: 'glm', input: 'a word' } })).outcome
    await gate.run({ pool: 'glm' }, async () => {})
    const named = { 'gen_ai.provider.name': 'glm', 'gen_ai.request.model': 'glm', 'headgate.pool': 'glm' }
    const at = { 'server.address': '127.0.0.1', 'server.port': Number(new URL(provider.baseURL).port) }
    expect(asked).toMatchObject([
      ['chat glm', { 'gen_ai.operation.name': 'chat', ...named, ...at }],
      ['embeddings glm', { 'gen_ai.operation.name': 'embeddings', ...named, ...at }],
      ['chat glm', { 'gen_ai.operation.name': 'chat', ...named }],
    ])
    expect(Object.keys((asked[2] as [string, object])[1]), 'a function calls whom it likes').not.toContain(
      'server.address',
    )
  })

  test('what is not sampled leaves nothing', async () => {
    const { gate, spans } = await traced({}, {}, new AlwaysOffSampler())
    await gate.complete(CALL)
    expect(spans()).toEqual([])
  })
})
