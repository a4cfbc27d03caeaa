// What did evaluations find, and what do people say? Runs and judges; with an id one run, against another, or its labels.
import { ask, path, useAnswer } from "../api.js";
import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Mark, Tile, When, Word } from "../parts/values.js";
import { go, url } from "../place.js";
import { count, duration, share, usd } from "../units.js";
import { say } from "../words.js";
import { Text } from "./request.js";

const word = (name, values) => say(`evals.${name}`, values);
const at = (name) => `/admin/evals/${encodeURIComponent(name)}`;
const NANO = 1e9;

export function Evals({ place }) {
  const { rest, query } = place;
  if (!rest) return html`<${All} />`;
  if (query.label) return html`<${Queue} key=${rest + query.base} name=${rest} base=${query.base} />`;
  return query.against
    ? html`<${Comparison} key=${rest + query.against} name=${rest} base=${query.against} />`
    : html`<${Run} key=${rest} name=${rest} />`;
}

/** What every view of this page does while it waits, and when it cannot. */
function View({ asked, children }) {
  const { answer, wrong, again } = useAnswer(asked);
  if (wrong) return html`<p><a href=${url("evals")}>${word("all")}</a></p><${Problem} wrong=${wrong} again=${again} />`;
  return answer ? children(answer, again) : html`<${Loading} />`;
}

const All = () => html`<${View} asked="/admin/evals">${(seen) => html`<h1>${say("pages.evals")}</h1>
  ${seen.runs.length === 0
    ? html`<${Empty} title=${word("empty")} teach=${word("teach")} command=${`mkdir -p ${seen.folder}\ntidegate eval run suite.yaml --route NAME --out ${seen.folder}/base.jsonl`} />`
    : html`<${Table} label=${word("runs")} columns=${RUNS} rows=${seen.runs} to=${(run) => url("evals", run.name)} />`}
  ${seen.cards.length === 0
    ? html`<${Empty} title=${word("no_cards")} teach=${word("teach_cards")} command=${`tidegate eval calibrate ${seen.folder}/labels.jsonl --run RUN --cards ${seen.folder}/judge-cards`} />`
    : html`<${Table} label=${word("cards")} columns=${CARDS} rows=${seen.cards} />`}`}<//>`;

const Head = ({ name, children }) => html`<p><a href=${url("evals")}>${word("all")}</a> · ${children}</p><h1><${Word} text=${name} /></h1>`;

function Run({ name }) {
  const submit = (sent) => {
    sent.preventDefault();
    go(url("evals", name, { against: new FormData(sent.target).get("against") }));
  };
  return html`<${View} asked=${at(name)}>${({ tally }) => html`
    <${Head} name=${name}><a href=${url("evals", name, { label: "1" })}>${word("label")}</a><//>
    <dl class="tiles">
      <${Tile} label=${word("passed")} value=${share(tally.passed[0])} more=${between(tally.passed)} />
      <${Tile} label=${word("answers")} value=${count(tally.answers)} more=${word("missing", { count: count(tally.missing.length) })} />
      <${Tile} label=${word("cost")} value=${usd(tally.cost_nusd / NANO)} more=${word("judging", { cost: usd(tally.judging_nusd / NANO) })} />
      <${Tile} label=${word("took")} value=${duration(tally.p50_ms)} more=${word("p95", { p95: duration(tally.p95_ms) })} />
    </dl>
    <form class="actions" onSubmit=${submit}>
      <label>${word("against")} <input name="against" required maxlength="100" /></label><button>${word("compare")}</button>
    </form>
    <${Table} label=${word("criteria")} columns=${CRITERIA} rows=${tally.criteria} />
    ${tally.cases.length > 0 && html`<${Table} label=${word("not_passed", { count: count(tally.not_passed), of: count(tally.of) })} columns=${CASES} rows=${tally.cases} />`}`}<//>`;
}

const Comparison = ({ name, base }) => html`<${View} asked=${`${at(name)}/against/${encodeURIComponent(base)}`}>${({ comparison, differs }) => html`
  <${Head} name=${word("beside", { name, base })}>
    <a href=${url("evals", name)}>${name}</a> · <a href=${url("evals", base)}>${base}</a> · <a href=${url("evals", name, { label: "1", base })}>${word("which")}</a>
  <//>
  ${differs.map((why) => html`<p class="notice" role="status">${why}</p>`)}
  <${Table} label=${word("changes")} columns=${CHANGES} rows=${[...comparison.changes, ...comparison.tags]} />
  ${comparison.examples.map((one) => html`<section>
    <h2><${Mark} good=${one.better} text=${word(one.better ? "better" : "worse", { case: one.case, criterion: one.criterion })} /></h2>
    <div class="side-by-side">
      <${Text} label=${base} text=${one.base_text} more=${one.base_why} /><${Text} label=${name} text=${one.head_text} more=${one.head_why} />
    </div>
  </section>`)}`}<//>`;

/** One answer after the other. Keys: 1 and 2 and t (of two), p and f (of one), j and k to go on and back. */
const Queue = ({ name, base }) => html`<${View} asked=${path(`${at(name)}/queue`, { base })}>${(seen, again) => html`
  <${Head} name=${word(base ? "which" : "label")}><a href=${url("evals", name)}>${name}</a><//>
  ${seen.items.length === 0
    ? html`<${Empty} title=${word("labelled")} teach=${word("teach_labelled")} command=${`tidegate eval calibrate labels.jsonl --run ${name}.jsonl`} />`
    : html`<${Labelling} key=${seen.items[0].item + seen.left} seen=${seen} base=${base} again=${again} />`}`}<//>`;

const OF_ONE = { p: "pass", 1: "pass", f: "fail", 2: "fail" };
const OF_TWO = { 1: "1", 2: "2", t: "tie", 3: "tie" }; // by their places
const meant = (one, said) => (one.first === "2" && { 1: "2", 2: "1" }[said]) || said; // whose places are chance's

function Labelling({ seen, base, again }) {
  const [place, setPlace] = useState(0);
  const [done, setDone] = useState({});
  const [wrong, fail] = useState(null);
  const saving = useRef(false);
  const keys = base ? OF_TWO : OF_ONE;
  const one = seen.items[place];
  const step = (by) => setPlace(Math.min(seen.items.length - 1, Math.max(0, place + by)));
  const give = async (label) => {
    if (saving.current) return; // a key that is held down is not a second opinion
    saving.current = true;
    fail(null);
    try {
      await ask("POST", `${at(seen.name)}/labels`, { item: one.item, label: meant(one, label), ...(base && { base }) });
    } catch (why) {
      return fail(why);
    } finally {
      saving.current = false;
    }
    const said = { ...done, [one.item]: label };
    setDone(said);
    return seen.items.every(({ item }) => said[item]) ? again() : step(1);
  };
  // Before the page is painted: a key that comes as soon as an answer is shown must not label the one before it.
  useLayoutEffect(() => {
    const press = (pressed) => {
      if (pressed.target.closest("input, select, textarea, dialog") || pressed.metaKey || pressed.ctrlKey || pressed.altKey) return;
      if (pressed.key === "j" || pressed.key === "k") step(pressed.key === "j" ? 1 : -1);
      else if (keys[pressed.key]) give(keys[pressed.key]);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  });
  return html`<p role="status">${word("left", { count: count(seen.left - Object.keys(done).length), who: seen.labeller })} <span class="quiet">${word(base ? "keys_two" : "keys_one")}</span></p>
    <h2><${Word} text=${one.item} /></h2>
    <div class="side-by-side">
      ${base
        ? ["1", "2"].map((said) => html`<${Text} label=${said} text=${meant(one, said) === "1" ? one.other : one.text} />`)
        : html`<${Text} label=${word("answer")} text=${one.text} />`}
    </div>
    <p class="actions">${[...new Set(Object.values(keys))].map((label) => html`<button type="button" aria-pressed=${done[one.item] === label} onClick=${() => give(label)}>${word(`say.${label}`)}</button>`)}
      <button type="button" onClick=${() => step(-1)}>${word("back")}</button><button type="button" onClick=${() => step(1)}>${word("next")}</button></p>
    ${wrong && html`<${Problem} wrong=${wrong} />`}`;
}

const between = ([, low, high]) => (low == null ? "" : word("between", { low: share(low), high: share(high) }));
const value = (number) => (number == null ? say("common.none") : String(Math.round(number * 1000) / 1000));
const RUNS = [
  { label: word("run"), of: (run) => html`<${Word} text=${run.name} />` },
  { label: word("suite"), of: (run) => html`<${Word} text=${run.suite} />` },
  { label: word("subject"), of: (run) => html`<${Word} text=${run.subject} />` },
  { label: word("cases"), number: true, of: (run) => count(run.cases) },
  { label: word("repeats"), number: true, of: (run) => count(run.repeats) },
  { label: say("common.when"), of: (run) => (run.started ? html`<${When} at=${run.started} />` : say("common.none")) },
];
const CARDS = [
  { label: word("judge"), of: (card) => html`<${Word} text=${card.judge} />` },
  { label: word("on"), of: (card) => html`<${Word} text=${card.labels} />` },
  { label: word("gate"), of: (card) => html`<${Mark} good=${!card.why_not.length} text=${card.why_not.join("; ") || word("may")} />` },
  { label: word("items"), number: true, of: (card) => count(card.items) },
  { label: word("accuracy"), number: true, of: (card) => `${share(card.accuracy[0])} ${between(card.accuracy)}` },
  { label: word("kappa"), number: true, of: (card) => value(card.kappa[0]) },
  { label: word("people"), number: true, of: (card) => value(card.people_alpha) },
];
const CRITERIA = [
  { label: word("criterion"), of: (one) => html`<${Word} text=${one.name} />` },
  { label: word("passed"), number: true, of: (one) => `${share(one.passed[0])} ${between(one.passed)}` },
  { label: word("corrected"), number: true, of: (one) => share(one.corrected[0]) },
  { label: word("mean"), number: true, of: (one) => value(one.mean[0]) },
  { label: word("scored"), number: true, of: (one) => count(one.scored) },
  { label: word("judge"), of: (one) => html`<${Word} text=${one.judge} />` },
];
const CASES = [
  { label: word("case"), of: (one) => html`<${Word} text=${one.case} />` },
  { label: word("repeats"), of: (one) => one.passed.map((passed) => (passed == null ? "?" : passed ? "●" : "▲")).join(" ") },
  { label: word("why"), of: (one) => html`<${Word} text=${one.why} />` },
];
const TOLD = new Set(["improved", "regressed"]); // what is neither is no good news
const CHANGES = [
  { label: word("criterion"), of: (one) => html`<${Word} text=${one.tag ? `${one.criterion}, ${one.tag}` : one.criterion} />` },
  { label: word("verdict"), of: ({ verdict }) => (TOLD.has(verdict) ? html`<${Mark} good=${verdict === "improved"} text=${verdict} />` : verdict) },
  { label: word("before"), number: true, of: (one) => value(one.base) },
  { label: word("now"), number: true, of: (one) => value(one.head) },
  { label: word("difference"), number: true, of: (one) => value(one.difference[0]) },
  { label: word("worse_cases"), number: true, of: (one) => count(one.lost) },
  { label: word("better_cases"), number: true, of: (one) => count(one.gained) },
];
