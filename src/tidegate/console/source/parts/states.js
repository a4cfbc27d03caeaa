// What is shown where there is nothing to show? What is to be done: a command, or the way out of what went wrong.
import { html, useEffect, useState } from "../html.js";
import { plain } from "../units.js";
import { say } from "../words.js";

export const Loading = () => html`<p class="quiet" role="status">${say("common.loading")}</p>`;

export function Command({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = () => navigator.clipboard?.writeText(text).then(() => setCopied(true));
  return html`<div class="command">
    <pre tabindex="0">${text}</pre>
    <button type="button" onClick=${copy}>${say(copied ? "common.copied" : "common.copy")}</button>
  </div>`;
}

export const Empty = ({ title, teach, command, children }) => html`<section class="empty">
  <h2>${title}</h2>
  <p>${teach}</p>
  ${command && html`<${Command} text=${command} />`}
  ${children}
</section>`;

export const Problem = ({ wrong, again }) => html`<section class="notice" role="alert">
  <h2>${say("wrong.title")}</h2>
  <p>${plain(wrong.message)}</p>
  ${wrong.advice && html`<p>${wrong.advice}</p>`}
  ${again && html`<button type="button" onClick=${again}>${say("common.retry")}</button>`}
</section>`;

/** How old what is shown is; `staleS` later it says that something is wrong. `at`: by this machine's own clock. */
export function AsOf({ at, staleS = 10 }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const ticking = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(ticking);
  }, []);
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  const stale = seconds > staleS;
  return html`<p class="as-of ${stale ? "stale" : ""}" role=${stale ? "alert" : undefined}>
    ${say("common.as_of", { seconds })}${stale && html` · ${say("common.stale")}`}
  </p>`;
}

/** The command that asks one question, for whoever reads it here. */
export const curl = (model) =>
  `curl ${location.origin}/v1/chat/completions -H "Authorization: Bearer $TIDEGATE_KEY" \\\n` +
  `  -H 'Content-Type: application/json' -d '{"model": "${model}", "messages": [{"role": "user", "content": "Say hello."}]}'`;
