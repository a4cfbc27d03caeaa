// What is tried on whom, and is it any good? All experiments; with a name, one as it goes, live.
import { ask, path, useAnswer, useLive } from "../api.js";
import { html, useState } from "../html.js";
import { Act, Fields } from "../parts/acts.js";
import { Chart } from "../parts/chart.js";
import { AsOf, Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, Tile, When, Word } from "../parts/values.js";
import { go, url } from "../place.js";
import { session } from "../session.js";
import { count, plain, share, usd } from "../units.js";
import { say } from "../words.js";
import { Canary } from "./canary.js";

const word = (name, values) => say(`experiments.${name}`, values);
const decides = session.role === "admin";
const at = (ms) => html`<${When} at=${new Date(ms).toISOString()} />`;
const of = (name, verb = "") => `/v1/experiments/${encodeURIComponent(name)}${verb}`;
const GOOD = new Set(["better", "within", "running", "promoted"]);
const ENDED = new Set(["promoted", "rolled_back", "inconclusive", "stopped"]);
const STALE_S = 60;
const EXAMPLE = `{
  "name": "shorter",
  "route": "fast",
  "arms": [{"name": "brief", "parameters": {"max_tokens": 64}}],
  "guards": [{"metric": "error_rate", "margin": 0.01}],
  "ramp": [0.05, 0.25, 0.5]
}`;

export function Experiments({ place }) {
  if (place.query.canary && decides) return html`<${Canary} />`;
  if (place.rest) return html`<${One} key=${place.rest} name=${place.rest} query=${place.query} />`;
  return html`<${All} archived=${place.query.archived} />`;
}

function All({ archived }) {
  const { answer, wrong, again } = useAnswer(path("/v1/experiments", { archived }));
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  return html`<h1>${say("pages.experiments")}</h1>
    <p class="actions">
      ${decides && html`<a href=${url("experiments", "", { canary: 1 })}>${word("canary")}</a>`}
      <a href=${url("experiments", "", { archived: archived ? "" : "true" })}>${word(archived ? "current" : "archived")}</a>
    </p>
    ${decides && html`<${New} />`}
    ${answer.length === 0
      ? html`<${Empty} title=${word("empty")} teach=${word("teach")} command="tidegate experiments new shorter.yaml" />`
      : html`<${Table} label=${word("list")} columns=${COLUMNS} rows=${[...answer].reverse()} to=${(one) => url("experiments", one.name)} />`}`;
}

const New = () => html`<details>
  <summary>${word("new")}</summary>
  <${Fields} label=${word("make")} run=${async ({ described }) => go(url("experiments", (await ask("POST", "/v1/experiments", read(described))).name))}>
    <label class="wide">${word("described")}<textarea name="described" rows="12" spellcheck=${false} defaultValue=${EXAMPLE}></textarea></label>
  <//>
</details>`;

function read(text) {
  try {
    return JSON.parse(text);
  } catch (why) {
    throw new Error(say("playground.bad_json", { field: word("described"), why: why.message }));
  }
}

const COLUMNS = [
  { label: word("name"), of: (one) => html`<${Word} text=${one.name} />` },
  { label: word("state"), of: (one) => html`<${Mark} good=${GOOD.has(one.state) || one.state === "draft"} text=${one.state} />` },
  { label: word("share"), number: true, of: (one) => (one.state === "running" ? share(one.share) : say("common.none")) },
  { label: word("route"), of: (one) => html`<${Word} text=${one.spec.route ?? one.spec.prompt} />` },
  { label: word("arms"), of: (one) => html`<${Word} text=${one.spec.arms.map((arm) => arm.name).join(", ")} />` },
  { label: word("since"), of: (one) => at(one.since_ms) },
  { label: word("why"), of: (one) => html`<${Word} text=${one.why} />` },
];

// --- one, as it goes

function One({ name, query }) {
  const [seen, see] = useState(null);
  const [wrong, fail] = useState(null);
  useLive(of(name, "/live"), (told) => see({ ...told, heard: Date.now() }) ?? fail(null), fail);
  if (!seen) return wrong ? html`<${Problem} wrong=${wrong} />` : html`<${Loading} />`;
  return html`<h1><${Word} text=${name} /></h1>
    <p><a href=${url("experiments")}>${word("all")}</a></p>
    <div class="standing" role="status">
      <strong><${Mark} good=${GOOD.has(seen.state) || seen.state === "draft"} text=${seen.headline} /></strong>
      <p>${plain(seen.state === "running" ? seen.found : seen.why)}</p>
    </div>
    ${ENDED.has(seen.state) ? html`<p class="as-of">${word("ended")} <${When} at=${new Date(seen.since_ms).toISOString()} /></p>` : html`<${AsOf} at=${seen.heard} staleS=${seen.state === "running" ? STALE_S : Infinity} />`}
    ${seen.note && html`<p>${plain(seen.note)}</p>`}
    ${decides && html`<${Acts} name=${name} seen=${seen} />`}
    <${Stages} seen=${seen} />
    ${seen.findings.length > 0 && seen.state !== "draft" && html`<${Effects} name=${name} seen=${seen} chosen=${query.metric} />`}
    <${Arms} seen=${seen} />
    ${seen.decisions.length > 0
      ? html`<${Table} label=${word("decisions")} columns=${DECISIONS} rows=${[...seen.decisions].reverse()} />`
      : html`<${Empty} title=${word("undecided")} teach=${word("start_teach")} command=${`tidegate experiments start ${name}`} />`}
    ${seen.decisions.length > 0 && html`<${Again} name=${name} />`}`;
}

const ASKED_FIRST = new Set(["advance", "promote", "rollback", "stop"]);

function Acts({ name, seen }) {
  const [why, explain] = useState("");
  const run = (verb, more = {}) => () => ask("POST", of(name, `/${verb}`), { why, ...more });
  const arms = seen.arms.slice(1);
  const act = (verb, more, label) => html`<${Act} key=${label} label=${label} sure=${ASKED_FIRST.has(verb) ? word(`${verb}_sure`) : undefined} run=${run(verb, more)} />`;
  const buttons = seen.can.flatMap((verb) =>
    verb === "promote" ? arms.map((arm) => act(verb, { arm }, word("promote_arm", { arm }))) : [act(verb, {}, word(verb))],
  );
  const over = (ENDED.has(seen.state) || seen.state === "draft") && !seen.archived_ms;
  return html`<div class="actions acts">
    ${buttons.length > 0 && html`<label>${word("because")}<input value=${why} maxlength="500" onInput=${(typed) => explain(typed.target.value)} /></label>`}
    ${buttons}
    ${over && html`<${Act} label=${word("archive")} sure=${word("archive_sure")} run=${async () => { await ask("DELETE", of(name)); go(url("experiments")); }} />`}
  </div>`;
}

function Stages({ seen }) {
  const spent = Object.values(seen.spent_usd).reduce((sum, one) => sum + one, 0);
  const running = seen.state === "running";
  return html`<dl class="tiles">
    <${Tile} label=${word("stage")} value=${running ? word("stage_of", { stage: seen.stage + 1, stages: seen.ramp.length }) : seen.state}
      more=${running ? word("of_units", { share: share(seen.ramp[seen.stage]), unit: seen.unit }) : undefined} />
    <${Tile} label=${word("ramp")} value=${seen.ramp.map(share).join(" → ")} />
    <${Tile} label=${word("follows")} value=${seen.did} />
    <${Tile} label=${word("spent")} value=${usd(spent)} />
  </dl>`;
}

const key = (one) => `${one.arm}:${one.metric}`;
const FORMS = {
  ratio: (value) => `${value > 0 ? "+" : ""}${share(value)}`,
  share: (value) => `${value > 0 ? "+" : ""}${Number((value * 100).toFixed(2))} pp`,
  mean: (value) => `${value > 0 ? "+" : ""}${Number(value.toFixed(3))}`,
};
const formed = (one) => (value) => (value == null ? say("common.none") : FORMS[one.kind](value));

/** The effect of one metric as it came to be, with the interval that holds at every look, and the line that matters. */
function Effects({ name, seen, chosen }) {
  const shown =
    seen.findings.find((one) => key(one) === chosen) ?? seen.findings.find((one) => one.verdict === "worse") ??
    seen.findings.find((one) => one.role === "primary") ?? seen.findings[0];
  const rows = seen.looks.map((look) => ({
    ...look.findings.find((one) => key(one) === key(shown)), at: new Date(look.at_ms).toISOString(), stage: look.stage,
  }));
  const lines = [
    { label: word("effect"), tone: 1, of: (row) => row.estimate ?? null },
    { label: word("low"), tone: 2, of: (row) => row.low ?? null },
    { label: word("high"), tone: 2, of: (row) => row.high ?? null },
    { label: word("margin"), tone: 3, of: () => shown.edge },
  ];
  const shares = [{ label: word("share"), tone: 3, of: (row) => seen.ramp[row.stage] }];
  return html`<${Table} label=${word("metrics")} columns=${FINDINGS} rows=${seen.findings}
      to=${(one) => url("experiments", name, { metric: key(one) })} />
    <p class="standing">${plain(shown.said)}</p>
    <div class="side-by-side">
      <${Chart} key=${key(shown)} label=${word("over_time", { metric: shown.metric, arm: shown.arm })} rows=${rows} lines=${lines} unit=${formed(shown)} signed />
      <${Chart} label=${word("stages")} rows=${rows} lines=${shares} unit=${share} bars />
    </div>
    <details><summary>${word("minds")}</summary><ul>${seen.minds.map((one) => html`<li>${plain(one)}</li>`)}</ul></details>`;
}

const FINDINGS = [
  { label: word("metric"), of: (one) => html`<${Word} text=${`${one.metric} · ${one.arm}`} />` },
  { label: word("role"), of: (one) => one.role },
  { label: word("verdict"), of: (one) => html`<${Mark} good=${one.verdict !== "worse"} text=${one.verdict} />` },
  { label: word("effect"), number: true, of: (one) => formed(one)(one.estimate) },
  { label: word("low"), number: true, of: (one) => formed(one)(one.low) },
  { label: word("high"), number: true, of: (one) => formed(one)(one.high) },
  { label: word("margin"), number: true, of: (one) => formed(one)(one.edge) },
  { label: word("units"), number: true, of: (one) => word("against", { units: count(one.units), control: count(one.control_units) }) },
];

/** How many units each arm has, and whether those are as many as chance should have given it. */
function Arms({ seen }) {
  if (seen.state === "draft") return null;
  const rows = seen.arms.map((id) => ({ id, units: seen.units[id] ?? 0, here: seen.ratio?.units[id], expected: seen.ratio?.expected[id], usd: seen.spent_usd[id] ?? 0 }));
  return html`<${Table} label=${word("ratio")} columns=${ARMS} rows=${rows} />
    <p class="quiet">${seen.ratio ? word(seen.ratio.chance < 0.001 ? "ratio_wrong" : "ratio_right", { chance: share(seen.ratio.chance) }) : word("nobody")}</p>`;
}

const ARMS = [
  { label: word("arm"), of: (one) => html`<${Word} text=${one.id} />` },
  { label: word("units"), number: true, of: (one) => count(one.units) },
  { label: word("first_seen"), number: true, of: (one) => count(one.here) },
  { label: word("expected"), number: true, of: (one) => count(one.expected) },
  { label: word("spent"), number: true, of: (one) => usd(one.usd) },
];
const DECISIONS = [
  { label: say("common.when"), of: (one) => at(one.at_ms) },
  { label: word("did"), of: (one) => html`<${Mark} good=${one.did !== "rolled_back"} text=${one.did} />` },
  { label: word("stage"), number: true, of: (one) => one.stage + 1 },
  { label: word("by"), of: (one) => html`<${Word} text=${one.by} />` },
  { label: word("why"), of: (one) => html`<${Word} text=${one.why} />` },
];

/** Each decision, made again from what it was based on. */
function Again({ name }) {
  const [found, show] = useState(null);
  return html`<p class="actions"><${Act} label=${word("recompute")} run=${async () => show(await ask("POST", of(name, "/recompute")))} /></p>
    ${found && html`<${Table} label=${word("recomputed")} columns=${RECOMPUTED} rows=${found} />`}`;
}

const RECOMPUTED = [
  { label: word("did"), of: (one) => one.did },
  { label: word("same"), of: (one) => (one.same == null ? word("by_hand") : html`<${Mark} good=${one.same} text=${say(one.same ? "common.yes" : "common.no")} />`) },
  { label: word("why"), of: (one) => html`<${Word} text=${one.why} />` },
];
