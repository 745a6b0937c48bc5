// What of the OpenAI SDK's surface passes through `headgate serve`: every row is the real SDK against the built command, in
// front of a provider that speaks OpenAI's wire. `node bench/openai-surface.mjs` prints a table and exits 1 if a row fails.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import OpenAI from 'openai'
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import * as z from 'zod'
import { flags } from '../scripts/flags.mjs'

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
const CHAT = { model: 'm', messages: [{ role: 'user', content: 'hello' }] }
const USAGE = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
const WEATHER = z.object({ city: z.string() })
const TOOL = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'of a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    parse: JSON.parse,
    function: ({ city }) => `sunny in ${city}`,
  },
}
const LOGPROBS = { content: [{ token: 'hi', logprob: -0.1, bytes: [104, 105], top_logprobs: [] }], refusal: null }

/** A provider: each answer is told by the body it gets. */
function provider() {
  const seen = { bodies: [], cut: 0 }
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const body = JSON.parse(text)
    seen.bodies.push({ path: request.url, headers: request.headers, body })
    response.once('close', () => {
      if (!response.writableEnded) seen.cut++
    })
    const json = (status, value) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    }
    const events = (list) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const { event, ...data } of list)
        response.write(`${event ? `event: ${event}\n` : ''}data: ${JSON.stringify(data)}\n\n`)
    }
    if (body.user?.startsWith('status ')) {
      const status = Number(body.user.slice(7))
      json(status, { error: { message: `no: ${status}`, type: 'some_type', code: 'some_code', param: 'user' } })
    } else if (body.user === 'hang') return
    else if (request.url.endsWith('/embeddings')) {
      const floats = Buffer.from(new Float32Array([0.5, -0.25]).buffer).toString('base64')
      const embedding = body.encoding_format === 'base64' ? floats : [0.5, -0.25]
      json(200, {
        object: 'list',
        model: 'm',
        data: [{ object: 'embedding', index: 0, embedding }],
        usage: { prompt_tokens: 2, total_tokens: 2 },
      })
    } else if (request.url.endsWith('/responses')) {
      const list = responseEvents(body)
      if (!body.stream) json(200, list.at(-1).response)
      else {
        events(list)
        response.end()
      }
    } else if (!body.stream) json(200, completion(body))
    else {
      events(chunks(body))
      if (body.user === 'breaks')
        response.end(`data: ${JSON.stringify({ error: { message: 'broke', type: 'server_error' } })}\n\n`)
      else if (body.user !== 'endless') response.end('data: [DONE]\n\n')
    }
  })
  return { server, seen }
}

function says({ messages, tools, response_format }) {
  const asked = messages.at(-1)
  if (tools && asked.role !== 'tool') {
    const call = { name: 'weather', arguments: '{"city":"Chengdu"}' }
    return { content: null, tool_calls: [{ id: 'call_1', type: 'function', function: call }] }
  }
  if (response_format?.type === 'json_schema') return { content: '{"city":"Chengdu"}' }
  return { content: asked.role === 'tool' ? `it is ${asked.content}` : 'hi there' }
}

function completion(body) {
  const message = { role: 'assistant', refusal: null, ...says(body) }
  const choices = Array.from({ length: body.n ?? 1 }, (_, index) => {
    return {
      index,
      message,
      finish_reason: message.tool_calls ? 'tool_calls' : 'stop',
      logprobs: body.logprobs ? LOGPROBS : null,
    }
  })
  return {
    id: 'c1',
    object: 'chat.completion',
    created: 1,
    model: body.model,
    choices,
    usage: USAGE,
    unknown_field: { kept: true },
  }
}

function chunks(body) {
  const head = { id: 'c1', object: 'chat.completion.chunk', created: 1, model: body.model }
  const chunk = (delta, finish_reason = null, index = 0) => ({ ...head, choices: [{ index, delta, finish_reason }] })
  const { content, tool_calls: calls } = says(body)
  const list = [chunk({ role: 'assistant', content: '' })]
  for (let index = 0; index < (body.n ?? 1); index++) {
    for (const part of content?.match(/.{1,3}/g) ?? []) list.push(chunk({ content: part }, null, index))
  }
  for (const [index, call] of (calls ?? []).entries()) {
    list.push(chunk({ tool_calls: [{ index, ...call, function: { name: call.function.name, arguments: '' } }] }))
    for (const part of call.function.arguments.match(/.{1,6}/g))
      list.push(chunk({ tool_calls: [{ index, function: { arguments: part } }] }))
  }
  if (body.user === 'breaks' || body.user === 'endless') return list
  for (let index = 0; index < (body.n ?? 1); index++) list.push(chunk({}, calls ? 'tool_calls' : 'stop', index))
  if (body.stream_options?.include_usage) list.push({ ...head, choices: [], usage: USAGE })
  return list
}

function responseEvents(body) {
  const text = body.text?.format?.type === 'json_schema' ? '{"city":"Chengdu"}' : 'hi there'
  const part = { type: 'output_text', text, annotations: [] }
  const item = { id: 'msg_1', type: 'message', role: 'assistant', status: 'completed', content: [part] }
  const usage = { input_tokens: 3, output_tokens: 2, total_tokens: 5 }
  const response = {
    id: 'resp_1',
    object: 'response',
    created_at: 1,
    status: 'completed',
    model: 'm',
    output: [item],
    usage,
    tools: [],
  }
  const at = { item_id: 'msg_1', output_index: 0, content_index: 0 }
  const list = [
    { type: 'response.created', response: { ...response, status: 'in_progress', output: [], usage: null } },
    { type: 'response.output_item.added', output_index: 0, item: { ...item, status: 'in_progress', content: [] } },
    { type: 'response.content_part.added', ...at, part: { ...part, text: '' } },
    { type: 'response.output_text.delta', ...at, delta: text, logprobs: [] },
    { type: 'response.output_text.done', ...at, text, logprobs: [] },
    { type: 'response.output_item.done', output_index: 0, item },
    { type: 'response.completed', response },
  ]
  return list.map((event, index) => ({ event: event.type, sequence_number: index, ...event }))
}

/** Rows: what a user calls, and what has to be true of it. */
function rows(client, seen) {
  const chat = client.chat.completions
  const rejects = (promise, type, more = {}) =>
    promise.then(
      () => assert.fail('it did not reject'),
      (error) => {
        assert.ok(error instanceof type, `${error?.constructor?.name}: ${error?.message}`)
        for (const [key, value] of Object.entries(more)) assert.equal(error[key], value)
      },
    )
  const statuses = [
    [400, OpenAI.BadRequestError],
    [401, OpenAI.AuthenticationError],
    [403, OpenAI.PermissionDeniedError],
    [404, OpenAI.NotFoundError],
    [409, OpenAI.ConflictError],
    [422, OpenAI.UnprocessableEntityError],
    [429, OpenAI.RateLimitError],
    [500, OpenAI.InternalServerError],
  ]
  return [
    [
      'chat.completions.create',
      async () => {
        const answer = await chat.create({ ...CHAT, temperature: 0.5, seed: 7, metadata: { a: 'b' } })
        assert.equal(answer.choices[0].message.content, 'hi there')
        assert.deepEqual(answer.unknown_field, { kept: true })
        assert.match(answer._request_id, /^[0-9a-f-]{36}$/)
        const { body } = seen.bodies.at(-1)
        assert.deepEqual([body.temperature, body.seed, body.metadata.a], [0.5, 7, 'b'])
      },
    ],
    ['… n > 1', async () => assert.equal((await chat.create({ ...CHAT, n: 3 })).choices.length, 3)],
    [
      '… logprobs',
      async () => {
        const { choices } = await chat.create({ ...CHAT, logprobs: true, top_logprobs: 2 })
        assert.equal(choices[0].logprobs.content[0].token, 'hi')
      },
    ],
    [
      '… images in the content',
      async () => {
        const content = [
          { type: 'text', text: 'what is it?' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
        ]
        await chat.create({ ...CHAT, messages: [{ role: 'user', content }] })
        assert.deepEqual(seen.bodies.at(-1).body.messages[0].content, content)
      },
    ],
    [
      '… tool calls',
      async () => {
        const { choices } = await chat.create({ ...CHAT, tools: [TOOL] })
        assert.equal(choices[0].message.tool_calls[0].function.name, 'weather')
      },
    ],
    [
      '… withResponse, asResponse',
      async () => {
        const { data, response, request_id } = await chat.create(CHAT).withResponse()
        assert.equal(data.id, 'c1')
        assert.equal(response.headers.get('x-headgate-outcome'), 'completed')
        assert.equal(request_id, response.headers.get('x-headgate-request-id'))
        assert.equal((await chat.create(CHAT).asResponse()).status, 200)
      },
    ],
    [
      '… idempotencyKey',
      async () => {
        const before = seen.bodies.length
        for (let i = 0; i < 2; i++) await chat.create(CHAT, { headers: { 'idempotency-key': 'once' } })
        assert.equal(seen.bodies.length, before + 1)
      },
    ],
    [
      '… a stream',
      async () => {
        let text = ''
        for await (const chunk of await chat.create({ ...CHAT, stream: true }))
          text += chunk.choices[0].delta.content ?? ''
        assert.equal(text, 'hi there')
      },
    ],
    [
      '… a stream with n > 1',
      async () => {
        const texts = ['', '']
        for await (const { choices } of await chat.create({ ...CHAT, n: 2, stream: true })) {
          for (const { index, delta } of choices) texts[index] += delta.content ?? ''
        }
        assert.deepEqual(texts, ['hi there', 'hi there'])
      },
    ],
    [
      '… a stream with its usage',
      async () => {
        const chunksOf = await Array.fromAsync?.(
          await chat.create({ ...CHAT, stream: true, stream_options: { include_usage: true } }),
        )
        if (chunksOf) return assert.equal(chunksOf.at(-1).usage.total_tokens, 5)
        let usage
        for await (const chunk of await chat.create({ ...CHAT, stream: true, stream_options: { include_usage: true } }))
          usage = chunk.usage ?? usage
        assert.equal(usage.total_tokens, 5)
      },
    ],
    [
      '… a stream of tool calls',
      async () => {
        let text = ''
        for await (const chunk of await chat.create({ ...CHAT, tools: [TOOL], stream: true }))
          text += chunk.choices[0].delta.tool_calls?.[0].function.arguments ?? ''
        assert.equal(text, '{"city":"Chengdu"}')
      },
    ],
    [
      '… an error in mid-stream',
      async () => {
        const stream = await chat.create({ ...CHAT, user: 'breaks', stream: true })
        await rejects(
          (async () => {
            for await (const _ of stream);
          })(),
          OpenAI.APIError,
          { message: 'broke' },
        )
      },
    ],
    [
      'chat.completions.stream',
      async () => {
        const runner = chat.stream(CHAT)
        const deltas = []
        runner.on('content', (delta) => deltas.push(delta))
        assert.equal((await runner.finalChatCompletion()).choices[0].message.content, 'hi there')
        assert.equal(deltas.join(''), 'hi there')
      },
    ],
    [
      'chat.completions.runTools',
      async () =>
        assert.equal(await chat.runTools({ ...CHAT, tools: [TOOL] }).finalContent(), 'it is sunny in Chengdu'),
    ],
    [
      '… streaming',
      async () =>
        assert.equal(
          await chat.runTools({ ...CHAT, tools: [TOOL], stream: true }).finalContent(),
          'it is sunny in Chengdu',
        ),
    ],
    [
      'chat.completions.parse (json_schema)',
      async () => {
        const { choices } = await chat.parse({ ...CHAT, response_format: zodResponseFormat(WEATHER, 'weather') })
        assert.deepEqual(choices[0].message.parsed, { city: 'Chengdu' })
      },
    ],
    [
      '… while it streams',
      async () => {
        const runner = chat.stream({ ...CHAT, response_format: zodResponseFormat(WEATHER, 'weather') })
        assert.deepEqual((await runner.finalChatCompletion()).choices[0].message.parsed, { city: 'Chengdu' })
      },
    ],
    [
      'abort of a call ends it at the provider',
      async () => {
        const { cut } = seen
        const abort = new AbortController()
        const call = chat.create({ ...CHAT, user: 'hang' }, { signal: abort.signal })
        const before = seen.bodies.length
        while (seen.bodies.length === before) await new Promise((resolve) => setTimeout(resolve, 5))
        abort.abort()
        await rejects(call, OpenAI.APIUserAbortError)
        while (seen.cut === cut) await new Promise((resolve) => setTimeout(resolve, 5))
      },
    ],
    [
      'abort of a stream, likewise',
      async () => {
        const { cut } = seen
        const stream = await chat.create({ ...CHAT, user: 'endless', stream: true })
        for await (const _ of stream) break
        while (seen.cut === cut) await new Promise((resolve) => setTimeout(resolve, 5))
      },
    ],
    [
      'timeout',
      () => rejects(chat.create({ ...CHAT, user: 'hang' }, { timeout: 300 }), OpenAI.APIConnectionTimeoutError),
    ],
    ...statuses.map(([status, type]) => [
      `${status} is a ${type.name}`,
      () => {
        return rejects(chat.create({ ...CHAT, user: `status ${status}` }), type, {
          status,
          code: 'some_code',
          param: 'user',
          type: 'some_type',
        })
      },
    ]),
    [
      'an unknown model is a NotFoundError',
      () => rejects(chat.create({ ...CHAT, model: 'none' }), OpenAI.NotFoundError, { code: 'model_not_found' }),
    ],
    [
      'a wrong gateway key is an AuthenticationError',
      () => {
        const stranger = client.withOptions({ apiKey: 'wrong' })
        return rejects(stranger.chat.completions.create(CHAT), OpenAI.AuthenticationError, { code: 'invalid_api_key' })
      },
    ],
    [
      'models.list',
      async () => {
        const ids = []
        for await (const { id } of client.models.list()) ids.push(id)
        assert.deepEqual(ids, ['m', 'main'])
      },
    ],
    [
      'models.retrieve',
      async () => {
        assert.equal((await client.models.retrieve('m')).id, 'm')
        await rejects(client.models.retrieve('none'), OpenAI.NotFoundError, { code: 'model_not_found' })
      },
    ],
    [
      'embeddings.create',
      async () => {
        assert.deepEqual(
          (await client.embeddings.create({ model: 'm', input: 'text' })).data[0].embedding,
          [0.5, -0.25],
        )
        const floats = await client.embeddings.create({ model: 'm', input: ['text'], encoding_format: 'float' })
        assert.deepEqual(floats.data[0].embedding, [0.5, -0.25])
      },
    ],
    [
      'responses.create',
      async () => assert.equal((await client.responses.create({ model: 'm', input: 'hello' })).output_text, 'hi there'),
    ],
    [
      '… a stream',
      async () => {
        const types = []
        for await (const { type } of await client.responses.create({ model: 'm', input: 'hello', stream: true }))
          types.push(type)
        assert.deepEqual([types[0], types.at(-1)], ['response.created', 'response.completed'])
      },
    ],
    [
      'responses.stream',
      async () =>
        assert.equal(
          (await client.responses.stream({ model: 'm', input: 'hello' }).finalResponse()).output_text,
          'hi there',
        ),
    ],
    [
      'responses.parse',
      async () => {
        const answer = await client.responses.parse({
          model: 'm',
          input: 'x',
          text: { format: zodTextFormat(WEATHER, 'weather') },
        })
        assert.deepEqual(answer.output_parsed, { city: 'Chengdu' })
      },
    ],
    [
      'files, images, audio, … are refused as not there',
      async () => {
        await rejects(client.moderations.create({ input: 'x' }), OpenAI.NotFoundError, { code: 'not_found' })
        await rejects(client.chat.completions.list(), OpenAI.APIError, { status: 405 })
      },
    ],
  ]
}

/** Every row with what went wrong, if anything did. */
export async function surface() {
  const { server, seen } = provider()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const baseURL = `http://127.0.0.1:${server.address().port}/v1`
  const config = join(tmpdir(), `headgate-surface-${process.pid}.json`)
  const main = {
    provider: 'openai',
    apiKey: 'provider-key',
    baseURL,
    models: ['m'],
    retry: { maxAttempts: 1 },
    guardMs: 5,
  }
  await writeFile(config, JSON.stringify({ pools: { main } }))
  const env = { PATH: process.env.PATH, HEADGATE_API_KEYS: 'gateway-key', HEADGATE_LOG_LEVEL: 'fatal' }
  const serve = spawn(process.execPath, [CLI, 'serve', '--config', config, '--port', '0'], {
    env,
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [url] = await Promise.race([
      once(serve.stdout, 'data'),
      once(serve, 'exit').then(() => Promise.reject(new Error('serve ended'))),
    ])
    const client = new OpenAI({ baseURL: `${String(url).trim()}/v1`, apiKey: 'gateway-key', maxRetries: 0 })
    const results = []
    for (const [name, check] of rows(client, seen)) {
      const problem = await Promise.resolve()
        .then(check)
        .then(
          () => undefined,
          (error) => error.message,
        )
      results.push({ name, problem })
    }
    return results
  } finally {
    serve.kill('SIGKILL')
    server.closeAllConnections()
    server.close()
    await rm(config, { force: true })
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  flags({})
  const results = await surface()
  for (const { name, problem } of results)
    console.log(`${problem === undefined ? 'passes' : 'FAILS '}  ${name}${problem === undefined ? '' : `: ${problem}`}`)
  const passing = results.filter(({ problem }) => problem === undefined).length
  console.log(`${passing} of ${results.length}, openai ${(await import('openai/version')).VERSION}`)
  process.exitCode = passing === results.length ? 0 : 1
}
