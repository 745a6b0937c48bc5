import { type DestinationStream, type Logger, pino } from 'pino'
import type { GateLogger } from '../config.js'
import { HeadgateError } from '../errors.js'
import type { GateEmitter } from '../events.js'

export type { Logger }

/** More is written before the turn ends. */
const MAX_HELD_BYTES = 8 * 1024

/** A logger on stderr: stdout belongs to a command's result. */
export function createLogger(level = process.env.HEADGATE_LOG_LEVEL ?? 'info'): Logger {
  if (level !== 'silent' && !Object.hasOwn(pino.levels.values, level)) {
    const known = [...Object.keys(pino.levels.values), 'silent'].join(', ')
    throw new HeadgateError('CONFIG_INVALID', `HEADGATE_LOG_LEVEL: expected one of ${known}, got "${level}"`)
  }
  return pino({ name: 'headgate', level }, onceATurn())
}

/** Lines of one turn of the event loop are written together, at its end: a system call a line is dear to who serves thousands. */
function onceATurn(): DestinationStream & { flushSync(): void } {
  const stderr = pino.destination({ fd: 2, sync: true, minLength: MAX_HELD_BYTES })
  const flushSync = () => stderr.flushSync()
  let isHeld = false
  const flush = () => {
    isHeld = false
    stderr.flush()
  }
  process.on('exit', flushSync)
  return {
    write(line) {
      stderr.write(line)
      if (isHeld) return
      isHeld = true
      setImmediate(flush)
    },
    flushSync,
  }
}

const LOUD: ReadonlySet<string> = new Set(['fenced', 'clock-distrusted', 'limit-differs', 'config-differs'])

/** Logs the gate's life: one line a request at info, transitions at debug. Events carry no prompt and no key. */
export function logEvents(events: GateEmitter, logger: GateLogger): void {
  events.on('transition', (event) => logger.debug(event, 'transition'))
  // A provider's words may quote the prompt, or the key.
  events.on('attempt-failed', ({ message, ...event }) => logger.warn(event, 'attempt failed'))
  events.on('outcome', (event) => logger.info(event, 'request done'))
  events.on('dispatcher', ({ cause, ...event }) => {
    const loud = event.state === 'isolated' || LOUD.has(event.type)
    const reason = cause instanceof Error ? cause.message : undefined
    logger[loud ? 'warn' : 'debug']({ ...event, reason }, `dispatcher ${event.type}`)
  })
}
