import type { NewChecker } from '../watch.js'
import { everySendHasItsGrant } from './acquire.js'
import { slotsFit } from './concurrency.js'
import { nothingIsLeft } from './emptiness.js'
import { grantsEndOnce } from './grants.js'
import { healingIsComplete } from './healing.js'
import { capacityIsUsed } from './idleness.js'
import { flowsAreInOrder } from './order.js'
import { everyRequestEndsOnce } from './outcomes.js'
import { datesDoNotSlip } from './reservations.js'
import { sendsAreInTime } from './sending.js'
import { sumsAddUp } from './sums.js'
import { arrivalsFitWindows } from './windows.js'

/** What must hold of every run, whatever happens. */
export const INVARIANTS: readonly NewChecker[] = [
  arrivalsFitWindows,
  slotsFit,
  sumsAddUp,
  grantsEndOnce,
  sendsAreInTime,
  everyRequestEndsOnce,
  capacityIsUsed,
  flowsAreInOrder,
  datesDoNotSlip,
  healingIsComplete,
  nothingIsLeft,
  everySendHasItsGrant,
]
