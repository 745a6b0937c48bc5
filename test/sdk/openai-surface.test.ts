import { expect, test } from 'vitest'

test('the whole surface of the OpenAI SDK passes through headgate serve', async () => {
  // @ts-expect-error A bench, in plain JavaScript: it prints the same as a table.
  const { surface } = await import('../../bench/openai-surface.mjs')
  const results: { name: string; problem: string | undefined }[] = await surface()
  expect(results.length).toBeGreaterThan(35)
  expect(results.filter(({ problem }) => problem !== undefined)).toEqual([])
}, 60_000)
