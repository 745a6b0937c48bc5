import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { azure } from '../../src/providers/azure.js'
import { openrouter } from '../../src/providers/openrouter.js'
import { explainRedisFailure } from '../../src/surfaces/cli/doctor/redis-failure.js'
import { judgeInfo } from '../../src/surfaces/cli/doctor/redis-info.js'
import { scrub, secretsOf } from '../../src/surfaces/cli/doctor/secrets.js'

const HEALTHY = {
  redis_version: '7.2.4',
  role: 'master',
  connected_slaves: '1',
  cluster_enabled: '0',
  used_memory: '1048576',
  maxmemory: '0',
  maxmemory_policy: 'noeviction',
  loading: '0',
  rdb_last_bgsave_status: 'ok',
  aof_enabled: '1',
  connected_clients: '10',
  maxclients: '10000',
}

function verdictOf(id: string, changes: Record<string, string>): string | undefined {
  const checks = judgeInfo(new Map(Object.entries({ ...HEALTHY, ...changes })))
  const others = checks.filter((check) => check.id !== id && check.status !== 'ok')
  expect(others.map((check) => check.id)).toEqual([])
  const check = checks.find((one) => one.id === id)
  return check && `${check.status}: ${check.said}`
}

describe('what Redis tells of itself', () => {
  it.each([
    ['redis.version', {}, 'ok: 7.2.4'],
    ['redis.version', { redis_version: '6.2.14' }, 'problem: 6.2.14: too old'],
    ['redis.version', { valkey_version: '8.0.1', server_name: 'valkey' }, 'ok: 7.2.4 (compatible; valkey 8.0.1)'],
    ['redis.role', { role: 'slave', master_host: 'a', master_port: '1' }, 'problem: a replica, which takes no writes'],
    ['redis.role', { cluster_enabled: '1' }, 'warning: a node of a cluster'],
    ['redis.memory', { maxmemory: '1100000' }, 'warning: 1.0 MiB used of maxmemory 1.0 MiB'],
    ['redis.memory', { maxmemory: '1000000' }, 'problem: 1.0 MiB used of maxmemory 1.0 MiB'],
    [
      'redis.eviction',
      { maxmemory_policy: 'allkeys-lru' },
      'warning: allkeys-lru, without effect while there is no maxmemory',
    ],
    [
      'redis.eviction',
      { maxmemory_policy: 'volatile-ttl', maxmemory: '9000000', evicted_keys: '3' },
      'problem: volatile-ttl, 3 keys evicted so far',
    ],
    [
      'redis.persistence',
      { aof_enabled: '0', rdb_last_bgsave_status: 'err' },
      'problem: the last write to its disk failed',
    ],
    ['redis.persistence', { loading: '1' }, 'problem: loading its data'],
    ['redis.clients', { connected_clients: '9500' }, 'warning: 9500 of maxclients 10000'],
    ['redis.clients', { connected_clients: '9999' }, 'problem: 9999 of maxclients 10000'],
  ])('%s with %j is %s', (id, changes, expected) => {
    expect(verdictOf(id, changes)).toBe(expected)
  })
})

describe('why Redis will not connect', () => {
  /** Something that answers the first bytes with these. */
  async function portAnswering(answer: Buffer | string): Promise<number> {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.once('data', () => socket.end(answer))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    return (server.address() as { port: number }).port
  }

  it.each([
    ['a TLS port', false, Buffer.from([0x15, 3, 3, 0, 2, 2, 10]), 'it speaks TLS', 'rediss://'],
    ['a port without TLS', true, '+PONG\r\n', 'a plain PING', 'redis:// instead'],
    ['protected mode', false, '-DENIED Redis is running in protected mode', 'protected mode', 'requirepass'],
    ['a web server', false, 'HTTP/1.1 400 Bad Request\r\n\r\n', 'a web server', 'port'],
    ['something else', false, 'SSH-2.0-x', 'not as Redis: "SSH-2.0-x"', 'REDIS_URL'],
  ])('is found out by what answers there: %s', async (_, tls, answer, said, advice) => {
    const cause = Object.assign(new Error(tls ? 'connect ETIMEDOUT' : 'write EPIPE'), {
      code: tls ? 'ETIMEDOUT' : 'EPIPE',
    })
    const explained = await explainRedisFailure(cause, { host: '127.0.0.1', port: await portAnswering(answer), tls })
    expect(explained.said).toContain(said)
    expect(explained.advice).toContain(advice)
  })

  it.each([
    [Object.assign(new Error('getaddrinfo ENOTFOUND nowhere'), { code: 'ENOTFOUND' }), 'the host name leads nowhere'],
    [new AggregateError([Object.assign(new Error('x'), { code: 'ECONNREFUSED' })]), 'nothing listens there'],
    [new Error('self-signed certificate'), 'its TLS certificate is not trusted'],
  ])('is found out by the error: %s', async (cause, said) => {
    expect((await explainRedisFailure(cause, { host: 'nowhere', port: 1, tls: false })).said).toContain(said)
  })
})

describe('secrets', () => {
  it('are taken out of whatever is printed, longest first', () => {
    const secrets = secretsOf(
      { redis: 'redis://u:p%40ss@h:1', pools: { p: { provider: 'glm', apiKey: 'key-1234' } } },
      { OPENAI_API_KEY: 'key-1234-long', HEADGATE_API_KEYS: 'aaaa,bbbb', HOME: '/root', REDIS_URL: 'redis://:other@h' },
    )
    const text = 'key-1234-long key-1234 p@ss p%40ss aaaa bbbb other /root'
    expect(scrub(text, secrets)).toBe('[secret] [secret] [secret] [secret] [secret] [secret] [secret] /root')
  })
})

describe('where a key can be tried for nothing', () => {
  it('is the resource at Azure, and the key itself at OpenRouter, whose models are public', () => {
    const deployment = 'https://r.openai.azure.com/openai/deployments/d?api-version=1'
    expect(azure.keyUrl?.(deployment)).toBe('https://r.openai.azure.com/openai/models?api-version=1')
    expect(azure.keyUrl?.('https://r.openai.azure.com/openai/v1')).toBe('https://r.openai.azure.com/openai/v1/models')
    expect(openrouter.keyUrl?.('https://openrouter.ai/api/v1')).toBe('https://openrouter.ai/api/v1/key')
  })
})
