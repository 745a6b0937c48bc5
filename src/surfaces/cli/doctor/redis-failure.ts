import { connect } from 'node:net'

/** Where Redis is meant to be; enough to say what is wrong there, and no password. */
export interface RedisAddress {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly path?: string | undefined
}

const RAW_LIMIT_MS = 2_000
const TLS_ALERT = 0x15
const SHAPE = 'redis://[user][:password]@host:port/0, special characters of the password percent-encoded'

/** Why Redis can't be used, in words, from its first error; where that says little, from what answers at its port. */
export async function explainRedisFailure(cause: unknown, at: RedisAddress): Promise<{ said: string; advice: string }> {
  const { code = '', message = '' } = firstErrorOf(cause)
  // A Redis without TLS lets a handshake hang: that is no matter of the network.
  const isSilent = at.tls && code === 'ETIMEDOUT'
  const known = isSilent ? undefined : KNOWN.find(({ pattern }) => pattern.test(`${code} ${message}`))
  const where = at.path ?? `${at.host}:${at.port}`
  if (known) return { said: `${where}: ${known.said}`, advice: known.advice(at) }
  const answer = await rawAnswer(at)
  const heard = KNOWN.find(({ pattern }) => pattern.test(answer))
  if (heard) return { said: `${where}: ${heard.said}`, advice: heard.advice(at) }
  const said =
    answer === '' ? message || 'no answer' : `it answers, but not as Redis: ${JSON.stringify(answer.slice(0, 60))}`
  return { said: `${where}: ${said}`, advice: `check that a Redis listens there and that REDIS_URL reads ${SHAPE}` }
}

interface Known {
  readonly pattern: RegExp
  readonly said: string
  advice(at: RedisAddress): string
}

const KNOWN: readonly Known[] = [
  {
    pattern: /ECONNREFUSED/,
    said: 'nothing listens there (connection refused)',
    advice: ({ host, port }) =>
      /^(127\.|localhost$|::1$)/.test(host)
        ? `start redis-server on port ${port}, or correct host and port in REDIS_URL; inside a container ${host} is the container itself`
        : `correct host and port in REDIS_URL, and check that Redis binds to that address (its "bind" setting)`,
  },
  {
    pattern: /ENOTFOUND|EAI_AGAIN/,
    said: 'the host name leads nowhere',
    advice: () => 'correct the host in REDIS_URL; of a container or a service, check that both share a network',
  },
  {
    pattern: /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/,
    said: 'no way there (the connection timed out)',
    advice: () => 'a firewall, a security group or a wrong address: allow this machine, or correct REDIS_URL',
  },
  {
    pattern: /ENOENT|EACCES/,
    said: "the socket can't be opened",
    advice: () => 'correct the path, or its permissions',
  },
  {
    pattern: /WRONGPASS|invalid password/,
    said: 'wrong password, or a user that does not exist',
    advice: () => `correct the password in REDIS_URL: ${SHAPE}; without a user it is that of "default"`,
  },
  {
    pattern: /NOAUTH/,
    said: 'Redis asks for a password, and none is given',
    advice: () => 'put it before the @ in REDIS_URL: redis://:password@host:port/0',
  },
  {
    pattern: /max number of clients/,
    said: 'Redis takes no more connections (maxclients is reached)',
    advice: () => 'raise maxclients, or close what holds connections: redis-cli CLIENT LIST names them',
  },
  {
    pattern: /DENIED|protected mode/,
    said: 'Redis is in protected mode and takes connections from its own machine only',
    advice: () => 'give it a password (requirepass) and an address to bind to',
  },
  {
    pattern: /DB index/,
    said: 'there is no such database',
    advice: () => 'correct the number at the end of REDIS_URL',
  },
  {
    pattern: /WRONG_VERSION_NUMBER|wrong version number|packet length too long/i,
    said: 'it does not speak TLS',
    advice: () => 'write redis:// instead of rediss:// in REDIS_URL',
  },
  {
    pattern: /certificate|CERT_|self.signed/i,
    said: 'its TLS certificate is not trusted',
    advice: () => 'name its authority in NODE_EXTRA_CA_CERTS, or in tls.ca of the ioredis options',
  },
  {
    pattern: /TLS-ALERT/,
    said: 'it speaks TLS, and REDIS_URL does not',
    advice: () => 'write rediss:// instead of redis:// in REDIS_URL',
  },
  {
    pattern: /PONG/,
    said: "it answers to a plain PING, but a gate can't log in",
    advice: ({ tls }) => (tls ? 'write redis:// instead of rediss:// in REDIS_URL' : `check REDIS_URL: ${SHAPE}`),
  },
  {
    pattern: /HTTP\//,
    said: 'a web server answers there, not Redis',
    advice: () => 'correct the port in REDIS_URL',
  },
  {
    pattern: /LOADING/,
    said: 'Redis is still loading its data',
    advice: () => 'wait until it is done: redis-cli INFO persistence says how far it is',
  },
]

/** A refused dual-stack connection is an AggregateError with an empty message; ours has Redis's as its cause. */
function firstErrorOf(cause: unknown): { readonly code?: string; readonly message?: string } {
  if (cause instanceof AggregateError) return firstErrorOf(cause.errors[0])
  return cause instanceof Error ? (cause as NodeJS.ErrnoException) : { message: String(cause) }
}

/** What answers at the port to a PING, by a plain socket: '' for nothing. */
function rawAnswer({ host, port, path }: RedisAddress): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = path === undefined ? connect({ host, port }) : connect({ path })
    const end = () => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(RAW_LIMIT_MS, end)
    socket.on('connect', () => socket.write('PING\r\n'))
    socket.on('data', (bytes) => {
      answer = bytes[0] === TLS_ALERT ? 'TLS-ALERT' : bytes.toString('latin1').slice(0, 200)
      end()
    })
    socket.on('error', end).on('close', end)
  })
}
