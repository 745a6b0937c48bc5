import { QUESTIONS } from '../questions/index.js'

interface Job {
  readonly question: string
  readonly task: string
  readonly args: never
}

async function run({ question, task, args }: Job): Promise<unknown> {
  const found = QUESTIONS.find(({ name }) => name === question)?.tasks?.[task]
  if (!found) throw new Error(`${question} has no task ${task}`)
  return found(args)
}

// Nobody would take the answer.
process.once('disconnect', () => process.exit(1))
process.once('message', (job: Job) => {
  run(job)
    .then(
      (value) => ({ value }),
      (error: unknown) => ({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
    .then((answer) => process.send?.(answer, () => process.exit(0)))
})
