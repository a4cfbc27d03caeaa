// What did a model or a client say? Text, and never anything else; of a very long one the beginning, until one wants all.
import { html, useState } from "../html.js";
import { count, plain } from "../units.js";
import { say } from "../words.js";

const MOST = 20_000; // characters that no browser takes notice of; a million in one block stop it for seconds

export function Said({ text, label }) {
  const [whole, setWhole] = useState(false);
  const cut = !whole && text.length > MOST;
  return html`<pre class="said" role="group" tabindex="0" dir="auto" aria-label=${label}>${plain(cut ? text.slice(0, MOST) : text)}${cut && "…"}</pre>
    ${cut && html`<p><button type="button" onClick=${() => setWhole(true)}>${say("common.show_all", { count: count(text.length) })}</button></p>`}`;
}
