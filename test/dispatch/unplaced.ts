/** A place in no line yet, to spread into a test's items. */
export const UNPLACED = { line: undefined, cost: 0, order: 0, previous: undefined, next: undefined } as const
