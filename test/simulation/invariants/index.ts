import type { NewChecker } from '../watch.js'
import { slotsFit } from './concurrency.js'
import { nothingIsLeft } from './emptiness.js'
import { everyRequestEndsOnce } from './outcomes.js'
import { sumsAddUp } from './sums.js'
import { arrivalsFitWindows } from './windows.js'

export const INVARIANTS: readonly NewChecker[] = [
  arrivalsFitWindows,
  slotsFit,
  sumsAddUp,
  everyRequestEndsOnce,
  nothingIsLeft,
]
