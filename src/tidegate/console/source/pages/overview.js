// How is it going? One look, every two seconds.
import { path, useLive } from "../api.js";
import { html, useState } from "../html.js";
import { Chart } from "../parts/chart.js";
import { AsOf, curl, Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, Tile, When, Word } from "../parts/values.js";
import { url } from "../place.js";
import { count, duration, rate, share, usd } from "../units.js";
import { say } from "../words.js";

const word = (name, values) => say(`overview.${name}`, values);

export function Overview() {
  const [seen, see] = useState(null);
  const [wrong, fail] = useState(null);
  useLive(path("/admin/overview/live", {}), (told) => see({ ...told, heard: Date.now() }) ?? fail(null), fail);
  if (!seen) return wrong ? html`<${Problem} wrong=${wrong} />` : html`<${Loading} />`;
  const day = seen.hours.reduce((sum, hour) => sum + hour.calls, 0);
  return html`<h1>${say("pages.overview")}</h1>
    <${AsOf} at=${seen.heard} />
    ${!day && !seen.sampled && html`<${Nothing} />`}
    <${Tiles} seen=${seen} />
    <div class="side-by-side">
      <${Chart} label=${word("chart_calls")} rows=${seen.series} unit=${count} lines=${[
        { label: word("calls"), tone: 1, of: (row) => row.calls },
        { label: word("failed"), tone: 2, of: (row) => row.failed },
      ]} />
      <${Chart} label=${word("chart_times")} rows=${seen.series} unit=${duration} lines=${[
        { label: word("p95"), tone: 1, of: (row) => row.p95_ms },
      ]} />
      <${Chart} label=${word("chart_spend")} rows=${seen.hours} unit=${usd} bars lines=${[
        { label: word("cost"), tone: 3, of: (row) => row.cost_usd },
      ]} />
    </div>
    <${Tables} seen=${seen} />`;
}

const Nothing = () => html`<${Empty} title=${word("empty")} teach=${word("teach")} command=${curl("local")}>
  <p><a href=${url("playground")}>${say("pages.playground")}</a></p>
<//>`;

function Tiles({ seen }) {
  const { now, forecast } = seen;
  const [spent, saved] = ["cost_usd", "saved_usd"].map((name) => seen.hours.reduce((sum, hour) => sum + hour[name], 0));
  const window = duration(Date.parse(seen.at) - Date.parse(seen.since));
  return html`<dl class="tiles">
    <${Tile} label=${word("calls_per_s")} value=${rate(now.calls_per_s, "")} more=${word("running", { count: count(seen.running) })} />
    <${Tile} label=${word("success")} value=${share(now.success_rate)} more=${word("sampled", { count: count(seen.sampled), seconds: window })} />
    <${Tile} label=${word("latency")} value=${duration(now.p50_ms)} more=${word("percentiles", { p95: duration(now.p95_ms), p99: duration(now.p99_ms) })} />
    <${Tile} label=${word("first")} value=${duration(now.first_p50_ms)} more=${word("first_p95", { p95: duration(now.first_p95_ms) })} />
    <${Tile} label=${word("tokens")} value=${rate(now.output_tokens_per_s, "")} />
    <${Tile} label=${word("cache")} value=${share(now.cache_hit_rate)} />
    <${Tile} label=${word("burn")} value=${`${usd(now.cost_usd_per_hour)}/h`} />
    <${Tile} label=${word("day")} value=${usd(spent)} more=${word("saved", { usd: usd(saved) })} />
    <${Tile} label=${word("month")} value=${forecast ? usd(forecast.likely_usd) : say("common.none")}
      more=${forecast
        ? word("month_range", { least: usd(forecast.least_usd), most: usd(forecast.most_usd), spent: usd(forecast.spent_usd) })
        : word("month_unknown")} />
  </dl>`;
}

function Tables({ seen }) {
  const counted = (label, name, found) =>
    Object.keys(found).length > 0 &&
    html`<${Table} label=${label} rows=${Object.entries(found)} columns=${[
      { label: name, of: ([what]) => html`<${Word} text=${what} />` },
      { label: word("count"), number: true, of: ([, times]) => count(times) },
    ]} />`;
  return html`<div class="side-by-side">
    ${seen.routes.length > 0 && html`<${Table} label=${word("routes")} rows=${seen.routes} columns=${ROUTES}
      to=${(row) => url("requests", "", { route: row.route ?? "" })} />`}
    ${seen.targets?.length > 0 && html`<${Table} label=${word("targets")} rows=${seen.targets} columns=${TARGETS} />`}
    ${counted(word("guards"), word("verdict"), seen.guards)}
    ${counted(word("errors"), word("error"), seen.errors)}
    ${seen.alerts?.length > 0 && html`<${Table} label=${word("alerts")} rows=${seen.alerts} columns=${ALERTS} />`}
  </div>`;
}

const ROUTES = [
  { label: word("route"), of: (row) => html`<${Word} text=${row.route ?? say("common.unnamed")} />` },
  { label: word("calls"), number: true, of: (row) => count(row.calls) },
  { label: word("success"), number: true, of: (row) => share(row.success_rate) },
  { label: word("p50"), number: true, of: (row) => duration(row.p50_ms) },
  { label: word("p95"), number: true, of: (row) => duration(row.p95_ms) },
  { label: word("cost"), number: true, of: (row) => usd(row.cost_usd) },
];
const TARGETS = [
  { label: word("target"), of: (row) => html`<${Word} text=${row.target} />` },
  { label: word("breaker"), of: (row) => html`<${Mark} good=${row.state === "closed"} text=${row.state} />` },
  { label: word("busy"), number: true, of: (row) => count(row.busy) },
  { label: word("why"), of: (row) => html`<${Word} text=${row.why} />` },
];
const ALERTS = [
  { label: word("alert"), of: (row) => html`<${Word} text=${row.text} />` },
  { label: say("common.when"), of: (row) => html`<${When} at=${row.at} />` },
  { label: word("outcome"), of: (row) => row.outcome },
];
