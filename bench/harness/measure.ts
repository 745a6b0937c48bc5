import { startRedisServer } from '../../src/testing/redis-server.js'
import { inChild } from './child.js'
import type { Bench, Case, Metrics, Question } from './question.js'
import { median } from './stats.js'

export interface Asked {
  readonly root: string
  readonly worker: string
  readonly peers: () => Promise<string>
  readonly quick: boolean
  readonly runs: number
  readonly seconds: number
  readonly trace: string | undefined
  readonly profile: string | undefined
}

/** Over all runs of a case. */
export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

export interface Measured {
  readonly name: string
  readonly side: Case['side']
  readonly runs: readonly Metrics[]
  readonly metrics: Readonly<Record<string, Spread>>
}

export interface Result {
  readonly name: string
  readonly what: string
  readonly meaning: Question['metrics']
  readonly overrun: Question['overrun']
  readonly cases: readonly Measured[]
  /** `met` is null where a case that it needs was left out. */
  readonly goals: readonly { readonly what: string; readonly value: number; readonly met: boolean | null }[]
}

/** Runs the cases of a question in turn, as often as asked, so that what the machine does besides hits all of them alike. */
export async function measure(question: Question, part: string, asked: Asked): Promise<Result> {
  const cases = question.cases.filter(({ name }) => name.includes(part))
  if (cases.length === 0)
    throw new Error(
      `${question.name}: expected a part of one of ${question.cases.map((its) => its.name).join(' | ')}, got ${part}`,
    )
  const bench = benchOf(question, asked)
  const runs = new Map<string, Metrics[]>(cases.map(({ name }) => [name, []]))
  for (let run = 1; run <= asked.runs; run++) {
    for (const { name, run: measureOnce } of cases) {
      process.stderr.write(`${question.name}, run ${run} of ${asked.runs}: ${name}…\n`)
      runs.get(name)!.push(await measureOnce(bench))
    }
  }
  const measured = cases.map(({ name, side }) => summary(name, side, runs.get(name)!))
  const look = (name: string, metric: string) =>
    measured.find((its) => its.name === name)?.metrics[metric]?.median ?? Number.NaN
  const goals = question.goals.map(({ what, value, atLeast, atMost }) => {
    const got = value(look)
    const met = Number.isNaN(got) ? null : got >= (atLeast ?? got) && got <= (atMost ?? got)
    return { what, value: got, met }
  })
  const { name, what, metrics: meaning, overrun } = question
  return { name, what, meaning, overrun, cases: measured, goals }
}

function benchOf({ name: question }: Question, { root, worker, peers, quick, seconds, trace, profile }: Asked): Bench {
  const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
  return {
    root,
    quick,
    seconds,
    trace,
    peers,
    child: (task, args) => inChild(worker, { question, task, args }, flags),
    async withRedis(use) {
      const server = await startRedisServer()
      try {
        return await use(server)
      } finally {
        await server.stop()
      }
    },
  }
}

function summary(name: string, side: Case['side'], runs: readonly Metrics[]): Measured {
  const metrics: Record<string, Spread> = {}
  for (const metric of new Set(runs.flatMap((run) => Object.keys(run)))) {
    const values = runs.map((run) => run[metric] ?? Number.NaN)
    metrics[metric] = { median: median(values), least: Math.min(...values), most: Math.max(...values) }
  }
  return { name, side, runs, metrics }
}
