import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'

const scratch = Buffer.alloc(36)

/** A random UUID in one piece: Node's is a rope of its parts, and weighs ten times as much for as long as it is kept. */
export function newRequestId(): string {
  scratch.write(randomUUID(), 'latin1')
  return scratch.toString('latin1')
}
