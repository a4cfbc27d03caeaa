// Is what one sees still so? As long as nobody can be asked, a bar at the foot of the page says how old it is, and why.
import { onStale } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { plain } from "../units.js";
import { say } from "../words.js";
import { AsOf } from "./states.js";

const RETRY_MS = 5000;

export function Stale() {
  const [stale, setStale] = useState(null);
  useEffect(() => onStale(setStale), []);
  useEffect(() => {
    const retry = stale && setTimeout(stale.again, RETRY_MS);
    return () => clearTimeout(retry);
  }, [stale]);
  if (!stale) return null;
  return html`<aside class="notice foot" aria-label=${say("common.old")}>
    <${AsOf} at=${stale.at} staleS=${-1} />
    <p>${plain(stale.wrong.message)} ${stale.wrong.advice}</p>
    <button type="button" onClick=${stale.again}>${say("common.retry")}</button>
  </aside>`;
}
