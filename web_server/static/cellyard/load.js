// Load: a scanner types a code and presses Enter. Codes are taken one after the other, however fast they come; every
// outcome is a sentence and a sound; the voltage at rest is read while the next pair is scanned.
import { tick } from "./clock.js";
import { csrf } from "./dom.js";

const card = document.getElementById("scan");
const form = document.getElementById("scan-form");
const code = document.getElementById("code");
const says = document.getElementById("says");
const volts = document.getElementById("volts");
const sound = document.getElementById("sound");
const verdicts = new Map();
const queue = [];
let busy = false;
let last = null;
let audio = null;

// One high note: taken. Two: loaded. Low and long: look at the page.
const NOTES = { info: [[880, 0.08]], success: [[880, 0.08], [1320, 0.14]], warning: [[440, 0.2]], error: [[196, 0.22], [147, 0.35]] };

function beep(level) {
  if (!sound.checked || !window.AudioContext) return;
  audio ??= new AudioContext();
  let at = audio.currentTime;
  for (const [hertz, seconds] of NOTES[level] ?? NOTES.error) {
    const tone = audio.createOscillator();
    const loud = audio.createGain();
    tone.type = level === "error" ? "square" : "sine";
    tone.frequency.value = hertz;
    loud.gain.value = 0.12;
    tone.connect(loud).connect(audio.destination);
    tone.start(at);
    tone.stop(at + seconds);
    at += seconds + 0.03;
  }
  card.dataset.beeped = level;
}

async function ask(address, fields) {
  const body = new URLSearchParams(fields);
  try {
    const answer = await fetch(address, { method: "POST", credentials: "same-origin", headers: { "X-CSRFToken": csrf(), Accept: "application/json" }, body });
    if (answer.redirected) throw new Error("logged out");
    return await answer.json();
  } catch {
    return { level: "error", text: "Cellyard was not reached: this code was not taken. Scan it again.", pending: undefined, lost: true };
  }
}

function say(level, text) {
  card.dataset.level = level;
  says.textContent = text;
}

function pend(item) {
  for (const part of ["station", "battery"]) {
    const mine = item?.kind === part;
    form.elements[part].value = mine ? item.id : "";
    const shown = card.querySelector(`[data-part=${part}]`);
    shown.classList.toggle("done", mine);
    shown.querySelector("b").textContent = mine ? item.name : "–";
  }
}

async function renew() {
  const answer = await fetch("/load/", { credentials: "same-origin" }).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("loaded");
  if (fresh) document.getElementById("loaded").replaceWith(fresh);
  tick();
  show();
}

function show() {
  for (const [id, said] of verdicts) {
    const place = document.querySelector(`[data-battery="${id}"] [data-verdict]`);
    if (place) { place.textContent = said.text; place.dataset.level = said.level; }
  }
}

async function read(battery) {
  volts.textContent = `Reading the voltage of ${battery.name} …`;
  volts.dataset.level = "";
  const said = await ask(card.dataset.voltage, { battery: battery.id });
  verdicts.set(battery.id, said);
  show();
  if (last?.battery.id !== battery.id) {
    if (said.level !== "success") beep(said.level);
    return;
  }
  volts.textContent = said.text;
  volts.dataset.level = said.level;
  if (said.level !== "success") beep(said.level);
}

async function take(text) {
  const said = await ask(form.action || location.pathname, { code: text, station: form.elements.station.value, battery: form.elements.battery.value });
  // What was scanned before anybody could hear of the error would make pairs of the wrong halves.
  const since = said.level === "error" ? drop() : 0;
  const more = since ? ` What was scanned since (${since}) was not taken either.` : "";
  say(said.level, said.text + more);
  beep(said.level);
  if (!said.lost) pend(said.pending);
  if (!said.loaded) return;
  last = said.loaded;
  renew();
  read(said.loaded.battery);
}

function drop() {
  const codes = queue.filter((each) => each.code);
  queue.splice(0, queue.length, ...queue.filter((each) => !each.code));
  return codes.length;
}

async function work() {
  if (busy) return;
  busy = true;
  while (queue.length) {
    const next = queue.shift();
    await (next.code ? take(next.code) : undo(next.undo));
  }
  busy = false;
}

async function undo(pair) {
  const said = await ask(card.dataset.undo, { battery: pair.battery.id, station: pair.station.id });
  say(said.level, said.text);
  beep(said.level);
  if (said.level !== "error") { last = null; volts.textContent = ""; }
  await renew();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  event.stopImmediatePropagation();
  const text = code.value.trim();
  code.value = "";
  if (!text) return;
  queue.push({ code: text });
  work();
}, true);
document.addEventListener("submit", (event) => {
  const row = event.target.closest("#loaded [data-battery]");
  if (!row) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  queue.push({ undo: { battery: { id: row.dataset.battery }, station: { id: row.dataset.station } } });
  work();
  code.focus();
}, true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    code.value = "";
    pend(null);
    say("", "Ready.");
  } else if (event.ctrlKey && event.key === "z" && last && !code.value) {
    event.preventDefault();
    queue.push({ undo: last });
    work();
  } else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && document.activeElement !== code && !event.target.closest("input, select, textarea, button, a")) {
    // Wherever one has clicked: the scanner types into the field.
    code.focus();
  }
}, true);
code.focus();
