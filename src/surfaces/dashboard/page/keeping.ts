/** What a browser keeps for the page; one that may keep nothing (a private window, cookies off) throws, and the page remembers itself. */
const memory = new Map<string, string>()

type Place = 'local' | 'session'

export function kept(place: Place, name: string): string | undefined {
  try {
    return storageOf(place).getItem(name) ?? memory.get(name)
  } catch {
    return memory.get(name)
  }
}

/** `undefined` forgets it. */
export function keep(place: Place, name: string, value: string | undefined): void {
  memory.delete(name)
  try {
    if (value === undefined) storageOf(place).removeItem(name)
    else storageOf(place).setItem(name, value)
  } catch {
    if (value !== undefined) memory.set(name, value)
  }
}

function storageOf(place: Place): Storage {
  return place === 'local' ? localStorage : sessionStorage
}
