// Who may ask, and how much? All keys; with an id, one of them and what can be done with it.
import { ask, path, useAnswer } from "../api.js";
import { html, useState } from "../html.js";
import { Act, Fields } from "../parts/acts.js";
import { boundOf, fullest, Gauge, GAUGES } from "../parts/gauge.js";
import { Command, Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, When, Word } from "../parts/values.js";
import { url } from "../place.js";
import { session } from "../session.js";
import { count, usd } from "../units.js";
import { say } from "../words.js";

const word = (name, values) => say(`keys.${name}`, values);
const ROLES = ["member", "viewer", "manager", "admin"];
const manages = session.role !== "viewer";
const at = (ms) => (ms ? html`<${When} at=${new Date(ms).toISOString()} />` : say("common.none"));

export const Keys = ({ place }) => (place.rest ? html`<${One} key=${place.rest} id=${place.rest} />` : html`<${All} query=${place.query} />`);

function All({ query }) {
  const { answer, wrong, again } = useAnswer(path("/admin/use", query));
  const [made, setMade] = useState(null);
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  const create = async ({ name, role, team_id, expires_in }) => {
    const asked = { name, role, ...(team_id && { team_id }), ...(expires_in && { expires_in }) };
    setMade(await ask("POST", "/admin/keys", asked));
    again();
  };
  return html`<h1>${say("pages.keys")}</h1>
    ${made && html`<${Once} made=${made} />`}
    ${manages && html`<${New} create=${create} />`}
    ${answer.keys.length === 0
      ? html`<${Empty} title=${word("empty")} teach=${word("teach")} command="tidegate keys create --name ci" />`
      : html`<${Table} label=${word("list")} columns=${LISTED} rows=${answer.keys} to=${(key) => url("keys", key.id)} next=${answer.next} paged />`}
    <div class="side-by-side">
      ${answer.spenders.length > 0 && html`<${Table} label=${word("spenders")} columns=${SPENDERS} rows=${answer.spenders} to=${(one) => url("keys", one.key_id)} />`}
      ${answer.above.length > 0
        ? answer.above.map((one) => html`<${Use} use=${one} />`)
        : html`<${Empty} title=${word("no_teams")} teach=${word("teach_teams")} command="tidegate teams change ID --budget 100/month" />`}
    </div>`;
}

const New = ({ create }) => html`<details>
  <summary>${word("new")}</summary>
  <${Fields} label=${word("create")} run=${create}>
    <label>${word("name")}<input name="name" required maxlength="100" /></label>
    <label>${word("role")}<select name="role">
      ${ROLES.filter((role) => role !== "admin" || session.role === "admin").map((role) => html`<option>${role}</option>`)}
    </select></label>
    <label>${word("team")}<input name="team_id" maxlength="128" /></label>
    <label>${word("expires_in")}<input name="expires_in" placeholder="90d" maxlength="20" /></label>
  <//>
</details>`;

/** The text of a key is in one answer, and after this page nowhere. */
const Once = ({ made }) => html`<section class="notice" role="status">
  <h2>${word("once")}</h2>
  <p>${word("once_why")}</p>
  <${Command} text=${made.key} />
</section>`;

function One({ id }) {
  const path = `/admin/keys/${encodeURIComponent(id)}`;
  const { answer: key, wrong, again } = useAnswer(path);
  const [made, setMade] = useState(null);
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!key) return html`<${Loading} />`;
  const post = (verb, body) => async () => {
    const told = await ask("POST", `${path}/${verb}`, body);
    if (told.key) setMade(told);
    again();
  };
  return html`<h1><${Word} text=${key.name} /></h1>
    <p><a href=${url("keys")}>${word("all")}</a> · <a href=${url("requests", "", { key: key.id })}>${word("calls")}</a></p>
    ${made && html`<${Once} made=${made} />`}
    ${key.loop_ms && html`<p class="notice" role="status">${word("loop")} ${at(key.loop_ms)}</p>`}
    <${Table} label=${word("one")} columns=${[...COLUMNS.slice(1), ...MORE]} rows=${[key]} />
    <div class="side-by-side">${key.use.map((use) => html`<${Use} use=${use} />`)}</div>
    ${key.limits.length + key.budgets.length === 0 &&
    html`<${Empty} title=${word("unbounded")} teach=${word("bound")} command=${`tidegate keys change ${key.id} --limit requests=60/1m --budget 10/month`} />`}
    ${manages && !key.revoked_ms && html`<p class="actions">
      <${Act} label=${word("rotate")} sure=${word("rotate_sure")} run=${post("rotate", {})} />
      ${key.disabled_ms
        ? html`<${Act} label=${word("enable")} run=${post("enable")} />`
        : html`<${Act} label=${word("disable")} run=${post("disable")} />`}
      <${Act} label=${word("resume")} run=${post("resume")} />
      <${Act} label=${word("revoke")} sure=${word("revoke_sure")} run=${async () => { await ask("DELETE", path); again(); }} />
    </p>`}`;
}

const Use = ({ use }) => html`<${Table} label=${word("use_of", { kind: word(`whose.${use.kind}`), name: use.name })} columns=${GAUGES} rows=${use.gauges} />`;

const stateOf = (key) => {
  if (key.revoked_ms) return "revoked";
  if (key.disabled_ms) return "disabled";
  return key.expires_ms && key.expires_ms < Date.now() ? "expired" : "works";
};
const COLUMNS = [
  { label: word("name"), of: (key) => html`<${Word} text=${key.name} />` },
  { label: word("key"), of: (key) => html`<code>${key.masked}</code>` },
  { label: word("state"), of: (key) => html`<${Mark} good=${stateOf(key) === "works"} text=${word(stateOf(key))} />` },
  { label: word("role"), of: (key) => key.role },
  { label: word("team"), of: (key) => html`<${Word} text=${key.team_id} />` },
  { label: word("used"), of: (key) => at(key.last_used_ms) },
  { label: word("expires"), of: (key) => at(key.expires_ms) },
];
const MORE = [
  { label: word("created"), of: (key) => at(key.created_ms) },
  { label: word("former"), of: (key) => at(key.former_until_ms) },
  { label: word("routes"), of: (key) => html`<${Word} text=${key.routes.join(", ")} />` },
  { label: word("tags"), of: (key) => html`<${Word} text=${key.tags.join(", ")} />` },
];
const LISTED = [
  COLUMNS[0],
  { label: word("state"), of: (key) => html`<${Mark} good=${key.works} text=${word(key.works ? "works" : "stopped")} />` },
  { label: word("fullest"), of: (key) => html`<${Fullest} gauges=${key.gauges} />` },
  ...COLUMNS.slice(3, 6),
];
const SPENDERS = [
  { label: word("name"), of: (one) => html`<${Word} text=${one.name ?? one.key_id} />` },
  { label: word("cost"), number: true, of: (one) => usd(one.cost_usd) },
  { label: word("made_calls"), number: true, of: (one) => count(one.calls) },
];

function Fullest({ gauges }) {
  const gauge = fullest(gauges);
  return gauge ? html`${boundOf(gauge)}: <${Gauge} gauge=${gauge} />` : say("common.none");
}
