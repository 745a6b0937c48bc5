export type { DispatcherState, ErrorCode, OutcomeStatus, RequestState } from '../machines/vocabulary.js'
export type { AlertNotice, AlertOptions, AlertRule } from './alerts.js'
export { configFromEnv, type GateOptions } from './config.js'
export { HeadgateError } from './errors.js'
export type { AttemptFailedEvent, DispatcherEventNotice, GateEvents, OutcomeEvent, TransitionEvent } from './events.js'
export type { Headgate } from './gate.js'
export type { GateStats, LimitChange, PoolStats } from './gate-types.js'
export { createHeadgate } from './headgate.js'
export type { GovernedFetch } from './http/governed-fetch.js'
export type { ApiInput, CallInput, ChatCompletion, ChatInput, Priority } from './intake/input.js'
export type { GroupUsage, LimitUsage } from './limits/store.js'
export type { CalibrationStats } from './providers/calibration.js'
export type {
  CompletionCount,
  FailureClass,
  LimitObservation,
  Provider,
  ProviderFailure,
  ProviderResponse,
  Usage,
} from './providers/index.js'
export type {
  AlertStatus,
  LimitStatus,
  MinuteStatus,
  MonitoringStats,
  PoolStatus,
  ProcessStatus,
  RateLimitStats,
  TenantStatus,
  TimeSummary,
} from './monitoring.js'
export type { StreamEvent } from './providers/sse.js'
export type { InspectionObserver, InspectionWatch } from './request/inspection.js'
export type { LiveRequest } from './request/live.js'
export type { AnswerStream, ChatCompletionChunk, GateRequest, Outcome } from './request/request.js'
export type { RunContext } from './request/work.js'
