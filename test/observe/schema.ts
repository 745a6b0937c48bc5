import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Ajv2020 } from 'ajv/dist/2020.js'

const schema = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../docs/monitoring.schema.json', import.meta.url)), 'utf8'),
)
const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true }).addSchema(schema, 'monitoring')

/** What is wrong with a value by the documented schema, as it arrives: as JSON. */
export function problemsOf(name: 'stats' | 'rateLimitStats', value: unknown): string[] {
  const validate = ajv.getSchema(`monitoring#/$defs/${name}`)!
  validate(JSON.parse(JSON.stringify(value)))
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
}
