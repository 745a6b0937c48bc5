import { describe, expect, it } from 'vitest'
import { createActor, type SnapshotFrom } from 'xstate'
import { getAdjacencyMap, getShortestPaths, getSimplePaths } from 'xstate/graph'
import {
  DISPATCHER_STATES,
  type DispatcherEvent,
  type DispatcherState,
  dispatcherMachine,
} from '../../machines/index.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'
import { listOf, muteFinalStateWarnings, replay } from './harness.js'

type DispatcherSnapshot = SnapshotFrom<typeof dispatcherMachine>

const events: DispatcherEvent[] = [
  { type: 'STORE_READY' },
  { type: 'STORE_LOST' },
  { type: 'STATE_LOST' },
  { type: 'LEARNED' },
  { type: 'DRAIN' },
  { type: 'STOP' },
]

/** The whole table, written down apart from the machine. */
const TABLE: Record<DispatcherState, Partial<Record<DispatcherEvent['type'], DispatcherState>>> = {
  connecting: { STORE_READY: 'synced', STATE_LOST: 'learning', DRAIN: 'draining', STOP: 'stopped' },
  synced: { STORE_LOST: 'isolated', STATE_LOST: 'learning', DRAIN: 'draining', STOP: 'stopped' },
  isolated: { STORE_READY: 'synced', STATE_LOST: 'learning', DRAIN: 'draining', STOP: 'stopped' },
  learning: { LEARNED: 'synced', STORE_LOST: 'isolated', DRAIN: 'draining', STOP: 'stopped' },
  draining: { STOP: 'stopped' },
  stopped: {},
}

const options = {
  events,
  serializeState: ({ value }: DispatcherSnapshot) => JSON.stringify(value),
  filterEvents: (snapshot: DispatcherSnapshot, event: DispatcherEvent) => event.type in TABLE[snapshot.value],
  limit: 500,
}

const WAY_TO: Record<DispatcherState, DispatcherEvent['type'][]> = {
  connecting: [],
  synced: ['STORE_READY'],
  isolated: ['STORE_READY', 'STORE_LOST'],
  learning: ['STATE_LOST'],
  draining: ['DRAIN'],
  stopped: ['STOP'],
}

function actorIn(state: DispatcherState) {
  const actor = createActor(dispatcherMachine, { clock: new VirtualClock() }).start()
  for (const type of WAY_TO[state]) actor.send({ type })
  expect(actor.getSnapshot().value).toBe(state)
  return actor
}

function replayAll(paths: ReturnType<typeof getShortestPaths<typeof dispatcherMachine>>): void {
  const clock = new VirtualClock()
  for (const path of paths) {
    replay<DispatcherEvent>(path as never, {
      machine: dispatcherMachine,
      clock,
      onStep: ({ from, to, event }) => {
        expect(to.value).toBe(TABLE[from.value as DispatcherState][event.type])
        // Who drains takes up nothing new: there is only one way on.
        if (from.value === 'draining') expect(to.value).toBe('stopped')
      },
    })
  }
  expect(clock.pendingTimers).toBe(0)
}

describe('dispatcherMachine', () => {
  it('has exactly the six states, connecting first, stopped the only final one', () => {
    expect(Object.keys(dispatcherMachine.states)).toEqual([...DISPATCHER_STATES])
    expect(DISPATCHER_STATES).toEqual(['connecting', 'synced', 'isolated', 'learning', 'draining', 'stopped'])
    const nodes = Object.values(dispatcherMachine.states)
    expect(nodes.filter(({ type }) => type === 'final').map(({ key }) => key)).toEqual(['stopped'])
    expect(dispatcherMachine.root.initial.target.map(({ key }) => key)).toEqual(['connecting'])
  })

  it('replays every shortest path on the real actor', () => {
    const paths = getShortestPaths(dispatcherMachine, options)
    expect(new Set(paths.map(({ state }) => state.value))).toEqual(new Set(DISPATCHER_STATES))
    replayAll(paths)
  })

  it('replays every simple path on the real actor', () => {
    const paths = getSimplePaths(dispatcherMachine, options)
    expect(paths.length).toBeGreaterThan(DISPATCHER_STATES.length)
    replayAll(paths)
  })

  it('finds the whole table, loops included, in the graph', () => {
    const found = Object.fromEntries(
      listOf(getAdjacencyMap(dispatcherMachine, options)).map(({ state, transitions }) => [
        state.value,
        Object.fromEntries(transitions.map(({ event, state: to }) => [event.type, to.value])),
      ]),
    )
    expect(found).toEqual(TABLE)
  })

  describe.each(DISPATCHER_STATES)('in %s', (state) => {
    it.each(events.map(({ type }) => type))('%s leads where the table says, or nowhere', (type) => {
      const actor = actorIn(state)
      muteFinalStateWarnings()
      actor.send({ type })
      const snapshot = actor.getSnapshot()
      expect(snapshot.value).toBe(TABLE[state][type] ?? state)
      expect(snapshot.status).toBe(snapshot.value === 'stopped' ? 'done' : 'active')
    })
  })
})
