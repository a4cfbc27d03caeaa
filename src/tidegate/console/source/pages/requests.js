// Which calls were there? A list by what is known of them, or as they end; with an id, one call.
import { path, useAnswer, useLive } from "../api.js";
import { html, useState } from "../html.js";
import { curl, Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, When, Word } from "../parts/values.js";
import { go, url } from "../place.js";
import { session } from "../session.js";
import { count, duration, usd } from "../units.js";
import { say } from "../words.js";
import { Request } from "./request.js";

const word = (name, values) => say(`requests.${name}`, values);
const OUTCOMES = ["ok", "refused", "failed", "cut_off", "client_left", "interrupted"];
const CACHES = ["hit", "miss", "shared", "bypass"];
const CHOICES = { outcome: OUTCOMES, cache: CACHES };
const FIRST = ["route", "outcome", "since"];
const MORE = ["target", "error", "status", "key", "team", "end_user", "session", "cache", "guard", "min_cost_usd", "min_duration_ms"];
const NUMBERS = new Set(["status", "min_cost_usd", "min_duration_ms"]);
const MOST_LIVE = 200;
const looks = session.role !== "member"; // who does not, sees the calls of its own key

export const Requests = ({ place }) =>
  place.rest ? html`<${Request} key=${place.rest} id=${place.rest} />` : html`<${Calls} query=${place.query} />`;

function Calls({ query }) {
  const { live, ...asked } = query;
  return html`<h1>${say("pages.requests")}</h1>
    <${Filters} key=${JSON.stringify(asked)} query=${asked} />
    ${live && looks ? html`<${Live} query=${asked} />` : html`<${List} query=${asked} />`}`;
}

function List({ query }) {
  const { answer, wrong, current, again } = useAnswer(path(looks ? "/admin/requests" : "/v1/requests", query));
  if (wrong && current) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  return html`${answer.requests.length === 0
      ? html`<${Empty} title=${word("empty")} teach=${word("teach")} command=${curl("local")} />`
      : null}
    <div class=${current ? "" : "waiting"}>
      ${(answer.requests.length > 0 || answer.next) &&
      html`<${Table} label=${word("list")} columns=${COLUMNS} rows=${answer.requests} to=${one} next=${answer.next} paged />`}
    </div>
    <p class="quiet">${word("looked_back")} <${When} at=${answer.looked_back_to} /></p>`;
}

function Live({ query }) {
  const [rows, setRows] = useState([]);
  const [wrong, fail] = useState(null);
  const { since, until, after, limit, ...filters } = query;
  const hear = (row) => setRows((before) => [row, ...before].slice(0, MOST_LIVE)) ?? fail(null);
  useLive(path("/admin/requests/tail", filters), hear, fail);
  if (!rows.length && !wrong) return html`<p class="quiet" role="status">${word("waiting")}</p>`;
  return html`${wrong && html`<${Problem} wrong=${wrong} />`}
    ${rows.length > 0 && html`<${Table} label=${word("list")} columns=${COLUMNS} rows=${rows} to=${one} />`}`;
}

const one = (row) => url("requests", row.id);

/** A form whose fields are the URL. */
function Filters({ query }) {
  const submit = (sent) => {
    sent.preventDefault();
    go(url("requests", "", Object.fromEntries(new FormData(sent.target))));
  };
  const live = location.search.includes("live=1");
  return html`<form class="filters" onSubmit=${submit}>
    ${FIRST.map((name) => html`<${Field} name=${name} value=${query[name]} />`)}
    <details open=${MORE.some((name) => query[name])}>
      <summary>${word("more")}</summary>
      <div class="filters">${MORE.map((name) => html`<${Field} name=${name} value=${query[name]} />`)}</div>
    </details>
    <p class="actions">
      <button class="primary">${word("find")}</button>
      <a href=${url("requests")}>${word("clear")}</a>
      ${looks && html`<a href=${url("requests", "", { ...query, after: "", live: live ? "" : "1" })}>${word(live ? "stop" : "live")}</a>`}
    </p>
  </form>`;
}

function Field({ name, value }) {
  const label = word(`fields.${name}`);
  const choices = CHOICES[name];
  return html`<label>${label}
    ${choices
      ? html`<select name=${name}>
          ${["", ...choices].map((one) => html`<option value=${one} selected=${one === (value ?? "")}>${one || say("common.all")}</option>`)}
        </select>`
      : html`<input name=${name} defaultValue=${value ?? ""} inputmode=${NUMBERS.has(name) ? "decimal" : undefined} maxlength="256" />`}
  </label>`;
}

const COLUMNS = [
  { label: word("call"), of: (row) => html`<${When} at=${row.at} />` },
  { label: word("route"), of: (row) => html`<${Word} text=${row.route ?? row.model} />` },
  { label: word("target"), of: (row) => html`<${Word} text=${row.target} />` },
  { label: word("outcome"), of: (row) => html`<${Mark} good=${row.outcome === "ok"} text=${row.error ?? row.outcome} />` },
  { label: word("took"), number: true, of: (row) => duration(row.duration_ms) },
  { label: word("first"), number: true, of: (row) => duration(row.first_ms) },
  { label: word("tokens"), number: true, of: (row) => word("tokens_of", { input: count(row.input_tokens), output: count(row.output_tokens) }) },
  { label: word("cost"), number: true, of: (row) => usd(row.cost_usd) },
  { label: word("who"), of: (row) => html`<${Word} text=${row.user ?? row.key_name ?? row.key_id} />` },
];
