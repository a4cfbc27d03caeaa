// What is to be said from now on? An editor of the next version, rendered while one types; two who edit see each other.
import { ask } from "../api.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { Act, Fields } from "../parts/acts.js";
import { Problem } from "../parts/states.js";
import { When, Word } from "../parts/values.js";
import { Lines, messagesOf, Said } from "../parts/wording.js";
import { go, url } from "../place.js";
import { say } from "../words.js";

const word = (name, values) => say(`prompts.${name}`, values);
const ROLES = ["system", "developer", "user", "assistant"];
const TYPES = ["any", "text", "number", "integer", "boolean", "list", "object"];
const MORE = ["parameters", "tools", "response_schema"];
const PAUSE_MS = 300; // after the last key, so that not each of them is rendered

const NOTHING = { messages: [{ role: "system", content: "" }], template: null, variables: [] };

/** `from`: the version that it begins with; without, a new prompt. */
export function Draft({ name, from = NOTHING }) {
  const [draft, setDraft] = useState(() => begun(name, from));
  const [values, setValues] = useState({});
  const [known, setKnown] = useState(from.latest ?? 0);
  const [newer, setNewer] = useState(null);
  const [shown, failed] = useRendered(draft, values, newer?.version ?? null, {
    messages: messagesOf(from), variables: from.variables, missing: [], lines: [], wrong: "",
  });
  const change = (more) => setDraft((before) => ({ ...before, ...more }));
  const keep = (expected) => async () => {
    const said = bodyOf(draft);
    const checked = await ask("POST", "/v1/prompts/draft", said);
    if (checked.wrong) throw new Error(checked.wrong);
    const labels = draft.label ? [draft.label] : [];
    const sent = { ...said, variables: checked.variables, note: draft.note, labels, expected_version: expected };
    try {
      await ask("POST", "/v1/prompts", sent);
      go(url("prompts", draft.id));
    } catch (wrong) {
      if (wrong.code !== "version_conflict" || !wrong.told.newer) throw wrong;
      setNewer(wrong.told.newer);
    }
  };
  const take = async () => {
    setDraft({ ...begun(draft.id, newer), note: draft.note });
    setKnown(newer.version);
    setNewer(null);
  };
  return html`<h1>${name ? word("editing", { id: name }) : word("new")}</h1>
    ${name && html`<p><a href=${url("prompts", name)}>${word("back_to", { id: name })}</a></p>`}
    ${newer && html`<${Conflict} newer=${newer} lines=${shown.lines} keep=${keep(newer.version)} take=${take} />`}
    <div class="side-by-side">
      <${Fields} label=${word("keep")} run=${keep(known)}>
        <${Words} draft=${draft} change=${change} isNew=${!name} />
        <${Rest} draft=${draft} change=${change} />
      <//>
      <section aria-live="polite">
        <h2>${word("live")}</h2>
        ${failed && html`<${Problem} wrong=${failed} />`}
        ${shown.wrong && html`<p class="notice" role="status">${shown.wrong}</p>`}
        <${Variables} draft=${draft} shown=${shown} values=${values} change=${change} fill=${setValues} />
        <${Said} messages=${shown.messages} />
        ${name && html`<details><summary>${word("changes")}</summary><${Lines} lines=${shown.lines} /></details>`}
      </section>
    </div>`;
}

const begun = (id, from) => ({
  id, messages: from.messages, template: from.template, variables: from.variables, note: "", label: "",
  ...Object.fromEntries(MORE.map((name) => [name, Object.keys(from[name] ?? {}).length ? JSON.stringify(from[name], null, 2) : ""])),
});

/** As the API takes it. Throws Error for what is not JSON. */
function bodyOf(draft) {
  const said = draft.template == null ? { messages: draft.messages } : { template: draft.template };
  for (const name of MORE) if (draft[name].trim()) said[name] = json(name, draft[name]);
  return { id: draft.id, ...said, variables: draft.variables };
}

function json(field, text) {
  try {
    return JSON.parse(text);
  } catch (why) {
    throw new Error(say("playground.bad_json", { field: word(field), why: why.message }));
  }
}

/** What the draft says with these values, a moment after the last change; and what went wrong with asking. */
function useRendered(draft, values, base, first) {
  const [shown, show] = useState(first);
  const [wrong, fail] = useState(null);
  const begun = useRef(false);
  useEffect(() => {
    if (!begun.current) {
      begun.current = true; // what it begins with is on the page already
      return undefined;
    }
    const leaving = new AbortController();
    const render = async () => {
      const given = Object.entries(values).filter(([, text]) => text !== "");
      const types = Object.fromEntries(shown.variables.map((one) => [one.name, one.type]));
      const sent = { ...bodyOf(draft), id: draft.id || "new", base, values: Object.fromEntries(given.map(([name, text]) => [name, valueOf(types[name], text)])) };
      const told = await ask("POST", "/v1/prompts/draft", sent, leaving.signal);
      show((before) => (told.wrong ? { ...told, messages: told.messages.length ? told.messages : before.messages } : told));
      fail(null);
    };
    const waiting = setTimeout(() => render().catch((why) => leaving.signal.aborted || fail(why)), PAUSE_MS);
    return () => {
      clearTimeout(waiting);
      leaving.abort();
    };
  }, [draft, values, base]);
  return [shown, wrong];
}

function valueOf(type, text) {
  if (type === "text") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// --- what is typed

function Words({ draft, change, isNew }) {
  const say_ = (at, more) => change({ messages: draft.messages.map((one, here) => (here === at ? { ...one, ...more } : one)) });
  return html`
    ${isNew && html`<label>${word("name")}<input name="id" required maxlength="100" value=${draft.id} onInput=${(typed) => change({ id: typed.target.value })} /></label>`}
    <div class="wide">
      ${draft.template != null
        ? html`<label>${word("text")}<textarea name="template" rows="10" spellcheck=${false} value=${draft.template} onInput=${(typed) => change({ template: typed.target.value })}></textarea></label>`
        : draft.messages.map((one, at) => html`<div class="message">
            <label>${word("role")}<select value=${one.role} onChange=${(picked) => say_(at, { role: picked.target.value })}>
              ${ROLES.map((role) => html`<option value=${role} selected=${role === one.role}>${role}</option>`)}
            </select></label>
            <label>${word("message", { number: at + 1 })}<textarea rows="6" spellcheck=${false} value=${one.content} onInput=${(typed) => say_(at, { content: typed.target.value })}></textarea></label>
            ${draft.messages.length > 1 && html`<button type="button" onClick=${() => change({ messages: draft.messages.filter((_, here) => here !== at) })}>${word("remove", { name: at + 1 })}</button>`}
          </div>`)}
      ${draft.template == null && html`<button type="button" onClick=${() => change({ messages: [...draft.messages, { role: "user", content: "" }] })}>${word("add")}</button>`}
    </div>`;
}

const Rest = ({ draft, change }) => html`
  <details class="wide">
    <summary>${word("more")}</summary>
    ${MORE.map((name) => html`<label>${word(name)}<textarea name=${name} rows="3" spellcheck=${false} value=${draft[name]} onInput=${(typed) => change({ [name]: typed.target.value })}></textarea></label>`)}
  </details>
  <label>${word("note")}<input name="note" maxlength="2000" value=${draft.note} onInput=${(typed) => change({ note: typed.target.value })} /></label>
  <label>${word("label_at_once")}<input name="label" maxlength="60" value=${draft.label} onInput=${(typed) => change({ label: typed.target.value })} /></label>`;

/** What fills its gaps: declared, and filled for the rendering beside it. */
function Variables({ draft, shown, values, change, fill }) {
  if (!shown.variables.length) return html`<p class="quiet">${word("no_variables", { name: "{name}" })}</p>`;
  const texts = messagesOf(draft).map((one) => one.content).join("\n");
  const declare = (one, more) => change({ variables: [...draft.variables.filter((other) => other.name !== one.name), clean({ ...one, ...more })] });
  return html`<div class="table" role="region" aria-label=${word("variables")} tabindex="0"><table>
    <caption>${word("variables")}</caption>
    <thead><tr>${["name", "value", "type", "required", "default"].map((name) => html`<th scope="col">${word(name)}</th>`)}</tr></thead>
    <tbody>${shown.variables.map((one) => html`<tr key=${one.name}>
      <th scope="row"><${Word} text=${one.name} />${!texts.includes(one.name) && draft.variables.some((other) => other.name === one.name) && html` <span class="quiet">${word("unused")}</span>
        <button type="button" onClick=${() => change({ variables: draft.variables.filter((other) => other.name !== one.name) })}>${word("remove", { name: one.name })}</button>`}</th>
      <td><input aria-label=${word("value_of", { name: one.name })} value=${values[one.name] ?? ""} onInput=${(typed) => fill({ ...values, [one.name]: typed.target.value })} /></td>
      <td><select aria-label=${word("type_of", { name: one.name })} value=${one.type ?? "any"} onChange=${(picked) => declare(one, { type: picked.target.value })}>
        ${TYPES.map((type) => html`<option value=${type} selected=${type === (one.type ?? "any")}>${type}</option>`)}
      </select></td>
      <td><input type="checkbox" aria-label=${word("required_of", { name: one.name })} checked=${one.required !== false} onChange=${(picked) => declare(one, { required: picked.target.checked })} /></td>
      <td><input aria-label=${word("default_of", { name: one.name })} value=${"default" in one ? asText(one.default) : ""} onChange=${(typed) => declare(one, { default: typed.target.value === "" ? undefined : valueOf(one.type, typed.target.value) })} /></td>
    </tr>`)}</tbody>
  </table></div>`;
}

const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const clean = (one) => Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined));

/** Somebody made a version meanwhile: theirs and ours beside each other, and nothing is lost. */
const Conflict = ({ newer, lines, keep, take }) => html`<section class="notice" role="alert">
  <h2>${word("conflict", { version: newer.version })}</h2>
  <p><${Word} text=${newer.author || newer.by} />, <${When} at=${new Date(newer.created_ms).toISOString()} />: <${Word} text=${newer.note} /></p>
  <p>${word("conflict_why")}</p>
  <div class="side-by-side">
    <section><h3>${word("theirs")}</h3><${Said} messages=${messagesOf(newer)} /></section>
    <section><h3>${word("yours")}</h3><${Lines} lines=${lines} /></section>
  </div>
  <div class="actions">
    <${Act} label=${word("keep_mine", { version: newer.version + 1 })} run=${keep} />
    <${Act} label=${word("take_theirs")} sure=${word("take_sure")} run=${take} />
  </div>
</section>`;
