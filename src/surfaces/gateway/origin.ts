const LOOPBACK = /^(?:(?:[\w-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[?::1\]?)$/i

export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host)
}

/**
 * Why a request to a gateway without keys is not from this machine's own programs; undefined when it may be.
 * A page in a browser can reach loopback: by a name of its own that resolves there (the Host tells), or across origins
 * (the Origin tells). It would spend the owner's quota.
 */
export function strangerIn({
  host = '',
  origin,
}: {
  readonly host?: string
  readonly origin?: string
}): string | undefined {
  if (!isLoopback(host.replace(/:\d+$/, ''))) return 'the Host header does not name this machine'
  if (origin === undefined) return undefined
  const named = URL.canParse(origin) ? new URL(origin).hostname : ''
  return isLoopback(named) ? undefined : 'the Origin header names another site'
}
