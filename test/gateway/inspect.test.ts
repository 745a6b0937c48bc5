import { once } from 'node:events'
import { request } from 'node:http'
import { createWebSocketReceiver } from '@statelyai/inspect'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { cleanups, MESSAGES, simulatorOf, startGateway } from './harness.js'

const KEYS = { HEADGATE_API_KEYS: 'first-key,second-key' }

/** The status of an answer to an upgrade, 101 for a WebSocket. */
async function statusOf(url: string, protocols: string[] = [], options: WebSocket.ClientOptions = {}): Promise<number> {
  const socket = new WebSocket(url.replace('http', 'ws'), protocols, options)
  cleanups.push(() => socket.terminate())
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(101))
    socket.once('unexpected-response', (_, response) => resolve(response.statusCode!))
    socket.once('error', reject)
  })
}

describe('WS /inspect', () => {
  test("shows a request to Stately's receiver, with a key in the URL as any WebSocket client can have it", async () => {
    const gateway = await startGateway(await simulatorOf(), { env: KEYS })
    const states: unknown[] = []
    const { host } = new URL(gateway.url)
    const done = new Promise<void>((resolve) => {
      createWebSocketReceiver({ server: `ws://any:second-key@${host}/inspect?sample=1` }).subscribe((event) => {
        if (event.type !== '@xstate.snapshot') return
        const { value, status } = event.snapshot as unknown as { value: string; status: string }
        states.push(value)
        if (status === 'done') resolve()
      })
    })
    const chat = () => gateway.chat({ model: 'glm-4', messages: MESSAGES }, { authorization: 'Bearer first-key' })
    // The receiver may come a request late.
    const calls = (async () => {
      while (states.at(-1) !== 'done') await (await chat()).text()
    })()
    await Promise.all([done, calls])
    expect(states.slice(-3)).toEqual(['waiting-for-token', 'calling', 'done'])
  })

  test('is open to who may use the gateway, and to nobody else', async () => {
    const provider = await simulatorOf()
    const open = await startGateway(provider)
    const inspect = `${open.url}/inspect`
    expect(await statusOf(inspect)).toBe(101)
    expect(await statusOf(inspect, [], { origin: open.url })).toBe(101)
    expect(await statusOf(inspect, [], { origin: 'https://elsewhere.example' })).toBe(403)
    expect(await statusOf(inspect, [], { headers: { host: 'rebound.example' } })).toBe(403)
    expect(await statusOf(`${open.url}/elsewhere`)).toBe(404)
    expect(await statusOf(`${inspect}?sample=2`)).toBe(400)
    // Without a key of its own it is no handshake.
    const handshake = request(inspect, { headers: { connection: 'upgrade', upgrade: 'websocket' } }).end()
    const [response] = await once(handshake, 'response')
    expect(response.resume().statusCode).toBe(400)
    expect(open.log.requests().map(({ httpStatus }) => httpStatus)).toEqual([403, 403, 404, 400, 400])
    const keyed = `${(await startGateway(provider, { env: KEYS })).url}/inspect`
    const protocolOf = (key: string) => ['headgate', `key.${Buffer.from(key).toString('base64url')}`]
    expect(await statusOf(keyed)).toBe(401)
    expect(await statusOf(keyed, [], { headers: { authorization: `Basic ${btoa('any:wrong-key')}` } })).toBe(401)
    expect(await statusOf(keyed, protocolOf('wrong-key'))).toBe(401)
    expect(await statusOf(keyed, protocolOf('first-key'))).toBe(101)
    expect(await statusOf(keyed, [], { headers: { 'x-api-key': 'first-key' } })).toBe(101)
    const closed = await startGateway(provider, { inspect: false })
    expect(await statusOf(`${closed.url}/inspect`)).toBe(404)
    const refused = { httpStatus: 404, method: 'GET', path: '/inspect' }
    expect(closed.log.requests()).toEqual([refused])
  })

  test('ends with the gateway, which does not wait for viewers', async () => {
    const gateway = await startGateway(await simulatorOf())
    const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/inspect`)
    await once(socket, 'open')
    const gone = once(socket, 'close')
    await gateway.close()
    await gone
  })

  test('a request that offers HTTP/2, as some clients do with every one, is served all the same', async () => {
    const gateway = await startGateway(await simulatorOf())
    const body = JSON.stringify({ model: 'glm-4', messages: MESSAGES })
    const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' }
    const sent = request(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers })
    sent.end(body)
    const [response] = await once(sent, 'response')
    expect(response.statusCode).toBe(200)
    response.resume()
    await once(response, 'end')
  })
})
