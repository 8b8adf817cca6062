// Small comforts. Every page works without this file.
"use strict";

document.documentElement.classList.add("scripted");

const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY|PuTTY-User-Key-File-|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY/;
const MOST_BYTES = 100000;
const announcer = document.getElementById("announcer");

function say(text) {
  if (announcer && announcer.textContent !== text) announcer.textContent = text;
}

// After a form came back with problems, or was saved: begin to read there.
document.querySelector("[data-focus]")?.focus();

// --- Copy buttons ---------------------------------------------------------------------------------------------

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const text = source.dataset.text || source.textContent.trim();
  try {
    await navigator.clipboard.writeText(text);
    const label = button.querySelector("[data-copy-label]");
    label.textContent = "Copied";
    say("Copied");
    setTimeout(() => { label.textContent = "Copy"; }, 2000);
  } catch {
    // No clipboard without HTTPS: select the text, so that Ctrl+C takes it.
    getSelection().selectAllChildren(source);
    say("Selected. Press Ctrl and C to copy.");
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});

// --- The box with the keys ------------------------------------------------------------------------------------

const box = document.getElementById("id_authorized_keys");
const alarm = document.getElementById("private-key-alarm");
const chooser = document.getElementById("key-file");

function warn(isPrivate, message = "") {
  if (!alarm) return;
  alarm.hidden = !isPrivate && !message;
  alarm.querySelector("[data-alarm]").textContent = message || alarm.dataset.privateKey;
}

async function take(file) {
  if (file.size > MOST_BYTES) return warn(false, "This file is too large for a public key. Choose the file that ends in .pub.");
  const text = await file.text();
  // A private key chosen by mistake is never put into the page, so it cannot be sent.
  if (PRIVATE_KEY.test(text)) return warn(false, alarm.dataset.privateFile);
  if (text.includes("\0")) return warn(false, "This is not a text file. Choose the file that ends in .pub.");
  warn(false);
  box.value = `${box.value.trimEnd()}\n${text.trim()}\n`.trimStart();
  box.dispatchEvent(new Event("input"));
  say(`${file.name} was put into the box. Choose Save to keep it.`);
  box.focus();
}

box?.addEventListener("input", () => {
  warn(PRIVATE_KEY.test(box.value));
  document.querySelector(".savebar")?.classList.add("savebar-near");
});
document.querySelector("[data-choose]")?.addEventListener("click", () => chooser.click());
chooser?.addEventListener("change", () => {
  const [file] = chooser.files;
  chooser.value = "";
  if (file) take(file);
});

// A link to a problem goes to its line in the box.
document.addEventListener("click", (event) => {
  const line = Number(event.target.closest("[data-line]")?.dataset.line);
  if (!line || !box) return;
  const lines = box.value.split("\n");
  const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  event.preventDefault();
  box.focus();
  box.setSelectionRange(start, start + (lines[line - 1] || "").length);
});

// --- Menus: close when somebody goes on elsewhere, or presses Escape --------------------------------------------

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    const hadFocus = menu.contains(document.activeElement);
    menu.open = false;
    if (hadFocus) menu.querySelector("summary").focus();
  }
});

// A link into a folded part opens it.
function unfold() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const fold = target && target.closest("details");
  if (fold) fold.open = true;
}
addEventListener("hashchange", unfold);
unfold();

// --- Live parts -------------------------------------------------------------------------------------------------

const shown = new Map();

// Nobody looks: do not ask.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, target, requestConfig } = event.detail;
  const asked = new URL(requestConfig.path, location.href).pathname;
  if (xhr.responseURL && new URL(xhr.responseURL).pathname !== asked) {
    // Signed out meanwhile: what came is the sign-in page. Load it as a page of its own.
    event.detail.shouldSwap = false;
    location.reload();
    return;
  }
  // Nothing new: leave the page alone, with what is selected or folded open in it.
  if (shown.get(target.id) === xhr.responseText) event.detail.shouldSwap = false;
  shown.set(target.id, xhr.responseText);
});

// The sentence that matters is read out when it changes, and only then.
let lastSaid = document.querySelector("[data-announce]")?.textContent.trim();
document.addEventListener("htmx:afterSettle", () => {
  const sentence = document.querySelector("[data-announce]")?.textContent.trim();
  if (sentence && sentence !== lastSaid) say(sentence);
  lastSaid = sentence;
});
