// Who may know whom (DESIGN, section 3). `test/architecture.test.ts` holds the code to these rules, and plants a
// violation of each so that none of them is asleep. Tests, bench and examples may import anything: they aren't cruised.

/**
 * Data goes one way: producer (a function, or a call over HTTP) → intake → request → dispatch → limits → providers. A stage may import those to its right.
 * Types count as imports here: what goes back upstream goes as messages, and whoever receives a message declares it
 * downstream. Only so can a stage be read, and replaced, without those before it.
 */
const STAGES = ['http', 'intake', 'request', 'answers', 'dispatch', 'limits', 'providers']

/** Types vanish when compiled. Where a rule is about who builds or runs what, naming a type is no offence. */
const VALUES_ONLY = { dependencyTypesNot: ['type-only'] }

/**
 * One outside dependency, one file (or one folder, where the folder is one thing): the day it must go, that is what changes.
 * The folder around that file may name its types, and so may the public surface (config, headgate, index), which takes
 * clients and loggers from the user.
 */
const PAGE = '^src/surfaces/dashboard/page/'

const HOMES = {
  xstate: ['^machines/', '^src/(request|dispatch|observe)/', '^src/headgate\\.ts$'],
  'p-queue': ['^src/intake/'],
  ioredis: ['^src/limits/redis-store\\.ts$'],
  'lru-cache': ['^src/answers/memory-answers\\.ts$'],
  undici: ['^src/providers/http-(caller|attempt)\\.ts$', '^src/surfaces/cli/replay/'],
  'eventsource-parser': ['^src/providers/sse\\.ts$', PAGE],
  pino: ['^src/observe/logger\\.ts$'],
  'prom-client': ['^src/observe/metrics\\.ts$'],
  '@opentelemetry/api': ['^src/observe/tracing\\.ts$'],
  eventemitter3: ['^src/events\\.ts$'],
  hono: ['^src/surfaces/gateway/'],
  '@hono/node-server': ['^src/surfaces/gateway/'],
  ws: ['^src/surfaces/inspector/socket\\.ts$'],
  'lit-html': [PAGE],
  uplot: [PAGE],
  commander: ['^src/surfaces/'],
  'cli-progress': ['^src/surfaces/cli/'],
  'cli-table3': ['^src/surfaces/cli/'],
  picocolors: ['^src/surfaces/cli/'],
  'ansi-escapes': ['^src/surfaces/cli/top/'],
  'cli-truncate': ['^src/surfaces/cli/top/'],
  'string-width': ['^src/surfaces/cli/top/'],
  zod: ['^src/(config-schema|alert-schema|strict-object)\\.ts$'],
  ms: ['^src/durations\\.ts$'],
  ai: ['^src/surfaces/integrations/'],
  'gpt-tokenizer': ['^src/providers/tokenizer\\.ts$'],
  dotenv: ['^src/config-file\\.ts$'],
}
const PUBLIC_TYPES = '^src/(config|headgate|index)\\.ts$'

const escapeRegExp = (name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
/** Installed or not: an import that can't be resolved keeps its bare name. */
const packagePath = (name) => `(^|/)node_modules/${escapeRegExp(name)}/|^${escapeRegExp(name)}(/|$)`
const folderOf = (home) => home.replace(/[^/]*\.ts\$$/, '')

const homeRules = Object.entries(HOMES).flatMap(([name, homes]) => {
  const label = name.replace(/^@/, '').replace('/', '-')
  return [
    {
      name: `${label}-has-one-home`,
      comment: `Only ${homes.join(', ')} may use ${name}.`,
      severity: 'error',
      from: { pathNot: homes },
      to: { path: packagePath(name), ...VALUES_ONLY },
    },
    {
      name: `${label}-types-stay-near`,
      comment: `Types of ${name} are named only around its home and in the public surface.`,
      severity: 'error',
      from: { pathNot: [...homes.map(folderOf).filter((folder) => folder !== '^src/'), ...homes, PUBLIC_TYPES] },
      to: { path: packagePath(name), dependencyTypes: ['type-only'] },
    },
  ]
})

const stageRules = STAGES.slice(1).map((stage, index) => ({
  name: `${stage}-knows-nothing-upstream`,
  comment: `Data goes one way: ${STAGES.join(' → ')}.`,
  severity: 'error',
  from: { path: `^src/${stage}/` },
  to: { path: `^src/(${STAGES.slice(0, index + 1).join('|')})/` },
}))

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'machines-are-pure',
      comment: 'The specification imports xstate and itself: no I/O, no clock, no randomness.',
      severity: 'error',
      from: { path: '^machines/' },
      to: { pathNot: ['^machines/', packagePath('xstate')] },
    },
    ...stageRules,
    {
      name: 'stages-know-no-root',
      comment: 'The composition root builds the stages; whoever is built does not know the builder.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/index\\.ts$', '^src/surfaces/'] },
      to: { path: '^src/(headgate|index)\\.ts$' },
    },
    {
      name: 'one-composition-root',
      comment:
        'Only headgate.ts builds implementations; gate.ts, the object it returns, and admission.ts start requests on them; observer.ts builds what only looks. Other top-level files name types; config may look up provider profiles.',
      severity: 'error',
      from: { path: '^src/[^/]+\\.ts$', pathNot: '^src/(headgate|gate|admission|observer)\\.ts$' },
      to: { path: '^src/(intake|request|dispatch|limits)/', ...VALUES_ONLY },
    },
    {
      name: 'nothing-imports-observe',
      comment: 'Observers listen. The root attaches them and surfaces show them; index.ts may name their types.',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: ['^src/(headgate|observer)\\.ts$', '^src/(observe|surfaces)/', '^src/index\\.ts$'],
      },
      to: { path: '^src/observe/' },
    },
    {
      name: 'index-only-names-observe',
      comment: 'The library’s index exports types of observers, never a logger or a metric itself.',
      severity: 'error',
      from: { path: '^src/index\\.ts$' },
      to: { path: '^src/observe/', ...VALUES_ONLY },
    },
    {
      name: 'nothing-imports-surfaces',
      comment: 'Surfaces are the outermost ring.',
      severity: 'error',
      from: { pathNot: '^src/surfaces/' },
      to: { path: '^src/surfaces/' },
    },
    {
      name: 'surfaces-use-the-public-api',
      comment: 'A surface can do nothing that a user of the library could not. It may name types.',
      severity: 'error',
      from: { path: '^src/surfaces/' },
      to: { path: '^src/(intake|request|dispatch|limits)/', ...VALUES_ONLY },
    },
    {
      name: 'testing-stays-out-of-production',
      comment: 'The virtual clock and the simulator are for tests, and for the surfaces that run the simulator.',
      severity: 'error',
      from: { pathNot: '^src/(testing|surfaces)/' },
      to: { path: '^src/testing/' },
    },
    {
      name: 'simulator-shares-no-limits',
      comment:
        'A provider that counted with our own arithmetic would confirm our own mistakes, so not even by a detour.',
      severity: 'error',
      from: { path: '^src/testing/simulator/' },
      to: { path: '^src/limits/', reachable: true },
    },
    {
      name: 'no-cycles',
      comment: 'Neighbours may name each other’s types; code that runs goes one way.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] }, ...VALUES_ONLY },
    },
    ...homeRules,
    {
      name: 'every-dependency-has-a-home',
      comment: 'A new dependency gets its line in HOMES, or does not come in.',
      severity: 'error',
      from: { path: '^(src|machines)/' },
      to: {
        path: '(^|/)node_modules/',
        pathNot: Object.keys(HOMES).map(packagePath),
      },
    },
    {
      name: 'no-unresolvable',
      comment: 'An import that leads nowhere, or to a package that isn’t installed.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Types are seen, and told apart from values.
    tsPreCompilationDeps: 'specify',
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
}
