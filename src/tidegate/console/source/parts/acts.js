// What can be done here? A button that says what went wrong, and asks first where there is no way back.
import { html, useState } from "../html.js";
import { say } from "../words.js";
import { Problem } from "./states.js";

/** `run()` does it. `sure`: a question that is asked before. */
export function Act({ label, run, sure }) {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [wrong, fail] = useState(null);
  const act = async () => {
    if (sure && !asking) return setAsking(true);
    setBusy(true);
    fail(null);
    await run().catch(fail);
    setBusy(false);
    return setAsking(false);
  };
  return html`${asking && html`<span role="status">${sure}</span>`}
    <button type="button" disabled=${busy} onClick=${act}>${label}</button>
    ${asking && html`<button type="button" onClick=${() => setAsking(false)}>${say("acts.no")}</button>`}
    ${wrong && html`<${Problem} wrong=${wrong} />`}`;
}

/** A form; `run(fields)` sends it. What was typed stays when that goes wrong. */
export function Fields({ label, run, children }) {
  const [busy, setBusy] = useState(false);
  const [wrong, fail] = useState(null);
  const submit = async (sent) => {
    sent.preventDefault();
    setBusy(true);
    fail(null);
    await run(Object.fromEntries(new FormData(sent.target))).catch(fail);
    setBusy(false);
  };
  return html`<form class="filters" onSubmit=${submit}>
    ${children}
    <div class="actions"><button class="primary" disabled=${busy}>${label}</button></div>
    ${wrong && html`<${Problem} wrong=${wrong} />`}
  </form>`;
}
