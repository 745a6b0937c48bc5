import { randomUUID } from 'node:crypto'
import { Answering } from './answers/answering.js'
import { AnswerCache } from './answers/answer-cache.js'
import { RedisAnswers } from './answers/redis-answers.js'
import { type Clock, realClock } from './clock.js'
import { type GateOptions, type PoolConfig, type ResolvedConfig, resolveConfig } from './config.js'
import { Dispatcher } from './dispatch/dispatcher.js'
import { Shadow } from './dispatch/shadow.js'
import { HeadgateError } from './errors.js'
import { GateEmitter } from './events.js'
import { Headgate } from './gate.js'
import type { GatePool, ModelRoute } from './gate-pool.js'
import { Intake } from './intake/intake.js'
import { kindOf, nameOfKind } from './limits/kind.js'
import { MemoryStore } from './limits/memory-store.js'
import { type GroupPlan, planGroups } from './limits/plan.js'
import { RedisConnection, RedisStore } from './limits/redis-store.js'
import { poolsByModel } from './models.js'
import { logEvents } from './observe/logger.js'
import { Monitor } from './observe/monitoring/monitor.js'
import { Estimator } from './providers/estimator.js'
import { HttpCaller } from './providers/http-caller.js'
import { Tokenizers } from './providers/tokenizer.js'
import type { PoolRuntime } from './request/entry.js'
import { RetryBudget } from './request/retry-budget.js'
import { RequestRunner } from './request/runner.js'

/** A dead process's slots are back after this, and after the time until somebody asks: within 10 s. */
const LEASE_MS = 8_000

/** Builds a gate: the one place where implementations are chosen and every stage is seen. */
export function createHeadgate(options: GateOptions): Headgate {
  const config = resolveConfig(options)
  const clock = realClock
  const events = new GateEmitter()
  if (config.logger) logEvents(events, config.logger)
  const connection = config.redis === undefined ? undefined : new RedisConnection(config.redis)
  const pools = new Map<string, GatePool>()
  const dispatchers: Dispatcher[] = []
  const tokenizers = new Tokenizers()
  const groups = planGroups(config)
  const inspect = typeof config.inspect === 'boolean' ? undefined : config.inspect
  const retryBudget = new RetryBudget(clock, config.retryBudget)
  const runner = new RequestRunner({ clock, events, random: Math.random, inspect, retryBudget })
  const paused = ({ coolDownMs, config: { name, maxPauseMs } }: PoolRuntime) => {
    if (coolDownMs() >= maxPauseMs) runner.paused(name)
  }
  for (const plan of groups) {
    const onCoolDown = (pool: number) => {
      for (const { name, index } of plan.pools) if (index === pool) paused(pools.get(name)!.runtime)
    }
    const dispatcher = buildDispatcher(plan, config, connection, clock, events, onCoolDown)
    dispatchers.push(dispatcher)
    for (const pool of plan.pools) {
      const poolConfig = config.pools.get(pool.name)!
      const shadow = config.shadow ? new Shadow(dispatcher, clock) : undefined
      const coolDownMs = () => (shadow ? 0 : dispatcher.outlook.coolDownMs(pool.index))
      const permits = shadow ?? dispatcher
      const runtime = { config: poolConfig, plan: pool, limits: plan.spec.limits, permits, coolDownMs }
      const intake = new Intake(pool.name, clock, poolConfig.maxQueued, poolConfig.maxActive)
      const estimator = buildEstimator(poolConfig, config, tokenizers)
      pools.set(pool.name, { runtime, intake, dispatcher, estimator, shadow })
    }
  }
  const routes = buildRoutes(config, pools, clock)
  const caller = new HttpCaller({ clock })
  const answers = buildAnswers(config, connection, clock)
  const { cache, namespace } = config
  const answering =
    cache?.coalesce && cache.store === 'redis' && connection ? new Answering(connection, clock, namespace) : undefined
  const monitor = config.monitoring ? new Monitor({ config, clock, events, groups, connection }) : undefined
  const gate = new Headgate({
    config,
    clock,
    events,
    pools,
    routes,
    dispatchers,
    runner,
    retryBudget,
    caller,
    connection,
    monitor,
    answers,
    answering,
  })
  monitor?.watch(gate)
  return gate
}

function buildAnswers(
  { cache, namespace }: ResolvedConfig,
  connection: RedisConnection | undefined,
  clock: Clock,
): AnswerCache | undefined {
  if (!cache) return undefined
  const shared = cache.store === 'redis' && connection ? new RedisAnswers(connection, clock, namespace) : undefined
  return new AnswerCache(cache, clock, shared)
}

/** One queue for each model that several pools serve, so that no request waits for the wrong one. */
function buildRoutes(config: ResolvedConfig, pools: ReadonlyMap<string, GatePool>, clock: Clock) {
  const routes = new Map<string, ModelRoute>()
  for (const [model, serving] of poolsByModel(config.pools.values())) {
    if (serving.length < 2) continue
    const total = (of: 'maxQueued' | 'maxActive') => serving.reduce((sum, pool) => sum + pool[of], 0)
    const intake = new Intake(model, clock, total('maxQueued'), total('maxActive'))
    routes.set(model, { pools: serving.map(({ name }) => pools.get(name)!), intake })
  }
  return routes
}

function buildDispatcher(
  plan: GroupPlan,
  config: ResolvedConfig,
  connection: RedisConnection | undefined,
  clock: Clock,
  events: GateEmitter,
  onCoolDown: (pool: number) => void,
): Dispatcher {
  const store = connection ? new RedisStore(plan.spec, connection) : new MemoryStore(plan.spec, clock)
  return new Dispatcher({
    spec: plan.spec,
    store,
    clock,
    random: Math.random,
    name: nameOfKind(randomUUID(), kindOf(plan.spec)),
    slackMs: plan.pools.map(({ name }) => config.pools.get(name)!.slackMs),
    leaseMs: LEASE_MS,
    isolatedMs: config.isolatedMaxMs,
    // Of one turn of the event loop: of a gateway's hundred sockets each is read in a microtask checkpoint of its own.
    putOff: setImmediate,
    holdUntilCallDeadline: plan.pools.some(({ name }) => config.pools.get(name)?.holdUntilCallDeadline),
    onCoolDown,
    onNews: (news) => events.emitSafely('dispatcher', news),
  })
}

/** Whose tokenizers gpt-tokenizer has. */
const OPENAI_MODELS: ReadonlySet<string> = new Set(['openai', 'azure'])

function buildEstimator(pool: PoolConfig, { limitSets }: ResolvedConfig, tokenizers: Tokenizers): Estimator {
  const { name, tokenizer, provider, limits, models } = pool
  const rates = [limits, ...limits.also.map((set) => limitSets.get(set)!)].flatMap(({ tokens }) => tokens)
  const maxTokens = Math.min(Number.POSITIVE_INFINITY, ...rates.map(({ limit }) => limit))
  const suits = tokenizer === 'auto' && rates.length > 0 && OPENAI_MODELS.has(provider.name)
  const counts = tokenizer === 'gpt-tokenizer' || (suits && Tokenizers.installed)
  if (tokenizer === 'gpt-tokenizer' && !Tokenizers.installed) {
    const message = `pools.${name}.tokenizer: expected the package gpt-tokenizer to be installed (npm install gpt-tokenizer)`
    throw new HeadgateError('CONFIG_INVALID', message)
  }
  // Loaded ahead of the first request, which would go by characters otherwise.
  if (counts) for (const model of models) void tokenizers.load(model)
  return new Estimator({ provider, maxTokens, ...(counts && { tokenizers }) })
}
