import type { ErrorCode } from '../machines/vocabulary.js'

export interface HeadgateErrorOptions {
  /** Whether the same request may succeed later. Default false. */
  retryable?: boolean
  /** An honest hint, in ms, of when to come back. */
  retryAfterMs?: number
  /** The provider's HTTP status, where there was one. */
  status?: number
  /** The provider's own error code (GLM `"1302"`), where there was one. */
  providerCode?: string
  cause?: unknown
}

/** Every error that Headgate throws or puts in an outcome. `code` is stable; `message` is for people. */
export class HeadgateError extends Error {
  override readonly name = 'HeadgateError'
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined
  readonly status: number | undefined
  readonly providerCode: string | undefined

  constructor(code: ErrorCode, message: string, options: HeadgateErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryable = options.retryable ?? false
    this.retryAfterMs = options.retryAfterMs
    this.status = options.status
    this.providerCode = options.providerCode
  }
}
