// Chain of thought, several times over: the chains run side by side, each in the fleet's limits, and they vote.
//   node examples/reasoning/chain-of-thought.mjs [--degraded]
import { answerIn, BaseReasoner } from './base.mjs'
import { runSimulated } from './simulated.mjs'

const PROMPT = '一步一步地思考,写出每一步;最后一行只写 JSON:{"answer": "…", "confidence": 0 到 1 的数}。'

export class ChainOfThought extends BaseReasoner {
  /** So many at once is safe: what the account can't take now waits for its turn. */
  chains = 3

  async think(question) {
    const messages = [
      { role: 'system', content: PROMPT },
      { role: 'user', content: question },
    ]
    const chains = await Promise.all(
      Array.from({ length: this.chains }, () => this.ask(messages, { temperature: 0.8 })),
    )
    const answers = chains.map(({ content }) => answerIn(content.trim().split('\n').at(-1)))
    const votes = new Map()
    for (const one of answers) votes.set(one.answer, [...(votes.get(one.answer) ?? []), one])
    const [answer, agreeing] = [...votes].sort((a, b) => b[1].length - a[1].length)[0]
    // As sure as those who agree are, as far as they are many.
    const sure = agreeing.reduce((sum, { confidence }) => sum + confidence, 0) / answers.length
    return { answer, confidence: Number(sure.toFixed(2)), steps: chains[0].content.trim().split('\n').slice(0, -1) }
  }
}

let chain = 0
await runSimulated(import.meta.url, {
  reason: (gate) => new ChainOfThought(gate).reason('每箱 12 个苹果,3 箱再送 5 个,一共多少个?'),
  // Two chains agree, one slips.
  answer: () => {
    const slips = chain++ % 3 === 2
    const last = slips ? '{"answer": "36", "confidence": 0.6}' : '{"answer": "41", "confidence": 0.9}'
    return `第一步:3 箱有 3 × 12 = 36 个。\n第二步:再加 5 个,36 + 5 = 41 个。\n${last}`
  },
})
