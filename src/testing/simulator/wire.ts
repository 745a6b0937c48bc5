/** The wires the simulator speaks: error bodies, headers and usage as each provider sends them. */
export type ProfileName = 'glm' | 'deepseek' | 'openai'

export interface WireError {
  readonly status: number
  readonly code: string
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** Why a request is refused, before it becomes a body. */
export type Refusal =
  | { readonly why: 'concurrency' | 'auth' | 'bad-json' | 'bad-body' | 'not-found' }
  | {
      readonly why: 'requests' | 'tokens'
      readonly limit: number
      readonly used: number
      readonly requested: number
      readonly waitMs: number
    }

export interface Profile {
  readonly name: ProfileName
  /** Base path; chat completions are at `<base>/chat/completions`. */
  readonly basePath: string
  readonly chatPaths: readonly string[]
  /** Whether refused requests count against the limits too. */
  readonly refusedCount: boolean
  readonly usage: 'on-finish' | 'extra-chunk'
  readonly heartbeat: boolean
  refuse(refusal: Refusal): WireError
  /** The error a test asks for by its code. */
  injected(code: string): WireError
}

const GLM_ERRORS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  '500': [500, '内部错误'],
  '1000': [401, '身份验证失败'],
  '1001': [401, 'Header中未收到Authentication参数，无法进行身份验证'],
  '1002': [401, 'Authentication Token非法，请确认Authentication Token正确传递'],
  '1003': [401, 'Authentication Token已过期，请重新生成/获取'],
  '1004': [401, '通过提供的Authentication Token的验证失败'],
  '1005': [401, '令牌已过期或验证不正确'],
  '1110': [429, '您的账户当前处于非活动状态。请检查账户信息'],
  '1111': [429, '您的账户不存在'],
  '1112': [429, '您的账户已被锁定，请联系客服解锁'],
  '1113': [429, '您的账户已欠费，请充值后重试'],
  '1121': [429, '您的账户存在违规行为，账号已被锁定'],
  '1200': [500, 'API 调用错误'],
  '1210': [400, 'API 调用参数有误，请检查文档'],
  '1211': [400, '模型不存在，请检查模型代码'],
  '1212': [400, '当前模型不支持该调用方式'],
  '1213': [400, '未正常接收到参数'],
  '1214': [400, '参数非法。请检查文档'],
  '1215': [400, '参数不能同时设置，请检查文档'],
  '1220': [403, '您无权访问'],
  '1221': [400, 'API 已下线'],
  '1222': [400, 'API 不存在'],
  '1230': [500, 'API 调用流程出错'],
  '1231': [400, '您已有请求'],
  '1234': [500, '网络错误，请稍后重试'],
  '1261': [400, 'Prompt 超长'],
  '1301': [400, '系统检测到输入或生成内容可能包含不安全或敏感内容，请您避免输入易产生敏感内容的提示语，感谢您的配合'],
  '1302': [429, '您的账户已达到速率限制,请您控制请求频率'],
  '1303': [429, '您当前使用该API的频率过高，请降低频率'],
  '1304': [429, '该 API 已达今日调用次数限额'],
  '1305': [429, '该模型当前访问量过大，请您稍后再试'],
  '1308': [429, '已达到 5 小时的使用上限。您的限额将在 2026-08-25 07:41:44 重置。'],
  '1309': [429, '您的套餐已到期'],
  '1310': [429, '已达到每周使用上限。您的限额将在 2026-08-25 07:41:44 重置。'],
  '1311': [429, '当前套餐不支持该模型'],
  '1312': [429, '该模型当前访问量过大，请您稍后再试'],
  '1313': [429, '您的账户不符合公平使用策略，请求频率已受到限制'],
  '1314': [429, '套餐暂不可用'],
  '1315': [429, '套餐暂不可用'],
  '1316': [429, '已达到 5 小时的使用上限。您的限额将在 2026-08-25 07:41:44 重置。'],
  '1317': [429, '已达到 7 天的使用上限。您的限额将在 2026-08-25 07:41:44 重置。'],
  '1318': [429, '已达到 5 小时的使用上限。您的限额将在 2026-08-25 07:41:44 重置。'],
  '1319': [429, '已达到 7 天的使用上限。您的限额将在 2026-08-25 07:41:44 重置。'],
  '1320': [429, '已达到消费上限。您的限额将在 2026-08-25 07:41:44 重置。'],
  '1321': [429, '已达到消费上限。您的限额将在 2026-08-25 07:41:44 重置。'],
}

/** Every code of GLM's table that the simulator can answer with. */
export const GLM_CODES: readonly string[] = Object.keys(GLM_ERRORS)

function glmError(code: string, message?: string): WireError {
  const row = Object.hasOwn(GLM_ERRORS, code) ? GLM_ERRORS[code] : undefined
  if (!row) throw new RangeError(`GLM code: expected one of ${GLM_CODES.join(', ')}, got ${code}`)
  const error: Record<string, unknown> = { code, message: message ?? row[1] }
  const body = code === '1301' ? { error, contentFilter: [{ role: 'user', level: 1 }] } : { error }
  return { status: row[0], code, body }
}

/** GLM limits what is in flight; its old wording said so, the current one speaks of the account's rate. No hints in headers. */
function refuseGlm({ why }: Refusal): WireError {
  if (why === 'concurrency') return glmError('1302', '您当前使用该API的并发数过高，请降低并发')
  if (why === 'requests') return glmError('1302')
  if (why === 'tokens') return glmError('1303')
  if (why === 'auth') return glmError('1001')
  return glmError(why === 'bad-json' ? '1213' : why === 'not-found' ? '1222' : '1214')
}

function deepseekError(status: number, message: string, type: string, code = 'invalid_request_error'): WireError {
  return { status, code: String(status), body: { error: { message, type, param: null, code } } }
}

const DEEPSEEK_ERRORS: Readonly<Record<string, WireError>> = {
  '400': deepseekError(400, 'Content Exists Risk', 'invalid_request_error'),
  '401': deepseekError(401, 'Authentication Fails (no such user)', 'authentication_error'),
  '402': deepseekError(402, 'Insufficient Balance', 'unknown_error'),
  '422': deepseekError(422, 'Failed to deserialize the JSON body into the target type', 'invalid_request_error'),
  '429': deepseekError(429, 'Too many requests, please slow down', 'rate_limit_error', 'rate_limit_error'),
  '500': deepseekError(500, 'Internal Server Error', 'server_error', 'server_error'),
  '503': deepseekError(503, 'Service is too busy', 'service_unavailable_error', 'service_unavailable_error'),
}

function refuseDeepseek({ why }: Refusal): WireError {
  if (why === 'auth') return DEEPSEEK_ERRORS['401']!
  if (why === 'bad-json' || why === 'bad-body') return DEEPSEEK_ERRORS['422']!
  if (why === 'not-found') return deepseekError(404, 'Not Found', 'invalid_request_error')
  return DEEPSEEK_ERRORS['429']!
}

function openaiError(status: number, code: string, type: string, message: string, headers = {}): WireError {
  return { status, code, body: { error: { message, type, param: null, code } }, headers }
}

const OPENAI_ERRORS: Readonly<Record<string, WireError>> = {
  '500': openaiError(500, 'server_error', 'server_error', 'The server had an error while processing your request.'),
  '503': openaiError(503, 'overloaded', 'server_error', 'The engine is currently overloaded, please try again later.'),
  insufficient_quota: openaiError(
    429,
    'insufficient_quota',
    'insufficient_quota',
    'You exceeded your current quota, please check your plan and billing details.',
  ),
  context_length_exceeded: openaiError(
    400,
    'context_length_exceeded',
    'invalid_request_error',
    "This model's maximum context length is 128000 tokens.",
  ),
}

function refuseOpenai(refusal: Refusal): WireError {
  if (refusal.why === 'requests' || refusal.why === 'tokens') {
    const { why, limit, used, requested, waitMs } = refusal
    const unit = why === 'tokens' ? 'tokens per min (TPM)' : 'requests per min (RPM)'
    const figures = `Limit ${limit}, Used ${used}, Requested ${requested}.`
    if (waitMs === Number.POSITIVE_INFINITY) {
      const message = `Request too large on ${unit}: Limit ${limit}, Requested ${requested}. The input or output tokens must be reduced in order to run successfully.`
      return openaiError(429, 'rate_limit_exceeded', why, message)
    }
    const message = `Rate limit reached on ${unit}: ${figures} Please try again in ${goDuration(waitMs)}.`
    const headers = { 'retry-after': String(Math.ceil(waitMs / 1000)), 'retry-after-ms': String(Math.ceil(waitMs)) }
    return openaiError(429, 'rate_limit_exceeded', why, message, headers)
  }
  if (refusal.why === 'concurrency') return OPENAI_ERRORS['503']!
  if (refusal.why === 'auth') {
    return openaiError(401, 'invalid_api_key', 'invalid_request_error', "You didn't provide an API key.")
  }
  if (refusal.why === 'not-found')
    return openaiError(404, 'unknown_url', 'invalid_request_error', 'Unknown request URL')
  return openaiError(400, 'invalid_body', 'invalid_request_error', 'We could not parse the JSON body of your request.')
}

/** A duration as Go prints it: `0s`, `120ms`, `1.5s`, `6m0s`, `1h0m0s`; rounded up to whole ms. */
export function goDuration(ms: number): string {
  const whole = Math.ceil(ms)
  if (whole > 0 && whole < 1000) return `${whole}ms`
  const hours = Math.floor(whole / 3_600_000)
  const minutes = Math.floor(whole / 60_000) % 60
  const seconds = `${(whole % 60_000) / 1000}s`
  if (hours > 0) return `${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${minutes}m${seconds}` : seconds
}

function fromTable(table: Readonly<Record<string, WireError>>, provider: string) {
  return (code: string): WireError => {
    const error = Object.hasOwn(table, code) ? table[code] : undefined
    if (!error) throw new RangeError(`${provider} code: expected one of ${Object.keys(table).join(', ')}, got ${code}`)
    return error
  }
}

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  glm: {
    name: 'glm',
    basePath: '/api/paas/v4',
    chatPaths: ['/api/paas/v4/chat/completions', '/api/coding/paas/v4/chat/completions'],
    refusedCount: false,
    usage: 'on-finish',
    heartbeat: true,
    refuse: refuseGlm,
    injected: (code) => glmError(code),
  },
  deepseek: {
    name: 'deepseek',
    basePath: '',
    chatPaths: ['/chat/completions'],
    refusedCount: false,
    usage: 'on-finish',
    heartbeat: false,
    refuse: refuseDeepseek,
    injected: fromTable(DEEPSEEK_ERRORS, 'DeepSeek'),
  },
  openai: {
    name: 'openai',
    basePath: '/v1',
    chatPaths: [],
    refusedCount: true,
    usage: 'extra-chunk',
    heartbeat: false,
    refuse: refuseOpenai,
    injected: fromTable(OPENAI_ERRORS, 'OpenAI'),
  },
}
