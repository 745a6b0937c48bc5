// The one command of the README: installs and builds what is missing, then shows the demo. stdout is the demo's alone.
import { ensureInstalled, requireNode, run } from './setup.mjs'

requireNode()
ensureInstalled()
const built = run('npm', ['run', '--silent', 'build', '--', '--logLevel', 'error'], {
  stdio: ['ignore', process.stderr, process.stderr],
})
process.exitCode = built === 0 ? run(process.execPath, ['dist/cli.js', 'demo', ...process.argv.slice(2)]) : built
