// What are pages written in? Templates without a compiler: html`<p>${text}</p>`. What is put in is text, never markup.
import { h, render } from "preact";
import htm from "htm";

export { render };
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export const html = htm.bind(h);
