// What is in this list? Rows of a page; the next page begins behind the last row, so that nothing moves meanwhile.
import { html } from "../html.js";
import { here, url } from "../place.js";
import { say } from "../words.js";

/**
 * `columns`: [{label, of: (row) => what is shown, number: right-aligned}]; the first says what the row is.
 * `to(row)`: where a row leads. `next`: `after` of the next page.
 */
export function Table({ label, columns, rows, to, next, paged = false }) {
  return html`<div class="table" role="region" aria-label=${label} tabindex="0" onKeyDown=${step}>
      <table>
        <caption>${label}</caption>
        <thead>
          <tr>${columns.map((one) => html`<th scope="col" class=${one.number ? "number" : ""}>${one.label}</th>`)}</tr>
        </thead>
        <tbody>${rows.map((row, at) => html`<tr key=${row.id ?? at}>${cells(columns, row, to)}</tr>`)}</tbody>
      </table>
    </div>
    ${paged && html`<${Pager} next=${next} />`}`;
}

function cells(columns, row, to) {
  return columns.map((one, at) => {
    const shown = one.of(row);
    if (at > 0) return html`<td class=${one.number ? "number" : ""}>${shown}</td>`;
    return html`<th scope="row">${to ? html`<a href=${to(row)}>${shown}</a>` : shown}</th>`;
  });
}

function Pager({ next }) {
  const { name, rest, query } = here();
  return html`<p class="pager">
    ${query.after && html`<a href=${url(name, rest, { ...query, after: "" })}>${say("common.newest")}</a>`}
    ${next && html`<a href=${url(name, rest, { ...query, after: next })}>${say("common.older")}</a>`}
  </p>`;
}

const STEPS = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 };

/** Down and up from row to row; Enter follows the link that has the focus. */
function step(press) {
  const by = STEPS[press.key];
  if (!by || press.target.closest("input, select, textarea")) return;
  const links = [...press.currentTarget.querySelectorAll("tbody th a")];
  if (!links.length) return;
  press.preventDefault();
  const at = links.indexOf(document.activeElement);
  links[Math.min(links.length - 1, Math.max(0, at < 0 ? 0 : at + by))].focus();
}

