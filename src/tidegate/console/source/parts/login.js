// What if the session ends while somebody works? A dialog over the page; what was typed stays where it is.
import { html, useEffect, useRef, useState } from "../html.js";
import { onEnded } from "../session.js";
import { say } from "../words.js";

export function LoginAgain() {
  const dialog = useRef(null);
  const [logIn, setLogIn] = useState(null);
  const [wrong, setWrong] = useState("");
  useEffect(() => onEnded((begin) => setLogIn(() => begin)), []);
  useEffect(() => {
    if (logIn) dialog.current.showModal();
  }, [logIn]);
  if (!logIn) return null;
  const submit = async (sent) => {
    sent.preventDefault();
    const why = await logIn(new FormData(sent.target).get("key"));
    setWrong(why === "" ? say("wrong.offline") : (why ?? ""));
    if (why === null) setLogIn(null);
  };
  return html`<dialog ref=${dialog} aria-labelledby="ended" onCancel=${(event) => event.preventDefault()}>
    <h2 id="ended">${say("login.again")}</h2>
    <p>${say("login.kept")}</p>
    ${wrong && html`<p class="notice" role="alert">${wrong}</p>`}
    <form onSubmit=${submit}>
      <label for="key-again">${say("login.key")}</label>
      <input id="key-again" name="key" type="password" autocomplete="current-password" required autofocus />
      <button>${say("login.go")}</button>
    </form>
  </dialog>`;
}
