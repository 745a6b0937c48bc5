import type { HeadgateError } from '../../errors.js'

/** An answer as it goes out. */
export interface Answer {
  readonly status: number
  /** JSON. */
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
  /** What the log line adds: ids, counts and codes, never a text that a client or a provider wrote. */
  readonly log: Readonly<Record<string, unknown>>
}

export interface ErrorDetails {
  readonly code: string
  readonly param?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
}

/** OpenAI's error body, as JSON. */
export function errorBody(status: number, message: string, code: string, param?: string): string {
  return JSON.stringify({ error: { message, type: typeOf(status), code, param: param ?? null } })
}

export function errorAnswer(status: number, message: string, { code, param, headers = {} }: ErrorDetails): Answer {
  return { status, body: errorBody(status, message, code, param), headers, log: { code } }
}

/** Thrown where a request can't go on to the gate. */
export class Refusal extends Error {
  readonly answer: Answer

  constructor(status: number, message: string, details: ErrorDetails) {
    super(message)
    this.answer = errorAnswer(status, message, details)
  }
}

/** A HeadgateError's code as OpenAI writes codes. */
export function codeOf({ code }: HeadgateError): string {
  return code.toLowerCase()
}

function typeOf(status: number): string {
  if (status === 429) return 'rate_limit_error'
  return status < 500 ? 'invalid_request_error' : 'server_error'
}
