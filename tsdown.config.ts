import { defineConfig } from 'tsdown'
import { dashboardPage } from './scripts/dashboard-page.mjs'

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'ai-sdk': 'src/surfaces/integrations/ai-sdk.ts',
    inspector: 'src/surfaces/inspector/index.ts',
    machines: 'machines/index.ts',
    metrics: 'src/observe/metrics.ts',
    opentelemetry: 'src/observe/tracing.ts',
    testing: 'src/testing/index.ts',
    cli: 'src/surfaces/cli/main.ts',
    'replay-worker': 'src/surfaces/cli/replay/worker.ts',
  },
  format: 'esm',
  platform: 'node',
  target: 'node20',
  fixedExtension: false,
  dts: true,
  clean: true,
  plugins: [dashboardPage()],
  // The Redis script is source: it travels inside the bundle, so nothing is read from disk at run time.
  loader: { '.lua': 'text' },
})
