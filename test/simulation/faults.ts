import type { FaultPlan } from './plan.js'
import type { World } from './world.js'

/** Brings a fault on. */
export function begin(world: World, fault: FaultPlan): void {
  switch (fault.kind) {
    case 'crash':
      world.process(fault.process)?.crash()
      return
    case 'pause':
      world.process(fault.process)?.clock.pause()
      return
    case 'flush':
      world.block(world.backend.lose())
      return
    case 'failover':
      world.block(world.backend.rewind(world.clock.now() - fault.tailMs))
      for (const process of world.processes) {
        if (!process.alive) continue
        process.store.disconnect()
        process.store.reconnect()
      }
      return
    case 'clock-step':
      world.storeAheadMs += fault.byMs
      return
    case 'operator-pause':
    case 'operator-limit':
      operate(world, fault, true)
      return
    case 'storm':
      world.provider.weatherOf(fault.pool).storm = fault
      return
    case 'ceiling':
      world.provider.weatherOf(fault.pool).slots = fault.slots
      return
    default:
      disturb(world, fault, true)
  }
}

/** Ends a fault. */
export function end(world: World, fault: FaultPlan): void {
  switch (fault.kind) {
    case 'crash':
      if (!world.process(fault.process)) world.startProcess(fault.process)
      return
    case 'pause':
      world.process(fault.process)?.clock.resume()
      return
    case 'storm':
      world.provider.weatherOf(fault.pool).storm = undefined
      return
    case 'ceiling': {
      const weather = world.provider.weatherOf(fault.pool)
      if (weather.slots === fault.slots) weather.slots = Number.POSITIVE_INFINITY
      return
    }
    case 'operator-pause':
    case 'operator-limit':
      operate(world, fault, false)
      return
    case 'flush':
    case 'failover':
    case 'clock-step':
      return
    default:
      disturb(world, fault, false)
  }
}

type Disturbance = Exclude<
  FaultPlan,
  {
    kind:
      | 'crash'
      | 'pause'
      | 'flush'
      | 'failover'
      | 'clock-step'
      | 'operator-pause'
      | 'operator-limit'
      | 'storm'
      | 'ceiling'
  }
>

function disturb(world: World, fault: Disturbance, on: boolean): void {
  if ('pool' in fault) {
    const weather = world.provider.weatherOf(fault.pool)
    weather[fault.kind === 'server-error' ? 'error' : fault.kind] = on ? fault.share : 0
    return
  }
  const process = world.processes[fault.process]
  if (!process) return
  const { state } = process.link
  if (fault.kind === 'slow') state.extraMs = on ? fault.extraMs : 0
  else if (fault.kind === 'partition') {
    state.partition = on ? fault.mode : undefined
    if (!process.alive) return
    if (fault.mode === 'reset') on ? process.store.disconnect() : process.store.reconnect()
    if (fault.mode === 'stall' && !on) process.link.release()
  } else if (fault.kind === 'lost-wakes') state.lostWakes = on ? fault.share : 0
  else state[fault.kind] = on ? fault.share : 0
}

/** Operators speak through any process that is up. */
function operate(world: World, fault: Extract<FaultPlan, { kind: 'operator-pause' | 'operator-limit' }>, on: boolean) {
  if (fault.kind === 'operator-pause') {
    world.server.control({ type: on ? 'pause' : 'resume', pool: fault.pool })
    return
  }
  for (const { id, limit } of world.groupPlan.spec.limits) {
    if (!id.startsWith(`pool:${fault.pool}:`)) continue
    const lowered = Math.max(1, Math.floor(limit * fault.share))
    world.server.control({ type: 'limit', id, base: limit, limit: on ? lowered : limit })
  }
}
