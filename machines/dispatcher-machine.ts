import { setup } from 'xstate'

export type DispatcherEvent =
  /** The store answered and knows this process. */
  | { type: 'STORE_READY' }
  /** The store can't be reached, or no longer answers. */
  | { type: 'STORE_LOST' }
  /** The store answers but has forgotten what was spent, or its clock can't be trusted. */
  | { type: 'STATE_LOST' }
  /** Everything that might have been spent before the loss is outside every window. */
  | { type: 'LEARNED' }
  /** No new requests; those accepted are finished. */
  | { type: 'DRAIN' }
  | { type: 'STOP' }

/** The life of one process's dispatcher. It grants in `synced` and `draining` only. */
export const dispatcherMachine = setup({ types: { events: {} as DispatcherEvent } }).createMachine({
  id: 'dispatcher',
  initial: 'connecting',
  states: {
    connecting: {
      on: { STORE_READY: 'synced', STATE_LOST: 'learning', DRAIN: 'draining', STOP: 'stopped' },
    },
    synced: {
      on: { STORE_LOST: 'isolated', STATE_LOST: 'learning', DRAIN: 'draining', STOP: 'stopped' },
    },
    isolated: {
      on: { STORE_READY: 'synced', STATE_LOST: 'learning', DRAIN: 'draining', STOP: 'stopped' },
    },
    learning: {
      on: { LEARNED: 'synced', STORE_LOST: 'isolated', DRAIN: 'draining', STOP: 'stopped' },
    },
    draining: { on: { STOP: 'stopped' } },
    stopped: { type: 'final' },
  },
})
