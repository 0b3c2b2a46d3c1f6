// A unit's page, live: the detection's progress and result, the states of its stations.
import { tick } from "./clock.js";
import { listen, unanswered } from "./stream.js";
import { told } from "./station_rows.js";

const root = document.querySelector("[data-unit]");
let timer;
function refresh() {
  clearTimeout(timer);
  timer = setTimeout(() => htmx.ajax("GET", root.dataset.devices, { target: "#devices", swap: "innerHTML" }).then(() => { tick(); follow(); }, unanswered), 150);
}

let stream = null;
const query = () => ({ ...(root.dataset.stations ? { station: root.dataset.stations } : {}) });
function follow() {
  const open = document.querySelector("[data-detecting]")?.dataset.detecting;
  if (open && open !== stream) { stream = open; listen({ ...query(), command: open }, handlers); }
}
const handlers = {
  command(body) { if (body.kind === "detect") refresh(); },
  station: told,
  back: refresh,
};
follow();
if (!stream && root.dataset.stations) listen(query(), handlers);
