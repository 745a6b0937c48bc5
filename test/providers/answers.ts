// Responses as the providers' tables write them down.
import { expect, test } from 'vitest'
import type { FailureClass, Profile, ProviderResponse } from '../../src/providers/provider.js'

export type Headers = ProviderResponse['headers']

export const answer = (status: number, body: unknown, headers: Headers = {}): ProviderResponse => ({
  status,
  headers,
  body,
})

/** OpenAI's error body. */
export const error = (code: unknown, type: string, message: string) => ({ error: { message, type, param: null, code } })

/** A response, what class it is, whether a retry may help, and the hint in ms. */
export type Row = [status: number, body: unknown, failureClass: FailureClass, retryable: boolean, retryAfterMs?: number]

/** Every row as a test: what the response means, and that its body alone, as a chunk or under 200, is an error too. */
export function classifies(provider: Profile, rows: Row[], nowMs: number = Date.UTC(2026, 0, 1)): void {
  test.each(rows)('%i %j is %s', (status, body, failureClass, retryable, retryAfterMs) => {
    const failure = provider.classify(answer(status, body), nowMs)
    expect(failure).toMatchObject({ class: failureClass, retryable, status })
    expect(failure?.retryAfterMs).toBe(retryAfterMs)
    expect(failure?.message.startsWith(`${provider.name} ${status}`)).toBe(true)
    expect(failure?.body).toBe(body)
    if (Object(body) === body && Object.hasOwn(Object(body), 'error')) {
      expect(provider.classify(answer(200, body), nowMs)).toBeDefined()
      expect(provider.classifyChunk(body, nowMs)).toEqual(provider.classify(answer(200, body), nowMs))
    }
  })
}
