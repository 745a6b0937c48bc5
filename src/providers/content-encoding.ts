// Nobody asks a provider for a compressed answer, and some proxies in front of one compress it all the same.
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import type { ResponseHead } from './provider.js'

/** As many as an answer may have without it: a small bomb is no way around that. */
const MAX_DECODED_BYTES = 64 * 1024 * 1024
const OPTIONS = { maxOutputLength: MAX_DECODED_BYTES }

export function isEncoded({ headers }: ResponseHead): boolean {
  const encoding = headers['content-encoding']
  return encoding !== undefined && encoding !== '' && encoding !== 'identity'
}

/** Throws for what is broken, too long, or in an encoding that is not known. */
export function decoded(bytes: Buffer, { headers }: ResponseHead): Buffer {
  const encoding = String(headers['content-encoding']).trim().toLowerCase()
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return gunzipSync(bytes, OPTIONS)
    case 'deflate':
      return inflateSync(bytes, OPTIONS)
    case 'br':
      return brotliDecompressSync(bytes, OPTIONS)
  }
  throw Object.assign(new Error('the answer has an unknown content-encoding'), { code: 'UNKNOWN_ENCODING' })
}
