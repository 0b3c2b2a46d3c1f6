// One device or station by hand: the lease that this page renews, set points, Down, live readings (ui.md "Control").
// The unit is the truth: it keeps the limits and falls back to off; this page only asks and shows.
import { tick } from "./clock.js";
import { el, icon, post } from "./dom.js";
import { quantity, setting, show } from "./numbers.js";
import { History } from "./history_chart.js";
import { listen, unanswered } from "./stream.js";

// The unit's lease lasts 10 s: three renewals may get lost.
const RENEW_MS = 3000;
const LEASE_MS = 10000;
const root = document.querySelector("[data-control]");
const { api, kind, control: id, station } = root.dataset;
const SHOWN = { cc: ["current_a"], cv: ["voltage_v", "current_a"], cp: ["power_w"] };
const take = root.querySelector("[data-lease-form]");
let lease = null;
let timer = null;

const send = async (command, args = {}, wait = 5) => {
  try {
    return await post(`${api}?wait=${wait}`, { kind: command, args });
  } catch {
    return { ok: false, status: 0, body: { detail: "Cellyard does not answer just now." } };
  }
};
// Why a command did not do what was asked, in words; empty when it did.
function refusal(answer) {
  if (!answer.ok) return (answer.body?.errors ?? []).map((error) => error.message).join(" ") || answer.body?.detail || "Cellyard does not answer just now.";
  const { status, reason } = answer.body;
  if (status === "done") return "";
  if (status === "queued" || status === "sent") return "The unit has not answered yet.";
  return reason || `It was ${status}.`;
}
function say(place, level, text) {
  place?.replaceChildren(...(text ? [el("div", { class: `note note-${level}` }, icon(level === "error" ? "alert-octagon" : "circle-check"), el("div", {}, text))] : []));
}
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

// --- the lease ----------------------------------------------------------------------------------------------

function holding(on) {
  take?.querySelector("[data-taking]")?.toggleAttribute("hidden", on);
  take?.querySelector("[data-holding]")?.toggleAttribute("hidden", !on);
  for (const set of root.querySelectorAll("[data-set-form] fieldset")) set.disabled = !on;
  for (const locked of root.querySelectorAll("[data-locked]")) locked.hidden = on;
  root.classList.toggle("held", on);
}

function lost(why) {
  if (!lease) return;
  lease = null;
  clearInterval(timer);
  holding(false);
  say(take.querySelector("[data-lease-said]"), "error", `You have lost control: ${why.trim().replace(/[^.!?]$/, "$&.")} The unit switches off by itself.`);
  refresh();
}

async function renew() {
  const mine = lease;
  if (!mine || mine.busy) return;
  mine.busy = true;
  const answer = await send("device.lease", { lease: mine.id }, 3);
  mine.busy = false;
  if (mine !== lease) return;
  const why = refusal(answer);
  if (!why) { mine.at = Date.now(); renewed(); return; }
  // An answer that is late or a site that is away may still come back within the lease; a refusal is final.
  const final = answer.ok && ["refused", "failed"].includes(answer.body.status);
  if (final || (!answer.ok && answer.status >= 400 && answer.status < 500)) lost(why);
}

function renewed() {
  const place = take?.querySelector("[data-renewed]");
  if (!place || !lease) return;
  const left = lease.until ? Math.max(0, (lease.until - Date.now()) / 1000) : null;
  place.textContent = left === null ? "renewed by this page" : `off by itself in ${Math.floor(left / 60)} min ${Math.floor(left % 60)} s`;
}

function watch() {
  if (!lease) return;
  renewed();
  if (Date.now() - lease.at > LEASE_MS) lost("it could not be renewed for 10 s.");
  else if (lease.until && Date.now() > lease.until) lost("the time that was typed is over.");
  else if (Date.now() - lease.asked >= RENEW_MS) { lease.asked = Date.now(); renew(); }
}

take?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = take.querySelector("[data-lease-said]");
  const args = { connected: new FormData(take).get("connected") };
  for (const input of take.querySelectorAll("input[inputmode=decimal]")) {
    const text = input.value.trim();
    input.setAttribute("aria-invalid", String(text ? !NUMBER.test(text) : input.required));
    if (text && NUMBER.test(text)) { if (input.name === "duration_min") args.duration_s = Number(text) * 60; else args[input.name] = Number(text); }
  }
  const wrong = take.querySelector("[aria-invalid=true]");
  if (wrong) { wrong.focus(); say(said, "error", `${wrong.labels[0].firstChild.textContent.trim()}: write a number, for example 4.2.`); return; }
  say(said, "success", "");
  const button = take.querySelector("[data-take-button]");
  button.disabled = true;
  const answer = await send("device.lease", args);
  button.disabled = false;
  const why = refusal(answer);
  if (why) { say(said, "error", why); refresh(); return; }
  const now = Date.now();
  lease = { id: answer.body.result?.lease ?? answer.body.args.lease, at: now, asked: now, until: args.duration_s ? now + args.duration_s * 1000 : null };
  timer = setInterval(watch, 500);
  holding(true);
  renewed();
  refresh();
  root.querySelector("[data-set-form] input:not([type=radio]), [data-set-form] button")?.focus();
});

async function release() {
  const mine = lease;
  if (!mine) return;
  lease = null;
  clearInterval(timer);
  holding(false);
  const why = refusal(await send("device.lease", { lease: mine.id, release: true }));
  say(take.querySelector("[data-lease-said]"), why ? "error" : "success", why || "You have given it back; everything there is off.");
  refresh();
}
take?.querySelector("[data-release]")?.addEventListener("click", release);

// --- set points ---------------------------------------------------------------------------------------------

async function set(form, values) {
  if (!lease) return;
  const said = form.querySelector("[data-set-said]");
  form.classList.add("busy");
  const answer = await send("device.set", { lease: lease.id, values, ...(kind === "station" ? { device: form.dataset.setForm } : {}) });
  form.classList.remove("busy");
  const why = refusal(answer);
  say(said, why ? "error" : "success", why || (values.mode === "off" ? "The output is off." : "Set, and read back."));
  if (!why) held(form, answer.body.result?.held ?? {});
}

function held(form, values) {
  for (const place of form.querySelectorAll("[data-held]")) if (place.dataset.held in values) holds(place, values[place.dataset.held]);
}
function holds(place, value) {
  if (value === null || value === undefined) return;
  place.textContent = "switch" in place.dataset ? (value ? "on" : "off") : setting(Number(value.toPrecision(6)), place.dataset.unit);
  const group = place.closest("[data-knob]");
  for (const button of group.querySelectorAll("[data-value]")) {
    const on = Number(button.dataset.value) === Number(Boolean(value));
    button.classList.toggle("active", on);
    button.setAttribute("aria-pressed", String(on));
  }
}

function points(form) {
  const mode = form.elements.mode?.value;
  const named = mode ? SHOWN[mode] : [...form.querySelectorAll("input[inputmode=decimal]")].map((input) => input.name);
  const values = mode ? { mode } : {};
  for (const name of named) {
    const input = form.elements[name];
    const text = input.value.trim();
    const wrong = text ? !NUMBER.test(text) : false;
    input.setAttribute("aria-invalid", String(wrong));
    if (wrong) { input.focus(); return null; }
    if (text) values[name] = Number(text);
  }
  return values;
}

for (const form of root.querySelectorAll("[data-set-form]")) {
  const modes = () => { for (const field of form.querySelectorAll("[data-point]")) field.hidden = !SHOWN[form.elements.mode.value].includes(field.dataset.point); };
  if (form.elements.mode) { form.addEventListener("change", modes); modes(); }
  const sending = form.querySelector("[data-send]");
  if (sending) sending.hidden = !form.querySelector("input[inputmode=decimal]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = points(form);
    if (values === null) say(form.querySelector("[data-set-said]"), "error", "Write a number, for example 4.2.");
    else if (Object.keys(values).length) set(form, values);
  });
  form.querySelector("[data-power-off]")?.addEventListener("click", () => set(form, { mode: "off" }));
  for (const button of form.querySelectorAll("button[data-switch]")) button.addEventListener("click", () => set(form, { [button.dataset.switch]: Number(button.dataset.value) }));
}

// --- Down ---------------------------------------------------------------------------------------------------

// What drives a battery is measured; a relay is read back.
function off(result) {
  const { current_a, voltage_v } = result?.measured ?? {};
  const read = [[current_a, "A"], [voltage_v, "V"]].filter(([value]) => typeof value === "number").map(([value, unit]) => quantity(value, unit));
  const said = kind === "station" ? "measured off, confirmed by the unit" : "off, confirmed by the unit";
  return `${result?.stopped ? "the experiment is stopped; " : ""}${said}${read.length ? `: ${read.join(" at ")}` : ""}`.replace(/^./, (letter) => letter.toUpperCase());
}
const downSaid = document.getElementById("down-said");
let downs = 0;
async function down() {
  const mine = (downs += 1);
  // Off is what was measured off (safety rule 6): until the unit says so, it is only asked for.
  downSaid?.replaceChildren(el("b", {}, "switching off …"), " ", el("span", { class: "text-secondary" }, "not confirmed off yet"));
  for (const said of root.querySelectorAll("[data-set-said]")) said.replaceChildren();
  let answer = await send("device.off", {}, 5);
  while (mine === downs && answer.ok && ["queued", "sent"].includes(answer.body.status)) {
    // A stop never expires: ask until the unit has said it.
    await new Promise((go) => setTimeout(go, 700));
    const again = await fetch(`/api/v1/commands/${answer.body.id}/`, { headers: { Accept: "application/json" } }).catch(() => null);
    if (again?.ok) answer = { ok: true, body: await again.json() };
  }
  if (mine !== downs) return;
  const why = refusal(answer);
  downSaid?.replaceChildren(why ? el("b", { class: "text-danger" }, `Not off: ${why}`) : el("span", { class: "state state-finished" }, icon("circle-check"), el("span", {}, off(answer.body.result))));
  if (!why && lease) { lease = null; clearInterval(timer); holding(false); }
  refresh();
}
root.querySelector("[data-down]")?.addEventListener("submit", (event) => { event.preventDefault(); down(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && lease && !document.querySelector("dialog[open]")) { event.preventDefault(); down(); }
});
// A page that goes away gives control back at once, instead of after 10 s.
addEventListener("pagehide", () => {
  if (!lease) return;
  const headers = { "Content-Type": "application/json", "X-CSRFToken": JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"] };
  fetch(api, { method: "POST", keepalive: true, headers, credentials: "same-origin", body: JSON.stringify({ kind: "device.lease", args: { lease: lease.id, release: true } }) });
});

// --- live ---------------------------------------------------------------------------------------------------

let refreshing;
function refresh() {
  clearTimeout(refreshing);
  refreshing = setTimeout(async () => {
    await htmx.ajax("GET", root.dataset.now, { target: "#now", swap: "innerHTML" }).catch(unanswered);
    tick();
    fromPage();
    const now = document.querySelector("#now > [data-hold]")?.dataset;
    // Whoever pressed Down, or gave it to somebody else: the unit has said so.
    if (now && lease && now.hold !== lease.id) lost("somebody switched it off, or it has ended.");
    if (now && downSaid && !now.stop && downSaid.querySelector("b") && !downs) downSaid.replaceChildren();
    const button = take?.querySelector("[data-take-button]");
    if (button) { const why = document.querySelector("#now .note-warning")?.textContent.trim(); button.disabled = Boolean(why); button.title = why ?? ""; }
  }, 150);
}

function readings(device, values) {
  for (const [name, value] of Object.entries(values)) {
    const place = document.querySelector(`[data-read="${device}:${name}"]`);
    if (place) {
      if ("switch" in place.dataset) {
        const [yes, no] = place.dataset.switch.split("|");
        place.replaceChildren(el("span", { class: "fw-bold" }, value === null ? "–" : value ? yes : no));
      }
      else {
        let shown = place.querySelector("data");
        if (!shown) place.replaceChildren((shown = el("data", { class: "num" })));
        show(shown, value, place.dataset.unit);
      }
    }
    for (const held of root.querySelectorAll(`[data-part="${device}"] [data-measured="${name}"]`)) holds(held, value);
  }
}
// What a control holds is read back by one of its device's measures.
function fromPage() {
  for (const held of root.querySelectorAll("[data-measured]")) {
    const device = held.closest("[data-part]").dataset.part;
    const place = document.querySelector(`[data-read="${device}:${held.dataset.measured}"]`);
    const value = place?.querySelector("data")?.getAttribute("value");
    if (place && "switch" in place.dataset) { const text = place.textContent.trim(); if (text === "on" || text === "off") holds(held, Number(text === "on")); }
    else if (value !== null && value !== undefined) holds(held, Number(value));
  }
}

const history = new History(document.querySelector("[data-history]"));
const devices = [...new Set([...root.querySelectorAll("[data-read-at]")].map((place) => place.dataset.readAt))];
let stood = null;
listen({ ...(station ? { station } : {}), device: devices.join(",") }, {
  reading(body) {
    readings(body.device, body.values);
    const place = root.querySelector(`[data-read-at="${body.device}"]`);
    if (place) { place.replaceChildren("read ", el("time", { datetime: body.at, title: body.at }, "now")); tick(place); }
    history.extend(body);
  },
  station(body) {
    if (body.id !== station) return;
    if (body.reading && devices.length) {
      const power = root.querySelector("[data-set-form] [data-point]")?.closest("[data-part]")?.dataset.part;
      if (power) readings(power, body.reading);
    }
    const stands = [body.state, body.experiment_status, body.lease, body.battery].join("|");
    if (stands !== stood) { stood = stands; refresh(); }
  },
  command(body) {
    if (/^device\.(lease|off)$|stop/.test(body.kind)) refresh();
  },
  alarm: refresh,
  back() { refresh(); history.load(); },
});
fromPage();
// Who holds it changes also by time alone: a lease that lapsed sends nothing.
setInterval(() => { if (!document.hidden && document.querySelector("[data-holder]")) refresh(); }, 4000);
