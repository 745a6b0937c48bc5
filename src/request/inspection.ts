import type { InspectionEvent, Subscription } from 'xstate'
import type { Entry } from './entry.js'

/** What watches one request's machine. */
export interface InspectionObserver {
  next(event: InspectionEvent): void
  /** The request is over, whichever way it ended. */
  complete(): void
}

/** Asked once for each request, live or new: the observer of its machine, or undefined to leave it alone. */
export type InspectionWatch = (requestId: string) => InspectionObserver | undefined

type RequestActor = Entry['actor']

interface Watched {
  readonly observer: InspectionObserver
  readonly subscription: Subscription
}

/**
 * XState's inspection of requests, for as long as somebody looks: observers are put on actors' systems, and taken off again,
 * instead of being passed to `createActor`. While nobody watches, a request pays for a look at an empty map.
 */
export class Inspection {
  readonly #watches = new Map<InspectionWatch, Map<string, Watched>>()

  constructor(private readonly entries: Iterable<Entry>) {}

  begin(id: string, actor: RequestActor): void {
    for (const [watch, watched] of this.#watches) subscribe(watch, watched, id, actor)
  }

  /** The machine's last snapshot may still come. */
  end(id: string): void {
    for (const watched of this.#watches.values()) {
      watched.get(id)?.observer.complete()
      watched.delete(id)
    }
  }

  /** Watches the live requests, and those to come; returns the function that ends it. */
  watch(watch: InspectionWatch): () => void {
    const watched = new Map<string, Watched>()
    // A function of its own, so that the same one twice is two watches.
    const own: InspectionWatch = (id) => watch(id)
    this.#watches.set(own, watched)
    for (const { spec, actor } of this.entries) subscribe(own, watched, spec.id, actor)
    return () => {
      this.#watches.delete(own)
      for (const { subscription } of watched.values()) subscription.unsubscribe()
      watched.clear()
    }
  }
}

function subscribe(watch: InspectionWatch, watched: Map<string, Watched>, id: string, actor: RequestActor): void {
  const observer = watch(id)
  if (!observer) return
  // XState says this once, when an actor is made: whoever comes later hears it from here.
  observer.next({ type: '@xstate.actor', actorRef: actor, rootId: actor.sessionId })
  watched.set(id, { observer, subscription: actor.system.inspect((event) => observer.next(event)) })
}
