import { connectionOf, type Join, load, type PeerJob, rateOf } from './peer.js'

interface Limiter {
  ready(): Promise<unknown>
  schedule<T>(options: { weight: number }, call: () => Promise<T>): Promise<T>
}
type Bottleneck = new (options: object) => Limiter

/** By default it looks only every 5 s whether the reservoir is due, and half of the time is lost. */
const HEARTBEAT_MS = 250

const WAYS = {
  reservoir: ({ rate }: PeerJob) =>
    rate && {
      reservoir: rate.limit,
      reservoirRefreshAmount: rate.limit,
      reservoirRefreshInterval: rate.windowMs,
      heartbeatInterval: HEARTBEAT_MS,
    },
  minTime: ({ rate }: PeerJob) => rate && { minTime: rate.windowMs / rate.limit },
  slots: ({ slots }: PeerJob) => ({ maxConcurrent: slots }),
}

export const bottleneck =
  (way: keyof typeof WAYS, { local = false } = {}): Join =>
  async (job, call) => {
    const Limiter = load<Bottleneck>(job.home, 'bottleneck')
    if (way !== 'slots') rateOf(job)
    const shared = {
      datastore: 'ioredis',
      Redis: load(job.home, 'ioredis'),
      clientOptions: connectionOf(job),
      id: 'bench',
      clearDatastore: false,
    }
    const limiter = new Limiter({ ...WAYS[way](job), ...(!local && shared) })
    await limiter.ready()
    return {
      submit: (arrival) => limiter.schedule({ weight: job.weighted ? arrival.weight : 1 }, () => call(arrival)),
    }
  }
