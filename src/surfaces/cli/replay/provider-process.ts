import type { ArrivalRecord, SimulatorReport } from '../../../testing/index.js'
import { CliError } from '../errors.js'
import { endChild, startChild } from './children.js'
import type { ReplayLimits } from './limits.js'
import type { ReplayPool } from './protocol.js'

export interface ProviderProcess {
  readonly baseURL: string
  report(): Promise<SimulatorReport>
  log(): Promise<readonly ArrivalRecord[]>
  stop(): Promise<void>
}

export interface ProviderOptions {
  readonly provider: ReplayPool['provider']
  /** Scaled to the replay's speed. */
  readonly limits: ReplayLimits
  readonly latencyMs: number
  readonly seed: number
}

interface Listening {
  readonly type: 'listening'
  readonly url: string
  readonly baseURL: string
}

/** The simulated provider in a process of its own: nobody who is busy stamps the arrivals. */
export async function startProvider({ provider, limits, latencyMs, seed }: ProviderOptions): Promise<ProviderProcess> {
  const profile = provider.startsWith('glm') ? 'glm' : provider
  const child = startChild('cli.js', [
    ...['simulate', '--profile', profile, '--port', '0'],
    ...['--latency', `${Math.round(latencyMs)}ms`, '--seed', String(seed)],
  ])
  const { url, baseURL } = await new Promise<Listening>((resolve, reject) => {
    child.process.once('message', (message: Listening) => resolve(message))
    child.process.once('exit', (code) => reject(new CliError(`the simulator ended (code ${code}): ${child.log()}`)))
  })
  const call = async <T>(path: string, init?: RequestInit): Promise<T> => {
    const response = await fetch(`${url}/__sim/${path}`, init)
    if (!response.ok) throw new CliError(`the simulator answered ${response.status} to ${path}`)
    return (await response.json()) as T
  }
  const stop = () => endChild(child)
  try {
    // All windows of all dimensions, which the command line has no flags for.
    await call('limits', { method: 'POST', body: JSON.stringify(limits) })
  } catch (error) {
    await stop()
    throw error
  }
  return { baseURL, report: () => call('report'), log: () => call('log'), stop }
}
