import type { HeadgateError } from '../errors.js'
import type { Wire } from '../providers/apis.js'

/** An answer as it goes out. */
export interface Answer {
  readonly status: number
  /** JSON, or the texts of an event stream. */
  readonly body: string | AnswerTexts
  readonly headers: Readonly<Record<string, string>>
  /** What the log line adds: ids, counts and codes, never a text that a client or a provider wrote. */
  readonly log: Readonly<Record<string, unknown>>
}

/** An event stream, whose end only its last text knows. */
export interface AnswerTexts {
  readonly texts: AsyncGenerator<string, void, undefined>
  /** Ends the request whose answer nobody reads any more. */
  readonly cancel: () => void
  /** What the log line adds besides, once the request is done. */
  readonly ended: Promise<Readonly<Record<string, unknown>>>
}

export interface ErrorDetails {
  readonly code: string
  readonly param?: string | null | undefined
  /** Default: OpenAI's. */
  readonly wire?: Wire
  readonly headers?: Readonly<Record<string, string>>
}

/** OpenAI's error body, as JSON; for Anthropic's clients with the mark by which they know it. */
export function errorBody(status: number, message: string, { code, param = null, wire }: ErrorDetails): string {
  const error = { message, type: typeOf(status), code, param }
  return JSON.stringify(wire === 'anthropic' ? { type: 'error', error } : { error })
}

export function errorAnswer(status: number, message: string, details: ErrorDetails): Answer {
  const { code, headers = {} } = details
  return { status, body: errorBody(status, message, details), headers, log: { code } }
}

/** Nobody takes it; the log shows it. */
export const HUNG_UP = errorAnswer(499, 'the client hung up', { code: 'cancelled' })

/** Thrown where a request can't go on to the gate. */
export class Refusal extends Error {
  constructor(
    private readonly status: number,
    message: string,
    private readonly details: ErrorDetails,
  ) {
    super(message)
  }

  get code(): string {
    return this.details.code
  }

  /** To a client of this wire. */
  answerOn(wire: Wire): Answer {
    return errorAnswer(this.status, this.message, { wire, ...this.details })
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
