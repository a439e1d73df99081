// Taking hold of the page, and saying things on it.

const TOAST_MS = 6000;
const TITLES = { you: "Pair", wish: "Pair", wait: "Looking… · Pair", call: "In a call · Pair", offline: "Not connected · Pair" };

let tidyToast = 0;

export const $ = (id) => document.getElementById(id);
export const chosen = (name) => [...document.querySelectorAll(`input[name="${name}"]:checked`)].map((input) => input.value);

/** One screen at a time; its heading takes the focus, so that a screen reader says where one is. */
export function show(name) {
  for (const other of Object.keys(TITLES)) $(`screen-${other}`).hidden = other !== name;
  document.title = TITLES[name];
  for (const dialog of document.querySelectorAll("dialog[open]:not(#report-dialog)")) dialog.close();
  $(`screen-${name}`).querySelector("h1").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

/** For those who listen to the page. */
export function say(words) {
  $("news").textContent = words;
}

/** For everybody, and for a moment. */
export function toast(words) {
  $("toast").textContent = words;
  $("toast").hidden = false;
  clearTimeout(tidyToast);
  tidyToast = setTimeout(() => ($("toast").hidden = true), TOAST_MS);
}

export function note(id, words) {
  $(id).textContent = words;
  $(id).hidden = words === "";
}

/** Live regions are read again whenever they are written to, even with the same words. */
export function write(id, words) {
  if ($(id).textContent !== words) $(id).textContent = words;
}

export function button(words, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: words });
  made.addEventListener("click", act);
  return made;
}

export function onSubmit(id, act) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}
