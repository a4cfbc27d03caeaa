// How did it go over time? A chart, and the very same numbers as a table behind it.
import uPlot from "uplot";
import { html, useEffect, useRef } from "../html.js";
import { exact, moment, tick } from "../units.js";
import { say } from "../words.js";

const HEIGHT = 160;
const AROUND_S = 4 * 86_400; // a value without others; else it had three years to its right
const DASHES = [[], [6, 4], [2, 3]]; // so that lines differ to who sees no colours

/**
 * `rows`: [{at: ISO time, …}], oldest first. `lines`: [{label, of: (row) => number or null, tone: 1 | 2 | 3}].
 * `unit(number)`: as text. `bars`: as steps, for sums. `signed`: what is below nothing is seen, too.
 */
export function Chart({ label, rows, lines, unit, bars = false, signed = false }) {
  const place = useRef(null);
  const chart = useRef(null);
  const data = [rows.map((row) => Date.parse(row.at) / 1000), ...lines.map((line) => rows.map(line.of))];
  useEffect(() => {
    const box = place.current; // the reference is empty before the last look of what observes it
    if (!box) return undefined;
    const draw = () => {
      chart.current?.destroy();
      chart.current = new uPlot(options(box.clientWidth, lines, unit, bars, signed), data, box);
    };
    draw();
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const sized = new ResizeObserver(() => box.isConnected && chart.current?.setSize({ width: box.clientWidth, height: HEIGHT }));
    dark.addEventListener("change", draw);
    sized.observe(box);
    return () => {
      dark.removeEventListener("change", draw);
      sized.disconnect();
      chart.current.destroy();
      chart.current = null;
    };
  }, []);
  useEffect(() => chart.current?.setData(data), [rows]);
  return html`<figure>
    <figcaption>${label}<span class="legend">${lines.map((line) => html`<span class="tone${line.tone}">${line.label}</span>`)}</span></figcaption>
    <div class="chart" ref=${place} aria-hidden="true"></div>
    <details>
      <summary>${say("common.as_table")}</summary>
      <div class="table" role="region" aria-label=${label} tabindex="0"><table>
        <thead><tr><th scope="col">${say("common.when")}</th>${lines.map((line) => html`<th scope="col" class="number">${line.label}</th>`)}</tr></thead>
        <tbody>${rows.map((row) => html`<tr>
          <th scope="row"><time datetime=${row.at} title=${exact(row.at)}>${moment(row.at)}</time></th>
          ${lines.map((line) => html`<td class="number">${unit(line.of(row))}</td>`)}
        </tr>`)}</tbody>
      </table></div>
    </details>
  </figure>`;
}

/** Of ticks that read alike the one that is so: a half reads as 1, too. */
const once = (texts) => texts.map((text, at) => ((text === texts[0] ? 0 : texts.lastIndexOf(text)) === at ? text : ""));

/** Of a line, what no other is beside: it would not be seen. */
const alone = (chart, line) => {
  const values = chart.data[line];
  return [...values.keys()].filter((at) => values[at] != null && values[at - 1] == null && values[at + 1] == null);
};

function options(width, lines, unit, bars, signed) {
  const lowest = (least) => (signed && least < 0 ? least * 1.1 : 0);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [null, 28, null, null], // half of the last time's words
    scales: {
      x: { range: (chart, first, last) => (chart.data[0].length === 1 ? [first - AROUND_S, first + AROUND_S] : [first, last]) },
      y: { range: (_, least, most) => [lowest(least), most > 0 ? most * 1.1 : lowest(least) < 0 ? 0 : 1] },
    },
    axes: [
      { ...axis, space: 80, values: (_, ticks, axis, space, apart) => ticks.map((second) => tick(second * 1000, apart)) },
      { ...axis, size: 64, values: (_, ticks) => once(ticks.map(unit)) },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.label,
        stroke: colour(`--tone${line.tone}`),
        fill: bars ? colour(`--tone${line.tone}`) : undefined,
        width: 2,
        dash: bars ? undefined : DASHES[line.tone - 1],
        points: bars ? { show: false } : { size: 6, filter: alone },
        paths: bars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
      })),
    ],
  };
}
