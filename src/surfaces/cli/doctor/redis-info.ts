import { bytesText, type Check, checkOf } from './check.js'

const LEAST_VERSION = 7
const FULL_SHARE = 0.9
/** Connections that one more process makes. */
const CONNECTIONS = 2

type Info = ReadonlyMap<string, string>

/** What Redis tells of itself by `INFO`, judged. */
export function judgeInfo(info: Info): Check[] {
  return [version(info), role(info), memory(info), eviction(info), persistence(info), clients(info)]
}

function numberOf(info: Info, field: string): number {
  return Number(info.get(field) ?? 0)
}

function version(info: Info): Check {
  const check = checkOf('redis.version', 'version')
  const text = info.get('redis_version') ?? ''
  const fork = info.get('valkey_version') ?? info.get('dragonfly_version')
  const said =
    fork === undefined ? text : `${text} (compatible; ${info.get('server_name') ?? 'its own version'} ${fork})`
  if (text === '') return check.warning('Redis names no version', `Headgate needs what Redis ${LEAST_VERSION} can do`)
  return Number.parseInt(text, 10) >= LEAST_VERSION
    ? check.ok(said)
    : check.problem(`${said}: too old`, `install Redis ${LEAST_VERSION} or newer: the script needs it`)
}

function role(info: Info): Check {
  const check = checkOf('redis.role', 'role')
  if (info.get('role') === 'slave') {
    const master = `${info.get('master_host')}:${info.get('master_port')}`
    return check.problem('a replica, which takes no writes', `connect to its primary, ${master}`)
  }
  if (info.get('cluster_enabled') === '1') {
    const advice =
      'it works only while this one node holds all slots: otherwise give Headgate a Redis of its own, outside a cluster'
    return check.warning('a node of a cluster', advice)
  }
  return check.ok(`primary, ${numberOf(info, 'connected_slaves')} replicas`)
}

function memory(info: Info): Check {
  const check = checkOf('redis.memory', 'memory')
  const used = numberOf(info, 'used_memory')
  const most = numberOf(info, 'maxmemory')
  if (most === 0) return check.ok(`${bytesText(used)} used, no maxmemory`)
  const said = `${bytesText(used)} used of maxmemory ${bytesText(most)}`
  if (used < most * FULL_SHARE) return check.ok(said)
  const advice =
    'raise maxmemory, or give Headgate a Redis of its own: a full Redis refuses writes, and then nothing is granted'
  return used < most ? check.warning(said, advice) : check.problem(said, advice)
}

/** Every key of Headgate's has a time to live, so that the volatile policies choose them too. */
function eviction(info: Info): Check {
  const check = checkOf('redis.eviction', 'eviction policy')
  const policy = info.get('maxmemory_policy') ?? 'noeviction'
  const evicted = numberOf(info, 'evicted_keys')
  const said = evicted > 0 ? `${policy}, ${evicted} keys evicted so far` : policy
  if (policy === 'noeviction') return check.ok(said)
  const advice =
    'CONFIG SET maxmemory-policy noeviction (and in redis.conf): an evicted window is forgotten, and the limit is broken'
  return numberOf(info, 'maxmemory') === 0
    ? check.warning(`${said}, without effect while there is no maxmemory`, advice)
    : check.problem(said, advice)
}

function persistence(info: Info): Check {
  const check = checkOf('redis.persistence', 'persistence')
  if (info.get('loading') === '1') return check.problem('loading its data', 'wait until it is done')
  const failed = info.get('rdb_last_bgsave_status') === 'err' || info.get('aof_last_write_status') === 'err'
  if (failed) {
    const advice = 'look into its log (a full disk?): by default Redis then refuses all writes'
    return check.problem('the last write to its disk failed', advice)
  }
  if (info.get('aof_enabled') === '1') return check.ok('append-only file')
  const saved = numberOf(info, 'rdb_saves') > 0
  return check.ok(saved ? 'snapshots' : 'none seen: after a restart the fleet learns its state from its processes')
}

function clients(info: Info): Check {
  const check = checkOf('redis.clients', 'connections')
  const connected = numberOf(info, 'connected_clients')
  const most = numberOf(info, 'maxclients')
  if (most === 0) return check.ok(`${connected}`)
  const said = `${connected} of maxclients ${most}`
  const advice = `raise maxclients: each process makes ${CONNECTIONS} connections`
  if (connected + CONNECTIONS > most) return check.problem(said, advice)
  return connected > most * FULL_SHARE ? check.warning(said, advice) : check.ok(said)
}
