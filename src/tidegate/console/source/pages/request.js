// What happened to one call? A waterfall of what was done for it, what it cost, and what may be done with it now.
import { ask, useAnswer } from "../api.js";
import { html, useState } from "../html.js";
import { Said } from "../parts/said.js";
import { Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, When, Word } from "../parts/values.js";
import { url } from "../place.js";
import { session } from "../session.js";
import { count, duration, plain, usd } from "../units.js";
import { group, say } from "../words.js";

const word = (name, values) => say(`request.${name}`, values);
const NANO = 1e9;
const LONG = 200; // characters of a fact

export function Request({ id }) {
  const { answer: row, wrong, again } = useAnswer(`/v1/requests/${encodeURIComponent(id)}`);
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!row) return html`<${Loading} />`;
  return html`<p><a href=${url("requests")}>${word("back")}</a></p>
    <h1>${word("title")}</h1>
    <p><${Mark} good=${row.outcome === "ok"} text=${row.error ?? row.outcome} /> · ${duration(row.duration_us / 1000)} · ${usd(dollars(cost(row)))}</p>
    <${Waterfall} row=${row} />
    <div class="side-by-side">
      <${Facts} row=${row} />
      <${Costs} row=${row} />
      ${row.guards?.length > 0 && html`<${Table} label=${word("guards")} columns=${GUARDS} rows=${row.guards} />`}
      <${Feedback} row=${row} />
    </div>
    ${session.role === "admin" && html`<${Bodies} row=${row} /><${Replay} row=${row} />`}`;
}

const cost = (row) => (row.cost_nusd === undefined ? 0 : row.cost_nusd);
const dollars = (nusd) => (nusd == null ? null : nusd / NANO);

function Waterfall({ row }) {
  const attempts = row.attempts ?? [];
  const begin = attempts.length ? attempts[0].sent_us : row.duration_us;
  const steps = [
    { label: word("before"), from: 0, until: begin, tone: 2, told: [row.cache, row.cache_layer].filter(Boolean).join(" · ") },
    ...attempts.map((one) => ({
      label: word("attempt_name", { why: one.why ?? "first", target: `${one.provider}/${one.model}` }),
      from: one.sent_us,
      first: one.first_us,
      until: one.ended_us,
      tone: 1,
      told: [one.outcome, one.status, one.said].filter(Boolean).join(" · "),
    })),
    { label: word("total"), from: 0, first: row.first_us, until: row.duration_us, tone: 3, told: row.outcome },
  ];
  const whole = Math.max(1, ...steps.map((step) => step.until));
  return html`<${Table} label=${word("attempts")} rows=${steps} columns=${[
    { label: word("attempt"), of: (step) => plain(step.label) },
    { label: "", of: (step) => html`<${Bar} step=${step} whole=${whole} />` },
    { label: word("begin"), number: true, of: (step) => duration(step.from / 1000) },
    { label: word("took"), number: true, of: (step) => duration((step.until - step.from) / 1000) },
    { label: word("outcome"), of: (step) => html`<${Word} text=${step.told} />` },
  ]} />`;
}

/** The wait for the first word is thinner than the rest. */
function Bar({ step, whole }) {
  const at = (us) => `${(us / whole) * 200}`;
  const { from, until } = step;
  const first = Math.min(until, step.first ?? until);
  const title = step.first == null ? "" : word("first_of", { first: duration((first - from) / 1000) });
  const long = (begin, end) => Math.max(0.5, ((end - begin) / whole) * 200);
  return html`<svg class="bar fill${step.tone}" viewBox="0 0 200 12" preserveAspectRatio="none" role="img" aria-label=${title || duration((until - from) / 1000)}>
    <rect x=${at(from)} y="4" width=${long(from, first)} height="4" />
    ${first < until && html`<rect x=${at(first)} y="0" width=${long(first, until)} height="12" />`}
  </svg>`;
}

function Facts({ row }) {
  const shown = { ...row, saved_nusd: row.saved_nusd ? usd(dollars(row.saved_nusd)) : undefined };
  const names = Object.entries(group("request.names")).filter(([name]) => shown[name] != null && String(shown[name]) !== "");
  return html`<${Table} label=${word("facts")} rows=${names} columns=${[
    { label: word("field"), of: ([, label]) => label },
    { label: word("value"), of: ([name]) => (name === "at_ms" ? html`<${When} at=${new Date(row.at_ms).toISOString()} />` : html`<${Word} text=${fact(shown[name])} />`) },
  ]} />`;
}

const fact = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value)).slice(0, LONG);

function Costs({ row }) {
  const lines = (row.attempts ?? []).flatMap((one) =>
    Object.entries(one.usage ?? {}).filter(([, tokens]) => tokens).map(([kind, tokens]) => {
      const price = one.price?.rates?.[kind];
      return { kind: `${one.provider}/${one.model}: ${kind}`, tokens, price, cost: price == null ? null : (price * tokens) / 1e6 };
    }),
  );
  const rows = [...lines, { kind: word("sum"), tokens: lines.reduce((sum, line) => sum + line.tokens, 0), cost: cost(row) }];
  return html`<${Table} label=${word("costs")} rows=${rows} columns=${[
    { label: word("kind"), of: (line) => html`<${Word} text=${line.kind} />` },
    { label: word("tokens"), number: true, of: (line) => count(line.tokens) },
    { label: word("price"), number: true, of: (line) => usd(dollars(line.price)) },
    { label: word("cost"), number: true, of: (line) => usd(dollars(line.cost)) },
  ]} />`;
}

const GUARDS = [
  { label: word("guard"), of: (one) => html`<${Word} text=${one.guard} />` },
  { label: word("direction"), of: (one) => one.direction },
  { label: word("verdict"), of: (one) => html`<${Mark} good=${one.verdict === "pass"} text=${one.verdict} />` },
  { label: word("rules"), of: (one) => html`<${Word} text=${(one.rules ?? []).join(", ")} />` },
  { label: word("where"), of: (one) => html`<${Word} text=${(one.channels ?? []).join(", ")} />` },
  { label: word("count"), number: true, of: (one) => count(one.count) },
];

/** What a button does: {run, busy, wrong, done}. */
export function useDoing(what) {
  const [state, setState] = useState({});
  const run = async (...given) => {
    setState({ busy: true });
    try {
      setState({ done: await what(...given) });
    } catch (wrong) {
      setState({ wrong });
    }
  };
  return { ...state, run };
}

function Feedback({ row }) {
  const [comment, setComment] = useState("");
  const said = useDoing((thumbs) => ask("POST", "/v1/feedback", { request_id: row.id, thumbs, ...(comment ? { comment } : {}) }).then(() => thumbs));
  return html`<section>
    <h2>${word("feedback")}</h2>
    ${(row.feedback ?? []).map((one) => html`<p><${Word} text=${one.source} />: ${count(one.score)} <${Word} text=${one.comment ?? one.label} /></p>`)}
    ${session.role !== "viewer" && html`<label>${word("comment")}
      <textarea rows="2" maxlength="10000" value=${comment} onInput=${(typed) => setComment(typed.target.value)}></textarea></label>
    <p class="actions">${["up", "down"].map((one) => html`<button type="button" disabled=${said.busy} onClick=${() => said.run(one)}>${word(one)}</button>`)}</p>`}
    ${said.done && html`<p role="status">${word("said", { what: word(said.done) })}</p>`}
    ${said.wrong && html`<${Problem} wrong=${said.wrong} />`}
  </section>`;
}

function Bodies({ row }) {
  const shown = useDoing(() => ask("GET", `/admin/bodies/${encodeURIComponent(row.id)}`));
  return html`<section>
    <h2>${word("said_in")}</h2>
    ${!shown.done && html`<p class="actions"><button type="button" disabled=${shown.busy} onClick=${() => shown.run()}>${word("show")}</button> <span class="quiet">${word("show_note")}</span></p>`}
    ${shown.wrong && html`<${Problem} wrong=${shown.wrong} />`}
    ${shown.done && html`<div class="side-by-side">
      <${Text} label=${word("asked")} text=${shown.done.request} /><${Text} label=${word("answered")} text=${shown.done.reply} />
    </div>`}
  </section>`;
}

/** What a model or a client said: text, and never anything else. */
export const Text = ({ label, text, more }) => html`<section>
  <h3>${label}</h3>
  ${more && html`<p class="quiet">${more}</p>`}
  <${Said} text=${text ?? word("not_kept")} label=${label} />
</section>`;

function Replay({ row }) {
  const again = useDoing((route) => ask("POST", `/admin/requests/${encodeURIComponent(row.id)}/replay`, { route }));
  const submit = (sent) => {
    sent.preventDefault();
    again.run(new FormData(sent.target).get("route"));
  };
  const told = (one) => word("was_cost", { cost: usd(one.cost_usd), took: duration(one.duration_ms) });
  return html`<section>
    <h2>${word("replay")}</h2>
    <p class="quiet">${word("replay_note")}</p>
    <form class="actions" onSubmit=${submit}>
      <label>${word("replay_route")} <input name="route" required maxlength="256" defaultValue=${row.route ?? ""} /></label>
      <button disabled=${again.busy}>${word("replay_go")}</button>
    </form>
    ${again.wrong && html`<${Problem} wrong=${again.wrong} />`}
    ${again.done && html`<div class="side-by-side">
      <${Text} label=${word("then")} text=${again.done.before.text} more=${told(again.done.before)} />
      <${Text} label=${word("now")} text=${again.done.now.text ?? again.done.now.why} more=${told(again.done.now)} />
    </div>`}
  </section>`;
}
