import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'

const NEWLINE = 0x0a
const CHUNK_BYTES = 256 * 1024

export interface Line {
  /** From 1, blank lines included. */
  readonly number: number
  /** Without its line break, and no more of it than was asked for. */
  readonly bytes: Buffer
  /** Of the line as it stands in the file. */
  readonly totalBytes: number
  /** Whether a line break ends it: the last line of a file that was cut has none. */
  readonly whole: boolean
}

/**
 * The lines of a file, one at a time and in constant memory: of a line longer than `maxBytes` only its beginning is kept.
 * A reader that waits holds the file up.
 */
export async function* linesOf(path: string, maxBytes: number): AsyncGenerator<Line, void, undefined> {
  let number = 1
  let kept: Buffer[] = []
  let keptBytes = 0
  let totalBytes = 0
  const keep = (part: Buffer) => {
    totalBytes += part.length
    const room = maxBytes - keptBytes
    if (room <= 0 || part.length === 0) return
    kept.push(part.subarray(0, room))
    keptBytes += Math.min(room, part.length)
  }
  const take = (whole: boolean): Line => {
    const line = { number: number++, bytes: kept.length === 1 ? kept[0]! : Buffer.concat(kept), totalBytes, whole }
    kept = []
    keptBytes = 0
    totalBytes = 0
    return line
  }
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    let from = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      keep(chunk.subarray(from, end))
      from = end + 1
      yield take(true)
    }
    keep(chunk.subarray(from))
  }
  if (totalBytes > 0) yield take(false)
}

/** Nothing but spaces: no request, and no error either. */
export function isBlank({ bytes, totalBytes }: Line): boolean {
  return totalBytes === bytes.length && bytes.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d))
}

/** What tells a line from any other, as 16 hexadecimal digits. */
export function digestOf(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16)
}
