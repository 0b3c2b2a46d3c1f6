// Tiles that live: numbers and sparks from samples and heartbeats; the tile itself is fetched again from the server
// when its state, step or experiment changed, so that one template draws it.
import { tick } from "./clock.js";
import { show } from "./numbers.js";
import { listen, unanswered } from "./stream.js";

const WIDTH = 300;
const HEIGHT = 50;
const POINTS_KEPT = 400;
const LEAST = { v: 0.02, i: 0.02 };
const page = document.querySelector("[data-monitor]");
const tiles = () => new Map([...document.querySelectorAll(".tile")].map((tile) => [tile.dataset.station, tile]));

const key = (body) => [body.state, body.experiment ?? "", body.experiment_status ?? "", body.battery ?? "", body.progress?.step ?? "", body.progress?.cycle ?? ""].join("|");

function curve(points, column, least) {
  const found = points.filter((point) => point[column] !== null);
  if (found.length < 2) return "";
  const left = found[0][0];
  const width = found.at(-1)[0] - left;
  if (width <= 0) return "";
  const values = found.map((point) => point[column]);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const reach = Math.max(high - low, least, Math.abs(high) * 1e-6, 1e-12);
  const middle = (low + high) / 2;
  return found.map((point) => `${((point[0] - left) / width * WIDTH).toFixed(1)},${(HEIGHT / 2 - (point[column] - middle) / reach * HEIGHT * 0.9).toFixed(1)}`).join(" ");
}

function draw(svg, points) {
  for (const [name, column] of [["i", 2], ["v", 1]]) {
    let line = svg.querySelector(`.${name}`);
    if (!line) {
      line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      line.setAttribute("class", name);
      svg.append(line);
    }
    line.setAttribute("points", curve(points, column, LEAST[name]));
  }
}

const kept = new WeakMap();
function extend(tile, columns) {
  const svg = tile.querySelector(".spark");
  if (!svg) return;
  if (!kept.has(svg)) kept.set(svg, JSON.parse(svg.dataset.points || "[]"));
  const points = kept.get(svg);
  const newest = points.at(-1)?.[0] ?? -1;
  columns.elapsed_s.forEach((at, index) => { if (at > newest) points.push([at, columns.voltage_v[index], columns.current_a[index]]); });
  points.splice(0, points.length - POINTS_KEPT);
  draw(svg, points);
}

function readings(tile, values) {
  for (const [name, unit] of [["voltage_v", "V"], ["current_a", "A"], ["temperature_c", "°C"]]) {
    if (!(name in values)) continue;
    const place = tile.querySelector(`[data-live=${name}]`);
    const shown = place?.querySelector("data");
    if (shown) show(shown, values[name], unit);
    else if (place && values[name] !== null) {
      const fresh = Object.assign(document.createElement("data"), { className: "num" });
      show(fresh, values[name], unit);
      place.replaceChildren(fresh);
    }
  }
}

// Percent and expected end move without a new step.
function going(root, progress) {
  const bar = root.querySelector("progress");
  if (bar && progress) bar.value = progress.percent ?? 0;
  const end = root.querySelector("[data-live=end] time");
  if (end && progress?.expected_end && end.dateTime !== progress.expected_end) {
    end.dateTime = progress.expected_end;
    end.title = progress.expected_end;
    tick(root);
  }
}

const asked = new Map();
function refetch(tile) {
  const id = tile.dataset.station;
  clearTimeout(asked.get(id));
  asked.set(id, setTimeout(() => htmx.ajax("GET", tile.dataset.tile, { target: `#tile-${id}`, swap: "outerHTML" }).then(() => tick(), unanswered), 60));
}

let looking;
function trouble() {
  if (!page.dataset.monitor) return;
  clearTimeout(looking);
  looking = setTimeout(() => htmx.ajax("GET", page.dataset.monitor, { swap: "none" }).then(() => tick(), unanswered), 150);
}

// Overdue and stale come with the time, not with a message.
const LOOK_AGAIN_MS = 20000;
if (page?.dataset.monitor) setInterval(() => document.hidden || trouble(), LOOK_AGAIN_MS);

if (page) {
  listen(page.dataset.stations ? { station: page.dataset.stations } : {}, {
    station(body) {
      const tile = tiles().get(body.id);
      if (!tile) return;
      if (body.reading) readings(tile, body.reading);
      going(tile, body.progress);
      if (key(body) !== tile.dataset.key.replace(/^starting/, body.state)) {
        refetch(tile);
        trouble();
      }
    },
    sample(body) {
      const tile = [...tiles().values()].find((one) => one.dataset.experiment === body.experiment);
      if (!tile || !body.columns.seq.length) return;
      const last = body.columns.seq.length - 1;
      readings(tile, Object.fromEntries(["voltage_v", "current_a", "temperature_c"].map((name) => [name, body.columns[name]?.[last] ?? null])));
      extend(tile, body.columns);
    },
    alarm(body) {
      trouble();
      const tile = tiles().get(body.station);
      if (tile) refetch(tile);
    },
    command(body) {
      if (!/stop|device\.off/.test(body.kind)) return;
      // A stop of the lab or of a zone names no single station: each tile here may show that it is not confirmed yet.
      const meant = (one) => (body.station ? one.dataset.station === body.station : !body.experiment) || (body.experiment && one.dataset.experiment === body.experiment);
      for (const tile of tiles().values()) if (meant(tile)) refetch(tile);
    },
    event(body) { if (body.kind === "status") trouble(); },
    back() { for (const tile of tiles().values()) refetch(tile); trouble(); },
  });
}
