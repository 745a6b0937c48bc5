// Graph RAG: the model names the entities of a question, the graph brings the facts around them, and the model answers from
// these alone. Both calls are governed.
//   node examples/reasoning/graph-rag.mjs [--degraded]
import { answerIn, BaseReasoner } from './base.mjs'
import { runSimulated } from './simulated.mjs'

const FIND = '列出问题中的实体,只回答 JSON 数组。'
const ANSWER = '只根据给出的事实回答;事实不足时说不知道。只回答 JSON:{"answer": "…", "confidence": 0 到 1 的数}。'
const MAX_FACTS = 20

/** Subject, relation, object. Yours comes from a graph database. */
const TRIPLES = [
  ['都江堰', '位于', '岷江'],
  ['都江堰', '主持修建者', '李冰'],
  ['岷江', '流入', '长江'],
  ['李冰', '官职', '蜀郡太守'],
  ['黄河', '流入', '渤海'],
]

export class GraphRag extends BaseReasoner {
  hops = 2

  async think(question) {
    const { content } = await this.ask([
      { role: 'system', content: FIND },
      { role: 'user', content: question },
    ])
    const facts = factsAround(entitiesIn(content, question), this.hops)
    const told = facts.map((fact) => fact.join(' ')).join('\n')
    const answer = await this.ask([
      { role: 'system', content: ANSWER },
      { role: 'user', content: `事实:\n${told || '(无)'}\n\n问题:${question}` },
    ])
    return { ...answerIn(answer.content), facts: facts.length }
  }
}

/** What the model named; if that is no list, whatever of the graph the question mentions. */
function entitiesIn(text, question) {
  try {
    const names = JSON.parse(text.slice(text.indexOf('['), text.lastIndexOf(']') + 1))
    if (Array.isArray(names)) return names.map(String)
  } catch {
    // Below.
  }
  return [...new Set(TRIPLES.flatMap(([subject, , object]) => [subject, object]))].filter((name) =>
    question.includes(name),
  )
}

/** Every fact within so many hops, those nearest first. */
function factsAround(entities, hops) {
  const facts = new Set()
  let front = new Set(entities)
  for (let hop = 0; hop < hops; hop++) {
    const touching = TRIPLES.filter(([subject, , object]) => front.has(subject) || front.has(object))
    for (const fact of touching) facts.add(fact)
    front = new Set(touching.flatMap(([subject, , object]) => [subject, object]))
  }
  return [...facts].slice(0, MAX_FACTS)
}

await runSimulated(import.meta.url, {
  reason: (gate) => new GraphRag(gate).reason('主持修建都江堰的人是什么官职?'),
  answer: ({ messages: [system, user] }) => {
    if (system.content === FIND) return '["都江堰"]'
    const known = user.content.includes('李冰 官职 蜀郡太守')
    return known ? '{"answer": "蜀郡太守", "confidence": 0.92}' : '{"answer": "不知道", "confidence": 0.1}'
  },
})
