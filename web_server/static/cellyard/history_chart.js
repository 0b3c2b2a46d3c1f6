// The recorded readings of one device on uPlot: range, series, gaps as gaps.
import { el } from "./dom.js";
import { quantity } from "./numbers.js";

const POINTS = 1500;
const COLOURS = { voltage_v: "--cy-voltage", current_a: "--cy-current", temperature_c: "--cy-temperature", power_w: "--cy-power" };
// Okabe and Ito's colours, which colour-blind eyes tell apart.
const FURTHER = ["#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#d55e00", "#0072b2"];
const css = (name) => (name.startsWith("--") ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : name);
const AXES = 2;
const two = (number) => String(number).padStart(2, "0");
// Hours of the day as 24, days as in ISO 8601, each day once.
function hours(plot, marks) {
  let day = "";
  const close = marks.length > 1 && marks[1] - marks[0] < 60;
  return marks.map((mark) => {
    const at = new Date(mark * 1000);
    const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    const time = `${two(at.getHours())}:${two(at.getMinutes())}${close ? `:${two(at.getSeconds())}` : ""}`;
    const shown = date === day ? time : `${time}\n${date}`;
    day = date;
    return shown;
  });
}
// A mark of an axis has the digits that its neighbours differ in.
function mark(value, unit, ticks) {
  const step = Math.abs(ticks[1] - ticks[0]) || 1;
  const most = Math.max(...ticks.map(Math.abs));
  const small = unit && unit !== "°C" && unit !== "%" && step < 1e-3;
  const [factor, prefix] = small && most < 1e-4 ? [1e6, "µ"] : small && most < 0.1 ? [1e3, "m"] : [1, ""];
  const places = Math.max(0, Math.min(4, Math.ceil(-Math.log10(step * factor) - 1e-9)));
  return `${(value * factor).toFixed(places).replace("-", "−")}${unit ? ` ${prefix}${unit}` : ""}`;
}

export class History {
  constructor(root) {
    this.root = root;
    this.box = root.querySelector(".chart");
    this.note = root.querySelector("[data-chart-empty]");
    const query = new URLSearchParams(location.search);
    this.range = Number(query.get("range")) || 3600;
    this.shown = query.has("series") ? new Set(query.get("series").split(",")) : null;
    this.of = root.querySelector("[data-of]");
    if (query.has("of") && this.of.options) this.of.value = query.get("of");
    this.of.addEventListener("change", () => { this.shown = null; this.load(); });
    for (const button of root.querySelectorAll("[data-range]")) button.onclick = () => { this.range = Number(button.dataset.range); this.zoom = null; this.load(); };
    // Drag zooms, a double click resets.
    this.zoom = null;
    this.box.addEventListener("dblclick", () => { this.zoom = null; this.build(); });
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(() => this.build()));
    this.load();
  }

  get device() { return this.of.value ?? this.of.dataset.of; }
  size() { return { width: this.box.clientWidth, height: parseFloat(getComputedStyle(this.box).minHeight) - 34 }; }
  unit(name) { return document.querySelector(`[data-read="${this.device}:${name}"]`)?.dataset.unit ?? ""; }
  label(name) { return document.querySelector(`[data-read="${this.device}:${name}"]`)?.previousElementSibling?.textContent ?? name.replaceAll("_", " "); }

  toUrl() {
    const query = new URLSearchParams(location.search);
    query.set("range", this.range);
    if (this.shown) query.set("series", [...this.shown].join(","));
    if (this.of.options) query.set("of", this.of.value);
    history.replaceState(null, "", `${location.pathname}?${query}`);
  }

  async load() {
    this.root.classList.add("busy");
    for (const button of this.root.querySelectorAll("[data-range]")) button.classList.toggle("active", Number(button.dataset.range) === this.range);
    const from = new Date(Date.now() - this.range * 1000).toISOString();
    try {
      const answer = await fetch(`/api/v1/devices/${this.device}/readings/?points=${POINTS}&from=${encodeURIComponent(from)}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      this.columns = (await answer.json()).columns;
      this.build();
    } catch {
      if (!this.plot) this.say("The readings could not be read just now.");
    } finally {
      this.root.classList.remove("busy");
    }
  }

  say(text) { this.note.hidden = !text; this.note.textContent = text; }

  names() { return Object.keys(this.columns).filter((name) => name !== "time_us" && this.columns[name].some((value) => value !== null)); }

  build() {
    if (!this.columns) return;
    const names = this.names();
    if (!this.columns.time_us.length || !names.length) {
      this.plot?.destroy();
      this.plot = null;
      this.say("Nothing was recorded in this time.");
      this.chips([]);
      return;
    }
    this.say("");
    this.shown ??= new Set(names.slice(0, 2));
    this.chips(names);
    const drawn = names.filter((name) => this.shown.has(name));
    this.plot?.destroy();
    this.plot = new uPlot(this.options(drawn, names), [this.columns.time_us.map((at) => at / 1e6), ...drawn.map((name) => this.columns[name])], this.box);
  }

  chips(names) {
    const place = this.root.querySelector("[data-series]");
    place.replaceChildren(...names.map((name) => {
      const box = el("input", { type: "checkbox", class: "form-check-input m-0" });
      box.checked = this.shown.has(name);
      box.onchange = () => { if (box.checked) this.shown.add(name); else this.shown.delete(name); this.toUrl(); this.build(); };
      return el("label", { class: "chip", dataset: { name } }, box, this.label(name));
    }));
  }

  colour(name, names) { return COLOURS[name] ?? FURTHER[names.filter((other) => !COLOURS[other]).indexOf(name) % FURTHER.length]; }

  options(drawn, names) {
    const line = css("--cy-line");
    const units = [...new Set(drawn.map((name) => this.unit(name)))];
    const axis = (unit, index) => ({
      scale: unit || "1", side: index % 2 ? 1 : 3, size: (plot, values) => Math.max(60, 22 + 7 * Math.max(0, ...(values ?? []).map((value) => value.length))), font: "12px system-ui", stroke: css(this.colour(drawn.find((name) => this.unit(name) === unit), names)),
      grid: { show: index === 0, stroke: line, width: 1 }, ticks: { stroke: line, width: 1 },
      values: (plot, ticks) => ticks.map((value) => (value === null ? "" : mark(value, unit, ticks))),
    });
    return {
      ...this.size(),
      padding: [10, units.length > 1 ? 0 : 16, 0, 0],
      cursor: { drag: { x: true, y: false, setScale: false } },
      hooks: { setSelect: [(plot) => this.select(plot)] },
      scales: { x: { time: true, range: () => this.zoom ?? [Date.now() / 1000 - this.range, Date.now() / 1000] } },
      axes: [{ values: hours, stroke: css("--cy-muted"), grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" }, ...units.slice(0, AXES).map(axis)],
      series: [
        { label: "Time", value: (plot, value) => (value === null ? "–" : new Date(value * 1000).toLocaleString()) },
        ...drawn.map((name) => ({ label: this.label(name), scale: this.unit(name) || "1", stroke: css(this.colour(name, names)), width: 1.6, spanGaps: false, points: { show: false }, value: (plot, value) => quantity(value, this.unit(name)) })),
      ],
    };
  }

  select({ select: { left, width }, posToVal: at }) {
    if (width < 5) return;
    this.zoom = [at(left, "x"), at(left + width, "x")];
    setTimeout(() => this.build());
  }

  // A new reading of the stream joins the end.
  extend(body) {
    if (body.device !== this.device || !this.columns) return;
    const at = Date.parse(body.at) * 1000;
    if (at <= (this.columns.time_us.at(-1) ?? 0)) return;
    const length = this.columns.time_us.length;
    this.columns.time_us.push(at);
    for (const name of new Set([...Object.keys(this.columns), ...Object.keys(body.values)])) {
      if (name === "time_us") continue;
      const column = (this.columns[name] ??= Array(length).fill(null));
      column.push(body.values[name] ?? null);
    }
    if (!document.hidden) this.build();
  }
}
