// What does a client make of each target? As calls.py, for clients that are installed with npm.
import { readFileSync } from "node:fs";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));

export const ASKED = read("../asked.json");
export const TIMEOUT_MS = 120_000; // of one call: the model may be slow, and the machine busy

/** Every call to every target, as lines of JSON: `ok` and what came of it, or the class of the error and its status. */
export async function run(client, name, calls) {
  const version = `${name} ${read(`node_modules/${name}/package.json`).version}`;
  for (const [call, ask] of Object.entries(calls)) {
    for (const target of JSON.parse(process.env.TARGETS)) {
      const line = { client, version, call, target: target.name };
      console.log(JSON.stringify({ ...line, ...(await outcome(ask, target)) }));
    }
  }
}

async function outcome(ask, target) {
  try {
    return { ok: true, told: await ask(target) };
  } catch (error) {
    const said = String(error.message).slice(0, 300);
    return { ok: false, error: error.constructor.name, status: error.status ?? error.statusCode ?? null, said };
  }
}
