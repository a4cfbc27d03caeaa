// What Anthropic's own SDK for JavaScript asks.
import Anthropic from "@anthropic-ai/sdk";
import { ASKED, TIMEOUT_MS, run } from "./calls.mjs";

const TOOL = { name: ASKED.tool.name, description: ASKED.tool.description, input_schema: ASKED.tool.parameters };
const client = (at) => new Anthropic({ baseURL: at.url, apiKey: at.key, maxRetries: 0, timeout: TIMEOUT_MS });
const user = (content) => ({ role: "user", content });
const asked = (at, { messages = [user(ASKED.hello)], most = ASKED.few, ...fields } = {}) => ({
  model: at.model, messages, max_tokens: most, ...fields,
});
const ask = async (at, fields) => told(await client(at).messages.create(asked(at, fields)));
const told = ({ content, stop_reason, usage }) => ({
  text: content.map((block) => block.text ?? "").join(""),
  tools: content.filter((block) => block.type === "tool_use").map((block) => [block.name, block.input]),
  finish: stop_reason,
  usage: [
    usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
    usage.output_tokens,
  ],
});
const called = (...ids) => [
  user(ASKED.time),
  {
    role: "assistant",
    content: ids.map((id) => ({ type: "tool_use", id, name: TOOL.name, input: { zone: "UTC" } })),
  },
  user(ids.map((id) => ({ type: "tool_result", tool_use_id: id, content: ASKED.noon }))),
];

await run("anthropic (npm)", "@anthropic-ai/sdk", {
  whole: ask,
  async streamed(at) {
    const pieces = [];
    const stream = client(at).messages.stream(asked(at)).on("text", (text) => pieces.push(text));
    return { ...told(await stream.finalMessage()), streamed: pieces.join("") };
  },
  async streamed_event_by_event(at) {
    const kinds = [];
    for await (const event of await client(at).messages.create(asked(at, { stream: true }))) kinds.push(event.type);
    return { events: [...new Set(kinds)].sort(), first: kinds[0], last: kinds.at(-1) };
  },
  system_prompt: (at) => ask(at, { system: ASKED.system }),
  system_blocks: (at) =>
    ask(at, { system: [{ type: "text", text: ASKED.system, cache_control: { type: "ephemeral" } }] }),
  several_turns(at) {
    const [first, answer, second] = ASKED.turns;
    return ask(at, { messages: [user(first), { role: "assistant", content: answer }, user(second)] });
  },
  tool: (at) =>
    ask(at, { messages: [user(ASKED.time)], most: ASKED.enough, tools: [TOOL], tool_choice: { type: "any" } }),
  async tool_streamed(at) {
    const fields = { messages: [user(ASKED.time)], most: ASKED.enough, tools: [TOOL], tool_choice: { type: "any" } };
    return told(await client(at).messages.stream(asked(at, fields)).finalMessage());
  },
  tool_result: (at) => ask(at, { messages: called("toolu_1"), tools: [TOOL], tool_choice: { type: "none" } }),
  parallel_tool_results: (at) =>
    ask(at, { messages: called("toolu_1", "toolu_2"), tools: [TOOL], tool_choice: { type: "none" } }),
  stop_sequence: (at) => ask(at, { stop_sequences: [ASKED.stop] }),
  image(at) {
    const source = { type: "base64", media_type: "image/png", data: ASKED.image };
    return ask(at, { messages: [user([{ type: "text", text: "What?" }, { type: "image", source }])] });
  },
  unknown_model: (at) => ask({ ...at, model: "no-such-model" }),
  bad_key: (at) => ask({ ...at, key: "no-such-key" }),
  bad_body: (at) => ask(at, { messages: [user(7)] }),
  models: async (at) => (await client(at).models.list()).data.some((model) => model.id === at.model),
  async count_tokens(at) {
    return (await client(at).messages.countTokens({ model: at.model, messages: [user(ASKED.hello)] })).input_tokens;
  },
});
