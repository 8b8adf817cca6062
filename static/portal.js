// Small comforts. Every page works without this file.
"use strict";

document.documentElement.classList.add("scripted");

const PRIVATE_KEY = /PuTTY-User-Key-File-|Private-(Lines|MAC|Hash):|Proc-Type:|DEK-Info:|AGE-SECRET-KEY-/;
const PRIVATE_PARTS = /BEGIN[A-Z0-9]*PRIVATEKEY|b3BlbnNzaC1rZXkt/;
// DER, PKCS#12, and what OpenSSH, ssh.com, Dropbear and Java write: a file that is no text, and a private key.
const PRIVATE_BYTES = new RegExp(
  "^(?:openssh-key-v1\\0|\\x3f\\x6f\\xf9\\xeb|\\xfe\\xed\\xfe\\xed|\\xce\\xce\\xce\\xce|\\0\\0\\0[\\x07-\\x13](?:ssh-|ecdsa-sha2-)"
  + "|0(?:[\\0-\\x80]|\\x81.|\\x82..|\\x83.{3}|\\x84.{4})(?:\\x02\\x01[\\0-\\x03][\\x02\\x040]"
  + "|0(?:[\\0-\\x80]|\\x81.|\\x82..)\\x06[\\x09\\x0a]\\x2a\\x86\\x48\\x86\\xf7\\x0d\\x01[\\x05\\x0c]))",
  "s",
);
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
const gutter = document.querySelector("[data-gutter]");
const verdict = document.getElementById("verdict");

// Broader than need be: a text that trips it is not sent while typing. The server looks closely at what is saved.
function isPrivate(text) {
  const squeezed = text.replace(/[^A-Za-z0-9+/-]/g, "");
  return PRIVATE_KEY.test(text) || PRIVATE_PARTS.test(squeezed);
}

// As keys.core.formats.private_bytes.is_private, only broader.
function isPrivateFile(bytes) {
  return PRIVATE_BYTES.test(String.fromCharCode(...bytes.subarray(0, 64)));
}

function warn(message) {
  if (!alarm) return;
  alarm.hidden = !message;
  alarm.querySelector("[data-alarm]").textContent = message;
}

// As keys.core.characters.text_from: UTF-8, UTF-16 with or without its mark, else Windows-1252.
function textFrom(bytes) {
  const decode = (name, options) => new TextDecoder(name, options).decode(bytes);
  const zeros = (from) => [0, 2, 4, 6].every((at) => bytes[from + at] === 0);
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || zeros(1)) return decode("utf-16le");
  if ((bytes[0] === 0xfe && bytes[1] === 0xff) || zeros(0)) return decode("utf-16be");
  try {
    return decode("utf-8", { fatal: true });
  } catch {
    return decode("windows-1252");
  }
}

// Puts a file into the box, or says why not.
async function refused(file) {
  if (file.size > MOST_BYTES) return "This file is too large for a public key. Choose the file that ends in .pub.";
  const bytes = new Uint8Array(await file.arrayBuffer());
  const text = textFrom(bytes);
  // A private key chosen by mistake is never put into the page, so it cannot be sent.
  if (isPrivateFile(bytes) || isPrivate(text)) return alarm.dataset.privateFile;
  if (text.includes("\0")) return "This is not a text file. Choose the file that ends in .pub.";
  box.value = `${box.value.trimEnd()}\n${text.trim()}\n`.trimStart();
  return "";
}

// One after the other, in their order; the first that cannot be taken is told of, and none after it is read.
async function takeAll(files) {
  const taken = [];
  let trouble = "";
  for (const file of files) {
    trouble = await refused(file);
    if (trouble) break;
    taken.push(file.name);
  }
  if (taken.length) {
    box.dispatchEvent(new Event("input", { bubbles: true }));
    say(`${taken.join(", ")} ${taken.length === 1 ? "was" : "were"} put into the box. Choose Save to keep ${taken.length === 1 ? "it" : "them"}.`);
    box.focus();
  }
  if (trouble) warn(files.length === 1 ? trouble : `${files[taken.length].name}: ${trouble}`);
}

// The first verdict brings itself and Save into sight; later nothing moves by itself.
let isFirst = true;

function judged() {
  number();
  if (isFirst) verdict.firstElementChild.scrollIntoView({ block: "nearest", behavior: "instant" });
  isFirst = false;
}

// In place of a verdict.
function unjudged(sentence) {
  const told = document.createElement("p");
  told.className = "verdict-head tone-act";
  told.textContent = sentence;
  verdict.replaceChildren(told);
  document.getElementById("save-note")?.replaceChildren();
  judged();
}

// The numbers beside the lines, marked as the verdict or the last Save found them.
function number() {
  if (!gutter) return;
  const marks = new Map();
  for (const place of document.querySelectorAll("[data-found]")) marks.set(Number(place.dataset.found), "good");
  const problems = verdict.childElementCount ? verdict : document;
  for (const place of problems.querySelectorAll("[data-line]")) marks.set(Number(place.dataset.line), "bad");
  const lines = Math.max(box.value.split("\n").length, 1);
  gutter.replaceChildren(...Array.from({ length: lines }, (_, at) => {
    const line = document.createElement("div");
    const mark = marks.get(at + 1);
    line.textContent = mark ? `${at + 1} ${mark === "bad" ? "\u2717" : "\u2713"}` : at + 1;
    if (mark) line.className = `gutter-${mark}`;
    return line;
  }));
  gutter.scrollTop = box.scrollTop;
}

if (box && !box.readOnly) {
  box.addEventListener("input", () => {
    const found = isPrivate(box.value);
    warn(found ? alarm.dataset.privateKey : "");
    if (found) verdict.replaceChildren();
    number();
  });
  box.addEventListener("scroll", () => { gutter.scrollTop = box.scrollTop; });
  box.addEventListener("dragover", (event) => event.preventDefault());
  box.addEventListener("drop", (event) => {
    const files = [...event.dataTransfer.files];
    if (!files.length) return;
    event.preventDefault();
    takeAll(files);
  });
  // The verdict is never asked for on a text with a private key, nor shown on one that has changed since.
  box.addEventListener("htmx:beforeRequest", (event) => {
    if (isPrivate(box.value)) event.preventDefault();
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target === verdict) judged();
  });
  // No verdict came: the last one is about another text.
  for (const failure of ["htmx:responseError", "htmx:sendError"]) {
    box.addEventListener(failure, () => unjudged("The box could not be checked just now. Copy what you typed before you save."));
  }
  document.querySelector("[data-choose]").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    const files = [...chooser.files];
    chooser.value = "";
    takeAll(files);
  });
  // Nor is it sent by Save: the browser would have nothing to gain, and its owner would lose the key.
  box.form.addEventListener("submit", (event) => {
    if (!isPrivate(box.value)) return;
    event.preventDefault();
    warn(alarm.dataset.privateKey);
    say(alarm.dataset.privateKey);
    box.focus();
  });
  number();
}

// --- Files to be checked before they are sent -----------------------------------------------------------------------

const UNITS = ["bytes", "KB", "MB", "GB"];

function sized(bytes) {
  const step = bytes ? Math.min(Math.floor(Math.log(bytes) / Math.log(1024)), UNITS.length - 1) : 0;
  return `${(bytes / 1024 ** step).toFixed(step ? 1 : 0)} ${UNITS[step]}`;
}

// What is wrong with these files before any of them is sent, or nothing.
function tooMuch(form, files) {
  const total = files.reduce((sum, file) => sum + file.size, 0);
  if (total > Number(form.dataset.mostBytes)) return `These are ${sized(total)}. At most ${sized(Number(form.dataset.mostBytes))} can be checked at once.`;
  if (files.length > Number(form.dataset.mostFiles)) return `These are ${files.length} files. At most ${form.dataset.mostFiles} can be checked at once.`;
  return "";
}

function lineOf(text, kind = "") {
  const line = document.createElement("li");
  line.textContent = text;
  line.className = kind;
  return line;
}

function tellChosen(form) {
  const list = form.querySelector("[data-chosen]");
  const input = form.querySelector("input[type=file]");
  const files = [...input.files];
  const trouble = tooMuch(form, files);
  list.replaceChildren(...files.map((file) => lineOf(`${file.name}, ${sized(file.size)}`)));
  if (trouble) list.prepend(lineOf(trouble, "drop-trouble"));
  list.hidden = !files.length;
  input.setCustomValidity(trouble);
  say(trouble || `${files.length} ${files.length === 1 ? "file" : "files"} chosen`);
}

// Sends a form and shows how much of it is on its way; the answer is a page.
function sendWithProgress(form) {
  const request = new XMLHttpRequest();
  const bar = form.querySelector("[data-sending] progress");
  const button = form.querySelector("button[type=submit]");
  bar.closest("[data-sending]").hidden = false;
  button.disabled = true;
  say("Sending the files");
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) bar.value = event.loaded / event.total;
  });
  request.addEventListener("load", () => {
    if (request.status < 400) {
      location.assign(request.responseURL);
      return;
    }
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    document.getElementById("content").replaceWith(page.getElementById("content") || page.body);
    document.querySelector("[data-focus]")?.focus();
    listenForDrops();
  });
  request.addEventListener("error", () => {
    button.disabled = false;
    bar.closest("[data-sending]").hidden = true;
    const trouble = "The files could not be sent. Is there a folder among them, or was one changed meanwhile? Choose them again.";
    form.querySelector("[data-chosen]").prepend(lineOf(trouble, "drop-trouble"));
    say(trouble);
  });
  request.open("POST", location.href);
  request.send(new FormData(form));
}

function listenForDrops() {
  const form = document.querySelector("[data-drop]");
  if (!form) return;
  const input = form.querySelector("input[type=file]");
  const over = (is) => form.classList.toggle("is-over", is);
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  form.addEventListener("dragleave", () => over(false));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    tellChosen(form);
  });
  input.addEventListener("change", () => tellChosen(form));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sendWithProgress(form);
  });
}

listenForDrops();

// A page that came in answer to the password stands under the address that asked for it: give it its own.
const ownAddress = document.querySelector("[data-own-address]")?.action;
if (ownAddress && ownAddress !== location.href.split(/[?#]/)[0]) history.replaceState(null, "", ownAddress);

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
    // Signed out meanwhile: what came is the sign-in page. Load it as a page of its own, unless somebody is typing.
    event.detail.shouldSwap = false;
    if (target === verdict) unjudged("You have been signed out. Save asks you to sign in, and what you typed is kept.");
    else if (!box || box.value === box.defaultValue) location.reload();
    return;
  }
  // Nothing new: leave the page alone, with what is selected or folded open in it. Only a verdict is always new.
  if (target !== verdict && shown.get(target.id) === xhr.responseText) event.detail.shouldSwap = false;
  shown.set(target.id, xhr.responseText);
});

// The sentence that matters is read out when it changes, and only then.
let lastSaid = document.querySelector("[data-announce]")?.textContent.trim();
document.addEventListener("htmx:afterSettle", () => {
  const sentence = document.querySelector("[data-announce]")?.textContent.trim();
  if (sentence && sentence !== lastSaid) say(sentence);
  lastSaid = sentence;
});

// --- The board of the morning: j and k go from one to the next, only while the focus is in the list ------------

document.querySelector("[data-board]")?.addEventListener("keydown", (event) => {
  const step = { j: 1, k: -1 }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
  const links = [...event.currentTarget.querySelectorAll("a")];
  const next = links[links.indexOf(document.activeElement) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});
