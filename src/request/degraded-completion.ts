/** A well-formed chat completion (OpenAI's shape) whose content is the degraded message. */
export function degradedCompletion(id: string, model: string, message: string, wallMs: number) {
  return {
    id: `headgate-${id}`,
    object: 'chat.completion' as const,
    created: Math.floor(wallMs / 1000),
    model,
    choices: [{ index: 0, message: { role: 'assistant' as const, content: message }, finish_reason: 'stop' as const }],
    usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
  }
}
