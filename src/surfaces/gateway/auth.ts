import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** Checks a Bearer against the keys in a time that tells nothing: all are compared, by digests of one length. */
export function keyCheck(apiKeys: readonly string[]): (authorization: string | undefined) => boolean {
  const digests = apiKeys.map(digestOf)
  return (authorization) => {
    const [, token] = /^Bearer +(\S+)$/i.exec(authorization ?? '') ?? []
    const shown = digestOf(token ?? '')
    let known = false
    for (const digest of digests) known = timingSafeEqual(digest, shown) || known
    return known
  }
}

/**
 * The key that an upgrade shows, as a Bearer: in a header, as the password of the URL (`ws://any:KEY@host`), or, since a page
 * in a browser has neither, as a subprotocol `key.<base64url of it>`.
 */
export function keyOfUpgrade(headers: IncomingHttpHeaders): string | undefined {
  const { authorization, 'sec-websocket-protocol': protocols = '', 'x-api-key': apiKey } = headers
  const [, basic] = /^Basic +(\S+)$/i.exec(authorization ?? '') ?? []
  if (basic !== undefined) return `Bearer ${textOf(basic).replace(/^[^:]*:/, '')}`
  const [, encoded] = /(?:^|,) *key\.([\w-]+)/.exec(protocols) ?? []
  if (encoded !== undefined) return `Bearer ${textOf(encoded)}`
  return authorization ?? (apiKey === undefined ? undefined : `Bearer ${String(apiKey)}`)
}

function textOf(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8')
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
