// Which prompts are there, what do they say, and where do their labels point? With a name, one of them.
import { ask, path, useAnswer } from "../api.js";
import { html, useState } from "../html.js";
import { Act } from "../parts/acts.js";
import { Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { When, Word } from "../parts/values.js";
import { Lines, messagesOf, Said } from "../parts/wording.js";
import { url } from "../place.js";
import { session } from "../session.js";
import { count, plain } from "../units.js";
import { say } from "../words.js";
import { Draft } from "./draft.js";

const word = (name, values) => say(`prompts.${name}`, values);
const edits = ["admin", "manager"].includes(session.role);
const at = (ms) => html`<${When} at=${new Date(ms).toISOString()} />`;
const of = (id, verb = "") => `/v1/prompts/${encodeURIComponent(id)}${verb}`;
const TEACH = 'tidegate prompts new greet --text "You greet {{name}}." --label production';

export function Prompts({ place }) {
  const { rest: id, query } = place;
  if (query.new && edits) return html`<${Draft} key="new" name="" />`;
  if (!id) return html`<${All} />`;
  if (query.edit && edits) return html`<${Edited} key=${`${id}@${query.edit}`} id=${id} version=${query.edit} />`;
  if (query.version) return html`<${Version} key=${`${id}@${query.version}`} id=${id} version=${query.version} />`;
  if (query.base || query.head) return html`<${Difference} id=${id} query=${query} />`;
  return html`<${One} key=${id} id=${id} before=${query.after} />`;
}

function All() {
  const { answer, wrong, again } = useAnswer("/v1/prompts");
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  return html`<h1>${say("pages.prompts")}</h1>
    ${edits && html`<p><a href=${url("prompts", "", { new: 1 })}>${word("new")}</a></p>`}
    ${answer.length === 0
      ? html`<${Empty} title=${word("empty")} teach=${word("teach")} command=${TEACH} />`
      : html`<${Table} label=${word("list")} columns=${COLUMNS} rows=${answer} to=${(one) => url("prompts", one.id)} />`}`;
}

const COLUMNS = [
  { label: word("name"), of: (one) => html`<${Word} text=${one.id} />` },
  { label: word("latest"), number: true, of: (one) => count(one.latest) },
  { label: word("labels"), of: (one) => Object.entries(one.labels).map(([name, to]) => `${name} → ${to}`).join(", ") || say("common.none") },
  { label: word("made"), of: (one) => at(one.created_ms) },
];

// --- one prompt: labels, versions, history

function One({ id, before }) {
  const { answer, wrong, again } = useAnswer(path(of(id, "/summary"), { before }));
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  const labels = Object.entries(answer.labels).map(([name, to]) => ({ id: name, to }));
  const columns = edits ? [...LABELS, { label: word("move"), of: (label) => html`<${Move} key=${label.id + label.to} prompt=${answer} label=${label} done=${again} />` }] : LABELS;
  return html`<h1><${Word} text=${id} /></h1>
    <p class="actions">
      <a href=${url("prompts")}>${word("all")}</a>
      ${edits && html`<a href=${url("prompts", id, { edit: answer.latest })}>${word("edit")}</a>`}
      <a href=${url("prompts", id, { base: "production", head: "latest" })}>${word("compare")}</a>
      <a href=${url("playground", "", { prompt: id })}>${word("try")}</a>
    </p>
    ${labels.length === 0
      ? html`<${Empty} title=${word("no_label")} teach=${word("label_teach")} command=${`tidegate prompts label ${id} production ${answer.latest}`} />`
      : html`<${Table} label=${word("labels")} columns=${columns} rows=${labels} />`}
    ${edits && html`<${NewLabel} prompt=${answer} done=${again} />`}
    <${Table} label=${word("versions")} columns=${VERSIONS} rows=${answer.versions} to=${(one) => url("prompts", id, { version: one.version })} next=${answer.next} paged />
    ${answer.moves.length > 0 && html`<${Table} label=${word("history")} columns=${MOVES} rows=${answer.moves} />`}`;
}

const point = (prompt, label, was, version, why) =>
  ask("PUT", of(prompt.id, `/labels/${encodeURIComponent(label)}`), {
    version: Number(version), why, expected_version: was ?? 0, ...(prompt.protected.includes(label) && { protected: true }),
  });

/** Where a label is to point. It says from where to where before it does, and goes back the same way. */
function Move({ prompt, label, done }) {
  const [to, choose] = useState(String(prompt.latest));
  const locked = prompt.protected.includes(label.id);
  if (locked && session.role !== "admin") return word("locked");
  const back = prompt.moves.find((move) => move.label === label.id)?.was;
  const moved = (version, why) => async () => done(await point(prompt, label.id, label.to, version, why));
  const sure = (version) => word(locked ? "move_locked" : "move_sure", { label: label.id, was: label.to, version });
  return html`<div class="actions">
    <select aria-label=${word("move_to", { label: label.id })} value=${to} onChange=${(picked) => choose(picked.target.value)}>
      ${prompt.versions.map((one) => html`<option value=${String(one.version)}>${one.version}</option>`)}
    </select>
    ${Number(to) !== label.to && html`<${Act} label=${word("move")} sure=${sure(to)} run=${moved(to, "")} />
      <a href=${url("prompts", prompt.id, { base: label.to, head: to })}>${word("what")}</a>`}
    ${back && back !== label.to && html`<${Act} label=${word("back", { version: back })} sure=${sure(back)} run=${moved(back, word("taken_back"))} />`}
  </div>`;
}

function NewLabel({ prompt, done }) {
  const [name, call] = useState("");
  const run = async () => done(await point(prompt, name, null, prompt.latest, ""));
  return html`<details>
    <summary>${word("new_label")}</summary>
    <p class="actions">
      <label>${word("label")}<input value=${name} maxlength="60" onInput=${(typed) => call(typed.target.value)} /></label>
      ${name && html`<${Act} label=${word("point", { version: prompt.latest })} run=${run} />`}
    </p>
  </details>`;
}

const LABELS = [
  { label: word("label"), of: (label) => html`<${Word} text=${label.id} />` },
  { label: word("version"), number: true, of: (label) => label.to },
];
const VERSIONS = [
  { label: word("version"), of: (one) => one.version },
  { label: word("labels"), of: (one) => one.labels.join(", ") },
  { label: word("note"), of: (one) => html`<${Word} text=${one.note} />` },
  { label: word("author"), of: (one) => html`<${Word} text=${one.author} />` },
  { label: word("made"), of: (one) => at(one.created_ms) },
];
const MOVES = [
  { label: say("common.when"), of: (move) => at(move.at_ms) },
  { label: word("label"), of: (move) => html`<${Word} text=${move.label} />` },
  { label: word("was"), number: true, of: (move) => move.was ?? say("common.none") },
  { label: word("version"), number: true, of: (move) => move.version ?? say("common.none") },
  { label: word("why"), of: (move) => html`<${Word} text=${move.why} />` },
  { label: word("by"), of: (move) => html`<${Word} text=${move.by} />` },
];

// --- one version, and how two differ

function Edited({ id, version }) {
  const { answer, wrong, again } = useAnswer(path(of(id), { version }));
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  return answer ? html`<${Draft} name=${id} from=${answer} />` : html`<${Loading} />`;
}

function Version({ id, version }) {
  const { answer, wrong, again } = useAnswer(path(of(id), { version }));
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  return html`<h1><${Word} text=${`${id}@${version}`} /></h1>
    <p class="actions">
      <a href=${url("prompts", id)}>${word("back_to", { id })}</a>
      ${edits && html`<a href=${url("prompts", id, { edit: version })}>${word("edit")}</a>`}
      <a href=${url("prompts", id, { base: "production", head: version })}>${word("compare")}</a>
    </p>
    <${Said} messages=${messagesOf(answer)} />
    ${answer.variables.length > 0 && html`<${Table} label=${word("variables")} columns=${VARIABLES} rows=${answer.variables} />`}
    ${["parameters", "tools", "response_schema"].map((name) => Object.keys(answer[name] ?? {}).length > 0 &&
      html`<h2>${word(name)}</h2><pre class="said" tabindex="0">${plain(JSON.stringify(answer[name], null, 2))}</pre>`)}
    <p class="quiet">${word("proof", { hash: answer.hash })}</p>`;
}

const VARIABLES = [
  { label: word("name"), of: (one) => html`<${Word} text=${one.name} />` },
  { label: word("type"), of: (one) => one.type ?? "any" },
  { label: word("required"), of: (one) => say(one.required === false || "default" in one ? "common.no" : "common.yes") },
  { label: word("default"), of: (one) => html`<${Word} text=${"default" in one ? JSON.stringify(one.default) : ""} />` },
  { label: word("description"), of: (one) => html`<${Word} text=${one.description} />` },
];

function Difference({ id, query }) {
  const { answer, wrong, again } = useAnswer(path(of(id, "/diff"), { base: query.base, head: query.head }));
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  return html`<h1>${word("diff", { base: answer.base, head: answer.head })}</h1>
    <p><a href=${url("prompts", id)}>${word("back_to", { id })}</a></p>
    <${Lines} lines=${answer.lines} />`;
}
