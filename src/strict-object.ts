import * as z from 'zod'

/** An object with these keys and no others. `expected` describes it; the complaint about another key is the known ones. */
export function strictObject<T extends z.core.$ZodLooseShape>(shape: T, expected?: string) {
  const known = Object.keys(shape).join(', ')
  return z.strictObject(shape, { error: ({ code }) => (code === 'unrecognized_keys' ? known : expected) })
}
