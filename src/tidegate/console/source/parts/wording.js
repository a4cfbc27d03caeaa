// What does a version say, and what has changed? As text, and nothing else.
import { html } from "../html.js";
import { plain } from "../units.js";
import { say } from "../words.js";

/** `messages`: [{role, content}]; of a prompt that is one text, one without a role. */
export const Said = ({ messages }) => html`${messages.map(
  ({ role, content }) => html`<h3>${role || say("prompts.text")}</h3><pre class="said" tabindex="0" dir="auto">${plain(content)}</pre>`,
)}`;

export const messagesOf = (version) => (version.template == null ? version.messages : [{ role: "", content: version.template }]);

const SIGNS = { "+": "good", "-": "bad" };

/** A unified diff: signs besides colours. */
export const Lines = ({ lines }) =>
  lines.length === 0
    ? html`<p class="quiet">${say("prompts.same")}</p>`
    : html`<pre class="said" tabindex="0" aria-label=${say("prompts.compare")}>${lines.map(
        (line, at) => html`<span class=${(at > 1 && SIGNS[line[0]]) || ""}>${plain(line)}${"\n"}</span>`,
      )}</pre>`;
