// One process of a fleet under test: a gate of the built package, steered over IPC, which tells all that becomes of it.
import { createHeadgate } from 'headgate'

const PROMPT = [{ role: 'user', content: 'word' }]

/** @type {import('headgate').Headgate} */
let gate
let loading = false

const tell = (message) => process.connected && process.send(message)

async function spawnOne() {
  const request = await gate.spawn({ pool: 'p', messages: PROMPT, maxTokens: 1 })
  tell({ type: 'accepted', id: request.id })
  void request.outcome.then(({ status, attempts, error }) =>
    tell({ type: 'ended', id: request.id, status, attempts, code: error?.code }),
  )
}

const orders = {
  open(options) {
    gate = createHeadgate(options)
    gate.on('transition', ({ requestId, to, atMs }) => to === 'calling' && tell({ type: 'calls', id: requestId, atMs }))
    gate.on('dispatcher', ({ type, state }) => tell({ type: 'news', news: type === 'state' ? state : type }))
  },
  ready: () => gate.ready(),
  /** Resolves when all of them are accepted. */
  async spawn(count) {
    for (let i = 0; i < count; i++) await spawnOne()
  },
  /** Spawns as many as the queue takes, until told to rest. */
  load() {
    loading = true
    void (async () => {
      while (loading) await spawnOne()
    })()
  },
  rest() {
    loading = false
  },
  usage: () => gate.usage(),
  roundTrips: () => gate.stats().roundTrips,
  monitoring: () => gate.monitoring(),
}

process.on('message', async ({ call, order, argument }) => {
  try {
    tell({ type: 'done', call, value: await orders[order](argument) })
  } catch ({ code, message }) {
    tell({ type: 'refused', call, code, message })
  }
})
// Without a parent there is nothing left to do.
process.on('disconnect', () => process.exit())
