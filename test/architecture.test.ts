import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cruise, type ICruiseResult, type IFlattenedRuleSet } from 'dependency-cruiser'
import { describe, expect, it, onTestFinished } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MAX_LINES = 320

interface Rule {
  readonly name: string
}
const config = createRequire(import.meta.url)('../.dependency-cruiser.cjs') as { forbidden: Rule[]; options: object }

/** The violations under a directory, as 'rule: from → to'. */
async function violationsIn(baseDir: string): Promise<{ violations: string[]; modules: number }> {
  const ruleSet = { forbidden: config.forbidden } as IFlattenedRuleSet
  const { output } = await cruise(['machines', 'src'], { ...config.options, ruleSet, validate: true, baseDir })
  const { summary, modules } = output as ICruiseResult
  return { violations: summary.violations.map((v) => `${v.rule.name}: ${v.from} → ${v.to}`), modules: modules.length }
}

async function filesUnder(folder: string): Promise<{ path: string; text: string }[]> {
  const names = await readdir(join(ROOT, folder), { recursive: true })
  const sources = names.filter((name) => /\.(ts|lua)$/.test(name)).map((name) => `${folder}/${name}`)
  return Promise.all(sources.map(async (path) => ({ path, text: await readFile(join(ROOT, path), 'utf8') })))
}

const lineCount = (text: string) => text.trimEnd().split('\n').length
const reexportsAll = (text: string) => /^\s*export\s+(type\s+)?\*/m.test(text)

describe('the house', () => {
  it('keeps to the dependency rules', async () => {
    const { violations, modules } = await violationsIn(ROOT)
    expect(violations).toEqual([])
    expect(modules).toBeGreaterThan(20)
  })

  it(`keeps every source file under ${MAX_LINES + 1} lines`, async () => {
    const files = [...(await filesUnder('src')), ...(await filesUnder('machines'))]
    const tooLong = files.map(({ path, text }) => ({ path, lines: lineCount(text) })).filter((f) => f.lines > MAX_LINES)
    expect(tooLong).toEqual([])
    expect(files.length).toBeGreaterThan(10)
    expect(lineCount('a\nb\nc\n')).toBe(3)
  })

  it('exports by name: no `export *`, no default export', async () => {
    const files = [...(await filesUnder('src')), ...(await filesUnder('machines'))]
    expect(files.filter(({ text }) => reexportsAll(text)).map(({ path }) => path)).toEqual([])
    const named = files.filter(({ path }) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    expect(named.filter(({ text }) => /^export default/m.test(text)).map(({ path }) => path)).toEqual([])
    expect(reexportsAll("import a from 'a'\nexport * from './b.js'")).toBe(true)
    expect(reexportsAll("export type * from './b.js'\n")).toBe(true)
  })
})

type House = Record<string, string>

/** Builds a small house in a directory of its own. */
async function violationsOf(house: House): Promise<string[]> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-house-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  for (const [path, text] of Object.entries({
    'machines/a.ts': 'export const a = 1',
    'src/b.ts': 'export const b = 1',
    ...house,
  })) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), text)
  }
  return (await violationsIn(dir)).violations
}

const leaf = 'export const x = 1\nexport type X = number\n'
const value = (path: string) => `import { x } from '${path}'\nexport const y = x\n`
const type = (path: string) => `import type { X } from '${path}'\nexport type Y = X\n`

/** For each rule a house that breaks it, and the violation that must be found. */
const PLANTED: Record<string, [House, string]> = {
  'machines-are-pure': [{ 'machines/m.ts': value('../src/b.js') }, 'machines/m.ts → src/b.ts'],
  'stages-know-no-root': [
    { 'src/headgate.ts': leaf, 'src/intake/i.ts': type('../headgate.js') },
    'src/intake/i.ts → src/headgate.ts',
  ],
  'one-composition-root': [
    { 'src/limits/l.ts': leaf, 'src/config.ts': value('./limits/l.js') },
    'src/config.ts → src/limits/l.ts',
  ],
  'intake-knows-nothing-upstream': [
    { 'src/http/h.ts': leaf, 'src/intake/i.ts': type('../http/h.js') },
    'src/intake/i.ts → src/http/h.ts',
  ],
  'request-knows-nothing-upstream': [
    { 'src/intake/i.ts': leaf, 'src/request/r.ts': type('../intake/i.js') },
    'src/request/r.ts → src/intake/i.ts',
  ],
  'answers-knows-nothing-upstream': [
    { 'src/request/r.ts': leaf, 'src/answers/a.ts': type('../request/r.js') },
    'src/answers/a.ts → src/request/r.ts',
  ],
  'dispatch-knows-nothing-upstream': [
    { 'src/request/r.ts': leaf, 'src/dispatch/d.ts': value('../request/r.js') },
    'src/dispatch/d.ts → src/request/r.ts',
  ],
  'limits-knows-nothing-upstream': [
    { 'src/dispatch/d.ts': leaf, 'src/limits/l.ts': type('../dispatch/d.js') },
    'src/limits/l.ts → src/dispatch/d.ts',
  ],
  'providers-knows-nothing-upstream': [
    { 'src/limits/l.ts': leaf, 'src/providers/p.ts': value('../limits/l.js') },
    'src/providers/p.ts → src/limits/l.ts',
  ],
  'nothing-imports-observe': [
    { 'src/observe/o.ts': leaf, 'src/dispatch/d.ts': type('../observe/o.js') },
    'src/dispatch/d.ts → src/observe/o.ts',
  ],
  'index-only-names-observe': [
    { 'src/observe/o.ts': leaf, 'src/index.ts': value('./observe/o.js') },
    'src/index.ts → src/observe/o.ts',
  ],
  'nothing-imports-surfaces': [
    { 'src/surfaces/s.ts': leaf, 'src/headgate.ts': value('./surfaces/s.js') },
    'src/headgate.ts → src/surfaces/s.ts',
  ],
  'surfaces-use-the-public-api': [
    { 'src/dispatch/d.ts': leaf, 'src/surfaces/s.ts': value('../dispatch/d.js') },
    'src/surfaces/s.ts → src/dispatch/d.ts',
  ],
  'testing-stays-out-of-production': [
    { 'src/testing/t.ts': leaf, 'src/limits/l.ts': value('../testing/t.js') },
    'src/limits/l.ts → src/testing/t.ts',
  ],
  'simulator-shares-no-limits': [
    {
      'src/limits/l.ts': leaf,
      'src/testing/t.ts': value('../limits/l.js'),
      'src/testing/simulator/s.ts': value('../t.js'),
    },
    'src/testing/simulator/s.ts → src/limits/l.ts',
  ],
  'no-cycles': [
    {
      'src/limits/k.ts': `${value('./l.js')}export const x = 1`,
      'src/limits/l.ts': `${value('./k.js')}export const x = 1`,
    },
    'src/limits/k.ts → src/limits/l.ts',
  ],
  'every-dependency-has-a-home': [
    {
      'node_modules/left-pad/index.js': leaf,
      'node_modules/left-pad/package.json': '{"name":"left-pad","main":"index.js"}',
      'src/request/r.ts': value('left-pad'),
    },
    'src/request/r.ts → node_modules/left-pad/index.js',
  ],
  'no-unresolvable': [{ 'src/request/r.ts': value('./nowhere.js') }, 'src/request/r.ts → ./nowhere.js'],
}

const SCOPED: Record<string, string> = {
  'hono-node-server': '@hono/node-server',
  'opentelemetry-api': '@opentelemetry/api',
}

/** Every outside dependency, planted where it has no business: once used, once named. */
for (const { name } of config.forbidden) {
  const [, label, kind] = /^(.*)-(has-one-home|types-stay-near)$/.exec(name) ?? []
  if (label === undefined) continue
  const dependency = SCOPED[label] ?? label
  // Nobody upstream of the providers, and no provider either, has a use for any but those that live there.
  const place = ['undici', 'eventsource-parser', 'gpt-tokenizer'].includes(label)
    ? 'src/limits/l.ts'
    : 'src/providers/p.ts'
  const manifest = JSON.stringify({ name: dependency, main: 'index.js' })
  PLANTED[name] = [
    {
      [`node_modules/${dependency}/index.js`]: leaf,
      [`node_modules/${dependency}/package.json`]: manifest,
      [place]: kind === 'has-one-home' ? value(dependency) : type(dependency),
    },
    `${place} → node_modules/${dependency}/index.js`,
  ]
}

describe('the rules are awake', () => {
  it('has a planted violation for every rule', () => {
    expect(Object.keys(PLANTED).sort()).toEqual(config.forbidden.map(({ name }) => name).sort())
  })

  it.each(Object.entries(PLANTED))('%s', async (rule, [house, violation]) => {
    expect(await violationsOf(house)).toContain(`${rule}: ${violation}`)
  })

  it('finds a value import behind a type import of the same module', async () => {
    const both = "import type { X } from '../limits/l.js'\nimport { x } from '../limits/l.js'\nexport const y: X = x\n"
    const found = await violationsOf({ 'src/limits/l.ts': leaf, 'src/surfaces/s.ts': both })
    expect(found).toContain('surfaces-use-the-public-api: src/surfaces/s.ts → src/limits/l.ts')
  })

  it('finds dynamic imports and re-exports', async () => {
    const found = await violationsOf({
      'src/request/r.ts': leaf,
      'src/dispatch/d.ts': "export const load = () => import('../request/r.js')\n",
      'src/limits/l.ts': "export { x } from '../request/r.js'\n",
    })
    expect(found).toContain('dispatch-knows-nothing-upstream: src/dispatch/d.ts → src/request/r.ts')
    expect(found).toContain('limits-knows-nothing-upstream: src/limits/l.ts → src/request/r.ts')
  })

  it('lets a well-built house pass', async () => {
    const found = await violationsOf({
      'src/clock.ts': leaf,
      'src/providers/p.ts': value('../clock.js'),
      'src/limits/l.ts': `${type('./k.js')}export type X = number`,
      'src/limits/k.ts': `${type('./l.js')}export type X = number`,
      'src/dispatch/d.ts': `${value('../clock.js')}${type('../limits/l.js')}`,
      'src/request/r.ts': `import { a } from '../../machines/a.js'\nimport { y } from '../dispatch/d.js'\nexport const z = a + y\n`,
      'src/intake/i.ts': "import { z } from '../request/r.js'\nexport const i = z\n",
      'src/observe/o.ts': leaf,
      'src/headgate.ts':
        "import { i } from './intake/i.js'\nimport { x } from './observe/o.js'\nexport const h = i + x\n",
      'src/index.ts': "export { h } from './headgate.js'\nexport type { X } from './observe/o.js'\n",
      'src/testing/t.ts': value('../clock.js'),
      'src/surfaces/s.ts':
        "import { h } from '../index.js'\nimport { y } from '../testing/t.js'\nexport const s = h + y\n",
    })
    expect(found).toEqual([])
  })
})
