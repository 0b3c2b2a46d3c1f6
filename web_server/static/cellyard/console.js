// The console of a unit: messages and frames by hand, refusals in words, a live look at a CAN bus.
import { el, post } from "./dom.js";

const root = document.querySelector("[data-console]");
const log = root.querySelector("[data-log]");
// A unit holds a look at the bus so long, then says that nothing came.
const LOOK_S = 5;
const FRAMES_KEPT = 1000;
const sent = [];
let recalled = 0;

const hex = (text) => { const plain = text.trim().replace(/^0x/i, ""); return /^[0-9a-f]+$/i.test(plain) ? parseInt(plain, 16) : NaN; };
const shownId = (id) => `0x${id.toString(16).toUpperCase().padStart(3, "0")}`;
export const bytes = (text) => text.replace(/(..)(?=.)/g, "$1 ");
const signals = (decoded) => (decoded ? `${decoded.name}: ${Object.entries(decoded.signals ?? {}).map(([name, value]) => `${name} ${value}${decoded.units?.[name] ? ` ${decoded.units[name]}` : ""}`).join(", ")}` : "");

// A field that is no hex number says so below itself.
function plainHex(field, number, words) {
  const wrong = Number.isNaN(number);
  field.setAttribute("aria-invalid", String(wrong));
  field.parentElement.querySelector(".wrong")?.remove();
  if (wrong) { field.after(el("p", { class: "wrong", role: "alert" }, words)); field.focus(); }
  return !wrong;
}

async function send(kind, args, wait = 8) {
  try {
    return await post(`${root.dataset.console}?wait=${wait}`, { kind, args });
  } catch {
    return { ok: false, body: { detail: "Cellyard does not answer just now." } };
  }
}
function why(answer) {
  if (!answer.ok) return (answer.body?.errors ?? []).map((error) => `${error.field ? `${error.field.replace(/^args\./, "")}: ` : ""}${error.message}`).join(" ") || answer.body?.detail || "Not sent.";
  const { status, reason } = answer.body;
  if (status === "done") return "";
  return reason || (status === "queued" || status === "sent" ? "The unit has not answered yet." : `It was ${status}.`);
}
const frame = (one) => el("div", {}, el("code", {}, `${shownId(one.id)} ${bytes(one.payload)}`), " ", el("span", { class: "text-secondary" }, signals(one.decoded)));

function entry(text, kind, link, answer) {
  const refused = why(answer);
  const result = answer.body?.result ?? {};
  log.querySelector("[data-empty]")?.remove();
  log.prepend(el("li", { class: "list-group-item" },
    el("div", {}, el("code", { class: "wrap-any" }, text)),
    refused ? el("div", { class: "text-danger" }, refused) : null,
    ...(result.lines ?? []).map((line) => el("div", {}, el("code", { class: "wrap-any" }, line))),
    ...(result.frames ?? []).map(frame),
    !refused && kind === "scpi.query" && !result.lines?.length ? el("div", { class: "text-secondary" }, "No answer came.") : null,
    !refused && kind === "can.send" && !result.frames?.length ? el("div", { class: "text-secondary" }, "Nothing was heard after it.") : null,
    el("div", { class: "text-secondary" }, `${kind} on ${link}, ${new Date().toLocaleTimeString()}${result.answered_s !== undefined ? `, answered in ${(result.answered_s * 1000).toFixed(0)} ms` : ""}`)));
}

const scpi = root.querySelector("[data-scpi]");
scpi?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { link, text } = scpi.elements;
  if (!link.value.trim() || !text.value.trim()) { (link.value.trim() ? text : link).focus(); return; }
  const kind = event.submitter?.value || "scpi.query";
  sent.push(text.value);
  recalled = sent.length;
  const typed = text.value;
  text.value = "";
  entry(typed, kind, link.value, await send(kind, { link: link.value.trim(), text: typed }));
  text.focus();
});
scpi?.elements.text.addEventListener("keydown", (event) => {
  if (!["ArrowUp", "ArrowDown"].includes(event.key) || !sent.length) return;
  event.preventDefault();
  recalled = Math.min(sent.length, Math.max(0, recalled + (event.key === "ArrowUp" ? -1 : 1)));
  event.target.value = sent[recalled] ?? "";
});

const can = root.querySelector("[data-can]");
can?.elements.force.addEventListener("change", () => { can.querySelector("[data-force-note]").hidden = !can.elements.force.checked; });
can?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { link, id, payload, listen_s: listen, force } = can.elements;
  const number = hex(id.value);
  if (!plainHex(id, number, "Write the id in hex, for example 130.")) return;
  const data = payload.value.replace(/\s+/g, "");
  const args = { link: link.value.trim(), id: number, payload: data, listen_s: Number(listen.value) || 0 };
  entry(`${shownId(number)} ${bytes(data)}${force.checked ? " (forced)" : ""}`, "can.send", args.link, await send("can.send", force.checked ? { ...args, force: true } : args));
  force.checked = false;
  can.querySelector("[data-force-note]").hidden = true;
});

const live = root.querySelector("[data-listen]");
const frames = root.querySelector("[data-frames]");
let listening = 0;
let heard = 0;
async function listen() {
  const { link, id, mask } = live.elements;
  const numbers = [[id, "Write the id in hex, for example 130; empty: any."], [mask, "Write the mask in hex, for example 7F0."]];
  if (!numbers.every(([field, words]) => plainHex(field, field.value.trim() ? hex(field.value) : 0, words))) return;
  const mine = (listening += 1);
  const args = { link: link.value.trim(), seconds: LOOK_S };
  if (id.value.trim()) { args.id = hex(id.value); args.mask = mask.value.trim() ? hex(mask.value) : 0x7ff; }
  const said = live.querySelector("[data-listen-said]");
  said.textContent = "";
  quiet(false);
  // A hidden page costs nothing.
  for (let after = 0; mine === listening;) {
    if (document.hidden) { await new Promise((go) => setTimeout(go, 500)); continue; }
    const answer = await send("can.listen", { ...args, ...(after ? { after } : { seconds: 0.5 }) }, LOOK_S + 5);
    if (mine !== listening) return;
    const refused = why(answer);
    if (refused) { said.textContent = refused; break; }
    const { frames: got = [], next, lost } = answer.body.result;
    after = next || -1;
    if (lost) said.textContent = `${lost} frames came too fast and are not shown.`;
    show(got);
  }
  if (mine === listening) { listening += 1; quiet(true); }
}
function show(got) {
  heard += got.length;
  root.querySelector("[data-heard]").textContent = `${heard} frames`;
  frames.prepend(...got.reverse().map((one) => el("tr", { class: one.ours ? "text-secondary" : null },
    el("td", {}, new Date(one.at).toISOString().slice(11, 23)), el("td", {}, el("code", {}, shownId(one.id))), el("td", {}, el("code", {}, bytes(one.payload))), el("td", { class: "wrap-any" }, signals(one.decoded)))));
  while (frames.rows.length > FRAMES_KEPT) frames.deleteRow(-1);
}
function quiet(on) {
  live.querySelector("button:not([type])").hidden = !on;
  live.querySelector("[data-quiet]").hidden = on;
}
live?.addEventListener("submit", (event) => { event.preventDefault(); listen(); });
live?.querySelector("[data-quiet]").addEventListener("click", () => { listening += 1; quiet(true); });
live?.querySelector("[data-clear]").addEventListener("click", () => { frames.replaceChildren(); heard = 0; root.querySelector("[data-heard]").textContent = ""; });
