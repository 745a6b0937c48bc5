/** Bytes in use when everything that nobody refers to is gone. */
export async function heapUsed(): Promise<number> {
  if (!globalThis.gc) throw new Error('expected to run with --expose-gc')
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    globalThis.gc()
  }
  return process.memoryUsage().heapUsed
}
