// What does it say? One question to one route or two, streamed, with what it costs.
import { ask, events, send, useAnswer } from "../api.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { Said } from "../parts/said.js";
import { Empty, Loading, Problem } from "../parts/states.js";
import { Word } from "../parts/values.js";
import { go, url } from "../place.js";
import { count, duration, plain, usd } from "../units.js";
import { say } from "../words.js";

const word = (name, values) => say(`playground.${name}`, values);
const NANO = 1e9;
const PAINT_MS = 50; // a word at a time would paint a thousand times a second

export function Playground({ place }) {
  const { answer, wrong, again } = useAnswer("/v1/models");
  const [asked, setAsked] = useState(null); // {body, times}
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  const routes = answer.data.map((one) => one.id);
  const { route = routes[0] ?? "", second = "", prompt = "" } = place.query;
  const models = second ? [route, second] : [route];
  return html`<h1>${say("pages.playground")}</h1>
    ${!routes.length && html`<${Empty} title=${word("no_routes")} teach=${word("teach")} command="tidegate init" />`}
    <${Question} routes=${routes} query=${{ route, second, prompt }} onAsk=${(body) => setAsked({ body, times: (asked?.times ?? 0) + 1 })} />
    <div class="side-by-side">
      ${models.map((model, at) => html`<${Answer} key=${at} model=${model} asked=${asked} />`)}
    </div>`;
}

function Question({ routes, query, onAsk }) {
  const [wrong, setWrong] = useState("");
  const choose = (name) => (picked) => go(url("playground", "", { ...query, [name]: picked.target.value }), { instead: true });
  const submit = (sent) => {
    sent.preventDefault();
    try {
      onAsk(bodyOf(Object.fromEntries(new FormData(sent.target))));
      setWrong("");
    } catch (mistake) {
      setWrong(mistake.message);
    }
  };
  return html`<form class="question" onSubmit=${submit}>
    <div class="filters">
      <${Choice} label=${word("route")} value=${query.route} names=${routes} onChange=${choose("route")} />
      <${Choice} label=${word("second")} value=${query.second} names=${["", ...routes]} onChange=${choose("second")} />
      <label>${word("temperature")} <input name="temperature" type="number" min="0" max="2" step="any" /></label>
      <label>${word("max_tokens")} <input name="max_tokens" type="number" min="1" step="1" /></label>
    </div>
    <label>${word("said")} <textarea name="said" rows="4" onKeyDown=${enter}></textarea></label>
    <details open=${query.prompt !== ""}>
      <summary>${word("more")}</summary>
      <label>${word("system")} <textarea name="system" rows="2"></textarea></label>
      <label>${word("prompt")} <input name="prompt" maxlength="256" defaultValue=${query.prompt} /></label>
      <label>${word("variables")} <textarea name="variables" rows="2" spellcheck=${false}></textarea></label>
      <label>${word("tools")} <textarea name="tools" rows="3" spellcheck=${false}></textarea></label>
    </details>
    ${wrong && html`<p class="notice" role="alert">${wrong}</p>`}
    <p class="actions"><button class="primary">${word("ask")}</button> <kbd>Ctrl Enter</kbd></p>
  </form>`;
}

const Choice = ({ label, value, names, onChange }) => html`<label>${label}
  <select value=${value} onChange=${onChange}>
    ${[...new Set([...names, value])].map((name) => html`<option value=${name} selected=${name === value}>${plain(name) || word("one")}</option>`)}
  </select>
</label>`;

const enter = (press) => {
  if (press.key === "Enter" && (press.ctrlKey || press.metaKey)) press.target.form.requestSubmit();
};

/** What is sent, but for the model. Throws Error for what is not JSON. */
function bodyOf(given) {
  const messages = [
    ...(given.system ? [{ role: "system", content: given.system }] : []),
    ...(given.said ? [{ role: "user", content: given.said }] : []),
  ];
  const body = { messages, stream: true, stream_options: { include_usage: true } };
  if (given.temperature) body.temperature = Number(given.temperature);
  if (given.max_tokens) body.max_tokens = Number(given.max_tokens);
  if (given.tools) body.tools = json("tools", given.tools);
  if (given.prompt) body.prompt = { id: given.prompt, variables: given.variables ? json("variables", given.variables) : {} };
  return body;
}

function json(field, text) {
  try {
    return JSON.parse(text);
  } catch (why) {
    throw new Error(word("bad_json", { field: word(field), why: why.message }));
  }
}

/** One of the answers, as it comes. */
function Answer({ model, asked }) {
  const [seen, see] = useState(null);
  const leaving = useRef(null);
  useEffect(() => {
    if (!asked) return undefined;
    leaving.current = new AbortController();
    listen(model, asked.body, leaving.current.signal, see);
    return () => leaving.current.abort();
  }, [asked]);
  if (!seen) return null;
  const { text, tools, row, id, wrong, running } = seen;
  // What grows stands last, so that nothing moves while it does.
  return html`<section class="answer" aria-busy=${running}>
    <h2>${plain(seen.model)}</h2>
    <dl class="figures">
      <div><dt>${word("first")}</dt><dd>${duration(seen.firstMs)}</dd></div>
      <div><dt>${word("took")}</dt><dd>${duration(seen.tookMs)}</dd></div>
      <div><dt>${word("tokens")}</dt><dd>${seen.usage ? say("requests.tokens_of", { input: count(seen.usage.prompt_tokens), output: count(seen.usage.completion_tokens) }) : word("running", { count: count(seen.pieces) })}</dd></div>
      <div><dt>${word("cost")}</dt><dd class="cost">${row ? usd(row.cost_nusd == null && "cost_nusd" in row ? null : (row.cost_nusd ?? 0) / NANO) : say("common.none")}</dd></div>
      <div><dt>${word("target")}</dt><dd><${Word} text=${row?.target} /></dd></div>
    </dl>
    <p class="actions">
      ${running && html`<button type="button" onClick=${() => leaving.current.abort()}>${word("stop")}</button>`}
      ${id && !running && html`<a href=${url("requests", id)}>${word("see")}</a>`}
    </p>
    <${Said} text=${text || (running ? word("waiting") : "")} label=${word("answer")} />
    ${tools.length > 0 && html`<h3>${word("called")}</h3><${Said} text=${tools.map((one) => `${one.name}(${one.arguments})`).join("\n")} label=${word("called")} />`}
    ${wrong && html`<${Problem} wrong=${wrong} />`}
  </section>`;
}

/** Asks, and calls `see` with what has come so far; with the row of the call when it is over. */
async function listen(model, body, signal, see) {
  const began = performance.now();
  const since = () => performance.now() - began;
  let seen = { model, text: "", tools: [], pieces: 0, running: true };
  let painted = 0;
  const show = (more, now = true) => {
    seen = { ...seen, ...more, tookMs: since() };
    if (now || since() - painted > PAINT_MS) {
      painted = since();
      see(seen);
    }
  };
  show({});
  try {
    const answer = await send("POST", "/v1/chat/completions", { model, ...body }, signal);
    show({ id: answer.headers.get("x-tidegate-request-id") });
    for await (const event of events(answer)) {
      if (event === "[DONE]") break;
      const told = JSON.parse(event);
      if (told.error) throw Object.assign(new Error(told.error.message), { advice: "" });
      show(heard(seen, told, since()), false);
    }
  } catch (wrong) {
    show(signal.aborted ? { text: `${seen.text}\n[${word("ended")}]` } : { wrong });
  }
  show({ running: false });
  if (!seen.id || signal.aborted) return;
  show({ row: await ask("GET", `/v1/requests/${seen.id}`).catch(() => null), running: false });
}

/** What one piece adds. */
function heard(seen, told, atMs) {
  const delta = told.choices?.[0]?.delta ?? {};
  const more = { pieces: seen.pieces + 1, usage: told.usage ?? seen.usage, firstMs: seen.firstMs };
  if (delta.content) more.text = seen.text + delta.content;
  if (delta.tool_calls) {
    more.tools = structuredClone(seen.tools);
    for (const one of delta.tool_calls) {
      const tool = (more.tools[one.index ?? 0] ??= { name: "", arguments: "" });
      tool.name += one.function?.name ?? "";
      tool.arguments += one.function?.arguments ?? "";
    }
  }
  if (delta.content || delta.tool_calls) more.firstMs ??= atMs;
  return more;
}
