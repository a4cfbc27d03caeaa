// How does one value look? With its unit, and with all of it on hover.
import { html } from "../html.js";
import { exact, moment, plain } from "../units.js";
import { say } from "../words.js";

export const When = ({ at }) => html`<time datetime=${at} title=${exact(at)}>${moment(at)}</time>`;

/** A word from outside: of a client, a model, a provider. */
export const Word = ({ text }) =>
  text == null || text === "" ? html`<span class="quiet">${say("common.none")}</span>` : html`<bdi>${plain(text)}</bdi>`;

/** A shape besides a colour: who sees no colours sees the sign. */
export const Mark = ({ good, text }) =>
  html`<span class=${good ? "good" : "bad"}><span aria-hidden="true">${good ? "●" : "▲"}</span> ${plain(text)}</span>`;

export const Tile = ({ label, value, more }) => html`<div class="tile">
  <dt>${label}</dt>
  <dd><strong>${value}</strong><small>${more ?? "\u00a0"}</small></dd>
</div>`;
