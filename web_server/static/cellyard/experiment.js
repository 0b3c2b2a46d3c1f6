// One experiment, live: the chart grows by samples; head, steps and events come again from the server when something
// happened, so that one template draws them.
import { Chart } from "./chart.js";
import { tick } from "./clock.js";
import { show } from "./numbers.js";
import { listen, unanswered } from "./stream.js";

const root = document.querySelector("[data-experiment]");
const id = root.dataset.experiment;
const NOW = { voltage_v: "V", current_a: "A", temperature_c: "°C", power_w: "W", charge_in_ah: "Ah", charge_out_ah: "Ah" };
// Several messages of one change make one request.
const REFRESH_MS = 120;

// Steps are many and stand in the list below; on the chart the shades tell them.
const marks = () => [...document.querySelectorAll("#events [data-event]")].filter((event) => event.dataset.kind !== "step").map((event) => ({ at: Date.parse(event.dataset.at) / 1000, kind: event.dataset.kind, text: event.querySelector("[data-text]").textContent }));
const chart = new Chart(document.querySelector(".chart-card"), { address: `/api/v1/experiments/${id}/samples/`, final: root.dataset.final === "yes", marks });

let timer;
function refresh() {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const note = document.getElementById("note-text");
    const typed = note?.value;
    const focused = document.activeElement === note;
    await htmx.ajax("GET", root.dataset.live, { swap: "none" }).catch(unanswered);
    const fresh = document.getElementById("note-text");
    if (fresh && typed) fresh.value = typed;
    if (fresh && focused) fresh.focus();
    now(last);
    tick();
    chart.redraw();
  }, REFRESH_MS);
}

let last = null;
function now(values) {
  if (!values) return;
  for (const [name, unit] of Object.entries(NOW)) {
    const place = document.querySelector(`#now [data-live=${name}]`);
    if (!place || values[name] === null || values[name] === undefined) continue;
    let shown = place.querySelector("data");
    if (!shown) {
      shown = Object.assign(document.createElement("data"), { className: "num" });
      place.replaceChildren(shown);
    }
    show(shown, values[name], unit);
  }
}

// Percent and expected end move without a new step.
function going(progress) {
  const bar = document.querySelector("#head progress");
  if (bar && progress) bar.value = progress.percent ?? 0;
  const end = document.querySelector("#why [data-live=end] time");
  if (!end || !progress?.expected_end || end.dateTime === progress.expected_end) return;
  end.dateTime = end.title = progress.expected_end;
  tick(document.getElementById("why"));
}

const stood = () => { const head = document.getElementById("head"); return [head.dataset.status, head.dataset.step, head.dataset.cycle].join("|"); };

listen({ experiment: id }, {
  sample(body) {
    const { columns } = body;
    if (!columns.seq.length) return;
    const end = columns.seq.length - 1;
    last = Object.fromEntries(Object.keys(NOW).map((name) => [name, columns[name]?.[end] ?? null]));
    now(last);
    chart.extend(columns);
  },
  station(body) {
    if (body.experiment !== id) return;
    const stands = [body.experiment_status, body.progress?.step ?? "", body.progress?.cycle ?? ""].join("|");
    if (stands !== stood()) refresh();
    going(body.progress);
  },
  event: refresh,
  alarm: refresh,
  command: refresh,
  back() { refresh(); chart.load(); },
});
