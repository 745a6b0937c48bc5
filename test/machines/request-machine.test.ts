import { describe, expect, it } from 'vitest'
import { createActor, type SnapshotFrom } from 'xstate'
import { getAdjacencyMap, getShortestPaths, getSimplePaths } from 'xstate/graph'
import { type ErrorCode, REQUEST_STATES, type RequestEvent, requestMachine } from '../../machines/index.js'
import { eventsOf, listOf, replay } from './harness.js'
import { BACKOFF_MS, createRig, events, HANDLED, input } from './request-rig.js'

type RequestSnapshot = SnapshotFrom<typeof requestMachine>

/** The effect each state owns: its entry action, and the exit action that must undo it. */
const EFFECTS = [
  ['waiting-for-token', 'requestToken', 'withdrawToken'],
  ['calling', 'startCall', 'abortCall'],
  ['backing-off', 'startBackoff', 'stopBackoff'],
  ['degraded', 'startDegrading', 'stopDegrading'],
] as const

/** Everything that tells two situations apart: two paths that differ in these are two paths. */
const serializeState = ({ value, context }: RequestSnapshot) =>
  JSON.stringify([value, context.attempt, context.failure?.code, context.degradeReason, context.status, context.via])

function graphOptions(maxAttempts: number) {
  return {
    input: input(maxAttempts),
    events,
    serializeState,
    // Events a state does not listen to are tested on their own below: here they would only be loops.
    filterEvents: (snapshot: RequestSnapshot, event: RequestEvent) => HANDLED[snapshot.value].includes(event.type),
    limit: 5000,
  }
}

type Rig = ReturnType<typeof createRig>

/** BACKOFF_ELAPSED is never sent by hand: the timer that `startBackoff` armed has to send it. */
function deliver({ clock }: Rig) {
  return (actor: { send: (event: RequestEvent) => void }, event: RequestEvent) => {
    if (event.type === 'BACKOFF_ELAPSED') clock.advance(BACKOFF_MS)
    else actor.send(event)
  }
}

/** The effects a walk through these states must have had, in order. */
function effectsOfWalk(states: string[]): string[] {
  return states.flatMap((state, i) => {
    const [, entry, exit] = EFFECTS.find(([owner]) => owner === state) ?? []
    if (entry === undefined) return []
    return i === states.length - 1 ? [entry] : [entry, exit!]
  })
}

/** What the outcome must be, from the events alone. */
function expectedStatus(path: RequestEvent[]): string {
  const last = path.at(-1)!
  if (last.type === 'CALL_COMPLETED' || last.type === 'ANSWER_KNOWN') return 'completed'
  if (last.type === 'CANCEL') return 'cancelled'
  if (last.type === 'DEGRADE_SERVED') return 'degraded'
  if (last.type === 'DEGRADE_EXHAUSTED' && path.at(-2)!.type === 'DEADLINE') return 'expired'
  return 'failed'
}

function expectedCode(path: RequestEvent[]): ErrorCode | undefined {
  const status = expectedStatus(path)
  if (status === 'completed') return undefined
  if (status === 'cancelled') return 'CANCELLED'
  if (path.some(({ type }) => type === 'DEADLINE')) return 'DEADLINE_EXCEEDED'
  const failure = path.findLast((event) => 'failure' in event)
  return failure && 'failure' in failure ? failure.failure.code : undefined
}

function expectedAttempts(path: RequestEvent[]): number {
  const count = (type: RequestEvent['type']) => path.filter((event) => event.type === type).length
  return count('TOKEN_GRANTED') - count('TOKEN_VOID')
}

function replayAll(paths: ReturnType<typeof getShortestPaths<typeof requestMachine>>, maxAttempts: number) {
  const rig = createRig()
  const statuses = new Map<string, number>()
  for (const path of paths) {
    rig.effects.length = 0
    const states = ['queued']
    const end = replay<RequestEvent>(path as never, {
      machine: rig.machine,
      clock: rig.clock,
      input: input(maxAttempts),
      deliver: deliver(rig),
      onStep: ({ from, to, event }) => {
        states.push(String(to.value))
        expect(to.context.attempt).toBeLessThanOrEqual(maxAttempts)
        expect(to.context.attempt).toBeGreaterThanOrEqual(0)
        if (to.value === 'calling') expect([from.value, event.type]).toEqual(['waiting-for-token', 'TOKEN_GRANTED'])
      },
    })
    expect(rig.effects).toEqual(effectsOfWalk(states))
    expect(rig.clock.pendingTimers).toBe(end.value === 'backing-off' ? 1 : 0)
    if (end.value === 'backing-off') rig.clock.runNext()
    if (end.status !== 'done') continue
    const walked = eventsOf(path as never) as RequestEvent[]
    const output = { status: expectedStatus(walked), code: expectedCode(walked), attempts: expectedAttempts(walked) }
    expect(end.output, walked.map(({ type }) => type).join(' > ')).toMatchObject(output)
    const known = walked.at(-1)!.type === 'ANSWER_KNOWN' ? 'cache' : undefined
    expect(end.output.via).toBe(output.status === 'degraded' ? 'fallback' : known)
    statuses.set(output.status, (statuses.get(output.status) ?? 0) + 1)
  }
  return statuses
}

describe('requestMachine: shape', () => {
  it('has exactly the six states, queued first, done the only final one', () => {
    expect(Object.keys(requestMachine.states)).toEqual([...REQUEST_STATES])
    expect(REQUEST_STATES).toEqual(['queued', 'waiting-for-token', 'calling', 'backing-off', 'degraded', 'done'])
    const nodes = Object.values(requestMachine.states)
    expect(nodes.filter(({ type }) => type === 'final').map(({ key }) => key)).toEqual(['done'])
    expect(nodes.flatMap(({ states }) => Object.keys(states))).toEqual([])
    expect(requestMachine.root.initial.target.map(({ key }) => key)).toEqual(['queued'])
  })

  it('listens in each state to the events written down, and to no other', () => {
    const listened = Object.fromEntries(
      Object.values(requestMachine.states).map(({ key, ownEvents }) => [key, [...ownEvents].sort()]),
    )
    const written = Object.fromEntries(Object.entries(HANDLED).map(([key, types]) => [key, [...types].sort()]))
    expect(listened).toEqual(written)
    expect(requestMachine.root.ownEvents).toEqual([])
  })

  it('owns no timer and no child: time and I/O are effects', () => {
    for (const node of Object.values(requestMachine.states)) {
      expect([node.key, node.after, node.invoke]).toEqual([node.key, [], []])
    }
  })

  it('says which implementation is missing', () => {
    const errors: unknown[] = []
    const actor = createActor(requestMachine, { input: input(1) })
    actor.subscribe({ error: (error) => errors.push(error) })
    actor.start()
    actor.send({ type: 'ADMITTED' })
    expect(String(errors)).toContain("requestMachine action 'requestToken' has no implementation")
  })
})

describe('requestMachine: every path', () => {
  it.each([1, 2, 3])('shortest paths replay on the real actor (maxAttempts %i)', (maxAttempts) => {
    const paths = getShortestPaths(requestMachine, graphOptions(maxAttempts))
    const reached = new Set(paths.map(({ state }) => state.value))
    // One attempt in all leaves nothing to back off for.
    expect(reached).toEqual(new Set(REQUEST_STATES.filter((s) => maxAttempts > 1 || s !== 'backing-off')))
    const statuses = replayAll(paths, maxAttempts)
    expect([...statuses.keys()].sort()).toEqual(['cancelled', 'completed', 'degraded', 'expired', 'failed'])
  })

  it.each([1, 2])('simple paths replay on the real actor (maxAttempts %i)', (maxAttempts) => {
    const paths = getSimplePaths(requestMachine, graphOptions(maxAttempts))
    expect(paths.length).toBeGreaterThan(getShortestPaths(requestMachine, graphOptions(maxAttempts)).length)
    const statuses = replayAll(paths, maxAttempts)
    expect([...statuses.keys()].sort()).toEqual(['cancelled', 'completed', 'degraded', 'expired', 'failed'])
  })

  it('replays every single transition of the graph, loops included', () => {
    const maxAttempts = 3
    const adjacency = listOf(getAdjacencyMap(requestMachine, graphOptions(maxAttempts)))
    const shortest = getShortestPaths(requestMachine, graphOptions(maxAttempts))
    const edges = adjacency.flatMap(({ state, transitions }) => {
      const path = shortest.find((candidate) => serializeState(candidate.state) === serializeState(state))!
      return transitions.map((edge) => ({
        ...path,
        state: edge.state,
        steps: [...path.steps, { event: edge.event, state: edge.state }],
      }))
    })
    expect(edges.length).toBeGreaterThan(shortest.length)
    replayAll(edges as never, maxAttempts)
  })

  it('reaches done from everywhere', () => {
    const adjacency = listOf(getAdjacencyMap(requestMachine, graphOptions(3)))
    const endings = adjacency.filter(({ state }) => state.status === 'done').map(({ state }) => serializeState(state))
    const reachesDone = new Set(endings)
    for (let before = -1; before < reachesDone.size; ) {
      before = reachesDone.size
      for (const { state, transitions } of adjacency) {
        if (transitions.some((edge) => reachesDone.has(serializeState(edge.state))))
          reachesDone.add(serializeState(state))
      }
    }
    expect(endings.length).toBeGreaterThan(5)
    expect([...reachesDone].sort()).toEqual(adjacency.map(({ state }) => serializeState(state)).sort())
  })
})
