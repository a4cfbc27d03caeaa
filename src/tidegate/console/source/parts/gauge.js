// How much is used of what may be? A bar and the same in words; from four fifths on with a sign, too.
import { html } from "../html.js";
import { count, duration, share, usd } from "../units.js";
import { say } from "../words.js";
import { When } from "./values.js";

const FULL = 0.8;
const word = (name, values) => say(`gauges.${name}`, values);
const amount = (of, value) => (of === "money" ? usd(value) : count(value));

export const partOf = (gauge) => (gauge.used == null ? null : gauge.most > 0 ? gauge.used / gauge.most : 1);

/** The fullest of some, or undefined. */
export const fullest = (gauges) => [...gauges].sort((a, b) => (partOf(b) ?? 0) - (partOf(a) ?? 0))[0];

export const boundOf = (gauge) =>
  word("per", {
    of: word(gauge.of),
    per: gauge.per ? word(gauge.per) : gauge.per_s ? duration(gauge.per_s * 1000) : word("now"),
  });

export function Gauge({ gauge }) {
  const part = partOf(gauge);
  const told = word("used", { used: amount(gauge.of, gauge.used), most: amount(gauge.of, gauge.most), share: share(part) });
  const high = part != null && part >= FULL;
  return html`<span class=${high ? "bad" : ""}>${high && html`<span aria-hidden="true">▲ </span>`}${told}</span>
    <svg class="bar ${high ? "fill2" : "fill1"}" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true">
      <rect class="rail" x="0" y="0" width="200" height="12" /><rect x="0" y="0" width=${200 * Math.min(part ?? 0, 1)} height="12" />
    </svg>`;
}

/** The columns of a table of gauges. */
export const GAUGES = [
  { label: word("bound"), of: boundOf },
  { label: word("used_now"), of: (gauge) => html`<${Gauge} gauge=${gauge} />` },
  { label: word("until"), of: (gauge) => (gauge.until ? html`<${When} at=${gauge.until} />` : say("common.none")) },
];
