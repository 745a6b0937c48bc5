/** The part of a schema's issue that is needed to tell a person about it. `message` says what was expected. */
export interface Issue {
  readonly code?: string | undefined
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly keys?: readonly string[]
  readonly errors?: readonly (readonly Issue[])[]
}

const PLAIN_KEY = /^[\w.:/@-]+$/
const MAX_SHOWN = 100

/** One line a problem: where, what was expected, what was got. Values that may be secret are never shown. */
export function describeIssues(issues: readonly Issue[], input: unknown): string[] {
  return issues.flatMap(relevantIssues).flatMap((issue) => {
    const { code, path, message, keys = [] } = issue
    if (code === 'unrecognized_keys') return keys.map((key) => `${pathOf([...path, key])}: ${unknownKey(key, message)}`)
    if (code === 'invalid_key') {
      const names = 'a name of up to 100 letters, digits or . _ : / -'
      return `${pathOf(path.slice(0, -1))}: expected ${names}, got ${shownText(String(path.at(-1)))}`
    }
    return problem(path, message, valueAt(input, path))
  })
}

export function problem(path: readonly PropertyKey[], expected: string, got: unknown): string {
  return `${pathOf(path)}: expected ${expected}, got ${isSecret(path) ? kindOf(got) : shown(got)}`
}

/** `known`: the names there are, separated by commas. */
function unknownKey(key: string, known: string): string {
  const meant = known.split(', ').find((name) => isNear(plain(name), plain(key)))
  return `unknown key${meant ? ` (did you mean ${meant}?)` : ''}, expected one of ${known}`
}

const plain = (name: string) => name.toLowerCase().replace(/[_-]/g, '')

/** The same but for one letter that is missing, too many, another, or in its neighbour's place. */
function isNear(a: string, b: string): boolean {
  let start = 0
  while (start < a.length && a[start] === b[start]) start++
  const [restA, restB] = [a.slice(start), b.slice(start)]
  const isSwapped = restA[0] === restB[1] && restA[1] === restB[0] && restA.slice(2) === restB.slice(2)
  const isOther = restA.slice(1) === restB.slice(1)
  return isSwapped || isOther || restA.slice(1) === restB || restA === restB.slice(1)
}

/** Of a union that failed, the issues inside the one alternative that has the right shape, if there is one. */
function relevantIssues(issue: Issue): Issue[] {
  const alternatives = (issue.errors ?? []).map((issues) => issues.flatMap(relevantIssues))
  const fitting = alternatives.filter((issues) => issues.length > 0 && issues.every(({ path }) => path.length > 0))
  if (fitting.length !== 1) return [issue]
  return fitting[0]!.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }))
}

function pathOf(path: readonly PropertyKey[]): string {
  let text = ''
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`
    else if (PLAIN_KEY.test(String(key))) text += text === '' ? String(key) : `.${String(key)}`
    else text += `[${shownText(String(key))}]`
  }
  return text || 'options'
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input
  for (const key of path) value = (value as Record<PropertyKey, unknown> | null | undefined)?.[key]
  return value
}

/** Keys, Redis with its password, and webhooks, whose URLs are secrets. */
function isSecret(path: readonly PropertyKey[]): boolean {
  return path[0] === 'redis' || path.includes('apiKey') || path.includes('webhook')
}

function shown(value: unknown): string {
  if (typeof value === 'string' && value !== '') return shownText(value)
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value)
  return kindOf(value)
}

/** Quoted and short; in a URL, wherever it turned up, neither credentials nor a query. */
function shownText(text: string): string {
  const safe = text.replace(/\/\/.*@/gs, '//…@').replace(/(\/\/[^?]*)\?.*/s, '$1?…')
  return JSON.stringify(safe.length > MAX_SHOWN ? `${safe.slice(0, MAX_SHOWN)}…` : safe)
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (value === '') return 'an empty string'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array'
  if (typeof value !== 'object') return `a ${typeof value}`
  return Object.keys(value).length === 0 ? 'an empty object' : 'an object'
}
