import { defineConfig } from 'vitest/config'
import { dashboardPage } from './scripts/dashboard-page.mjs'

/** Set by scripts/test.mjs, which prints the totals as its last line. */
const resultsFile = process.env.HEADGATE_TEST_RESULTS

export default defineConfig({
  plugins: [
    dashboardPage(),
    {
      name: 'lua-as-text',
      transform: (code, id) => (id.endsWith('.lua') ? `export default ${JSON.stringify(code)}` : undefined),
    },
  ],
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // Tests start servers and measure: more at once than cores would only disturb each other.
    maxWorkers: 2,
    reporters: resultsFile === undefined ? ['default'] : ['default', ['json', { outputFile: resultsFile }]],
  },
})
