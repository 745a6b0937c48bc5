// The dashboard's page as one text: its script and style, bundled and minified, inside its HTML. Plugin of Rolldown (the
// build) and Vite (the tests) alike: `import('…/page/index.html')`.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { rolldown } from 'rolldown'

const PLACE = { style: '<!-- style -->', script: '<!-- script -->' }

export function dashboardPage() {
  return {
    name: 'dashboard-page',
    load: {
      filter: { id: /\/dashboard\/page\/index\.html$/ },
      handler: async (id) => ({ code: `export default ${JSON.stringify(await pageOf(id))}`, moduleType: 'js' }),
    },
  }
}

async function pageOf(file) {
  const folder = dirname(file)
  const bundle = await rolldown({ input: join(folder, 'main.ts'), platform: 'browser' })
  const { output } = await bundle.generate({ format: 'iife', minify: true })
  await bundle.close()
  const library = createRequire(file).resolve('uplot/dist/uPlot.min.css')
  const style = [library, join(folder, 'style.css')].map((css) => readFileSync(css, 'utf8')).join('\n')
  // Functions, because `$` means something in a replacement.
  return readFileSync(file, 'utf8')
    .replace(PLACE.style, () => `<style>${lean(style)}</style>`)
    .replace(PLACE.script, () => `<script>${output[0].code.replaceAll('</script', '<\\/script')}</script>`)
}

function lean(css) {
  return css
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\s*\n\s*/g, '')
    .replace(/\s*([{};,>])\s*/g, '$1')
}
