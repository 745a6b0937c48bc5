import net, { type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { HttpCaller } from '../../src/providers/http-caller.js'
import { callerOf, cleanups, closeOf, echo, handClock, inputOf, serve } from './http-harness.js'
import { Cut } from '../../src/request/cut.js'

describe('a call that is stopped', () => {
  /** Resolves when the request has arrived; answers nothing, or the beginning of something. */
  async function stalled(beginning?: string) {
    let arrive: () => void = () => undefined
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve
    })
    const server = await serve((request, response) => {
      if (beginning !== undefined) response.writeHead(200, { 'content-length': '1000' }).write(beginning)
      request.resume().on('end', arrive)
    })
    return { ...server, arrived }
  }

  test.each([undefined, '{"half":'])('by its signal, when %j had come', async (beginning) => {
    const { url, arrived, seen } = await stalled(beginning)
    const cut = new Cut()
    const call = callerOf().call(inputOf(url, { cut }))
    await arrived
    const closed = closeOf(seen.sockets[0]!)
    cut.make()
    expect(await call).toEqual({
      type: 'failed',
      sent: true,
      failure: {
        class: 'UNKNOWN',
        code: 'CANCELLED',
        retryable: false,
        mendable: false,
        message: 'the call was cancelled',
      },
    })
    await closed // the provider sees it go
    expect(cut.onMade).toBeUndefined()
  })

  test.each([undefined, '{"half":'])('by its timeout, when %j had come', async (beginning) => {
    const { url, host, arrived, seen } = await stalled(beginning)
    const clock = handClock()
    const call = callerOf({ clock }).call(inputOf(url, { timeoutMs: 1_234 }))
    await arrived
    const closed = closeOf(seen.sockets[0]!)
    clock.fire()
    const message = `${host} did not answer within 1234 ms`
    expect(await call).toMatchObject({
      type: 'failed',
      sent: true,
      failure: { class: 'TMO', retryable: true, message },
    })
    await closed
    expect(clock.timers.size).toBe(0)
  })

  test('while its connection is still being made: at once, unsent, and never written', async () => {
    const { url, seen } = await serve(echo)
    const caller = callerOf()
    const cut = new Cut()
    const call = caller.call(inputOf(url, { cut }))
    cut.make()
    expect(await call).toMatchObject({ type: 'failed', sent: false, failure: { code: 'CANCELLED' } })
    await caller.call(inputOf(url))
    expect(seen.requests).toBe(1)
  })

  test('by close, which leaves no socket', async () => {
    const { server, url, arrived, seen } = await stalled()
    const caller = new HttpCaller()
    const call = caller.call(inputOf(url))
    await arrived
    const closed = closeOf(seen.sockets[0]!)
    await caller.close()
    await closed
    expect(await call).toMatchObject({ type: 'failed', sent: true, failure: { code: 'CANCELLED' } })
    expect(await caller.call(inputOf(url))).toMatchObject({ type: 'failed', sent: false })
    // A plain server's close waits for every connection, idle ones too.
    await new Promise((resolve) => net.Server.prototype.close.call(server, resolve))
  })

  test('resolves only after its own socket has closed', async () => {
    const { url, arrived } = await stalled()
    const order: string[] = []
    const connected: Socket[] = []
    const originalConnect = net.Socket.prototype.connect
    net.Socket.prototype.connect = function (this: Socket, ...args: never[]) {
      connected.push(this.once('close', () => order.push('socket closed')))
      return Reflect.apply(originalConnect, this, args)
    } as typeof originalConnect
    cleanups.push(() => {
      net.Socket.prototype.connect = originalConnect
    })
    const cut = new Cut()
    const call = callerOf().call(inputOf(url, { cut }))
    await arrived
    expect(connected).toHaveLength(1)
    cut.make()
    await call.then(() => order.push('call resolved'))
    expect(order).toEqual(['socket closed', 'call resolved'])
  })
})
