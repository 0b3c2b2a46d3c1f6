// An alarm's page follows what happens: it is fetched again when an alarm or a command changed.
import { tick } from "./clock.js";
import { listen, unanswered } from "./stream.js";

const shown = document.getElementById("alarm");
let soon;

function again() {
  clearTimeout(soon);
  soon = setTimeout(() => htmx.ajax("GET", location.pathname, { target: "#alarm", select: "#alarm", swap: "outerHTML" }).then(() => tick(), unanswered), 200);
}

if (shown) listen({}, { alarm(body) { if (body.id === shown.dataset.alarm) again(); }, back: again });
// Who was told changes without an event of the stream.
setInterval(() => document.hidden || again(), 10000);
