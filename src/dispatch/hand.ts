import type { Grant, TokenRequest } from './grant.js'
import { type LocalFlow, serviceOf } from './local-flow.js'
import type { Session } from './session.js'
import type { Waiters } from './waiters.js'

/** Takes a request out of its line and hands it its grant. */
export function hand(
  session: Session,
  waiters: Waiters,
  flow: LocalFlow,
  request: TokenRequest,
  when: Pick<Grant, 'notBeforeMs' | 'sendByMs' | 'isolated' | 'boundAtMs'>,
): void {
  waiters.remove(request, true)
  const grant: Grant = {
    number: session.nextGrantNumber(),
    pool: flow.pool,
    tenant: flow.tenant,
    flowKey: flow.key,
    draws: flow.draws,
    tokens: request.tokens,
    serviceUs: when.isolated ? 0 : serviceOf(flow, request.tokens),
    notBeforeMs: when.notBeforeMs,
    sendByMs: when.sendByMs,
    isolated: when.isolated,
    callTimeoutMs: request.callTimeoutMs,
    boundAtMs: when.boundAtMs,
    state: 'unsent',
  }
  session.open.set(grant.number, grant)
  request.onGrant(grant)
}
