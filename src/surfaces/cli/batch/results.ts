import { type FileHandle, open, truncate } from 'node:fs/promises'
import { CliError } from '../errors.js'
import { DoneLines, TextSet } from './compact.js'
import { isTornResult, readResult } from './format.js'
import { linesOf } from './lines.js'

/** An answer is no longer than a string may be. */
const MAX_RESULT_BYTES = 256 * 1024 * 1024

/** What is in an output already. */
export interface Found {
  readonly done: DoneLines
  readonly takenIds: TextSet
  readonly answered: number
}

/**
 * Reads an output as far as it goes, and cuts off a last line that was torn when its writer was killed.
 * Throws a CliError where it holds anything but the results of a batch.
 */
export async function readResults(path: string): Promise<Found> {
  const done = new DoneLines()
  const takenIds = new TextSet()
  let answered = 0
  let wholeBytes = 0
  for await (const { number, bytes, totalBytes, whole } of linesOf(path, MAX_RESULT_BYTES)) {
    // Behind results it was ours, whatever is left of it; alone it may be somebody's file, which is not to be emptied.
    if (!whole && (number > 1 || isTornResult(bytes))) {
      await truncate(path, wholeBytes)
      break
    }
    wholeBytes += totalBytes + 1
    const result = whole ? readResult(bytes) : undefined
    if (!result) throw new CliError(`${path}:${number}: expected a result of a batch: name another output with -o`)
    if (!done.add(result.number, result.digest)) {
      throw new CliError(`${path}:${number}: the second result of one line of the input: name another output with -o`)
    }
    if (result.takenId !== undefined) takenIds.add(result.takenId)
    if (result.answered) answered++
  }
  return { done, takenIds, answered }
}

interface Append {
  readonly text: string
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Appends lines, those that come meanwhile in one write. Who waits for each bounds what is in memory. */
export class ResultWriter {
  #waiting: Append[] = []
  #writing: Promise<void> | undefined
  #broken: { readonly cause: unknown } | undefined

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
  ) {}

  static async open(path: string): Promise<ResultWriter> {
    const file = await open(path, 'a').catch((error) => {
      throw unwritable(path, error)
    })
    return new ResultWriter(path, file)
  }

  /** Resolves when the line is in the file: killed from then on, it stays. */
  append(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, resolve, reject })
      this.#writing ??= this.#write()
    })
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0)
      try {
        // A write that failed may have left half a line, to which nothing may be added.
        if (this.#broken) throw this.#broken.cause
        await this.file.appendFile(batch.map(({ text }) => text).join(''))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        this.#broken ??= { cause: unwritable(this.path, error as NodeJS.ErrnoException) }
        for (const { reject } of batch) reject(this.#broken.cause)
      }
    }
    this.#writing = undefined
  }

  /** What was appended is on the disk then. */
  async close(): Promise<void> {
    await this.#writing
    await this.file.datasync()
    await this.file.close()
  }
}

/** A disk may be full, a file another's: the file is what whoever reads it has to look at. */
function unwritable(path: string, { code, message }: NodeJS.ErrnoException): CliError {
  return new CliError(`${path}: can't be written: ${code ?? message}`)
}
