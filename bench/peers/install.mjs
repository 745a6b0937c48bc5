// What only the bench needs, from its own lock file into a cache folder: users of Headgate never install a peer.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * Installs what `bench/peers/package-lock.json` of the project at `root` says, unless it's there already; returns the folder.
 */
export async function installPeers(root) {
  const source = join(root, 'bench', 'peers')
  const lock = await readFile(join(source, 'package-lock.json'))
  const version = createHash('sha256').update(lock).digest('hex').slice(0, 12)
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'headgate-bench')
  const home = join(cache, `peers-${version}`)
  if (existsSync(home)) return home
  process.stderr.write(`installing the peers into ${home}…\n`)
  await mkdir(cache, { recursive: true })
  // Beside it and then renamed: an install that was cut short is never taken for one.
  const unfinished = await mkdtemp(join(cache, 'unfinished-'))
  try {
    for (const file of ['package.json', 'package-lock.json']) await cp(join(source, file), join(unfinished, file))
    const args = ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel', 'error']
    const { status } = spawnSync('npm', args, { cwd: unfinished, stdio: ['ignore', 'ignore', 'inherit'] })
    if (status !== 0) throw new Error(`npm ${args.join(' ')} ended with ${status}`)
    // Another bench that was started at the same time may have been first; its install is the same.
    await rename(unfinished, home).catch((error) => {
      if (!existsSync(home)) throw error
    })
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
  return home
}
