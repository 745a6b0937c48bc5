import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface RedisServerOptions {
  password?: string
  /** Left out: a free one. */
  port?: number
  /** Further arguments of redis-server; they win over those set here. */
  args?: string[]
}

export interface RedisServer {
  /** With the password, ready for a client. */
  readonly url: string
  readonly port: number
  /** Its own directory, removed by `stop`. */
  readonly dir: string
  /** Changes with `restart`. */
  readonly pid: number
  /** Ends the server and removes its directory. Twice is once. */
  stop(): Promise<void>
  /** Sends a signal; resolves when the process is gone, or at once for SIGSTOP and SIGCONT. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** The same server on the same port, with what `args` had it write to its directory: by default nothing. */
  restart(): Promise<void>
}

interface Running {
  readonly child: ChildProcess
  readonly pid: number
  readonly exited: Promise<void>
  /** The end of what it printed, for error messages. */
  log(): string
  unwatch(): void
}

const BINARY = 'redis-server'
const HOST = '127.0.0.1'
const READY_LIMIT_MS = 10_000
const POLL_MS = 10
const PROBE_LIMIT_MS = 1000
/** Between finding a free port and Redis binding it, somebody else may take it. */
const MAX_PORT_ATTEMPTS = 5
const MAX_LOG_CHARS = 4096

/**
 * Starts a real `redis-server` on a loopback port, without persistence unless `args` ask for it, and waits until it
 * answers. It doesn't keep this process alive, and ends with it, however this process ends.
 */
export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-redis-'))
  try {
    for (let attempt = 1; ; attempt++) {
      const port = options.port ?? (await findFreePort())
      try {
        return createHandle(options, port, dir, await launch(options, port, dir))
      } catch (error) {
        const mayRetry = error instanceof PortTakenError && options.port === undefined && attempt < MAX_PORT_ATTEMPTS
        if (!mayRetry) throw error
      }
    }
  } catch (error) {
    await rm(dir, { recursive: true, force: true })
    throw error
  }
}

class PortTakenError extends Error {}

function createHandle(options: RedisServerOptions, port: number, dir: string, first: Running): RedisServer {
  let running = first
  let stopped = false
  const credentials = options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`
  const end = async () => {
    running.unwatch()
    await kill(running, 'SIGKILL')
  }
  return {
    url: `redis://${credentials}${HOST}:${port}`,
    port,
    dir,
    get pid() {
      return running.pid
    },
    async stop() {
      stopped = true
      await end()
      await rm(dir, { recursive: true, force: true })
    },
    kill: (signal = 'SIGKILL') => kill(running, signal),
    async restart() {
      if (stopped) throw new Error('this redis-server was stopped: start a new one')
      await end()
      running = await launch(options, port, dir)
    },
  }
}

async function kill({ child, exited }: Running, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal)
  if (signal === 'SIGSTOP' || signal === 'SIGCONT') return
  // Unreferenced children don't hold the event loop: hold it while somebody waits for this one's end.
  child.ref()
  await exited
}

/** Starts the process and waits until that very process answers. */
async function launch(options: RedisServerOptions, port: number, dir: string): Promise<Running> {
  const running = await spawnServer(redisArguments(options, port, dir), dir)
  const abandon = async (error: Error): Promise<never> => {
    running.unwatch()
    await kill(running, 'SIGKILL')
    throw error
  }
  let gone = false
  void running.exited.then(() => {
    gone = true
  })
  const limitMs = performance.now() + READY_LIMIT_MS
  while (performance.now() < limitMs) {
    if (gone) {
      const log = running.log()
      const message = `redis-server ended before it was ready on port ${port}:\n${log}`
      return abandon(log.includes('already in use') ? new PortTakenError(message) : new Error(message))
    }
    if (await answers(port, options.password, running.pid)) return running
    await sleep(POLL_MS)
  }
  return abandon(
    new Error(`redis-server did not answer on port ${port} within ${READY_LIMIT_MS} ms:\n${running.log()}`),
  )
}

function redisArguments({ password, args = [] }: RedisServerOptions, port: number, dir: string): string[] {
  return [
    ...['--port', String(port), '--bind', HOST, '--dir', dir],
    ...['--save', '', '--appendonly', 'no', '--daemonize', 'no'],
    ...(password === undefined ? [] : ['--requirepass', password]),
    ...args,
  ]
}

async function spawnServer(args: string[], dir: string): Promise<Running> {
  const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  let log = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-MAX_LOG_CHARS)
    })
  }
  try {
    await once(child, 'spawn')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new Error(`${BINARY} not found: install it with 'apt-get install redis-server' (Debian) or put it on PATH`, {
      cause: error,
    })
  }
  const pid = child.pid!
  const unwatch = watch(pid, dir)
  // Once it's gone its id may become a stranger's, whom the watcher must not kill.
  child.once('close', unwatch)
  unreference(child)
  return { child, pid, exited, log: () => log, unwatch }
}

/**
 * An 'exit' listener does not run when a process is killed. A pipe's other end always notices: this shell waits for its
 * input to end, which happens when this process is gone, and then ends the server and removes its directory. It sits in
 * a session of its own, so that Ctrl-C doesn't reach it first.
 */
function watch(pid: number, dir: string): () => void {
  const script = 'cat >/dev/null; kill -9 "$0" 2>/dev/null; rm -rf "$1"'
  const watcher = spawn('/bin/sh', ['-c', script, String(pid), dir], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  // Without a shell there's no watcher, and nothing else changes.
  watcher.on('error', () => {})
  unreference(watcher)
  return () => {
    if (watcher.pid === undefined) return
    // The whole session: the shell and its `cat`. Killing the shell alone would leave `cat` until the pipe ends.
    try {
      process.kill(-watcher.pid, 'SIGKILL')
    } catch {
      // It's gone already.
    }
  }
}

function unreference(child: ChildProcess): void {
  child.unref()
  for (const stream of [child.stdin, child.stdout, child.stderr]) {
    // A pipe's stream is a socket, whatever its type says.
    ;(stream as { unref?: () => void } | null)?.unref?.()
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/**
 * PING alone could be answered by a stranger that took the port first, so this also asks for the process id.
 * False for every failure: the caller asks again until its limit.
 */
function answers(port: number, password: string | undefined, pid: number): Promise<boolean> {
  const commands = [...(password === undefined ? [] : [['AUTH', password]]), ['PING'], ['INFO', 'server']]
  return new Promise((resolve) => {
    const socket = connect({ port, host: HOST })
    let reply = ''
    const end = (ready: boolean) => {
      socket.destroy()
      resolve(ready)
    }
    socket.setEncoding('utf8').setTimeout(PROBE_LIMIT_MS, () => end(false))
    socket.on('error', () => end(false)).on('close', () => end(false))
    socket.on('connect', () => socket.write(commands.map(encode).join('')))
    socket.on('data', (text) => {
      reply += text
      if (reply.includes('+PONG\r\n') && reply.includes(`process_id:${pid}\r\n`)) end(true)
      else if (/^-/m.test(reply) || /^process_id:/m.test(reply)) end(false)
    })
  })
}

/** RESP: an array of bulk strings, lengths in bytes. */
function encode(command: string[]): string {
  const parts = command.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`)
  return `*${command.length}\r\n${parts.join('')}`
}
