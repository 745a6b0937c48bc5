// Servers of one's own: vLLM and Ollama.
import { describe, expect, test } from 'vitest'
import { providerByName } from '../../src/providers/index.js'
import { classifies, error, type Row } from './answers.js'

const vllm = providerByName('vllm')!
const ollama = providerByName('ollama')!
const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 }
const USAGE = { promptTokens: 5, completionTokens: 7, totalTokens: 12 }

describe('vLLM', () => {
  const context = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"
  const rows: Row[] = [
    [400, { object: 'error', message: context, type: 'BadRequestError', param: null, code: 400 }, 'CTX', false],
    [400, error(400, 'BadRequestError', context), 'CTX', false],
    [400, error(400, 'BadRequestError', 'top_p must be in (0, 1]'), 'BAD', false],
    [401, { error: 'Unauthorized' }, 'AUTH', false],
    [404, error(404, 'NotFoundError', 'The model `x` does not exist.'), 'BAD', false],
    [503, '', 'OVL', true],
    [503, error(503, 'ServiceUnavailableError', 'The queue is full'), 'OVL', true],
    [500, error(500, 'InternalServerError', 'x'), 'SRV', true],
  ]
  classifies(vllm, rows)

  test('an error in the middle of a stream', () => {
    expect(vllm.classifyChunk(error(400, 'BadRequestError', 'x'))?.class).toBe('BAD')
    expect(vllm.classifyChunk({ object: 'error', message: 'x', type: 'InternalServerError', code: 500 })?.class).toBe(
      'SRV',
    )
  })

  test('usage of a stream: in the chunk after the last, or in every one', () => {
    expect(vllm.streamUsage({ choices: [], usage })).toEqual(USAGE)
    expect(vllm.streamUsage({ choices: [{ delta: { content: 'x' } }], usage })).toEqual(USAGE)
  })
})

describe('Ollama', () => {
  const rows: Row[] = [
    [503, { error: 'server busy, please try again.  maximum pending requests exceeded' }, 'OVL', true],
    [503, error(null, 'api_error', 'server busy, please try again.  maximum pending requests exceeded'), 'OVL', true],
    [404, error(null, 'api_error', "model 'x' not found"), 'BAD', false],
    [400, { error: 'invalid character' }, 'BAD', false],
    [500, { error: 'llama runner process has terminated' }, 'SRV', true],
  ]
  classifies(ollama, rows)

  test.each([
    [{ usage }, USAGE],
    [{ done: true, prompt_eval_count: 5, eval_count: 7 }, USAGE],
    [
      { done: true, eval_count: 7 },
      { promptTokens: 0, completionTokens: 7, totalTokens: 7 },
    ],
    [{ done: false, prompt_eval_count: 5, eval_count: 3 }, undefined],
    [{ done: true }, undefined],
    [{ message: { content: 'x' }, done: false }, undefined],
  ])('usage of %j, whole or in a stream', (body, expected) => {
    expect(ollama.usage(body)).toEqual(expected)
    expect(ollama.streamUsage(body)).toEqual(expected)
  })
})
