/** Where a chat goes: the path belongs before the base URL's query, where it has one (Azure's `api-version`). */
export function chatUrlOf(baseURL: string, chatPath: string): string {
  const [path = '', query] = baseURL.split('?', 2)
  return path.replace(/\/+$/, '') + chatPath + (query === undefined ? '' : `?${query}`)
}
