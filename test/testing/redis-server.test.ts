import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import ts from 'typescript'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type RedisServer, type RedisServerOptions, startRedisServer } from '../../src/testing/redis-server.js'

const servers: RedisServer[] = []
const clients: Redis[] = []

async function start(options?: RedisServerOptions): Promise<RedisServer> {
  const server = await startRedisServer(options)
  servers.push(server)
  return server
}

function connectTo(url: string): Redis {
  const client = new Redis(url, { retryStrategy: () => null, maxRetriesPerRequest: 0 })
  client.on('error', () => {})
  clients.push(client)
  return client
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect()
  await Promise.all(servers.splice(0).map((server) => server.stop()))
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('startRedisServer', () => {
  it('starts a real server on loopback that answers at once, and writes nothing to disk', async () => {
    const server = await start()
    expect(server.url).toBe(`redis://127.0.0.1:${server.port}`)
    const client = connectTo(server.url)
    expect(await client.set('key', 'value')).toBe('OK')
    expect(await client.config('GET', 'save')).toEqual(['save', ''])
    expect(await client.config('GET', 'appendonly')).toEqual(['appendonly', 'no'])
    expect(await client.config('GET', 'bind')).toEqual(['bind', '127.0.0.1'])
    expect(await client.config('GET', 'dir')).toEqual(['dir', server.dir])
    expect(await client.info('server')).toContain(`process_id:${server.pid}\r\n`)
  })

  it('asks for its password, whatever characters it has', async () => {
    const server = await start({ password: 'pä:ss/w@rd "1"' })
    expect(await connectTo(server.url).ping()).toBe('PONG')
    await expect(connectTo(`redis://127.0.0.1:${server.port}`).ping()).rejects.toThrow('NOAUTH')
  })

  it('passes further arguments on', async () => {
    const server = await start({ args: ['--maxmemory', '7mb'] })
    expect(await connectTo(server.url).config('GET', 'maxmemory')).toEqual(['maxmemory', String(7 * 1024 * 1024)])
  })

  it('runs several side by side', async () => {
    const [a, b] = await Promise.all([start(), start()])
    await connectTo(a.url).set('only-in', 'a')
    expect(await connectTo(b.url).get('only-in')).toBeNull()
  })

  it('stop ends the process and removes its directory; twice is once', async () => {
    const server = await start()
    expect([isAlive(server.pid), existsSync(server.dir)]).toEqual([true, true])
    await server.stop()
    expect([isAlive(server.pid), existsSync(server.dir)]).toEqual([false, false])
    await server.stop()
    await expect(server.restart()).rejects.toThrow('was stopped')
  })

  it('stop ends a frozen server too', async () => {
    const server = await start()
    await server.kill('SIGSTOP')
    expect(isAlive(server.pid)).toBe(true)
    await server.stop()
    expect(isAlive(server.pid)).toBe(false)
  })

  it('kill and restart: same address, new process, no memory', async () => {
    const server = await start()
    const { url, pid } = server
    await connectTo(url).set('key', 'value')
    await server.kill('SIGKILL')
    expect(isAlive(pid)).toBe(false)
    await expect(connectTo(url).ping()).rejects.toThrow()
    await server.restart()
    expect(server.pid).not.toBe(pid)
    expect(server.url).toBe(url)
    expect(await connectTo(url).get('key')).toBeNull()
  })

  it('keeps what it was told to keep', async () => {
    const server = await start({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    await connectTo(server.url).set('key', 'value')
    await server.kill('SIGKILL')
    await server.restart()
    expect(await connectTo(server.url).get('key')).toBe('value')
  })

  it('restarts a running server as well', async () => {
    const server = await start()
    const { pid } = server
    await server.restart()
    expect(isAlive(pid)).toBe(false)
    expect(await connectTo(server.url).ping()).toBe('PONG')
  })
})

describe('startRedisServer: what goes wrong', () => {
  it('says that a given port is taken, and removes what it made', async () => {
    const blocker = createServer().listen(0, '127.0.0.1')
    await once(blocker, 'listening')
    const { port } = blocker.address() as { port: number }
    await expect(startRedisServer({ port })).rejects.toThrow(
      /ended before it was ready on port \d+:[\s\S]*already in use/,
    )
    blocker.close()
  })

  it('is not fooled by another Redis on the port', async () => {
    const stranger = await start()
    await expect(startRedisServer({ port: stranger.port })).rejects.toThrow('already in use')
    expect(await connectTo(stranger.url).ping()).toBe('PONG')
  })

  it('shows what redis-server said of a bad argument', async () => {
    await expect(startRedisServer({ args: ['--no-such-thing', '1'] })).rejects.toThrow(/no-such-thing/)
  })

  it('says how to get a missing binary', async () => {
    vi.stubEnv('PATH', '/nonexistent')
    try {
      await expect(startRedisServer()).rejects.toThrow(
        "redis-server not found: install it with 'apt-get install redis-server' (Debian) or put it on PATH",
      )
    } finally {
      vi.unstubAllEnvs()
    }
  })
})

describe('startRedisServer: the end of its parent', () => {
  /** A process of its own that starts a server and says where. */
  async function startInChild(after: string) {
    const source = new URL('../../src/testing/redis-server.ts', import.meta.url)
    const { outputText } = ts.transpileModule(await readFile(source, 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
    })
    const home = await mkdtemp(join(tmpdir(), 'headgate-test-'))
    onTestFinished(() => rm(home, { recursive: true }))
    const compiled = join(home, 'redis-server.mjs')
    await writeFile(compiled, outputText)
    const script = `
      import { startRedisServer } from ${JSON.stringify(pathToFileURL(compiled).href)}
      const { pid, dir } = await startRedisServer()
      console.log(JSON.stringify({ pid, dir }))
      ${after}`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const exited = once(child, 'exit')
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    return { child, exited, ...(JSON.parse(line) as { pid: number; dir: string }) }
  }

  it('doesn’t keep its parent alive, and ends with it', async () => {
    const { exited, pid, dir } = await startInChild('')
    expect(await exited).toEqual([0, null])
    await vi.waitUntil(() => !isAlive(pid) && !existsSync(dir), { timeout: 10_000 })
    expect([isAlive(pid), existsSync(dir)]).toEqual([false, false])
  })

  it('ends with a parent that was killed', async () => {
    const { child, exited, pid, dir } = await startInChild('setInterval(() => {}, 1000)')
    expect(isAlive(pid)).toBe(true)
    child.kill('SIGKILL')
    await exited
    await vi.waitUntil(() => !isAlive(pid) && !existsSync(dir), { timeout: 10_000 })
    expect([isAlive(pid), existsSync(dir)]).toEqual([false, false])
  })
})
