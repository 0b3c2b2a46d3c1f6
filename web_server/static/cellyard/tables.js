// Keys of tables: j k x Enter / ; selection for bulk acts; chosen columns, remembered per person.
import { tick } from "./clock.js";
import { post } from "./dom.js";

const typing = (target) => target.closest("input, textarea, select, [contenteditable], dialog[open]");
const rows = () => [...document.querySelectorAll("#rows tbody tr[data-row], #rows .tile[data-row]")];
let cursor = -1;

function move(by) {
  const all = rows();
  if (!all.length) return;
  all[cursor]?.classList.remove("cursor");
  cursor = Math.max(0, Math.min(all.length - 1, cursor + by));
  all[cursor].classList.add("cursor");
  all[cursor].scrollIntoView({ block: "nearest" });
  all[cursor].querySelector("a[href]")?.focus({ preventScroll: true });
}

function select() {
  const box = rows()[cursor]?.querySelector("input[type=checkbox]");
  if (!box) return;
  box.checked = !box.checked;
  box.dispatchEvent(new Event("change", { bubbles: true }));
}

// Rows are exchanged while somebody works with them: by a search, and by every renewal of the page. Whoever has
// put the cursor on a row or picked some finds them so afterwards, wherever they now stand.
let kept = { picked: new Set(), at: undefined };
const named = (row) => row?.querySelector("a[href]")?.pathname;

function keep() {
  const chosen = rows().filter((row) => row.querySelector("input[type=checkbox]")?.checked);
  kept = { picked: new Set(chosen.map(named)), at: named(rows()[cursor]) };
}

function restore() {
  cursor = rows().findIndex((row) => kept.at !== undefined && named(row) === kept.at);
  rows()[cursor]?.classList.add("cursor");
  for (const row of rows()) {
    const box = row.querySelector("input[type=checkbox]");
    if (box && kept.picked.has(named(row))) box.checked = true;
  }
}

const GO = { m: "/", e: "/experiments/", b: "/batteries/", p: "/profiles/", a: "/alarms/", s: "/stations/", u: "/units/" };
let going = 0;

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (Date.now() - going < 1200 && GO[event.key]) { location.href = GO[event.key]; return; }
  going = event.key === "g" ? Date.now() : 0;
  const acts = {
    j: () => move(1), k: () => move(-1), x: select,
    "/": () => document.querySelector("input[type=search]")?.focus(),
    "?": () => document.getElementById("keys")?.showModal(),
    n: () => document.querySelector("a[data-new]")?.click(),
    Enter: () => !event.target.closest("a, button, summary") && rows()[cursor]?.querySelector("a[href]")?.click(),
  };
  if (!acts[event.key]) return;
  if (event.key !== "Enter") event.preventDefault();
  acts[event.key]();
}

function picked() {
  const boxes = [...document.querySelectorAll("#rows td.pick input, #rows .pick input")];
  const chosen = boxes.filter((box) => box.checked);
  for (const box of boxes) box.closest("tr")?.setAttribute("aria-selected", String(box.checked));
  const bulk = document.querySelector(".bulk");
  if (!bulk) return;
  bulk.classList.toggle("on", chosen.length > 0);
  bulk.querySelector("[data-chosen]").textContent = `${chosen.length} selected`;
}

// Columns: <details data-columns="experiments" data-hidden="..."> holds a checkbox per column; the choice is kept with
// the person, so that every browser of theirs shows the same.
function columns() {
  const chooser = document.querySelector("[data-columns]");
  if (!chooser) return;
  const hidden = new Set(chooser.dataset.hidden.split(" ").filter(Boolean));
  for (const box of chooser.querySelectorAll("input")) {
    box.checked = !hidden.has(box.value);
    for (const cell of document.querySelectorAll(`#rows .col-${box.value}`)) cell.hidden = hidden.has(box.value);
  }
  if (chooser.dataset.ready) return;
  chooser.dataset.ready = "yes";
  chooser.addEventListener("change", (event) => {
    event.stopPropagation();
    chooser.dataset.hidden = [...chooser.querySelectorAll("input")].filter((box) => !box.checked).map((box) => box.value).join(" ");
    columns();
    post("/account/columns/", { table: chooser.dataset.columns, hidden: chooser.dataset.hidden });
  });
}

export function start() {
  document.addEventListener("keydown", key);
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) for (const box of document.querySelectorAll("#rows td.pick input")) box.checked = event.target.checked;
    if (event.target.closest("#rows")) picked();
  });
  document.addEventListener("htmx:beforeSwap", keep);
  document.addEventListener("htmx:afterSwap", () => { restore(); columns(); picked(); tick(); });
  document.addEventListener("click", (event) => event.target.closest("[data-keys]") && document.getElementById("keys").showModal());
  columns();
}
