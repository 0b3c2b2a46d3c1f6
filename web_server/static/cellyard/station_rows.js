// Rows of stations whose state follows the stream.
import { el, icon } from "./dom.js";
import { listen } from "./stream.js";

const ICONS = { idle: "circle", running: "player-play", manual: "hand-stop", paused: "player-pause", tripped: "bolt-off", unsafe: "alert-triangle", offline: "plug-x" };
const WORDS = { unsafe: "unsafe: may still be on" };

export function told(body) {
  for (const place of document.querySelectorAll(`[data-station-row="${body.id}"] [data-station-state]`)) {
    const shown = place.querySelector(".state");
    if (!shown || shown.dataset.state === body.state || shown.dataset.state === "retired") continue;
    place.replaceChildren(el("span", { class: `state state-${body.state}`, dataset: { state: body.state }, title: body.state_detail }, icon(ICONS[body.state] ?? "info-circle"), el("span", {}, WORDS[body.state] ?? body.state)));
  }
}

const ids = [...document.querySelectorAll("#rows [data-station-row]")].map((row) => row.dataset.stationRow);
if (ids.length && !document.querySelector("[data-unit]")) listen({ station: ids.join(",") }, { station: told });
