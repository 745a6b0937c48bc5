// Lays a statechart out with ELK: from left to right; from top to bottom for narrow screens; and that without the names of events,
// a phone's width. Pure: same machine, same layout.
import ELK from 'elkjs/lib/elk.bundled.js'
import { toDirectedGraph } from 'xstate/graph'

const NODE = { width: 136, height: 62 }
/** Of an edge's label, as the page's style sets it. */
const CHAR_WIDTH = 6.4
const LABEL_HEIGHT = 13
/** Beside the last label, for the rate. */
const RATE_WIDTH = 34
/** Between a line and the rate beside it; and up to where it is looked for, as shares of the line. */
const RATE_GAP = 5
const RATE_STEPS = Array.from(
  { length: 33 },
  (_, step) => 0.5 + (step % 2 === 0 ? 1 : -1) * Math.ceil(step / 2) * 0.025,
)

const OPTIONS = {
  'elk.algorithm': 'layered',
  'elk.edgeRouting': 'SPLINES',
  'elk.layered.spacing.nodeNodeBetweenLayers': '22',
  'elk.spacing.nodeNode': '34',
  'elk.spacing.edgeNode': '16',
  'elk.spacing.edgeEdge': '12',
  'elk.spacing.edgeLabel': '3',
  'elk.layered.considerModelOrder.strategy': 'PREFER_NODES',
  'elk.layered.cycleBreaking.strategy': 'MODEL_ORDER',
  'elk.layered.nodePlacement.strategy': 'NETWORK_SIMPLEX',
  'elk.layered.nodePlacement.favorStraightEdges': 'true',
  'elk.layered.edgeLabels.sideSelection': 'ALWAYS_UP',
  'elk.padding': '[top=8,left=8,bottom=8,right=8]',
}

/** A drawing as wide as a phone is drawn at its own size: what is left out makes its texts legible. */
const TIGHT = {
  'elk.layered.spacing.nodeNodeBetweenLayers': '36',
  'elk.layered.spacing.edgeNodeBetweenLayers': '8',
  'elk.layered.spacing.edgeEdgeBetweenLayers': '7',
  'elk.spacing.nodeNode': '10',
  'elk.spacing.edgeNode': '9',
  'elk.spacing.edgeEdge': '9',
  'elk.padding': '[top=4,left=4,bottom=4,right=4]',
}

const round = (value) => Math.round(value * 10) / 10

/** States with their places, and one edge for each pair of states, with the events that lead along it. */
export async function layoutOf(machine) {
  const { children } = toDirectedGraph(machine)
  const nameOf = (stateNode) => stateNode.key
  const edges = new Map()
  for (const node of children) {
    for (const { source, target, transition } of node.edges) {
      const [from, to] = [nameOf(source), nameOf(target)]
      const edge = edges.get(`${from}>${to}`) ?? { from, to, events: [] }
      if (!edge.events.includes(transition.eventType)) edge.events.push(transition.eventType)
      edges.set(`${from}>${to}`, edge)
    }
  }
  const names = children.map(({ stateNode }) => nameOf(stateNode))
  return {
    wide: await placed(names, [...edges.values()], { 'elk.direction': 'RIGHT' }, labelsOf),
    tall: await placed(names, [...edges.values()], { 'elk.direction': 'DOWN' }, labelsOf),
    phone: await placed(names, [...edges.values()], { 'elk.direction': 'DOWN', ...TIGHT }, () => []),
  }
}

async function placed(names, edges, options, labelsOf) {
  const graph = await new ELK().layout({
    id: 'root',
    layoutOptions: { ...OPTIONS, ...options },
    children: names.map((id) => ({ id, ...NODE })),
    edges: edges.map(({ from, to, events }) => {
      const labels = labelsOf(events).map((text, index, { length }) => {
        const rateWidth = index === length - 1 ? RATE_WIDTH : 0
        return { text, width: text.length * CHAR_WIDTH + rateWidth, height: LABEL_HEIGHT }
      })
      return { id: `${from}>${to}`, sources: [from], targets: [to], labels }
    }),
  })
  const rates = ratePlaces(graph)
  return {
    width: Math.ceil(graph.width),
    height: Math.ceil(graph.height),
    states: graph.children.map(({ id, x, y, width, height }) => {
      return { name: id, x: round(x), y: round(y), width, height }
    }),
    transitions: graph.edges.map(({ id, sections, labels = [] }) => {
      const { events } = edges.find(({ from, to }) => `${from}>${to}` === id)
      const rate = rates.get(id)
      return {
        id,
        events,
        path: sections.map(pathOf).join(' '),
        ...(rate && { rate: { x: round(rate.x), y: round(rate.y + LABEL_HEIGHT - 3) } }),
        labels: labels.map(({ text, x, y }) => ({ text, x: round(x), y: round(y + LABEL_HEIGHT - 3) })),
      }
    }),
  }
}

/** Every state can be cancelled: said once, not on every edge. */
function labelsOf(events) {
  return events.filter((event) => event !== 'CANCEL')
}

/** Where the rates of edges without a label go: beside the middle of the line, or as near to it as nothing else is. */
function ratePlaces({ width, children, edges }) {
  const taken = [...children, ...edges.flatMap(({ labels = [] }) => labels)]
  const places = new Map()
  for (const { id, sections, labels = [] } of edges) {
    if (labels.length > 0) continue
    const candidates = RATE_STEPS.map((part) => pointAt(sections[0], part)).flatMap(({ x, y }) => {
      const box = { y: y - LABEL_HEIGHT / 2, width: RATE_WIDTH, height: LABEL_HEIGHT }
      return [
        { ...box, x: x + RATE_GAP },
        { ...box, x: x - RATE_GAP - RATE_WIDTH },
      ]
    })
    const isFree = (box) => box.x >= 0 && box.x + box.width <= width && !taken.some((other) => overlap(box, other))
    const place = candidates.find(isFree) ?? candidates[0]
    taken.push(place)
    places.set(id, place)
  }
  return places
}

function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}

/** A point of a spline, by its share of the curves. */
function pointAt({ startPoint, bendPoints = [], endPoint }, share) {
  const points = [startPoint, ...bendPoints, endPoint]
  const curves = (points.length - 1) / 3
  const curve = Math.min(curves - 1, Math.floor(share * curves))
  const [a, b, c, d] = points.slice(curve * 3)
  const t = share * curves - curve
  const at = (axis) =>
    (1 - t) ** 3 * a[axis] + 3 * (1 - t) ** 2 * t * b[axis] + 3 * (1 - t) * t ** 2 * c[axis] + t ** 3 * d[axis]
  return { x: at('x'), y: at('y') }
}

/** ELK's splines are cubic Bézier curves: a start, then control points by three. */
function pathOf({ startPoint, bendPoints = [], endPoint }) {
  const points = [...bendPoints, endPoint].map(({ x, y }) => `${round(x)},${round(y)}`)
  let path = `M${round(startPoint.x)},${round(startPoint.y)}`
  while (points.length >= 3) path += ` C${points.splice(0, 3).join(' ')}`
  return points.length > 0 ? `${path} L${points.join(' L')}` : path
}
