import { createHash } from 'node:crypto'

/** A page as one text, and the headers that keep it to itself. */
export interface Page {
  readonly html: string
  readonly headers: Record<string, string>
}

/** Lets a page run its own inline scripts and styles, by their digests, and talk to its gateway alone. */
export function pageOf(html: string, ...morePolicy: string[]): Page {
  const digests = (tag: string) => {
    const parts = [...html.matchAll(new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`, 'g'))].map(([, text]) => text!)
    return parts.map((text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`).join(' ')
  }
  const policy = [
    "default-src 'none'",
    `script-src ${digests('script')}`,
    `style-src ${digests('style')}`,
    'img-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    ...morePolicy,
  ]
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': policy.join('; '),
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  }
  return { html, headers }
}
