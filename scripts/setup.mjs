// What a fresh clone needs before anything else runs. Plain JavaScript, no dependency: nothing is installed yet.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

const MIN_NODE_MAJOR = 20

/** Ends the process with one clear line. */
function fail(message) {
  process.stderr.write(`headgate: ${message}\n`)
  process.exit(1)
}

/** Runs a command at the project's root and returns its exit code; its output is the terminal's unless told. */
export function run(command, args, options = {}) {
  const shell = process.platform === 'win32'
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', shell, ...options })
  if (error !== undefined) fail(`cannot run ${command}: ${error.message}`)
  return status ?? 1
}

export function requireNode() {
  const major = Number(process.versions.node.split('.')[0])
  if (major < MIN_NODE_MAJOR) fail(`Node ${MIN_NODE_MAJOR} or newer is needed, this is ${process.versions.node}`)
}

const QUIETLY = ['--include=dev', '--no-audit', '--no-fund', '--loglevel=error']

/** Installs what the lock file says, unless exactly that is installed. npm's own words go to stderr. */
export function ensureInstalled() {
  const reason = staleReason()
  if (reason === undefined) return
  process.stderr.write(`headgate: installing dependencies (${reason})…\n`)
  // A lock file written where the registry lacks other platforms' optional packages is refused by `npm ci` as incomplete.
  // `npm install` takes every version from it all the same, and the check after it holds it to that.
  if (run('npm', ['ci', ...QUIETLY], { stdio: 'ignore' }) !== 0) {
    process.stderr.write('headgate: npm ci refused the lock file, trying npm install --no-save…\n')
    const code = run('npm', ['install', '--no-save', ...QUIETLY], { stdio: ['ignore', process.stderr, process.stderr] })
    if (code !== 0) fail(`npm install failed with code ${code}`)
  }
  const left = staleReason()
  if (left !== undefined) fail(`what was installed differs from package-lock.json: ${left}`)
}

/** Why an install is needed; undefined when it is not. */
function staleReason() {
  const hidden = join(ROOT, 'node_modules', '.package-lock.json')
  if (!existsSync(hidden)) return 'none yet'
  const wanted = readPackages(join(ROOT, 'package-lock.json'))
  const installed = readPackages(hidden)
  for (const [path, { version, integrity, optional }] of wanted) {
    const found = installed.get(path)
    // An optional package may be for another platform.
    if (found === undefined && optional) continue
    if (found?.version !== version || found?.integrity !== integrity) return `${path} is not as locked`
  }
  for (const [path, { optional }] of installed) {
    if (!wanted.has(path) && !optional) return `${path} is not locked`
  }
  return undefined
}

function readPackages(file) {
  const { packages } = JSON.parse(readFileSync(file, 'utf8'))
  return new Map(Object.entries(packages).filter(([path]) => path !== ''))
}

/** The tests run against a real Redis, look at the dashboard in a real browser, and have Prometheus's own tool check. */
export function ensureTestTools() {
  const elsewhere = "'brew install redis' (macOS)"
  ensureTool('redis-server', ['redis-server'], `'apt-get install redis-server' (Debian) or ${elsewhere}`)
  ensureTool('chromium', ['chromium', 'chromium-browser', 'google-chrome'], "'apt-get install chromium' (Debian)")
  if (getTool('prometheus', ['promtool'])) return
  process.stderr.write("headgate: promtool is missing ('apt-get install prometheus'): its checks are left out\n")
}

function ensureTool(name, commands, hint) {
  if (!getTool(name, commands)) fail(`the tests need ${commands[0]} on PATH: ${hint}`)
}

/** Whether one of the commands is there; installs their package first where that needs nobody's password. */
function getTool(name, commands) {
  const isThere = () => commands.some((command) => isOnPath(command, ['--version']))
  if (isThere()) return true
  if (process.getuid?.() !== 0 || !isOnPath('apt-get', ['--version'])) return false
  process.stderr.write(`headgate: installing ${name} with apt-get…\n`)
  const stdio = ['ignore', process.stderr, process.stderr]
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  // An outdated list may still know the package, so a failed update alone is no reason to stop.
  run('apt-get', ['-qq', 'update'], { stdio, env })
  run('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', name], { stdio, env })
  return isThere()
}

function isOnPath(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}
