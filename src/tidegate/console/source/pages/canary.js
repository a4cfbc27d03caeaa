// Is the configuration that some have better? What is seen of it and of the others, live, and what ends it.
import { ask, useLive } from "../api.js";
import { html, useState } from "../html.js";
import { Act, Fields } from "../parts/acts.js";
import { AsOf, Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, Tile, When, Word } from "../parts/values.js";
import { url } from "../place.js";
import { count, duration, plain, share, usd } from "../units.js";
import { say } from "../words.js";

const word = (name, values) => say(`canary.${name}`, values);
const PATH = "/admin/config/canary";
const UNITS = ["key", "user", "session", "request"];

export function Canary() {
  const [seen, see] = useState(undefined);
  const [heard, hear] = useState(0);
  const [wrong, fail] = useState(null);
  useLive(`${PATH}/live`, (told) => see(told) ?? hear(Date.now()) ?? fail(null), fail);
  if (seen === undefined) return wrong ? html`<${Problem} wrong=${wrong} />` : html`<${Loading} />`;
  return html`<h1>${word("title")}</h1>
    <p><a href=${url("experiments")}>${say("experiments.all")}</a></p>
    <${AsOf} at=${heard} />
    ${seen === null && html`<${Empty} title=${word("empty")} teach=${word("teach")} command="tidegate canary start --share 5%" />`}
    ${seen?.state !== "running" && html`<${Start} />`}
    ${seen && html`<${Shown} seen=${seen} />`}`;
}

const Start = () => html`<details>
  <summary>${word("start")}</summary>
  <${Fields} label=${word("go")} run=${({ promote_after, ...wish }) => ask("POST", PATH, { ...wish, ...(promote_after && { promote_after }) })}>
    <label>${word("share")}<input name="share" defaultValue="5%" required maxlength="20" /></label>
    <label>${word("unit")}<select name="unit">${UNITS.map((unit) => html`<option>${unit}</option>`)}</select></label>
    <label>${word("promote_after")}<input name="promote_after" placeholder="30m" maxlength="20" /></label>
  <//>
</details>`;

function Shown({ seen }) {
  const arms = [{ id: word("candidate"), ...seen.candidate }, { id: word("control"), ...seen.control }];
  return html`<p role="status"><strong><${Mark} good=${seen.state !== "rolled_back"} text=${seen.state} /></strong>${seen.why && html`: ${plain(seen.why)}`}</p>
    <dl class="tiles">
      <${Tile} label=${word("share")} value=${share(seen.share)} more=${word("of_each", { unit: seen.unit })} />
      <${Tile} label=${word("since")} value=${html`<${When} at=${seen.since} />`} />
      <${Tile} label=${word("until")} value=${html`<${When} at=${seen.until} />`} />
      <${Tile} label=${word("by")} value=${html`<${Word} text=${seen.by} />`} more=${seen.config} />
    </dl>
    ${seen.state === "running" && html`<div class="actions">
      <${Fields} label=${word("advance")} run=${(more) => ask("PATCH", PATH, more)}>
        <label>${word("more")}<input name="share" required maxlength="20" placeholder="25%" /></label>
      <//>
      <${Act} label=${word("promote")} sure=${word("promote_sure")} run=${() => ask("POST", `${PATH}/promote`)} />
      <${Act} label=${word("rollback")} sure=${word("rollback_sure")} run=${() => ask("POST", `${PATH}/rollback`, {})} />
    </div>`}
    ${seen.here ? null : html`<p class="notice">${word(seen.state === "running" ? "not_here" : "over")}</p>`}
    <${Table} label=${word("arms")} columns=${ARMS} rows=${arms} />`;
}

const ARMS = [
  { label: word("arm"), of: (one) => one.id },
  { label: word("calls"), number: true, of: (one) => count(one.calls) },
  { label: word("failed"), number: true, of: (one) => count(one.failed) },
  { label: word("refused"), number: true, of: (one) => count(one.refused) },
  { label: word("units"), number: true, of: (one) => count(one.units) },
  { label: word("latency"), number: true, of: (one) => duration(one.latency_s == null ? null : one.latency_s * 1000) },
  { label: word("cost"), number: true, of: (one) => usd(one.cost_usd) },
];
