// What the Vercel AI SDK asks, through its provider for either dialect: node ai.mjs openai | anthropic.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { ASKED, run } from "./calls.mjs";

const dialect = process.argv[2];
const options = (at) => ({ name: "tidegate", baseURL: `${at.url}/v1`, apiKey: at.key });
const model = (at) =>
  dialect === "openai"
    ? createOpenAICompatible({ ...options(at), includeUsage: true, supportsStructuredOutputs: true })(at.model)
    : createAnthropic(options(at))(at.model);
const asked = (at, { most = ASKED.few, ...fields } = {}) => ({
  model: model(at), maxOutputTokens: most, temperature: 0, maxRetries: 0,
  ...(fields.messages ? {} : { prompt: ASKED.hello }), ...fields,
});
const ask = async (at, fields) => told(await generateText(asked(at, fields)));
const told = (reply) => ({
  text: reply.text,
  tools: reply.toolCalls.map((call) => [call.toolName, call.input]),
  finish: reply.finishReason,
  usage: [reply.usage.inputTokens, reply.usage.outputTokens],
});
const clock = (execute) =>
  tool({ description: ASKED.tool.description, inputSchema: jsonSchema(ASKED.tool.parameters), execute });
const said = (...contents) =>
  contents.map((content, at) => ({ role: at % 2 ? "assistant" : "user", content }));

await run(`ai (${dialect})`, "ai", {
  whole: ask,
  async streamed(at) {
    const reply = streamText({ ...asked(at), onError() {} });
    const pieces = [];
    for await (const piece of reply.textStream) pieces.push(piece);
    const [finish, usage] = [await reply.finishReason, await reply.usage];
    return { text: pieces.join(""), finish, usage: [usage.inputTokens, usage.outputTokens] };
  },
  system_prompt: (at) => ask(at, { instructions: ASKED.system }),
  several_turns: (at) => ask(at, { messages: said(...ASKED.turns) }),
  tool: (at) =>
    ask(at, { prompt: ASKED.time, most: ASKED.enough, tools: { clock: clock() }, toolChoice: "required" }),
  /** The model calls the tool, gets its result, and says something of it. */
  async tool_loop(at) {
    const zones = [];
    const tools = { clock: clock(({ zone }) => (zones.push(zone), ASKED.noon)) };
    const reply = await generateText(
      asked(at, { prompt: ASKED.time, most: ASKED.enough, tools, stopWhen: stepCountIs(2) }),
    );
    return { zones, steps: reply.steps.length, finish: reply.finishReason };
  },
  async json_schema(at) {
    const output = Output.object({ schema: jsonSchema(ASKED.schema) });
    return (await generateText(asked(at, { most: ASKED.enough, output }))).output;
  },
  stop_sequence: (at) => ask(at, { stopSequences: [ASKED.stop] }),
  image: (at) =>
    ask(at, {
      messages: [
        { role: "user", content: [{ type: "file", data: ASKED.image, mediaType: "image/png" }] },
      ],
    }),
  unknown_model: (at) => ask({ ...at, model: "no-such-model" }),
  bad_key: (at) => ask({ ...at, key: "no-such-key" }),
});
