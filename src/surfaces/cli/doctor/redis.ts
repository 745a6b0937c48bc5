import type { FleetObserver } from '../../../observer.js'
import { type Check, checkOf, msText, within } from './check.js'
import { explainRedisFailure } from './redis-failure.js'
import { judgeInfo } from './redis-info.js'

const CONNECT_LIMIT_MS = 5_000
const STEP_LIMIT_MS = 5_000
const ROUNDS = 20
const SLOW_MS = 20
const VERY_SLOW_MS = 100
/** Dates that providers name are read by this machine's clock. */
const CLOCK_OFF_MS = 2_000

/** What Redis can do for a fleet, check by check. Without a connection there is but one. */
export async function checkRedis(observer: FleetObserver, namespace: string): Promise<readonly Check[]> {
  const { health } = observer
  const reach = checkOf('redis.connect', 'connection')
  const { host, port, tls, path } = health.address
  try {
    await health.connect(CONNECT_LIMIT_MS)
  } catch (cause) {
    const { said, advice } = await explainRedisFailure(cause, health.address)
    return [reach.problem(said, advice)]
  }
  const info = await step('redis.info', 'INFO', async () => judgeInfo(await health.info()))
  const pace = await step('redis.latency', 'latency', async () => {
    const { medianMs, worstMs, aheadMs } = await health.pace(ROUNDS)
    return [latency(medianMs, worstMs), clock(aheadMs)]
  })
  const script = await step('redis.scripts', 'scripts', async () => {
    await health.tryScript(namespace)
    await observer.tryScripts()
    return [checkOf('redis.scripts', 'scripts').ok('may run, with every command they use')]
  })
  const messages = await step('redis.messages', 'messages', async () => [wakeUps(await health.tryMessage(namespace))])
  return [reach.ok(`${path ?? `${host}:${port}`}${tls ? ' (TLS)' : ''}`), ...info, ...pace, ...script, ...messages]
}

/** One step with its own time limit; what Redis refuses becomes the verdict. */
async function step(id: string, title: string, look: () => Promise<Check[]>): Promise<Check[]> {
  try {
    return await within(STEP_LIMIT_MS, look())
  } catch (error) {
    return [refused(id, title, error)]
  }
}

function refused(id: string, title: string, error: unknown): Check {
  const check = checkOf(id, title)
  const message = String((error as Error).message)
  const [, command] = /NOPERM.*?'([\w|]+)' command/i.exec(message) ?? []
  // The second is what a script is told.
  if (/NOPERM|user executing the script/.test(message)) {
    const what = command === undefined ? 'the keys or channels it needs' : command.toUpperCase()
    const advice = 'ACL SETUSER <user> ~{*}:* &{*}:* +@all -@dangerous +info, or use another user'
    // Only INFO by itself can be missed: the script asks for it too, and is checked for itself.
    return id === 'redis.info'
      ? check.skipped(`this user may not run ${what}`)
      : check.problem(`this user may not use ${what}`, advice)
  }
  if (/unknown command/i.test(message)) {
    return check.problem(message, 'this Redis lacks a command (renamed, or a service that leaves it out): use another')
  }
  if (/OOM/.test(message)) return check.problem('Redis is full and refuses writes', 'raise maxmemory')
  if (/MISCONF/.test(message)) {
    return check.problem("Redis can't write to its disk, and refuses writes", 'look into its log: a full disk?')
  }
  if (/READONLY/.test(message)) return check.problem('a replica, which takes no writes', 'connect to the primary')
  if (/MOVED|CLUSTERDOWN|CROSSSLOT/.test(message)) {
    return check.problem('a cluster node that does not hold all slots', 'give Headgate a Redis outside the cluster')
  }
  if (/compiling script/.test(message)) {
    return check.problem(
      message,
      "this Redis doesn't take Headgate's scripts: use another version, and report this one",
    )
  }
  return check.problem(message, 'look into the log of Redis')
}

function latency(medianMs: number, worstMs: number): Check {
  const check = checkOf('redis.latency', 'latency')
  const said = `${msText(medianMs)} a round trip, at worst ${msText(worstMs)} of ${ROUNDS}`
  if (medianMs >= VERY_SLOW_MS)
    return check.problem(said, 'bring Redis near: each batch of grants waits for a round trip')
  if (medianMs >= SLOW_MS)
    return check.warning(said, 'bring Redis nearer, or see what slows it down: redis-cli SLOWLOG GET')
  if (worstMs >= VERY_SLOW_MS) {
    return check.warning(said, 'something stalls Redis or this machine now and then: redis-cli --latency, SLOWLOG GET')
  }
  return check.ok(said)
}

function clock(aheadMs: number): Check {
  const check = checkOf('redis.clock', 'clock')
  const said =
    Math.abs(aheadMs) < 1
      ? "as this machine's"
      : `${msText(Math.abs(aheadMs))} ${aheadMs > 0 ? 'ahead of' : 'behind'} this machine's`
  if (Math.abs(aheadMs) < CLOCK_OFF_MS) return check.ok(said)
  const advice =
    "run NTP on both: limits go by the clock of Redis alone and hold all the same, but resets that providers name as a date are read by this machine's"
  return check.warning(said, advice)
}

function wakeUps(arrived: boolean): Check {
  const check = checkOf('redis.messages', 'messages')
  return arrived
    ? check.ok('published and heard')
    : check.problem(
        'a published message is not heard',
        'allow this user the channels: ACL SETUSER <user> &{*}:* +@pubsub; until then grants of others wait for a timer',
      )
}
