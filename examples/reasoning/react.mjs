// ReAct: the model reasons, calls a tool, sees what comes of it, and goes on. Every turn is a governed call of its own.
//   node examples/reasoning/react.mjs [--degraded]
import { answerIn, BaseReasoner } from './base.mjs'
import { runSimulated } from './simulated.mjs'

const PROMPT = '需要时调用工具,不要凭记忆计算。得出结论后只回答 JSON:{"answer": "…", "confidence": 0 到 1 的数}。'
/** A model may go round in circles. */
const MAX_TURNS = 5

const PRICES = { 苹果: 8.5, 香蕉: 4.2 }
const TOOLS = {
  price_of: {
    description: '查询每千克的价格(元)',
    parameters: { type: 'object', properties: { item: { type: 'string' } }, required: ['item'] },
    run: ({ item }) => PRICES[item] ?? '没有这种商品',
  },
  multiply: {
    description: '两个数相乘',
    parameters: { type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } }, required: ['a', 'b'] },
    run: ({ a, b }) => a * b,
  },
}

export class ReAct extends BaseReasoner {
  tools = Object.entries(TOOLS).map(([name, { description, parameters }]) => {
    return { type: 'function', function: { name, description, parameters } }
  })

  async think(question) {
    const messages = [
      { role: 'system', content: PROMPT },
      { role: 'user', content: question },
    ]
    const calls = []
    for (let turn = 0; turn < MAX_TURNS; turn++) {
      const message = await this.ask(messages, { tools: this.tools })
      if (!message.tool_calls?.length) return { ...answerIn(message.content), calls }
      messages.push(message)
      for (const { id, function: called } of message.tool_calls) {
        const content = this.use(called)
        calls.push(`${called.name}(${called.arguments}) = ${content}`)
        messages.push({ role: 'tool', tool_call_id: id, content })
      }
    }
    return { answer: '没有在规定的步数内得出结论。', confidence: 0.1, calls }
  }

  /** What goes wrong in a tool is the model's to read. */
  use({ name, arguments: text }) {
    try {
      return String(TOOLS[name].run(JSON.parse(text)))
    } catch (error) {
      return `错误:${error.message}`
    }
  }
}

await runSimulated(import.meta.url, {
  reason: (gate) => new ReAct(gate).reason('买 3 千克苹果要多少钱?'),
  // What a model would do, given what the tools have said so far.
  answer: ({ messages }) => {
    const [price, total] = messages.filter(({ role }) => role === 'tool').map(({ content }) => Number(content))
    if (price === undefined) return { toolCalls: [{ name: 'price_of', arguments: { item: '苹果' } }] }
    if (total === undefined) return { toolCalls: [{ name: 'multiply', arguments: { a: price, b: 3 } }] }
    return `{"answer": "${total} 元", "confidence": 0.95}`
  },
})
