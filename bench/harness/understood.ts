/** What `read` makes of the command line; undefined, and a line on stderr, for words that it throws at. */
export function understood<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    process.stderr.write(`${(error as Error).message}; --help lists names and flags\n`)
    return undefined
  }
}
