/** The middle, the lowest and the highest of several measurements. */
export interface Spread {
  median: number
  low: number
  high: number
}

/** Sums several measurements up. */
export function spreadOf (values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, low: sorted[0]!, high: sorted.at(-1)! }
}

/** How one series compares with another that was measured side by side, pair by pair. */
export function ratioOf (values: readonly number[], base: readonly number[]): Spread {
  return spreadOf(values.map((value, i) => value / base[i]!))
}
