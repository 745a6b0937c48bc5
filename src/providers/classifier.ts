import type { FailureClass, Profile, ProviderFailure, ProviderResponse } from './provider.js'
import * as wire from './wire.js'

/** How one provider's errors are read. */
export interface Reading {
  /** What an error means; undefined leaves it to the status that counts. Without an error body all its parts are empty. */
  readonly verdict: (
    error: wire.WireError,
    status: number,
    response: ProviderResponse,
    nowMs: number,
  ) => wire.Verdict | undefined
  /** Finds the error, where it may hide elsewhere than `wire.errorOf` looks. */
  readonly errorIn?: (response: ProviderResponse) => wire.WireError | undefined
  /** Reasons to finish that make a failure of an answer. */
  readonly finishes?: Readonly<Record<string, FailureClass>>
}

const NO_ERROR: wire.WireError = { code: '', type: '', message: '' }

/** `classify` and `classifyChunk`, which is the same for what arrives after a 200. */
export function classifierOf(name: string, reading: Reading): Pick<Profile, 'classify' | 'classifyChunk'> {
  const classify = (response: ProviderResponse, nowMs: number = Date.now()) =>
    classifyWith(name, reading, response, nowMs)
  return {
    classify,
    classifyChunk: (chunk, nowMs) =>
      Object(chunk) === chunk ? classify({ status: 200, headers: {}, body: chunk }, nowMs) : undefined,
  }
}

function classifyWith(
  name: string,
  { verdict, errorIn = wire.errorOf, finishes = {} }: Reading,
  response: ProviderResponse,
  nowMs: number,
): ProviderFailure | undefined {
  const error = errorIn(response)
  if (error || !wire.isSuccess(response)) {
    const said = error ?? NO_ERROR
    const status = wire.effectiveStatus(response, said)
    const read = verdict(said, status, response, nowMs) ?? { class: wire.classOfStatus(status) }
    return wire.failureFrom(name, response, error, read, nowMs)
  }
  for (const [reason, failureClass] of Object.entries(finishes)) {
    if (!wire.finishedBy(response.body, reason)) continue
    const finish = { code: reason, type: '', message: `the answer ended with finish_reason ${reason}` }
    return wire.failureFrom(name, response, finish, { class: failureClass }, nowMs)
  }
  return undefined
}
