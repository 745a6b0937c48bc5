// OpenAI's batch files: a request a line in, a result a line out.
import { type ApiName, apiAt, type Wire } from '../../../providers/apis.js'
import { API_PATHS } from '../../gateway/front.js'
import { digestOf, type Line } from './lines.js'

/** A line may be as long as a body that `serve` takes. */
export const MAX_LINE_BYTES = 10 * 1024 * 1024
const MAX_ID_CHARS = 512
/** How every line of the output begins. */
const RESULT_START = Buffer.from('{"id":"batch_req_')
const RESULT_ID = /^batch_req_([1-9]\d{0,14})_([0-9a-f]{16})$/
/** What the second of two lines with one custom_id gets. */
const DUPLICATE = 'duplicate_custom_id'

export interface BatchRequest {
  readonly customId: string
  readonly api: ApiName
  readonly wire: Wire
  readonly body: Readonly<Record<string, unknown>>
}

/** Why a line can't be sent. */
export class LineProblem extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** Where it could be read. */
    readonly customId: string | null = null,
  ) {
    super(message)
  }
}

/** Reads a line of the input; `claim` is false for a custom_id that is taken. Throws a LineProblem for what is no request. */
export function readRequest({ bytes, totalBytes }: Line, claim: (customId: string) => boolean): BatchRequest {
  if (totalBytes > bytes.length) {
    throw new LineProblem('line_too_long', `the line is longer than ${MAX_LINE_BYTES} bytes`)
  }
  const line = parse(bytes)
  if (!isRecord(line)) throw new LineProblem('invalid_json_line', 'the line: expected a JSON object')
  const { custom_id: customId, method, url, body } = line
  if (typeof customId !== 'string' || customId === '' || customId.length > MAX_ID_CHARS) {
    const expected = `custom_id: expected a text of 1 to ${MAX_ID_CHARS} characters`
    throw new LineProblem(customId === undefined ? 'missing_required_parameter' : 'invalid_custom_id', expected)
  }
  const refuse = (code: string, message: string): never => {
    throw new LineProblem(code, message, customId)
  }
  if (!claim(customId)) refuse(DUPLICATE, 'custom_id: another line before this one has the same')
  if (method !== 'POST') refuse('invalid_method', `method: expected "POST"`)
  const path = API_PATHS.find((known) => known === url)
  if (!path) return refuse('invalid_url', `url: expected one of ${API_PATHS.join(', ')}`)
  if (!isRecord(body)) return refuse('missing_required_parameter', 'body: expected a JSON object')
  if (body.stream === true) refuse('unsupported_value', 'body.stream: a batch has whole answers; leave it out')
  return { customId, ...apiAt(path)!, body }
}

function parse(bytes: Buffer): unknown {
  try {
    // It takes a byte order mark off, too.
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : 'it is not UTF-8'
    throw new LineProblem('invalid_json_line', `the line could not be parsed as JSON: ${reason}`)
  }
}

/** Names the line by number and content, so that the results alone say what is done. */
export function resultId({ number, bytes }: Line): string {
  return `batch_req_${number}_${digestOf(bytes)}`
}

/** A line of the output for an answer over HTTP, whatever its status; `body` is JSON already. */
export function answerLine(
  id: string,
  customId: string,
  answer: { readonly status: number; readonly requestId: string; readonly body: string },
): string {
  const { status, requestId, body } = answer
  const response = `{"status_code":${status},"request_id":${JSON.stringify(requestId)},"body":${body}}`
  return `{"id":"${id}","custom_id":${JSON.stringify(customId)},"response":${response},"error":null}\n`
}

/** A line of the output for what was never sent. */
export function problemLine(id: string, { customId, code, message }: LineProblem): string {
  return `${JSON.stringify({ id, custom_id: customId, response: null, error: { code, message } })}\n`
}

/** What a line of the output tells of the line of the input that it answers. */
export interface Result {
  readonly number: number
  readonly digest: string
  /** The custom_id that is taken, if any: one whose line was a repetition itself takes none. */
  readonly takenId: string | undefined
  readonly answered: boolean
}

/** Reads a line of the output; undefined where it is none of ours. */
export function readResult(bytes: Buffer): Result | undefined {
  let line: unknown
  try {
    line = JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
  if (!isRecord(line)) return undefined
  const { id, custom_id: customId, response, error } = line
  const [, number, digest] = RESULT_ID.exec(String(id)) ?? []
  if (number === undefined || digest === undefined) return undefined
  const code = isRecord(error) ? error.code : undefined
  const status = isRecord(response) ? Number(response.status_code) : 0
  return {
    number: Number(number),
    digest,
    takenId: typeof customId === 'string' && code !== DUPLICATE ? customId : undefined,
    answered: status >= 200 && status < 300,
  }
}

/** Whether these bytes may be the beginning of a line of the output. */
export function isTornResult(bytes: Buffer): boolean {
  const length = Math.min(bytes.length, RESULT_START.length)
  return bytes.subarray(0, length).equals(RESULT_START.subarray(0, length))
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
