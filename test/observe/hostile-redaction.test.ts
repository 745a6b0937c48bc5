// Secrets where nobody expects them: in URLs, in headers, in bodies that are none, and in whatever a provider sends back.
import { once } from 'node:events'
import http from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { startServer } from '../../src/surfaces/gateway/serve.js'

const SECRET = 'sk-hostile-secret-0123456789'
const GATEWAY_KEY = 'gateway-key-0123456789'

/** Answers the nth connection with the nth text, as it is. */
async function rawProvider(texts: string[]): Promise<string> {
  let turn = 0
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', () => socket.end(texts[turn++ % texts.length] ?? ''))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** `path` as it is: fetch would mend it. */
async function get(url: string, path: string, headers: http.OutgoingHttpHeaders = {}): Promise<number> {
  const request = http.request(`${url}`, { path, headers })
  request.end()
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  await once(response, 'end')
  return response.statusCode!
}

test('no secret of a URL, a header, a body or a provider’s answer is logged, counted or shown', async () => {
  const json = `{"error":{"message":"key ${SECRET}","code":"${SECRET}","type":"${SECRET}","param":"${SECRET}"}}`
  const answers = [
    `HTTP/1.1 500 ${SECRET}\r\nx-request-id: ${SECRET}\r\nretry-after: ${SECRET}\r\ncontent-length: ${json.length}\r\n\r\n${json}`,
    `HTTP/1.1 302 Found\r\nlocation: https://elsewhere.invalid/?key=${SECRET}\r\ncontent-length: 0\r\n\r\n`,
    `${SECRET} is no HTTP\r\n\r\n`,
    `HTTP/1.1 200 OK\r\n${SECRET}\r\n\r\n`,
    `HTTP/1.1 200 OK\r\ncontent-type: ${SECRET}\r\ncontent-length: 40\r\n\r\n${SECRET}`,
    `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {"error":{"message":"${SECRET}","code":"${SECRET}"}}\n\n`,
    `HTTP/1.1 429 ${SECRET}\r\ncontent-length: ${json.length}\r\n\r\n${json}`,
  ]
  const host = await rawProvider(answers)
  const lines: string[] = []
  const logger = pino({ level: 'debug' }, { write: (line: string) => lines.push(line) })
  const retry = { maxAttempts: 1, baseMs: 1, capMs: 2 }
  const more = { provider: 'openai', apiKey: SECRET, guardMs: 5, retry }
  const pools = {
    raw: { ...more, baseURL: `http://${host}/${SECRET}/v1` },
    gone: { ...more, baseURL: `http://127.0.0.1:1/${SECRET}/v1` },
    nowhere: { ...more, baseURL: `http://nowhere.invalid/${SECRET}` },
  }
  const server = await startServer({
    config: { pools },
    port: 0,
    host: '127.0.0.1',
    env: { HEADGATE_API_KEYS: GATEWAY_KEY },
    logger,
  })
  onTestFinished(() => server.close())
  const { url } = server
  const auth = { authorization: `Bearer ${GATEWAY_KEY}` }
  const leaving = new AbortController()
  let shown = ''
  const feed = await fetch(`${url}/events`, { headers: auth, signal: leaving.signal })
  const reading = (async () => {
    for await (const piece of feed.body!.pipeThrough(new TextDecoderStream())) shown += piece
  })().catch(() => {})

  for (const path of ['/v1/models', `/${SECRET}`, '/events', '/metrics', '/', '/inspect', `/v1/models/${SECRET}`]) {
    await get(url, `${path}?key=${SECRET}&api_key=${SECRET}`)
    await get(url, `${path}?key=${SECRET}`, { 'x-api-key': SECRET, cookie: `session=${SECRET}` })
  }
  expect(await get(url, `/api/v1/monitoring/stats?${SECRET}=1`, auth)).toBe(400)
  const chat = (body: string, headers: Record<string, string> = {}) =>
    fetch(`${url}/v1/chat/completions?key=${SECRET}`, { method: 'POST', headers: { ...auth, ...headers }, body })
  const body = (model: string, stream = false) =>
    JSON.stringify({ model, stream, messages: [{ role: 'user', content: SECRET }], metadata: { note: SECRET } })
  const statuses: number[] = []
  const send = async (...args: Parameters<typeof chat>) => {
    const response = await chat(...args)
    statuses.push(response.status)
    await response.text().catch(() => {})
  }
  const type = { 'content-type': 'application/json' }
  await send(`{"messages": "${SECRET}`, type)
  await send(body(SECRET), type)
  await send(body('raw'), { 'content-type': SECRET })
  for (const name of ['priority', 'deadline']) await send(body('raw'), { ...type, [`x-headgate-${name}`]: SECRET })
  for (const name of ['raw', 'gone', 'nowhere']) {
    for (let n = 0; n < (name === 'raw' ? answers.length : 1); n++) {
      for (const stream of [false, true]) await send(body(name, stream), { ...type, 'x-request-id': SECRET })
    }
  }
  expect(statuses.filter((status) => status < 400).length, 'all but broken streams are refused').toBeLessThan(6)
  // What is no HTTP at all.
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.end(`GARBAGE ${SECRET}\r\n\r\n`)
  socket.resume()
  await once(socket, 'close')

  const metrics = await (await fetch(`${url}/metrics`, { headers: auth })).text()
  const monitoring = await (await fetch(`${url}/api/v1/monitoring/stats`, { headers: auth })).text()
  leaving.abort()
  await reading
  const all = { logs: lines.join(''), shown, metrics, monitoring }
  for (const [where, text] of Object.entries(all)) {
    expect(text.length, where).toBeGreaterThan(200)
    expect(
      text.split('\n').find((line) => line.includes(SECRET) || line.includes(GATEWAY_KEY)),
      where,
    ).toBeUndefined()
  }
})
