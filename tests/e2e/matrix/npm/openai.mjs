// What OpenAI's own SDK for JavaScript asks.
import OpenAI from "openai";
import { ASKED, TIMEOUT_MS, run } from "./calls.mjs";

const TOOL = { type: "function", function: ASKED.tool };
const client = (at) =>
  new OpenAI({ baseURL: `${at.url}/v1`, apiKey: at.key, maxRetries: 0, timeout: TIMEOUT_MS });
const user = (content) => ({ role: "user", content });
const asked = (at, { messages = [user(ASKED.hello)], most = ASKED.few, ...fields } = {}) => ({
  model: at.model, messages, max_completion_tokens: most, temperature: 0, ...fields,
});
const ask = async (at, fields) => told(await client(at).chat.completions.create(asked(at, fields)));
const used = (usage) => [usage.prompt_tokens, usage.completion_tokens];
const told = ({ choices: [choice], usage }) => ({
  text: choice.message.content ?? "",
  tools: (choice.message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
  finish: choice.finish_reason,
  usage: used(usage),
});
const called = (...ids) => [
  user(ASKED.time),
  {
    role: "assistant",
    tool_calls: ids.map((id) => ({
      id, type: "function", function: { name: ASKED.tool.name, arguments: '{"zone": "UTC"}' },
    })),
  },
  ...ids.map((id) => ({ role: "tool", tool_call_id: id, content: ASKED.noon })),
];

await run("openai (npm)", "openai", {
  whole: ask,
  async streamed(at) {
    const options = { stream: true, stream_options: { include_usage: true } };
    const [pieces, usage] = [[], []];
    for await (const chunk of await client(at).chat.completions.create(asked(at, options))) {
      pieces.push(...chunk.choices.map((choice) => choice.delta.content ?? ""));
      if (chunk.usage) usage.push(used(chunk.usage));
    }
    return { text: pieces.join(""), usage };
  },
  async streamed_helper(at) {
    const stream = client(at).chat.completions.stream(asked(at));
    return (await stream.finalMessage()).content;
  },
  system_prompt: (at) => ask(at, { messages: [{ role: "system", content: ASKED.system }, user(ASKED.hello)] }),
  several_turns(at) {
    const [first, answer, second] = ASKED.turns;
    return ask(at, { messages: [user(first), { role: "assistant", content: answer }, user(second)] });
  },
  tool: (at) =>
    ask(at, { messages: [user(ASKED.time)], most: ASKED.enough, tools: [TOOL], tool_choice: "required" }),
  tool_result: (at) => ask(at, { messages: called("call_1"), tools: [TOOL], tool_choice: "none" }),
  parallel_tool_results: (at) =>
    ask(at, { messages: called("call_1", "call_2"), tools: [TOOL], tool_choice: "none" }),
  async json_schema(at) {
    const json_schema = { name: "colours", strict: true, schema: ASKED.schema };
    return JSON.parse((await ask(at, { most: ASKED.enough, response_format: { type: "json_schema", json_schema } })).text);
  },
  stop_sequence: (at) => ask(at, { stop: [ASKED.stop] }),
  image(at) {
    const url = `data:image/png;base64,${ASKED.image}`;
    return ask(at, { messages: [user([{ type: "text", text: "What?" }, { type: "image_url", image_url: { url } }])] });
  },
  unknown_model: (at) => ask({ ...at, model: "no-such-model" }),
  bad_key: (at) => ask({ ...at, key: "no-such-key" }),
  bad_body: (at) => ask(at, { messages: [user(7)] }),
  models: async (at) => (await client(at).models.list()).data.some((model) => model.id === at.model),
  async responses(at) {
    const most = { max_output_tokens: ASKED.few, temperature: 0 };
    const reply = await client(at).responses.create({ model: at.model, input: ASKED.hello, ...most });
    return { text: reply.output_text, usage: [reply.usage.input_tokens, reply.usage.output_tokens] };
  },
});
