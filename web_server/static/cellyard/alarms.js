// The list of alarms follows what happens; what is typed into its filters stays.
import { tick } from "./clock.js";
import { listen, unanswered } from "./stream.js";

let soon;

function again() {
  clearTimeout(soon);
  soon = setTimeout(() => {
    const place = document.getElementById("rows") ? "#rows" : "#alarms";
    htmx.ajax("GET", location.pathname + location.search, { target: place, select: place, swap: "outerHTML" }).then(() => tick(), unanswered);
  }, 200);
}

listen({}, { alarm: again, back: again });
