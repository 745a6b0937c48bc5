import { expect, onTestFinished, vi } from 'vitest'
import { type AnyActorRef, type AnyMachineSnapshot, type AnyStateMachine, createActor, type EventObject } from 'xstate'
import type { AdjacencyMap } from 'xstate/graph'
import type { VirtualClock } from '../../src/testing/virtual-clock.js'

export interface PathStep<E extends EventObject> {
  readonly event: E
  readonly state: AnyMachineSnapshot
}

/** A path as `xstate/graph` gives it: its first step is `xstate.init`, each step's state is the one its event led to. */
export interface GraphPath<E extends EventObject> {
  readonly steps: readonly PathStep<E>[]
}

/** The events of a path, without `xstate.init`, for messages and for a replay by hand. */
export function eventsOf<E extends EventObject>(path: GraphPath<E>): E[] {
  return path.steps.slice(1).map((step) => step.event)
}

export interface ReplayOptions<E extends EventObject> {
  readonly machine: AnyStateMachine
  readonly clock: VirtualClock
  readonly input?: unknown
  /** Delivers one event, by `send` unless the effect under test delivers it by itself (a timer). */
  readonly deliver?: (actor: AnyActorRef, event: E) => void
  readonly onStep?: (step: { from: AnyMachineSnapshot; to: AnyMachineSnapshot; event: E }) => void
}

/**
 * Replays a path on the real actor and compares state, status, context and output with what the graph foretold, step by
 * step. An error in an action fails the replay.
 */
export function replay<E extends EventObject>(path: GraphPath<E>, options: ReplayOptions<E>): AnyMachineSnapshot {
  const { machine, clock, input, deliver = (actor, event) => actor.send(event), onStep } = options
  const errors: unknown[] = []
  const actor = createActor(machine, { clock, input })
  actor.subscribe({ error: (error) => errors.push(error) })
  actor.start()
  expect(facts(actor.getSnapshot())).toEqual(facts(path.steps[0]!.state))
  for (const { event, state } of path.steps.slice(1)) {
    const from = actor.getSnapshot()
    deliver(actor, event)
    const to = actor.getSnapshot()
    expect(facts(to), `after ${event.type} in ${String(from.value)}`).toEqual(facts(state))
    onStep?.({ from, to, event })
  }
  expect(errors).toEqual([])
  return actor.getSnapshot()
}

function facts({ value, status, context, output }: AnyMachineSnapshot) {
  return { value, status, context, output }
}

export interface Situation<S, E> {
  readonly state: S
  readonly transitions: readonly { readonly event: E; readonly state: S }[]
}

/** The graph as a list: every situation with every transition out of it. (The map's branded keys hide its types from `Object.values`.) */
export function listOf<S, E>(adjacency: AdjacencyMap<S, E>): Situation<S, E>[] {
  type Entry = AdjacencyMap<S, E>[keyof AdjacencyMap<S, E>]
  const entries = Object.values(adjacency as Record<string, Entry>)
  return entries.map(({ state, transitions }) => ({
    state,
    transitions: Object.values(transitions as Record<string, { event: E; state: S }>),
  }))
}

/** XState's development build warns of events sent to an actor in its final state, which is what some tests do. */
export function muteFinalStateWarnings(): void {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
  onTestFinished(() => warn.mockRestore())
}
