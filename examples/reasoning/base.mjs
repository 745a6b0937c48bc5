// The base reasoner: one governed call, one answer with a confidence. The others build on it.
//   node examples/reasoning/base.mjs [--degraded]
import { runSimulated } from './simulated.mjs'

/** What a user gets when the model can't be asked: never an exception, never a made-up answer. */
export const DEGRADED = { answer: '抱歉,系统繁忙,请稍后重试。', confidence: 0 }

/** Thrown inside a reasoner when a call got no answer of a model's; `reason` turns it into DEGRADED. */
class Unanswered extends Error {}

export class BaseReasoner {
  constructor(gate, { pool = 'glm-4-plus', tenant = 'reasoning', deadline = '60s' } = {}) {
    this.gate = gate
    this.call = { pool, tenant, deadline }
  }

  /** `{ answer, confidence }`, always. */
  async reason(question) {
    try {
      return await this.think(question)
    } catch (error) {
      if (error instanceof Unanswered) return DEGRADED
      throw error
    }
  }

  /** How a reasoner thinks: the part that others replace. */
  async think(question) {
    const { content } = await this.ask([
      { role: 'system', content: '你是严谨的助手。只回答 JSON:{"answer": "…", "confidence": 0 到 1 的数}。' },
      { role: 'user', content: question },
    ])
    return answerIn(content)
  }

  /** One call through Headgate: it waits for its turn, is retried, and ends in an outcome. Returns the model's message. */
  async ask(messages, body = {}) {
    const request = await this.gate.spawn({ ...this.call, messages, body, maxTokens: 512 }).catch((error) => {
      throw new Unanswered(error.code) // it never got a place in the queue
    })
    const outcome = await request.outcome
    // A cached answer or another model's is an answer. The degraded message, and whatever failed or expired, is none.
    const answered = outcome.status === 'completed' || (outcome.status === 'degraded' && outcome.via !== 'message')
    if (!answered) throw new Unanswered(outcome.error?.code)
    return outcome.value.choices[0].message
  }
}

/** The JSON object that a model was asked for. What it wrote instead is an answer of little confidence. */
export function answerIn(text) {
  try {
    const { answer, confidence } = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1))
    if (typeof answer === 'string' && confidence >= 0 && confidence <= 1) return { answer, confidence }
  } catch {
    // Said below.
  }
  return { answer: text, confidence: 0.3 }
}

await runSimulated(import.meta.url, {
  reason: (gate) => new BaseReasoner(gate).reason('水在标准大气压下的沸点是多少?'),
  answer: () => '{"answer": "100 摄氏度", "confidence": 0.98}',
})
