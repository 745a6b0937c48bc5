// What an alert is: rules as they are configured, and what is told when one begins or ends.

interface RuleCommon {
  /** Default: what it is about, e.g. `provider-429:1302`. Two rules of one name are a mistake. */
  readonly name?: string
  /** Default: every pool, each on its own. */
  readonly pool?: string
  /** How long it must be so before it fires, and not be so before it is over. Default 0 and 1m. */
  readonly for?: number | string
  readonly clear?: number | string
}

/** A rule as it is configured. Windows are counted in whole minutes, 24 hours at most. */
export type AlertRule = RuleCommon &
  (
    | {
        /** More than so many answers 429, of one code or of all, within (default 1h). */
        readonly rule: 'provider-429'
        readonly code?: string
        readonly above: number
        readonly within?: number | string
      }
    | {
        /** A lower share of success than this within (default 5m), once as many requests ended (default 20). */
        readonly rule: 'success-rate'
        readonly below: number
        readonly within?: number | string
        readonly least?: number
      }
    | {
        /** A longer wait for the permission within (default 5m), of 99 in 100. */
        readonly rule: 'wait-p99'
        readonly above: number | string
        readonly within?: number | string
      }
    | {
        /** A larger share of the places in the queues of all processes taken (default 0.9). */
        readonly rule: 'queue-full'
        readonly above?: number
      }
    | {
        /** A larger share spent (default 0.9) of a limit whose window is no shorter than this (default 1h). */
        readonly rule: 'quota'
        readonly above?: number
        readonly window?: number | string
      }
    | {
        /** A process has lost Redis: it tells of itself, for nobody else can. */
        readonly rule: 'isolated'
      }
  )

export interface WebhookOptions {
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface AlertOptions {
  /** Default: more than one 1302 in an hour. */
  readonly rules?: readonly AlertRule[]
  /** Gets a POST with an `AlertNotice` as JSON whenever an alert begins or ends. */
  readonly webhook?: string | WebhookOptions
}

/** A rule with everything filled in. `above` and `below` are `threshold`. */
export interface RuleConfig {
  readonly rule: AlertRule['rule']
  readonly name: string
  readonly pool: string | undefined
  readonly code: string | undefined
  readonly threshold: number
  readonly withinMinutes: number
  readonly least: number
  readonly windowMs: number
  readonly forMs: number
  readonly clearMs: number
}

export interface AlertConfig {
  readonly rules: readonly RuleConfig[]
  readonly webhook: WebhookOptions | undefined
}

export interface AlertingProcess {
  readonly name: string
  readonly host: string
  readonly pid: number
}

/** An alert began (`firing`) or ended (`ok`). */
export interface AlertNotice {
  readonly namespace: string
  readonly rule: string
  readonly pool?: string
  /** With `isolated`: who lost Redis, by its name in the monitoring. */
  readonly process?: AlertingProcess
  readonly state: 'firing' | 'ok'
  readonly value: number
  readonly threshold: number
  /** In words; `text` is the same, where chat systems look for it. */
  readonly message: string
  readonly text: string
  /** ISO 8601: since when it is so. */
  readonly since: string
  /** Equal for the beginning and the end of one alert, whoever tells of it; of `isolated` each process has its own. */
  readonly key: string
}
