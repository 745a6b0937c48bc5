import type { HttpBindings } from '@hono/node-server'
import type { JsonBody } from '../../http/desk.js'
import { readBody } from './body.js'

/** Who asks, as far as an answer needs to know. */
export interface Client {
  readonly headers: Headers
  /** Fires when it hangs up. */
  readonly signal: AbortSignal
  readonly read: () => Promise<JsonBody>
}

/** From Node's own request: a web one, with its signal and body, would cost more than all the rest of the way. */
export function clientOf(headers: Headers, { incoming, outgoing }: HttpBindings): Client {
  const hangUp = new AbortController()
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) hangUp.abort()
  })
  return { headers, signal: hangUp.signal, read: () => readBody(incoming) }
}
