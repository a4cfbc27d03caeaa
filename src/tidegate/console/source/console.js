// Where does the console begin? It fills <main> of the page that the server wrote; the rest of that page stays.
import { html, render, useEffect } from "./html.js";
import { PAGES } from "./pages/index.js";
import { LoginAgain } from "./parts/login.js";
import { Stale } from "./parts/stale.js";
import { Problem } from "./parts/states.js";
import { followLinks, usePlace } from "./place.js";
import { say, knows } from "./words.js";

function Console() {
  const place = usePlace();
  const Page = PAGES[place.name];
  useEffect(() => {
    document.title = `${knows(`pages.${place.name}`) ? say(`pages.${place.name}`) : place.name} · Tidegate`;
    for (const link of document.querySelectorAll("header nav a")) {
      const current = link.pathname === `/console/${place.name}`;
      current ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    }
  }, [place.name]);
  return html`${Page ? html`<${Page} key=${place.name} place=${place} />` : html`<${Problem} wrong=${{ message: say("wrong.no_page") }} />`}
    <${Stale} />
    <${LoginAgain} />`;
}

followLinks();
const main = document.getElementById("page");
main.replaceChildren();
render(html`<${Console} />`, main);
