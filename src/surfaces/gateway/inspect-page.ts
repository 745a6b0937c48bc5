import { type Page, pageOf } from './page.js'

const STATELY = 'https://stately.ai'

/**
 * Stately's inspector in a frame, fed from `WS /inspect`: what `@statelyai/inspect/server` does with a server of its own.
 * It is the one page that loads anything from elsewhere, and what it passes on has no payloads.
 */
export const inspectPage: Page = pageOf(
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Stately inspector · Headgate</title>
<style>html, body { height: 100%; margin: 0 } iframe { width: 100%; height: 100%; border: 0 }</style>
</head>
<body>
<script>
const MAX_WAITING = 2000
const frame = document.createElement('iframe')
let waiting = []
const show = (event) => frame.contentWindow.postMessage(event, '${STATELY}')
addEventListener('message', ({ source, origin, data }) => {
  if (source !== frame.contentWindow || origin !== '${STATELY}' || data?.type !== '@statelyai.connected') return
  waiting?.forEach(show)
  waiting = undefined
})
// Only now: it speaks as soon as it is there.
frame.src = '${STATELY}/inspect'
frame.title = 'Stately inspector'
document.body.append(frame)
const url = new URL('/inspect' + location.search, location.href)
url.protocol = url.protocol.replace('http', 'ws')
let key
try {
  key = sessionStorage.getItem('headgate-key')
} catch {
  // A browser that may keep nothing.
}
const text = key && btoa(key).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
new WebSocket(url, text ? ['headgate', 'key.' + text] : []).onmessage = ({ data }) => {
  const event = JSON.parse(data)
  if (!waiting) show(event)
  else if (waiting.length < MAX_WAITING) waiting.push(event)
}
</script>
</body>
</html>
`,
  `frame-src ${STATELY}`,
)
