// What every page runs. Pages that need more bring a module of their own.
import * as asking from "./asking.js";
import * as clock from "./clock.js";
import * as copying from "./copying.js";
import * as drafts from "./drafts.js";
import * as glance from "./glance.js";
import * as tables from "./tables.js";
import * as typing from "./typing.js";

for (const part of [asking, clock, copying, drafts, glance, tables, typing]) part.start();

// The thin bar while something loads; the old picture stays (ui.md "Charts").
const loading = document.getElementById("loading");
let requests = 0;
document.addEventListener("htmx:beforeRequest", () => { requests += 1; loading?.classList.add("htmx-request"); });
document.addEventListener("htmx:afterRequest", () => { requests -= 1; if (requests <= 0) loading?.classList.remove("htmx-request"); });
// A session that ran out: the partial is a redirect to the login page; go there whole, the drafts stay.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.responseURL.includes("/login/")) {
    event.detail.shouldSwap = false;
    location.href = "/login/?next=" + encodeURIComponent(location.pathname + location.search);
  }
});
// An open menu closes when one clicks beside it or presses Escape.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open], .bottom details[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open], .bottom details[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
});
// A button pressed twice by accident sends once.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method === "dialog") return;
  const button = event.submitter;
  if (button) setTimeout(() => { button.disabled = true; setTimeout(() => (button.disabled = false), 4000); });
});
