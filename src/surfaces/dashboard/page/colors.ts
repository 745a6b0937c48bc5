/**
 * Reads colours of the style sheet for a canvas, which knows neither variables nor `light-dark()`: as they are in the theme
 * that stands now. `share`: of opacity, 0 to 1.
 */
export function palette(): (name: string, share?: number) => string {
  const probe = document.documentElement.appendChild(document.createElement('i'))
  probe.hidden = true
  const computed = getComputedStyle(probe)
  // Nobody sees it, and nothing is laid out for it: it may go when this turn is over.
  queueMicrotask(() => probe.remove())
  return (name, share = 1) => {
    probe.style.color = `color-mix(in srgb, var(--${name}) ${share * 100}%, transparent)`
    return computed.color
  }
}
