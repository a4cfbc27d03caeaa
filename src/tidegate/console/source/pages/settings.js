// What is configured, and who has said so? All of it, to be read; it is changed where it stands.
import { useAnswer } from "../api.js";
import { html } from "../html.js";
import { Empty, Loading, Problem } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Word } from "../parts/values.js";
import { go, url } from "../place.js";
import { count } from "../units.js";
import { say } from "../words.js";

const word = (name, values) => say(`settings.${name}`, values);

export function Settings({ place }) {
  const { answer, wrong, again } = useAnswer("/admin/settings");
  if (wrong) return html`<${Problem} wrong=${wrong} again=${again} />`;
  if (!answer) return html`<${Loading} />`;
  const { find = "", said = "" } = place.query;
  const fits = (one) => one.path.includes(find.trim()) && (!said || one.source !== "default");
  const rows = answer.settings.filter(fits);
  const submit = (sent) => {
    sent.preventDefault();
    go(url("settings", "", Object.fromEntries(new FormData(sent.target))));
  };
  return html`<h1>${say("pages.settings")}</h1>
    <form class="filters" onSubmit=${submit} key=${find + said}>
      <label>${word("find")}<input name="find" defaultValue=${find} maxlength="200" /></label>
      <label>${word("which")}<select name="said">
        <option value="" selected=${!said}>${say("common.all")}</option><option value="1" selected=${!!said}>${word("said")}</option>
      </select></label>
      <p class="actions"><button class="primary">${word("go")}</button> <span class="quiet">${word("shown", { count: count(rows.length), all: count(answer.settings.length) })}</span></p>
    </form>
    ${rows.length === 0
      ? html`<${Empty} title=${word("empty")} teach=${word("teach")} command="tidegate check" />`
      : html`<${Table} label=${word("list")} columns=${COLUMNS} rows=${rows.map((one) => ({ ...one, id: one.path }))} />`}`;
}

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const from = (source) => (source === "default" || source === "file" ? word(source) : source);
const COLUMNS = [
  { label: word("path"), of: (one) => html`<code><${Word} text=${one.path} /></code>` },
  { label: word("value"), of: (one) => html`<${Word} text=${shown(one.value)} />` },
  { label: word("source"), of: (one) => html`<${Word} text=${from(one.source)} />` },
];
