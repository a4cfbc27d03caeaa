// Who answers, and who is set aside? Every target with its breaker, which an administrator may force.
import { ask, useAnswer } from "../api.js";
import { html } from "../html.js";
import { Act } from "../parts/acts.js";
import { Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, When, Word } from "../parts/values.js";
import { count, duration } from "../units.js";
import { say } from "../words.js";

const word = (name, values) => say(`targets.${name}`, values);
const at = (ms) => (ms ? html`<${When} at=${new Date(ms).toISOString()} />` : say("common.none"));

export function Targets() {
  const { answer, wrong, again } = useAnswer("/admin/targets");
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  const force = (target, breaker) => async () => {
    await ask("POST", `/admin/targets/${target.split("/").map(encodeURIComponent).join("/")}`, { breaker });
    again();
  };
  const acts = { label: word("force"), of: (one) => html`<${Acts} one=${one} force=${force} />` };
  return html`<h1>${say("pages.targets")}</h1>
    ${answer.length === 0
      ? html`<${Empty} title=${word("empty")} teach=${word("teach")} command="tidegate check" />`
      : html`<${Table} label=${word("list")} columns=${[...COLUMNS, acts]} rows=${answer} />`}`;
}

const Acts = ({ one, force }) => html`<div class="actions">
  <${Act} label=${word("open")} sure=${word("open_sure")} run=${force(one.target, "open")} />
  <${Act} label=${word("closed")} run=${force(one.target, "closed")} />
  <${Act} label=${word("reset")} run=${force(one.target, "reset")} />
</div>`;

const COLUMNS = [
  { label: word("target"), of: (one) => html`<${Word} text=${one.target} />` },
  { label: word("breaker"), of: (one) => html`<${Mark} good=${one.state === "closed"} text=${one.state + (one.forced ? word("forced") : "")} />` },
  { label: word("why"), of: (one) => html`<${Word} text=${one.why} />` },
  { label: word("since"), of: (one) => at(one.since_ms) },
  { label: word("probe"), of: (one) => at(one.next_probe_ms) },
  { label: word("first"), number: true, of: (one) => duration(one.first_token_ms) },
  { label: word("busy"), number: true, of: (one) => count(one.busy) },
  { label: word("waiting"), number: true, of: (one) => count(one.waiting) },
  { label: word("shed"), number: true, of: (one) => count(one.shed) },
];
