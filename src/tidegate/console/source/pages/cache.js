// What was not bought again, and was it right? By route and kind; with an id, one hit by meaning and both its questions.
import { ask, path, useAnswer } from "../api.js";
import { html } from "../html.js";
import { Act } from "../parts/acts.js";
import { Chart } from "../parts/chart.js";
import { curl, Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, Tile, When, Word } from "../parts/values.js";
import { url } from "../place.js";
import { count, share, usd } from "../units.js";
import { say } from "../words.js";
import { Text } from "./request.js";

const word = (name, values) => say(`cache.${name}`, values);
const sum = (rows, of) => rows.reduce((so_far, row) => so_far + of(row), 0);

export const Cache = ({ place }) =>
  place.rest ? html`<${Hit} key=${place.rest} id=${place.rest} />` : html`<${All} query=${place.query} />`;

function All({ query }) {
  const { answer, wrong, again } = useAnswer(path("/admin/cache", query));
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  const days = byDay(answer.days);
  if (!days.length) return html`<h1>${say("pages.cache")}</h1><${Empty} title=${word("empty")} teach=${word("teach")} command=${OFF} />`;
  return html`<h1>${say("pages.cache")}</h1>
    <${Tiles} answer=${answer} days=${days} />
    <${Chart} label=${word("chart")} rows=${days} unit=${count} lines=${[
      { label: word("hit"), tone: 1, of: (row) => row.hit },
      { label: word("miss"), tone: 2, of: (row) => row.miss },
      { label: word("shared"), tone: 3, of: (row) => row.shared },
    ]} />
    <div class="side-by-side">
      ${answer.kinds.length > 0 && html`<${Table} label=${word("kinds")} columns=${KINDS} rows=${answer.kinds} />`}
      <${Table} label=${word("routes")} columns=${ROUTES} rows=${byRoute(answer.days)} />
    </div>
    ${answer.semantic.length === 0
      ? html`<${Empty} title=${word("no_meaning")} teach=${word("teach_meaning")} command=${MEANING} />`
      : html`<${Table} label=${word("meaning")} columns=${SEMANTIC} rows=${answer.semantic} />`}
    ${answer.recent.length > 0 && html`<${Table} label=${word("recent")} columns=${RECENT} rows=${answer.recent} to=${(row) => url("cache", row.id)} />`}`;
}

const OFF = "# tidegate.yaml\nroutes:\n  NAME:\n    cache: {exact: true, single_flight: true}";
const MEANING = "pip install 'tidegate[semantic]' && tidegate semantic install\n# tidegate.yaml, of the route:\n    cache: {semantic: {max_error: 2%}}";

function Tiles({ answer, days }) {
  const [hit, miss, shared] = ["hit", "miss", "shared"].map((name) => sum(days, (day) => day[name]));
  const meant = answer.semantic.filter((one) => one.error != null);
  const [hits, wrong, most] = [(one) => one.hits, (one) => one.hits * one.error, (one) => one.hits * one.error_upper].map((of) => sum(meant, of));
  const asked = hit + miss + shared;
  return html`<dl class="tiles">
    <${Tile} label=${word("rate")} value=${asked ? share((hit + shared) / asked) : say("common.none")} more=${word("of", { count: count(asked) })} />
    <${Tile} label=${word("hits")} value=${count(hit)} more=${word("and_shared", { count: count(shared) })} />
    <${Tile} label=${word("saved")} value=${usd(sum(answer.kinds, (one) => one.saved_usd))} more=${word("sampled", { count: count(sum(answer.kinds, (one) => one.calls)) })} />
    <${Tile} label=${word("false")} value=${hits ? share(wrong / hits) : say("common.none")}
      more=${hits ? word("false_of", { wrong: count(Math.ceil(wrong)), most: count(Math.ceil(most)), hits: count(hits) }) : word("false_unknown")} />
  </dl>`;
}

const RESULTS = { hit: 0, miss: 0, shared: 0, bypass: 0 };

function byDay(days) {
  const found = new Map();
  for (const { day_ms, result, calls } of days) {
    const day = found.get(day_ms) ?? found.set(day_ms, { at: new Date(day_ms).toISOString(), ...RESULTS }).get(day_ms);
    day[result] += calls;
  }
  return [...found.values()];
}

function byRoute(days) {
  const found = new Map();
  for (const { route, result, calls } of days) {
    const one = found.get(route) ?? found.set(route, { id: route, route, ...RESULTS }).get(route);
    one[result] += calls;
  }
  return [...found.values()];
}

function Hit({ id }) {
  const asked = `/admin/cache/${encodeURIComponent(id)}`;
  const { answer: hit, wrong, again } = useAnswer(asked);
  if (wrong) return html`<p><a href=${url("cache")}>${word("back")}</a></p><${Problem} wrong=${wrong} again=${again} />`;
  if (!hit) return html`<${Loading} />`;
  const judge = async () => {
    await ask("POST", `${asked}/wrong`);
    again();
  };
  return html`<p><a href=${url("cache")}>${word("back")}</a></p>
    <h1>${word("one")}</h1>
    <p><${When} at=${hit.at} /> · <${Word} text=${hit.route} /> · <a href=${url("requests", hit.id)}>${word("call")}</a>
      ${hit.bought && html` · <a href=${url("requests", hit.bought)}>${word("bought")}</a>`}
      ${hit.similarity != null && html` · ${word("similarity", { share: share(hit.similarity) })}`}</p>
    <div class="side-by-side">
      <${Text} label=${word("asked")} text=${lastSaid(hit.asked)} />
      <${Text} label=${word("before")} text=${lastSaid(hit.bought_asked)} />
    </div>
    <${Text} label=${word("answered")} text=${hit.answered} />
    ${hit.similarity == null
      ? html`<p class="quiet" role="status">${word("judged")}</p>`
      : html`<p class="actions"><${Act} label=${word("wrong")} sure=${word("wrong_sure")} run=${judge} /></p>`}
    ${hit.asked == null && html`<${Empty} title=${word("not_kept")} teach=${word("teach_keep")} command=${KEEP} />`}`;
}

const KEEP = "# tidegate.yaml, of the route:\n    store: {prompts: true, replies: true}";

/** The last message of what was asked: that is what was compared. All of it, where it is something else. */
function lastSaid(text) {
  try {
    const { content } = JSON.parse(text).messages.at(-1);
    return typeof content === "string" ? content : JSON.stringify(content, null, 1);
  } catch {
    return text;
  }
}

const ROUTES = [
  { label: word("route"), of: (row) => html`<${Word} text=${row.route} />` },
  ...Object.keys(RESULTS).map((name) => ({ label: word(name), number: true, of: (row) => count(row[name]) })),
];
const KINDS = [
  { label: word("kind"), of: (row) => word(row.layer) },
  { label: word("calls"), number: true, of: (row) => count(row.calls) },
  { label: word("saved"), number: true, of: (row) => usd(row.saved_usd) },
];
const SEMANTIC = [
  { label: word("route"), of: (row) => html`<${Word} text=${row.route} />` },
  { label: word("why"), of: (row) => html`<${Mark} good=${!row.why} text=${row.why || word("serves")} />` },
  { label: word("lookups"), number: true, of: (row) => count(row.lookups) },
  { label: word("hits"), number: true, of: (row) => count(row.hits) },
  { label: word("promised"), number: true, of: (row) => share(row.max_error) },
  { label: word("error"), number: true, of: (row) => share(row.error) },
  { label: word("upper"), number: true, of: (row) => share(row.error_upper) },
  { label: word("threshold"), number: true, of: (row) => share(row.threshold) },
  { label: word("saved"), number: true, of: (row) => usd(row.saved_usd) },
];
const RECENT = [
  { label: say("common.when"), of: (row) => html`<${When} at=${row.at} />` },
  { label: word("route"), of: (row) => html`<${Word} text=${row.route} />` },
  { label: word("key"), of: (row) => html`<${Word} text=${row.key_id} />` },
  { label: word("saved"), number: true, of: (row) => usd(row.saved_usd) },
];
