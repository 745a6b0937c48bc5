// Servers of one's own, which ask for no key.
import { openaiChat } from '../completion.js'
import { EMBEDDINGS } from '../embeddings.js'
import { apisBelow, COMMON, fromTable, type Profile, type Refusal, type WireError } from '../profile.js'
import { RESPONSES } from '../responses.js'
import { openaiError } from './openai.js'

function vllmError(status: number, type: string, message: string): WireError {
  return { status, code: String(status), body: { error: { message, type, param: null, code: status } } }
}

const VLLM_ERRORS: Readonly<Record<string, WireError>> = {
  '400': vllmError(400, 'BadRequestError', "This model's maximum context length is 4096 tokens."),
  '500': vllmError(500, 'InternalServerError', 'Internal server error'),
  '503': vllmError(503, 'ServiceUnavailableError', 'The server is overloaded'),
}

function refuseVllm({ why }: Refusal): WireError {
  if (why === 'not-found') return vllmError(404, 'NotFoundError', 'Not Found')
  if (why === 'bad-json' || why === 'bad-body') return vllmError(400, 'BadRequestError', 'The body is not valid')
  return VLLM_ERRORS['503']!
}

export const vllm: Profile = {
  ...COMMON,
  name: 'vllm',
  basePath: '/v1',
  apiAt: apisBelow(['/v1'], {
    '/chat/completions': openaiChat({ usage: 'extra-chunk' }),
    '/embeddings': EMBEDDINGS,
    '/responses': RESPONSES,
  }),
  hasKey: () => true,
  refuse: refuseVllm,
  injected: fromTable(VLLM_ERRORS, 'vLLM'),
}

const BUSY = 'server busy, please try again.  maximum pending requests exceeded'

const OLLAMA_ERRORS: Readonly<Record<string, WireError>> = {
  '404': openaiError(404, '', 'api_error', "model 'x' not found"),
  '500': { status: 500, code: '500', body: { error: 'llama runner process has terminated' } },
  '503': { status: 503, code: '503', body: { error: BUSY } },
}

function refuseOllama({ why }: Refusal): WireError {
  if (why === 'not-found') return { status: 404, code: '404', body: { error: 'page not found' } }
  if (why === 'bad-json' || why === 'bad-body') return { status: 400, code: '400', body: { error: 'invalid request' } }
  return OLLAMA_ERRORS['503']!
}

export const ollama: Profile = {
  ...COMMON,
  name: 'ollama',
  basePath: '/v1',
  apiAt: apisBelow(['/v1'], { '/chat/completions': openaiChat({ usage: 'extra-chunk' }), '/embeddings': EMBEDDINGS }),
  hasKey: () => true,
  refuse: refuseOllama,
  injected: fromTable(OLLAMA_ERRORS, 'Ollama'),
}
