import { openaiChat } from '../completion.js'
import { EMBEDDINGS } from '../embeddings.js'
import { apisBelow, COMMON, type Profile, type Refusal, type WireError } from '../profile.js'

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

export const glm: Profile = {
  ...COMMON,
  name: 'glm',
  basePath: '/api/paas/v4',
  apiAt: apisBelow(['/api/paas/v4', '/api/coding/paas/v4', '/v1'], {
    '/chat/completions': openaiChat({ usage: 'on-finish', heartbeat: true, requestId: true }),
    '/embeddings': EMBEDDINGS,
  }),
  refuse: refuseGlm,
  injected: (code) => glmError(code),
}
