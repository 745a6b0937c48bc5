import { createHash } from 'node:crypto'
import type { DispatcherState } from '../../../machines/vocabulary.js'
import { type RedisConnection, redisErrorCode } from '../../limits/redis-store.js'
import type { Written } from './recorder.js'
import { replyOf } from './reply.js'
import saveScript from './save.lua'
import { addCounts, type Counts, type LivePool, newTally, type PoolTally } from './tally.js'

const SAVE_SHA = createHash('sha1').update(saveScript).digest('hex')
/** Who does not answer within this is dead, paused or cut off; what it wrote last counts all the same. */
const GATHER_MS = 200
const MINUTE_MS = 60_000

/** What a process is like at one moment, without its counts. */
export interface Alike {
  readonly name: string
  readonly host: string
  readonly pid: number
  readonly startedMs: number
  /** Of its dispatchers the one that is worst off. */
  readonly state: DispatcherState
  readonly pools: Readonly<Record<string, LivePool>>
}

export interface Member extends Alike {
  readonly seenMsAgo: number
}

export interface Fleet {
  readonly nowMs: number
  readonly totals: ReadonlyMap<string, PoolTally>
  readonly members: readonly Member[]
}

export type SaveReply =
  | { readonly nowMs: number; readonly type: 'saved' | 'new' }
  | { readonly nowMs: number; readonly type: 'folded'; readonly counted: Readonly<Record<string, Counts>> }

/** What the fleet counted, in Redis. Rejects when Redis can't be reached. */
export class FleetBook {
  readonly #connection: RedisConnection
  readonly #prefix: string
  readonly #id: string
  readonly #ask: string
  readonly #told: string
  #generation = 0
  #asked = 0
  /** How many have answered a question of ours, and who waits for them. */
  readonly #answers = new Map<string, { count: number; onAnswer: () => void }>()
  readonly #onTold = (question: string) => {
    const answers = this.#answers.get(question)
    if (!answers) return
    answers.count++
    answers.onAnswer()
  }
  readonly #onAsk: (message: string) => void

  /** `flush` writes all that is counted and not written; called whenever somebody asks. */
  constructor(connection: RedisConnection, namespace: string, id: string, flush: () => Promise<boolean>) {
    this.#connection = connection
    this.#prefix = `{${namespace}:monitor}:`
    this.#id = id
    this.#ask = `${this.#prefix}ask`
    this.#told = `${this.#prefix}told:${id}`
    this.#onAsk = async (message) => {
      const space = message.indexOf(' ')
      if (await flush()) await this.#publish(message.slice(0, space), message.slice(space + 1)).catch(() => {})
    }
    void connection.hear(this.#ask, this.#onAsk)
  }

  get reachable(): boolean {
    return this.#connection.commands.status === 'ready'
  }

  /** Goes on as somebody new: what was counted so far counts for one who is gone. */
  nextGeneration(): void {
    this.#generation++
  }

  /** `alike` undefined: the process leaves. */
  async save(alike: Alike | undefined, written: readonly Written[]): Promise<SaveReply> {
    const args = [`${this.#id}.${this.#generation}`, this.#id, alike ? JSON.stringify(alike) : '']
    for (const { pool, minute, tally } of written) args.push(String(minute ?? ''), pool, JSON.stringify(tally))
    const { commands } = this.#connection
    const run = async () => {
      try {
        return await commands.evalsha(SAVE_SHA, 1, `${this.#prefix}totals`, ...args)
      } catch (error) {
        if (redisErrorCode(error) !== 'NOSCRIPT') throw error
        return commands.eval(saveScript, 1, `${this.#prefix}totals`, ...args)
      }
    }
    const [nowMs, type, counted] = (await this.#reply(run)) as [number, SaveReply['type'], string]
    return type === 'folded' ? { nowMs, type, counted: JSON.parse(counted) } : { nowMs, type }
  }

  /** Has every living process write what it counted, so that what is read next is complete. Rejects with the connection. */
  async gather(): Promise<void> {
    const question = String(++this.#asked)
    let settle = () => {}
    const settled = new Promise<void>((resolve) => {
      settle = resolve
    })
    let expected = Number.POSITIVE_INFINITY
    const answers = {
      count: 0,
      onAnswer: () => {
        if (answers.count >= expected) settle()
      },
    }
    this.#answers.set(question, answers)
    const timer = setTimeout(settle, GATHER_MS)
    try {
      if (!this.#connection.hears(this.#told)) await this.#connection.hear(this.#told, this.#onTold)
      expected = await this.#publish(this.#ask, `${this.#told} ${question}`)
      answers.onAnswer()
      await settled
    } finally {
      clearTimeout(timer)
      this.#answers.delete(question)
    }
  }

  async read(): Promise<Fleet> {
    const { commands } = this.#connection
    const replies = await this.#reply(() =>
      commands
        .multi()
        .time()
        .hgetall(`${this.#prefix}totals`)
        .hgetall(`${this.#prefix}seen`)
        .zrange(`${this.#prefix}at`, '0', '-1', 'WITHSCORES')
        .exec(),
    )
    const [time, totals, seen, at] = repliesOf(replies) as [[string, string], Texts, Texts, string[]]
    const nowMs = Number(time[0]) * 1000 + Math.floor(Number(time[1]) / 1000)
    const members: Member[] = []
    for (let i = 0; i < at.length; i += 2) {
      const alike = seen[at[i]!]
      if (alike) members.push({ ...(JSON.parse(alike) as Alike), seenMsAgo: nowMs - Number(at[i + 1]) })
    }
    return { nowMs, totals: sumsOf(totals), members }
  }

  /** The tallies by minute since 1970, of `count` minutes up to the current one. */
  async readMinutes(count: number): Promise<{ nowMs: number; minutes: Map<number, Map<string, PoolTally>> }> {
    const { commands } = this.#connection
    const [seconds] = (await this.#reply(() => commands.time())) as unknown as [string, string]
    const nowMs = Number(seconds) * 1000
    const last = Math.floor(nowMs / MINUTE_MS)
    const pipeline = commands.pipeline()
    for (let minute = last - count + 1; minute <= last; minute++) pipeline.hgetall(`${this.#prefix}m:${minute}`)
    const hashes = repliesOf(await this.#reply(() => pipeline.exec())) as Texts[]
    return { nowMs, minutes: new Map(hashes.map((hash, index) => [last - count + 1 + index, sumsOf(hash)])) }
  }

  async close(): Promise<void> {
    await this.#connection.unhear(this.#ask, this.#onAsk)
    await this.#connection.unhear(this.#told, this.#onTold)
  }

  #publish(channel: string, message: string): Promise<number> {
    return this.#reply(() => this.#connection.commands.publish(channel, message))
  }

  #reply<T>(run: () => Promise<T>): Promise<T> {
    return replyOf(this.#connection, run)
  }
}

type Texts = Record<string, string>

function repliesOf(replies: [Error | null, unknown][] | null): unknown[] {
  return (replies ?? []).map(([error, value]) => {
    if (error) throw error
    return value
  })
}

/** By pool, over all processes. */
function sumsOf(hash: Texts): Map<string, PoolTally> {
  const sums = new Map<string, PoolTally>()
  for (const [field, tally] of Object.entries(hash)) {
    const pool = field.slice(field.indexOf('|') + 1)
    const sum = sums.get(pool) ?? newTally()
    addCounts(sum as Counts, JSON.parse(tally) as Counts)
    sums.set(pool, sum)
  }
  return sums
}
