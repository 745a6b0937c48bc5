import { html, nothing, render } from 'lit-html'
import { count } from './format.js'
import { keep, kept } from './keeping.js'
import { ServerLink } from './link.js'
import { Model } from './model.js'
import { bannerView, fleetView, THEMES, type Theme, tilesView, topView } from './overview.js'
import { Plots } from './plots.js'
import { poolsView } from './pools.js'
import { detailView, type Filter, listView, matching, searchView } from './requests.js'
import { Statechart } from './statechart.js'

/** Texts change so often at most; only dots move with every frame. */
const PAINT_MS = 200
/** Lists are read, so they hold still a little longer. */
const LIST_MS = 500
const RATES_MS = 10_000
const THEME_NAME = 'headgate-theme'

const at = <T extends HTMLElement>(id: string) => document.getElementById(id) as T

const model = new Model()
const filter: Filter = { text: '', state: 'all' }
const chart = new Statechart(at('chart'), model)
const plots = new Plots(at('rate'), at('waits'))
const detail = at<HTMLDialogElement>('detail')
const login = at<HTMLDialogElement>('login')
let openId: string | undefined
/** A key was given that the gateway has not taken yet. */
let isTrying = false
let theme: Theme = THEMES.find((one) => one === kept('local', THEME_NAME)) ?? 'auto'

const link = new ServerLink({
  handlers: {
    snapshot: (snapshot) => model.begin(snapshot),
    batch: (batch) => model.apply(batch),
    health: (health) => {
      model.health = health
    },
    stats: (stats) => {
      model.stats = stats
    },
  },
  onState: (state) => {
    model.link = state
    if (state === 'locked') askForKey()
    if (state !== 'live') return
    isTrying = false
    void readRates()
  },
})

function paint(): void {
  model.forgetMissed()
  render(topView(model, theme, { onTheme: nextTheme, onKey: askForKey }), at('top'))
  render(bannerView(model), at('banner'))
  render(tilesView(model), at('tiles'))
  render(poolsView(model), at('pools'))
  render(fleetView(model), at('fleet'))
  const several = (model.stats?.processes.length ?? 0) > 1
  at('machine-note').textContent = several
    ? `live from ${model.process}; below it the fleet's count`
    : 'live counts and transitions'
  document.title = model.isolated ? '⚠ isolated · Headgate' : 'Headgate'
  chart.update()
}

function paintList(): void {
  const found = matching(model, filter)
  at('requests-note').textContent =
    `${count(found.length)} shown, of this process${model.untold > 0 ? `; ${count(model.untold)} more were too many to list` : ''}`
  render(listView(found, model, open), at('list'))
  paintDetail()
}

function paintSearch(): void {
  const changed = () => {
    paintSearch()
    paintList()
  }
  render(searchView(filter, changed), at('search'))
}

function open(id: string): void {
  openId = id
  paintDetail()
  detail.showModal()
}

function paintDetail(): void {
  const request = openId === undefined ? undefined : model.recent.get(openId)
  // One that is forgotten meanwhile stays on the screen as it was.
  if (request)
    render(
      detailView(request, model.nowMs, () => detail.close()),
      detail,
    )
}

function askForKey(): void {
  const submit = (event: Event) => {
    event.preventDefault()
    const form = event.target as HTMLFormElement
    link.key = new FormData(form).get('key') as string
    form.reset()
    isTrying = true
    login.close()
    model.link = 'connecting'
    void link.run()
  }
  render(
    html`<form @submit=${submit}><h2 id="login-title">This gateway asks for a key</h2>
      ${isTrying ? html`<p class="refused" role="alert">It does not take that one.</p>` : nothing}
      <label><span>One of <code>HEADGATE_API_KEYS</code></span><input name="key" type="password" required autocomplete="current-password"></label>
      <p class="note">Kept for this tab alone, until it is closed.</p><button>Look</button></form>`,
    login,
  )
  if (!login.open) login.showModal()
}

function nextTheme(): void {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!
  keep('local', THEME_NAME, theme)
  applyTheme()
}

function applyTheme(): void {
  if (theme === 'auto') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme
  chart.retheme()
  plots.retheme()
  paint()
}

async function readRates(): Promise<void> {
  const rates = await link.rates()
  if (rates) plots.update(rates)
}

let frameMs = performance.now()
let paintedMs = 0
let listedMs = 0
function frame(nowMs: number): void {
  const tookMs = nowMs - frameMs
  frameMs = nowMs
  chart.frame(nowMs, tookMs)
  // Never two in one frame.
  if (nowMs - paintedMs >= PAINT_MS) {
    model.fade(nowMs - paintedMs)
    paintedMs = nowMs
    paint()
  } else if (nowMs - listedMs >= LIST_MS) {
    listedMs = nowMs
    paintList()
  }
  requestAnimationFrame(frame)
}

detail.addEventListener('close', () => {
  openId = undefined
})
detail.addEventListener('click', (event) => {
  if (event.target === detail) detail.close()
})
document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.target instanceof HTMLInputElement || detail.open || login.open) return
  event.preventDefault()
  at('query').focus()
})
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', applyTheme)
setInterval(() => void (model.link === 'live' && readRates()), RATES_MS)
applyTheme()
paintSearch()
requestAnimationFrame(frame)
void link.run()
