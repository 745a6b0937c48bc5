/** A place in no line yet, to spread into a test's items. */
export const UNPLACED = { line: undefined, cost: 0, at: 0, order: 0 } as const
