// What is said? All words of all pages stand in strings.json, which the server reads, too.
import strings from "../strings.json";

const find = (name) => name.split(".").reduce((inside, part) => inside?.[part], strings);

/** say("overview.saved", {usd: "$1"}) */
export function say(name, values = {}) {
  const found = find(name);
  if (typeof found !== "string") throw new Error(`strings.json has no ${name}`);
  return found.replace(/\{(\w+)\}/g, (_, field) => String(values[field]));
}

export const knows = (name) => typeof find(name) === "string";

/** All words of a group, by name. */
export const group = (name) => find(name);
