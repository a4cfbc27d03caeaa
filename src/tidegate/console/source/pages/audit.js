// Who did what, and has anybody changed it since? Entries by who, what and when; with an id, one and its proof.
import { ask, path, useAnswer } from "../api.js";
import { html, useState } from "../html.js";
import { Act } from "../parts/acts.js";
import { Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, When, Word } from "../parts/values.js";
import { go, url } from "../place.js";
import { count, plain } from "../units.js";
import { say } from "../words.js";

const word = (name, values) => say(`audit.${name}`, values);
const at = (ms) => html`<${When} at=${new Date(ms).toISOString()} />`;
const FIELDS = ["who", "what", "of", "since", "until"];

export const Audit = ({ place }) =>
  place.rest ? html`<${One} key=${place.rest} id=${place.rest} />` : html`<${All} query=${place.query} />`;

function All({ query }) {
  const { after, ...asked } = query;
  const { answer, wrong, current, again } = useAnswer(path("/admin/audit", { ...asked, before: after, limit: 50 }));
  return html`<h1>${say("pages.audit")}</h1>
    <${Filters} key=${JSON.stringify(asked)} query=${asked} />
    <${Verify} />
    ${wrong && current && (wrong.status === 404
      ? html`<${Empty} title=${word("off")} teach=${word("off_teach")} command=${"audit:\n  enabled: true"} />`
      : html`<${Problem} wrong=${wrong} again=${again} />`)}
    ${!answer ? !wrong && html`<${Loading} />` : html`<div class=${current ? "" : "waiting"}>
      ${answer.entries.length === 0 && html`<${Empty} title=${word("empty")} teach=${word("teach")} command="tidegate audit export --out audit.jsonl" />`}
      ${(answer.entries.length > 0 || answer.next) && html`<${Table} label=${word("list")} columns=${COLUMNS} rows=${answer.entries} to=${(one) => url("audit", one.id)} next=${answer.next} paged />`}
      <p class="quiet">${word("looked", { count: count(answer.looked) })}</p>
    </div>`}`;
}

/** A form whose fields are the URL. */
function Filters({ query }) {
  const submit = (sent) => {
    sent.preventDefault();
    go(url("audit", "", Object.fromEntries(new FormData(sent.target))));
  };
  return html`<form class="filters" onSubmit=${submit}>
    ${FIELDS.map((name) => html`<label>${word(`fields.${name}`)}<input name=${name} defaultValue=${query[name] ?? ""} maxlength="100" /></label>`)}
    <p class="actions"><button class="primary">${word("find")}</button><a href=${url("audit")}>${word("clear")}</a></p>
  </form>`;
}

function Verify() {
  const [found, show] = useState(null);
  return html`<div class="actions"><${Act} label=${word("verify")} run=${async () => show(await ask("POST", "/admin/audit/verify", {}))} /></div>
    ${found && html`<section role="status">
      <p><strong><${Mark} good=${found.whole} text=${word(found.whole ? "whole" : "broken")} /></strong> <${When} at=${found.at} /></p>
      <${Table} label=${word("checked")} columns=${CHECKED} rows=${found.writers} />
      <p class="quiet">${word("older")} <code>tidegate audit verify audit.jsonl --heads heads.txt --verifier KEY</code></p>
    </section>`}`;
}

const CHECKED = [
  { label: word("writer"), of: (one) => html`<${Word} text=${one.writer} />` },
  { label: word("entries"), number: true, of: (one) => count(one.size) },
  { label: word("read"), number: true, of: (one) => count(one.read) },
  { label: word("signed"), number: true, of: (one) => count(one.signed) },
  { label: word("signed_at"), of: (one) => (one.signed_ms ? at(one.signed_ms) : say("common.none")) },
  { label: word("wrong"), of: (one) => (one.wrong ? html`<${Mark} good=${false} text=${one.wrong} />` : say("common.none")) },
];
const COLUMNS = [
  { label: say("common.when"), of: (one) => at(one.at_ms) },
  { label: word("did"), of: (one) => html`<${Word} text=${one.did ?? (one.deleted ? word("deleted") : `${one.kind}: ${one.outcome}`)} />` },
  { label: word("on"), of: (one) => html`<${Word} text=${one.of ?? one.route} />` },
  { label: word("by"), of: (one) => html`<${Word} text=${one.name || one.by || one.key} />` },
  { label: word("before"), of: (one) => html`<${Word} text=${short(one.before)} />` },
  { label: word("after"), of: (one) => html`<${Word} text=${short(one.after ?? one.error)} />` },
];
const SHORT = 120;

function short(value) {
  const text = value == null ? "" : typeof value === "string" ? value : JSON.stringify(value);
  return text.length > SHORT ? `${text.slice(0, SHORT)}…` : text;
}

function One({ id }) {
  const { answer, wrong, again } = useAnswer(path("/admin/audit/proof", { id }));
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  const entry = answer.entry ? JSON.stringify(JSON.parse(answer.entry), null, 2) : word("deleted");
  return html`<h1><${Word} text=${id} /></h1>
    <p class="actions">
      <a href=${url("audit")}>${word("all")}</a>
      <button type="button" onClick=${() => keep(`proof-${id}.json`, answer)}>${word("download")}</button>
    </p>
    <pre class="said" tabindex="0" aria-label=${word("entry")}>${plain(entry)}</pre>
    <h2>${word("proof")}</h2>
    <p>${word("place", { seq: count(answer.seq) })} <code>${answer.hash}</code></p>
    <pre class="said" tabindex="0" aria-label=${word("checkpoint")}>${plain(answer.checkpoint)}</pre>
    <p class="quiet">${word("check")} <code>tidegate audit check proof.json --verifier KEY</code></p>`;
}

/** As a file of the reader's: it is checked without us. */
function keep(name, value) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
