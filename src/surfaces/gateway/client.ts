import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CallHeaders, JsonBody } from '../../http/desk.js'
import { HangUp } from '../../http/leaving.js'
import { readBody } from './body.js'

/** Who asks, as far as an answer needs to know. */
export interface Client {
  readonly headers: CallHeaders
  /** Made when it hangs up. */
  readonly hangUp: HangUp
  readonly read: () => Promise<JsonBody>
}

/** From Node's own request: a web one, with its headers, signal and body, would cost more than all the rest of the way. */
export function clientOf(incoming: IncomingMessage, outgoing: ServerResponse): Client {
  const hangUp = new HangUp()
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) hangUp.make()
  })
  return { headers: incoming.headers, hangUp, read: () => readBody(incoming) }
}
