// Who looks? What the server wrote into the page; a session that has ended is begun again without leaving the page.
const told = document.querySelector('meta[name="tidegate-session"]').content;
export const session = JSON.parse(told);

let ended = () => {};
let again = null;

/** `show(logIn)` is called when somebody must log in again; `logIn(key)` is null when that went well, or why not. */
export const onEnded = (show) => {
  ended = show;
};

/** Resolves when there is a session again. Everybody who asks meanwhile waits for the same one. */
export function begunAgain() {
  again ??= new Promise((resolve) => {
    ended(async (key) => {
      const wrong = await logIn(key);
      if (wrong === null) {
        again = null;
        resolve();
      }
      return wrong;
    });
  });
  return again;
}

async function logIn(key) {
  const answer = await fetch("/console/login", {
    method: "POST", headers: { accept: "application/json" }, body: new URLSearchParams({ key }),
  }).catch(() => null);
  if (answer === null) return "";
  const body = await answer.json();
  if (!answer.ok) return body.error.message;
  session.csrf = body.csrf;
  session.until = body.until;
  for (const field of document.querySelectorAll('input[name="csrf"]')) field.value = body.csrf;
  return null;
}
