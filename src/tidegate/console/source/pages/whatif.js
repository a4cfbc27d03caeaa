// What would each lever have saved on the calls that were made? A waterfall from what was paid to what might have been.
import { path, useAnswer } from "../api.js";
import { html } from "../html.js";
import { curl, Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Tile, Word } from "../parts/values.js";
import { go, url } from "../place.js";
import { count, share, usd } from "../units.js";
import { say } from "../words.js";

const word = (name, values) => say(`whatif.${name}`, values);
const FIELDS = ["since", "until", "cheap", "budget_usd"];

export function WhatIf({ place }) {
  const { answer, wrong, current, again } = useAnswer(path("/admin/whatif", place.query));
  const submit = (sent) => {
    sent.preventDefault();
    go(url("whatif", "", Object.fromEntries(new FormData(sent.target))));
  };
  return html`<h1>${say("pages.whatif")}</h1>
    <form class="filters" key=${JSON.stringify(place.query)} onSubmit=${submit}>
      ${FIELDS.map((name) => html`<label>${word(`fields.${name}`)}<input name=${name} defaultValue=${place.query[name] ?? ""} maxlength="100" /></label>`)}
      <p class="actions"><button class="primary">${word("go")}</button></p>
    </form>
    ${wrong && current ? html`<${Problem} wrong=${wrong} again=${again} />` : !answer ? html`<${Loading} />` : html`<div class=${current ? "" : "waiting"}><${Found} found=${answer} /></div>`}`;
}

function Found({ found }) {
  if (!found.calls) return html`<${Empty} title=${word("empty")} teach=${word("teach")} command=${curl("local")} />`;
  const over = Object.entries(found.over_budget);
  const last = found.waterfall.at(-1);
  return html`<dl class="tiles">
      <${Tile} label=${word("paid")} value=${usd(found.cost_usd)} more=${word("calls", { count: count(found.calls) })} />
      <${Tile} label=${word("left")} value=${usd(last.most_usd)} more=${word("left_of", { least: usd(last.least_usd) })} />
      <${Tile} label=${word("already")} value=${usd(found.saved_already_usd)} />
      <${Tile} label=${word("success")} value=${share(found.success)} more=${word("success_most", { share: share(found.success_most) })} />
    </dl>
    ${!found.complete && html`<p class="notice" role="status">${word("newest")}</p>`}
    ${found.unpriced > 0 && html`<p class="quiet">${word("unpriced", { count: count(found.unpriced) })}</p>`}
    <${Waterfall} found=${found} />
    <${Table} label=${word("levers")} columns=${LEVERS} rows=${found.levers} />
    ${over.length > 0 && html`<${Table} label=${word("over")} columns=${OVER} rows=${over.map(([id, beyond]) => ({ id, beyond }))} to=${(one) => url("keys", one.id)} />`}`;
}

/** Bars: what would still be paid at best is full, and as far as it may be at worst is thin; the numbers stand beside. */
function Waterfall({ found }) {
  const whole = Math.max(found.cost_usd, Number.MIN_VALUE);
  const steps = found.waterfall.map((step, at) => ({ ...step, tone: at ? 1 : 3 })); // the first is what was paid
  return html`<${Table} label=${word("waterfall")} rows=${steps} columns=${[
    { label: word("step"), of: (step) => html`<${Word} text=${step.name} />` },
    { label: word("bar"), of: (step) => html`<${Bar} step=${step} whole=${whole} />` },
    { label: word("least"), number: true, of: (step) => usd(step.least_usd) },
    { label: word("most"), number: true, of: (step) => usd(step.most_usd) },
  ]} />`;
}

const Bar = ({ step, whole }) => html`<svg class="bar fill${step.tone}" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true">
  <rect x="0" y="0" width=${(step.least_usd / whole) * 200} height="12" /><rect x="0" y="4" width=${(step.most_usd / whole) * 200} height="4" />
</svg>`;

const LEVERS = [
  { label: word("lever"), of: (one) => html`<${Word} text=${one.name} />` },
  { label: word("saves_least"), number: true, of: (one) => usd(one.saved_least_usd) },
  { label: word("saves_most"), number: true, of: (one) => usd(one.saved_most_usd) },
  { label: word("about"), number: true, of: (one) => count(one.calls) },
  { label: word("why"), of: (one) => html`<${Word} text=${one.why} />` },
];
const OVER = [
  { label: word("key"), of: (one) => html`<${Word} text=${one.id} />` },
  { label: word("beyond"), number: true, of: (one) => usd(one.beyond) },
];
