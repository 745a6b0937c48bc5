/** The fullest window of that length, as a share of the limit; `events` in any order. */
export function worstWindow(
  events: readonly (readonly [atMs: number, amount: number])[],
  windowMs: number,
  limit: number,
): number {
  const sorted = [...events].sort(([a], [b]) => a - b)
  let sum = 0
  let first = 0
  let worst = 0
  for (const [atMs, amount] of sorted) {
    sum += amount
    while (sorted[first]![0] <= atMs - windowMs) sum -= sorted[first++]![1]
    worst = Math.max(worst, sum)
  }
  return worst / limit
}

/** Jain's index of fairness: 1 when all are equal, 1/n when one has everything. */
export function jain(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0)
  const squares = values.reduce((total, value) => total + value * value, 0)
  return (sum * sum) / (values.length * squares)
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
