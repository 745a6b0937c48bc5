import type { ResolvedConfig } from '../../config.js'
import { type Route, routesOf } from '../../http/routes.js'

/** What the gateway knows of a gate's configuration. */
export interface GatewayView {
  /** By everything that `model` may say. */
  readonly routes: ReadonlyMap<string, Route>
  /** Clients must show one of these; empty for none. */
  readonly apiKeys: readonly string[]
}

export function gatewayView({ pools }: ResolvedConfig, env: NodeJS.ProcessEnv): GatewayView {
  return { routes: routesOf(pools.values()), apiKeys: apiKeysOf(env) }
}

/** Keys from HEADGATE_API_KEYS, separated by commas. */
function apiKeysOf(env: NodeJS.ProcessEnv): string[] {
  const keys = (env.HEADGATE_API_KEYS ?? '').split(',').map((key) => key.trim())
  return keys.filter((key) => key !== '')
}
