/** An error whose message is for the person at the terminal, as it is. */
export class CliError extends Error {
  override readonly name = 'CliError'
}
