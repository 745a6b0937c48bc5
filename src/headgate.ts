import { randomUUID } from 'node:crypto'
import type { GatePool } from './admission.js'
import { AnswerCache } from './answers/answer-cache.js'
import { RedisAnswers } from './answers/redis-answers.js'
import { type Clock, realClock } from './clock.js'
import { type GateOptions, type ResolvedConfig, resolveConfig, SLACK_MS } from './config.js'
import { Dispatcher } from './dispatch/dispatcher.js'
import { Shadow } from './dispatch/shadow.js'
import { GateEmitter } from './events.js'
import { Headgate } from './gate.js'
import { Intake } from './intake/intake.js'
import { MemoryStore } from './limits/memory-store.js'
import { type GroupPlan, planGroups } from './limits/plan.js'
import { RedisConnection, RedisStore } from './limits/redis-store.js'
import { logEvents } from './observe/logger.js'
import { Monitor } from './observe/monitoring/monitor.js'
import { HttpCaller } from './providers/http-caller.js'
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
  const groups = planGroups(config)
  for (const plan of groups) {
    const dispatcher = buildDispatcher(plan, config, connection, clock, events)
    dispatchers.push(dispatcher)
    for (const pool of plan.pools) {
      const poolConfig = config.pools.get(pool.name)!
      const shadow = config.shadow ? new Shadow(dispatcher, clock) : undefined
      const runtime = { config: poolConfig, plan: pool, limits: plan.spec.limits, permits: shadow ?? dispatcher }
      const intake = new Intake(pool.name, clock, poolConfig.maxQueued, poolConfig.maxActive)
      pools.set(pool.name, { runtime, intake, dispatcher, shadow })
    }
  }
  const inspect = typeof config.inspect === 'function' ? config.inspect : undefined
  const retryBudget = new RetryBudget(clock, config.retryBudget)
  const runner = new RequestRunner({ clock, events, random: Math.random, inspect, retryBudget })
  const caller = new HttpCaller({ clock })
  const answers = buildAnswers(config, connection, clock)
  const monitor = config.monitoring ? new Monitor({ config, clock, events, groups, connection }) : undefined
  const gate = new Headgate({
    config,
    clock,
    events,
    pools,
    dispatchers,
    runner,
    retryBudget,
    caller,
    connection,
    monitor,
    answers,
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

function buildDispatcher(
  plan: GroupPlan,
  config: ResolvedConfig,
  connection: RedisConnection | undefined,
  clock: Clock,
  events: GateEmitter,
): Dispatcher {
  const store = connection ? new RedisStore(plan.spec, connection) : new MemoryStore(plan.spec, clock)
  return new Dispatcher({
    spec: plan.spec,
    store,
    clock,
    random: Math.random,
    name: randomUUID(),
    slackMs: SLACK_MS,
    leaseMs: LEASE_MS,
    isolatedMs: config.isolatedMaxMs,
    holdUntilCallDeadline: plan.pools.some(({ name }) => config.pools.get(name)?.holdUntilCallDeadline),
    onNews: (news) => events.emitSafely('dispatcher', news),
  })
}
