// Where are we? Every state of every page is a URL: who sends it to somebody shows them the same.
import { html, useLayoutEffect, useState } from "./html.js";

const ROOT = "/console/";

/** {name, rest, query}: /console/requests/req_1?x=y is requests, req_1, and {x: "y"}. */
export function here() {
  const [name, ...rest] = location.pathname.slice(ROOT.length).split("/");
  return { name, rest: rest.map(decodeURIComponent).join("/"), query: Object.fromEntries(new URLSearchParams(location.search)) };
}

export function url(name, rest = "", query = {}) {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value != null)).toString();
  return ROOT + name + (rest ? `/${encodeURIComponent(rest)}` : "") + (given ? `?${given}` : "");
}

export function go(where, { instead = false } = {}) {
  history[instead ? "replaceState" : "pushState"](null, "", where);
  dispatchEvent(new Event("placed"));
}

export function usePlace() {
  const [place, setPlace] = useState(here);
  useLayoutEffect(() => {
    const look = () => setPlace(here());
    addEventListener("popstate", look);
    addEventListener("placed", look);
    return () => {
      removeEventListener("popstate", look);
      removeEventListener("placed", look);
    };
  }, []);
  return place;
}

/** Links of our own are followed without loading a page, also those that the server wrote. */
export function followLinks() {
  document.addEventListener("click", (click) => {
    const link = click.target.closest?.("a[href]");
    if (!link || click.defaultPrevented || click.button || click.metaKey || click.ctrlKey || click.shiftKey) return;
    const to = new URL(link.href);
    if (to.origin !== location.origin || !to.pathname.startsWith(ROOT) || to.hash || link.target) return;
    click.preventDefault();
    go(to.pathname + to.search);
    if (link.closest("nav")) document.getElementById("page").focus();
  });
}

export const Link = ({ to, children, ...more }) => html`<a href=${to} ...${more}>${children}</a>`;
