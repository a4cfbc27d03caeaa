// How is the gateway asked? By its public API; every path here is one that any client with a key may ask.
import { useEffect, useState } from "./html.js";
import { begunAgain, session } from "./session.js";
import { say, knows } from "./words.js";

const LONGEST_WAIT_MS = 10_000;
const MOST_KEPT = 50; // answers

/** What the API said, and what to do about it. */
export class Wrong extends Error {
  constructor(status, message, code, told = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.told = told; // all of the answer
    this.advice = knows(`wrong.${status}`) ? say(`wrong.${status}`) : "";
  }
}

/** A good response, whatever its body; logs in again where that is needed. Throws Wrong. */
export async function send(method, path, body, signal) {
  const headers = { accept: "application/json", "x-tidegate-csrf": session.csrf };
  if (body !== undefined) headers["content-type"] = "application/json";
  const sent = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  const answer = await fetch(`/console/api${path}`, sent).catch((gone) => {
    if (signal?.aborted) throw gone;
    throw new Wrong(0, say("wrong.offline"));
  });
  if (answer.status === 401) {
    await begunAgain();
    kept.clear(); // it may be somebody else now
    return send(method, path, body, signal);
  }
  if (!answer.ok) throw await wrongOf(answer);
  return answer;
}

async function wrongOf(answer) {
  const text = await answer.text();
  try {
    const told = JSON.parse(text);
    return new Wrong(answer.status, told.error.message, told.error.code ?? told.error.type, told);
  } catch {
    return new Wrong(answer.status, text.slice(0, 300));
  }
}

export const ask = async (method, path, body, signal) => (await send(method, path, body, signal)).json();

/** The data of each server-sent event of a response, as text. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) if (frame.startsWith("data: ")) yield frame.slice(6);
  }
}

export function path(base, fields) {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(given).toString();
  return query ? `${base}?${query}` : base;
}

const kept = new Map(); // path → {answer, at}: what was last known, for when nobody can be asked

function keep(asked, answer) {
  kept.delete(asked);
  kept.set(asked, { answer, at: Date.now() });
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
}

let tell = () => {};

/** `show({at, wrong, again})` is called when what a page shows is only what was last known; `show(null)` when not. */
export const onStale = (show) => {
  tell = show;
};

const isAway = (wrong) => wrong.status === 0 || wrong.status >= 500;

/**
 * What a page shows: {answer, wrong, again}. One call; the last answer stays while the next is waited for, and while
 * Tidegate or its store is away.
 */
export function useAnswer(asked) {
  const [seen, see] = useState({ path: null, answer: null, wrong: null });
  const [times, setTimes] = useState(0);
  const again = () => setTimes((before) => before + 1);
  useEffect(() => {
    if (asked === null) return undefined;
    const leaving = new AbortController();
    ask("GET", asked, undefined, leaving.signal).then(
      (answer) => {
        keep(asked, answer);
        tell(null);
        see({ path: asked, answer, wrong: null });
      },
      (wrong) => {
        if (leaving.signal.aborted) return;
        const known = isAway(wrong) && kept.get(asked);
        if (known) tell({ at: known.at, wrong, again });
        see((before) => (known ? { path: asked, answer: known.answer, wrong: null } : { ...before, path: asked, wrong }));
      },
    );
    return () => leaving.abort();
  }, [asked, times]);
  useEffect(() => () => tell(null), [asked]);
  return { ...seen, current: seen.path === asked, again };
}

/** Calls `hear` with each event for as long as the page is open and looked at; asks again when it breaks off. */
export function useLive(asked, hear, fail = () => {}) {
  useEffect(() => {
    if (asked === null) return undefined;
    let leaving = new AbortController();
    async function listen({ signal }, waitMs) {
      try {
        for await (const event of events(await send("GET", asked, undefined, signal))) {
          hear(JSON.parse(event));
          waitMs = 1000;
        }
      } catch (wrong) {
        if (signal.aborted) return;
        fail(wrong);
        if (wrong.status === 403) return;
      }
      setTimeout(() => signal.aborted || listen({ signal }, Math.min(waitMs * 2, LONGEST_WAIT_MS)), waitMs);
    }
    const turn = () => {
      leaving.abort();
      leaving = new AbortController();
      if (!document.hidden) listen(leaving, 1000);
    };
    turn();
    document.addEventListener("visibilitychange", turn);
    return () => {
      document.removeEventListener("visibilitychange", turn);
      leaving.abort();
    };
  }, [asked]);
}
