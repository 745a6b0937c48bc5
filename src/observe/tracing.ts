import {
  type Attributes,
  type Context,
  context,
  ProxyTracerProvider,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'
import type { AttemptFailedEvent, GateEvents, OutcomeEvent, RequestTarget, TransitionEvent } from '../events.js'

/** What is traced: a gate. */
export interface Traceable {
  on<K extends keyof GateEvents>(event: K, listener: GateEvents[K]): () => void
}

/** A request under way that is recorded. */
interface Traced {
  readonly span: Span
  readonly context: Context
  state: Span | undefined
  atMs: number
}

/** As the GenAI semantic conventions name them; others keep their profile's name. */
const PROVIDER_NAMES: Readonly<Record<string, string>> = {
  azure: 'azure.ai.openai',
  gemini: 'gcp.gemini',
  mistral: 'mistral_ai',
  'glm-intl': 'glm',
  'glm-coding': 'glm',
}

/**
 * One span a request, with a child for each state it passes, by the GenAI semantic conventions; never a prompt or an
 * answer. Its parent is the span in which `spawn` was called. Returns the function that stops it.
 */
export function traceGate(
  gate: Traceable,
  { tracerProvider = trace.getTracerProvider() as TracerProvider } = {},
): () => void {
  const tracer = tracerProvider.getTracer('headgate')
  const live = new Map<string, Traced>()
  // Without an SDK, which may come any time, it would be told of spans that are nobody's.
  const isDeaf = () =>
    tracerProvider instanceof ProxyTracerProvider && tracerProvider.getDelegateTracer('headgate') === undefined

  // A sampler decides by the name and the attributes that a span begins with.
  const begin = ({ requestId, pool, tenant, target, atMs }: TransitionEvent): Traced | undefined => {
    if (isDeaf()) return undefined
    const attributes = {
      ...(target && targetAttributes(target)),
      'headgate.pool': pool,
      'headgate.tenant': tenant,
      'headgate.request_id': requestId,
    }
    const name = target ? `${operationOf(target)} ${target.model}` : 'chat'
    const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, startTime: atMs, attributes })
    // What nobody samples costs no more than this.
    if (!span.isRecording()) return undefined
    const traced = { span, context: trace.setSpan(context.active(), span), state: undefined, atMs }
    live.set(requestId, traced)
    return traced
  }

  const onTransition = (event: TransitionEvent) => {
    const traced = event.from === null ? begin(event) : live.get(event.requestId)
    if (!traced) return
    const { to, atMs, attempt, movedFrom, target } = event
    if (movedFrom !== undefined && target) {
      traced.span.setAttributes({ ...targetAttributes(target), 'headgate.pool': event.pool })
    }
    traced.state?.end(atMs)
    traced.atMs = atMs
    const attributes: Attributes = { 'headgate.event': event.event, 'headgate.attempt': attempt }
    traced.state =
      to === 'done' ? undefined : tracer.startSpan(`headgate ${to}`, { startTime: atMs, attributes }, traced.context)
  }

  const onFailure = ({ requestId, code, status, providerCode }: AttemptFailedEvent) => {
    const state = live.get(requestId)?.state
    if (!state) return
    state.setAttributes({
      'error.type': code,
      ...(status !== undefined && { 'http.response.status_code': status }),
      ...(providerCode !== undefined && { 'headgate.provider_code': providerCode }),
    })
    state.setStatus({ code: SpanStatusCode.ERROR })
  }

  const onOutcome = (event: OutcomeEvent) => {
    const traced = live.get(event.requestId)
    if (!traced) return
    live.delete(event.requestId)
    const { span, state, atMs } = traced
    state?.end(atMs)
    span.setAttributes(attributesOf(event))
    if (event.status === 'failed' || event.status === 'expired') span.setStatus({ code: SpanStatusCode.ERROR })
    span.end(atMs)
  }

  const stops = [
    gate.on('transition', onTransition),
    gate.on('attempt-failed', onFailure),
    gate.on('outcome', onOutcome),
  ]
  return () => {
    for (const stop of stops) stop()
    for (const { span, state, atMs } of live.values()) {
      state?.end(atMs)
      span.end(atMs)
    }
    live.clear()
  }
}

function operationOf({ api }: RequestTarget): 'chat' | 'embeddings' {
  return api === 'embeddings' ? 'embeddings' : 'chat'
}

function targetAttributes(target: RequestTarget): Attributes {
  const { model, provider, server } = target
  return {
    'gen_ai.operation.name': operationOf(target),
    'gen_ai.provider.name': PROVIDER_NAMES[provider] ?? provider,
    'gen_ai.request.model': model,
    ...(server && { 'server.address': server.address, 'server.port': server.port }),
  }
}

function attributesOf(event: OutcomeEvent): Attributes {
  const { promptTokens, completionTokens, code, httpStatus, via } = event
  return {
    ...(promptTokens !== undefined && { 'gen_ai.usage.input_tokens': promptTokens }),
    ...(completionTokens !== undefined && { 'gen_ai.usage.output_tokens': completionTokens }),
    ...(code !== undefined && { 'error.type': code }),
    ...(httpStatus !== undefined && { 'http.response.status_code': httpStatus }),
    ...(via !== undefined && { 'headgate.via': via }),
    'headgate.outcome': event.status,
    'headgate.attempts': event.attempts,
    'headgate.queued_ms': event.queuedMs,
    'headgate.waited_ms': event.waitedMs,
    'headgate.called_ms': event.calledMs,
    'headgate.backed_off_ms': event.backedOffMs,
  }
}
