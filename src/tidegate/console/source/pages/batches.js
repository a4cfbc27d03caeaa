// What is asked at leisure, and how far is it? All batches that one may see; with an id, one of them.
import { ask, path, useAnswer } from "../api.js";
import { html } from "../html.js";
import { Act } from "../parts/acts.js";
import { Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, Tile, When, Word } from "../parts/values.js";
import { url } from "../place.js";
import { session } from "../session.js";
import { count, usd } from "../units.js";
import { knows, say } from "../words.js";

const word = (name, values) => say(`batches.${name}`, values);
const BAD = ["failed", "expired", "cancelled"];
const manages = session.role !== "viewer";

export const Batches = ({ place }) =>
  place.rest ? html`<${One} key=${place.rest} id=${place.rest} />` : html`<${All} query=${place.query} />`;

function All({ query }) {
  const { answer, wrong, again } = useAnswer(path("/admin/batches", query));
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  return html`<h1>${say("pages.batches")}</h1>
    ${answer.batches.length === 0
      ? html`<${Empty} title=${word("empty")} teach=${word("teach")} command="tidegate batch run questions.jsonl --route NAME" />`
      : html`<${Table} label=${word("list")} columns=${COLUMNS} rows=${answer.batches} to=${(row) => url("batches", row.id)} next=${answer.next} paged />`}`;
}

function One({ id }) {
  const asked = `/admin/batches/${encodeURIComponent(id)}`;
  const { answer: batch, wrong, again } = useAnswer(asked);
  if (wrong) return html`<p><a href=${url("batches")}>${word("all")}</a></p><${Problem} wrong=${wrong} again=${again} />`;
  if (!batch) return html`<${Loading} />`;
  const cancel = async () => {
    await ask("POST", `${asked}/cancel`);
    again();
  };
  const { total, done, wrong: refused, waiting, under_way, at_provider } = batch.counts;
  return html`<p><a href=${url("batches")}>${word("all")}</a> · <a href=${url("requests", "", { key: batch.key_id, kind: "batch", since: "30d" })}>${word("calls")}</a></p>
    <h1><${Word} text=${batch.id} /></h1>
    <dl class="tiles">
      <${Tile} label=${word("lines")} value=${count(total)} more=${word("so_far", { done: count(done), wrong: count(refused) })} />
      <${Tile} label=${word("open")} value=${count(waiting)} more=${word("under_way", { here: count(under_way), away: count(at_provider) })} />
      <${Tile} label=${word("cost")} value=${usd(batch.cost_usd)} more=${word(batch.all_counted ? "cost_of" : "cost_of_newest", { count: count(batch.calls) })} />
    </dl>
    <${Table} label=${word("one")} columns=${[...COLUMNS.slice(1), ...MORE]} rows=${[batch]} />
    ${batch.mistakes.length > 0 && html`<${Table} label=${word("mistakes")} columns=${MISTAKES} rows=${batch.mistakes} />`}
    <p class="actions">
      <button type="button" onClick=${again}>${word("look")}</button>
      ${manages && !batch.ended && batch.status !== "cancelling" && html`<${Act} label=${word("cancel")} sure=${word("cancel_sure")} run=${cancel} />`}
    </p>`;
}

const state = (name) => (knows(`batches.${name}`) ? word(name) : name);
const COLUMNS = [
  { label: word("batch"), of: (row) => html`<${Word} text=${row.id} />` },
  { label: word("state"), of: (row) => html`<${Mark} good=${!BAD.includes(row.status)} text=${state(row.status)} />` },
  { label: word("lines"), number: true, of: (row) => count(row.counts.total) },
  { label: word("done"), number: true, of: (row) => count(row.counts.done) },
  { label: word("refused"), number: true, of: (row) => count(row.counts.wrong) },
  { label: word("key"), of: (row) => html`<${Word} text=${row.name} />` },
  { label: word("team"), of: (row) => html`<${Word} text=${row.team_id} />` },
  { label: word("created"), of: (row) => html`<${When} at=${row.created} />` },
  { label: word("ended"), of: (row) => (row.ended ? html`<${When} at=${row.ended} />` : say("common.none")) },
];
const MORE = [
  { label: word("until"), of: (row) => html`<${When} at=${row.until} />` },
  { label: word("endpoint"), of: (row) => html`<code>${row.endpoint}</code>` },
];
const MISTAKES = [
  { label: word("line"), number: true, of: (one) => count(one.line) },
  { label: word("why"), of: (one) => html`<${Word} text=${one.message} />` },
];
