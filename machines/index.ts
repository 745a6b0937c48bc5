export { type DispatcherEvent, dispatcherMachine } from './dispatcher-machine.js'
export {
  type DegradeReason,
  type RequestContext,
  type RequestEvent,
  type RequestInput,
  type RequestOutput,
  requestMachine,
} from './request-machine.js'
export {
  type DegradedVia,
  DISPATCHER_STATES,
  type DispatcherState,
  ERROR_CODES,
  type ErrorCode,
  type Failure,
  type OutcomeStatus,
  REQUEST_STATES,
  type RequestState,
} from './vocabulary.js'
