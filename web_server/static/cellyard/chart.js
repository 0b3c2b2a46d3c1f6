// The chart of one experiment on uPlot: window, zoom, pan, series, shaded steps, events as marks; state in the URL.
// The server sends few points that keep every minimum and maximum; a row of nulls is a gap. New samples are added
// at the end while the window follows the experiment.
import { el } from "./dom.js";
import { duration, quantity } from "./numbers.js";

const POINTS = 1600;
// With more rows than this the window is fetched again, thinned by the server.
const ROWS_KEPT = 8000;
const FETCH_MS = 180;
// Distances of the time axis' marks: whole seconds, minutes, hours, days.
const TICKS = [0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000, 2592000, 8640000];
const SHADED_MAX = 120;
const KNOWN = { voltage_v: ["Voltage", "V", "--cy-voltage"], current_a: ["Current", "A", "--cy-current"], temperature_c: ["Temperature", "°C", "--cy-temperature"], power_w: ["Power", "W", "--cy-power"] };
// Further series: Okabe and Ito's colours, which colour-blind eyes tell apart.
const FURTHER = ["#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#d55e00", "#0072b2"];
const NO_SERIES = new Set(["seq", "time_us", "elapsed_s", "step", "step_count", "cycle", "mode", "charge_in_ah", "charge_out_ah", "energy_in_wh", "energy_out_wh", "flags"]);
const unitOf = (name) => KNOWN[name]?.[1] ?? { v: "V", a: "A", w: "W", c: "°C", ah: "Ah", wh: "Wh", ohm: "Ω", pa: "Pa", hz: "Hz", percent: "%" }[name.split("_").at(-1)] ?? "";
const css = (name) => (name.startsWith("--") ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : name);

export class Chart {
  constructor(root, { address, final, marks }) {
    Object.assign(this, { root, address, final, marks });
    this.box = root.querySelector(".chart");
    this.note = root.querySelector("[data-chart-empty]");
    this.caption = root.querySelector("[data-mark]");
    this.usual = this.caption.textContent;
    this.columns = null;
    this.base = null;
    this.fromUrl();
    this.tools();
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(() => this.build()));
    this.load();
  }

  fromUrl() {
    const query = new URLSearchParams(location.search);
    this.window = query.get("window") ?? "all";
    this.range = query.has("from") && query.has("to") ? [Number(query.get("from")), Number(query.get("to"))] : null;
    this.shown = new Set((query.get("series") ?? "voltage_v,current_a").split(",").filter(Boolean));
  }

  toUrl() {
    const query = new URLSearchParams(location.search);
    for (const name of ["window", "from", "to", "series"]) query.delete(name);
    if (this.window !== "all") query.set("window", this.window);
    if (this.range) { query.set("from", this.range[0].toFixed(2)); query.set("to", this.range[1].toFixed(2)); }
    const series = [...this.shown].join(",");
    if (series !== "voltage_v,current_a") query.set("series", series);
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
  }

  tools() {
    for (const button of this.root.querySelectorAll("[data-window]")) {
      button.onclick = () => { this.window = button.dataset.window; this.range = null; this.toUrl(); this.load(); };
    }
    this.root.querySelector("[data-zoom=out]").onclick = () => this.reset();
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  // The box grows with a legend of more lines (a phone); the picture keeps its height.
  size() { return { width: this.box.clientWidth, height: parseFloat(getComputedStyle(this.box).minHeight) - 34 }; }

  // The newest moment known, in seconds since the experiment began.
  get end() { return this.columns?.elapsed_s.at(-1) ?? 0; }

  query() {
    const query = new URLSearchParams({ points: POINTS });
    if (this.range) { query.set("from", Math.max(0, this.range[0])); query.set("to", this.range[1]); }
    else if (this.window !== "all") query.set("from", Math.max(0, (this.newest ?? this.end) - Number(this.window)));
    return query;
  }

  async load() {
    this.root.classList.add("busy");
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    try {
      if (this.newest === undefined && this.window !== "all" && !this.range) await this.findEnd(asked.signal);
      const answer = await fetch(`${this.address}?${this.query()}`, { signal: asked.signal, headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const body = await answer.json();
      this.columns = body.columns;
      this.seq = body.next_after;
      const first = body.columns.seq.findIndex((seq) => seq !== null);
      if (first >= 0) this.base = body.columns.time_us[first] / 1e6 - body.columns.elapsed_s[first];
      if (!this.range) this.newest = this.end;
      this.build();
    } catch (error) {
      if (error.name !== "AbortError" && !this.plot) this.say("The samples could not be read just now.");
    } finally {
      if (asked === this.asked) this.root.classList.remove("busy");
    }
  }

  async findEnd(signal) {
    const answer = await fetch(`${this.address}?points=2`, { signal });
    this.newest = (await answer.json()).columns.elapsed_s.at(-1) ?? 0;
  }

  say(text) {
    this.note.hidden = !text;
    this.note.textContent = text;
  }

  names() {
    const all = Object.keys(this.columns).filter((name) => !NO_SERIES.has(name));
    return [...Object.keys(KNOWN), ...all.filter((name) => !(name in KNOWN))].filter((name) => this.columns[name]?.some((value) => value !== null));
  }

  build() {
    for (const button of this.root.querySelectorAll("[data-window]")) button.classList.toggle("active", !this.range && button.dataset.window === this.window);
    if (!this.columns?.elapsed_s.length) {
      this.say(this.final ? "No samples were recorded." : "Nothing measured yet. The first sample appears here by itself.");
      return;
    }
    this.say("");
    const names = this.names();
    this.chips(names);
    const drawn = names.filter((name) => this.shown.has(name));
    const look = drawn.join() + css("--cy-voltage");
    const data = [this.columns.elapsed_s, ...drawn.map((name) => this.columns[name])];
    if (this.plot && this.look === look) {
      this.plot.setData(data, false);
      this.scale();
      return;
    }
    this.look = look;
    this.drawn = drawn;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(drawn), data, this.box);
    this.scale();
  }

  scale() {
    const times = this.columns.elapsed_s;
    const max = this.range ? this.range[1] : Math.max(this.end, 1);
    const min = this.range ? this.range[0] : this.window === "all" ? Math.min(0, times[0]) : Math.max(0, max - Number(this.window));
    this.quiet = true;
    this.plot.setScale("x", { min, max: Math.max(max, min + 0.1) });
    this.quiet = false;
  }

  chips(names) {
    const place = this.root.querySelector("[data-series]");
    const key = names.join();
    if (place.dataset.names === key) return;
    place.dataset.names = key;
    place.replaceChildren(...names.map((name) => {
      const box = el("input", { type: "checkbox", class: "form-check-input m-0" });
      box.checked = this.shown.has(name);
      box.onchange = () => { if (box.checked) this.shown.add(name); else this.shown.delete(name); this.toUrl(); this.build(); };
      return el("label", { class: "chip", dataset: { name } }, box, KNOWN[name]?.[0] ?? name.replaceAll("_", " "));
    }));
  }

  options(drawn) {
    const line = css("--cy-line");
    const text = css("--cy-muted");
    const units = [...new Set(drawn.map(unitOf))];
    const axis = (unit, index) => ({
      scale: unit || "1", side: index % 2 ? 1 : 3, stroke: css(this.colour(drawn.find((name) => unitOf(name) === unit))), size: 62, grid: { show: index === 0, stroke: line, width: 1 }, ticks: { stroke: line, width: 1 },
      font: "12px system-ui", values: (plot, ticks) => ticks.map((value) => (value === null ? "" : this.label(value, unit, ticks))),
    });
    return {
      ...this.size(),
      padding: [10, units.length > 1 ? 0 : 16, 0, 0],
      cursor: { drag: { x: true, y: false, setScale: false }, focus: { prox: 24 } },
      select: { show: true },
      legend: { live: true },
      scales: { x: { time: false } },
      axes: [
        { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui", values: (plot, ticks) => ticks.map((value) => duration(Math.round(value * 10) / 10)), space: 90, incrs: TICKS },
        ...units.slice(0, 4).map(axis),
      ],
      series: [
        { label: "Time", value: (plot, value) => (value === null ? "–" : `${duration(Math.round(value * 10) / 10)}${this.base ? `, ${new Date((this.base + value) * 1000).toLocaleString()}` : ""}`) },
        ...drawn.map((name) => ({
          label: KNOWN[name]?.[0] ?? name.replaceAll("_", " "), scale: unitOf(name) || "1", stroke: css(this.colour(name)), width: 1.6, spanGaps: false,
          points: { show: false }, value: (plot, value) => quantity(value, unitOf(name)),
        })),
      ],
      hooks: {
        drawClear: [(plot) => this.shade(plot)], draw: [(plot) => this.flag(plot)], setSelect: [(plot) => this.select(plot)], setCursor: [(plot) => this.point(plot)],
        ready: [(plot) => plot.over.addEventListener("dblclick", () => this.reset())],
      },
    };
  }

  label(value, unit, ticks) {
    const step = Math.abs(ticks[1] - ticks[0]) || 1;
    const places = Math.max(0, Math.min(4, -Math.floor(Math.log10(step))));
    return `${value.toFixed(places).replace("-", "−")}${unit ? ` ${unit}` : ""}`;
  }

  colour(name) {
    if (KNOWN[name]) return KNOWN[name][2];
    const others = this.names().filter((other) => !KNOWN[other]);
    return FURTHER[others.indexOf(name) % FURTHER.length];
  }

  // Steps: every second entry of a step lies on a shade.
  shade(plot) {
    const counts = this.columns.step_count;
    const times = this.columns.elapsed_s;
    if (!counts) return;
    const { left, top, width, height } = plot.bbox;
    const spans = [];
    let begin = 0;
    for (let i = 1; i <= counts.length; i += 1) {
      if (i < counts.length && (counts[i] === counts[begin] || counts[i] === null)) continue;
      spans.push([times[begin], times[Math.min(i, counts.length - 1)], counts[begin]]);
      begin = i;
    }
    if (spans.length > SHADED_MAX) return;
    plot.ctx.save();
    plot.ctx.fillStyle = css("--cy-soft");
    for (const [from, to, count] of spans) {
      if (count === null || count % 2) continue;
      const a = Math.max(left, plot.valToPos(from, "x", true));
      const b = Math.min(left + width, plot.valToPos(to, "x", true));
      if (b > a) plot.ctx.fillRect(a, top, b - a, height);
    }
    plot.ctx.restore();
  }

  // Events: a dashed line each, with a foot in the colour of its kind.
  flag(plot) {
    if (!this.base) return;
    const { left, top, width, height } = plot.bbox;
    this.flags = [];
    plot.ctx.save();
    plot.ctx.lineWidth = devicePixelRatio;
    plot.ctx.setLineDash([3 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const mark of this.marks()) {
      const x = plot.valToPos(mark.at - this.base, "x", true);
      if (x < left - 1 || x > left + width + 1) continue;
      plot.ctx.strokeStyle = plot.ctx.fillStyle = css(mark.kind === "alarm" ? "--cy-error" : mark.kind === "note" ? "--cy-power" : "--cy-muted");
      plot.ctx.globalAlpha = 0.75;
      plot.ctx.beginPath();
      plot.ctx.moveTo(x, top);
      plot.ctx.lineTo(x, top + height);
      plot.ctx.stroke();
      plot.ctx.fillRect(x - 3 * devicePixelRatio, top + height - 6 * devicePixelRatio, 6 * devicePixelRatio, 6 * devicePixelRatio);
      this.flags.push([x / devicePixelRatio - plot.bbox.left / devicePixelRatio, mark]);
    }
    plot.ctx.restore();
  }

  point(plot) {
    const { left, idx } = plot.cursor;
    const near = left >= 0 && this.flags?.filter(([x]) => Math.abs(x - left) < 7).map(([, mark]) => mark.text);
    const step = idx !== null && idx !== undefined ? this.columns.step?.[idx] : null;
    if (near?.length) this.caption.textContent = near.slice(0, 3).join(" · ");
    else if (step) this.caption.textContent = `Step ${step}${this.columns.cycle?.[idx] ? `, cycle ${this.columns.cycle[idx]}` : ""}${this.columns.mode?.[idx] ? `, ${this.columns.mode[idx]}` : ""}`;
    else this.caption.textContent = this.usual;
  }

  select(plot) {
    if (plot.select.width < 4) return;
    this.zoom(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x"));
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  }

  zoom(from, to) {
    if (!(to - from > 0.05)) return;
    this.range = [Math.max(0, from), to];
    this.scale();
    this.toUrl();
    for (const button of this.root.querySelectorAll("[data-window]")) button.classList.remove("active");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), FETCH_MS);
  }

  reset() {
    this.range = null;
    this.window = "all";
    this.toUrl();
    this.load();
  }

  get view() { return [this.plot.scales.x.min, this.plot.scales.x.max]; }

  wheel(event) {
    if (!event.ctrlKey || !this.plot) return;
    event.preventDefault();
    const [min, max] = this.view;
    const at = this.plot.posToVal(event.clientX - this.plot.over.getBoundingClientRect().left, "x");
    const by = event.deltaY < 0 ? 0.8 : 1.25;
    this.zoom(at - (at - min) * by, at + (max - at) * by);
  }

  key(event) {
    if (!this.plot || event.ctrlKey || event.altKey || event.metaKey) return;
    const [min, max] = this.view;
    const width = max - min;
    const acts = {
      ArrowLeft: () => { const by = Math.min(width / 5, min); this.zoom(min - by, max - by); },
      ArrowRight: () => this.zoom(min + width / 5, max + width / 5),
      "+": () => this.zoom(min + width * 0.1, max - width * 0.1),
      "-": () => this.zoom(min - width * 0.125, max + width * 0.125),
      0: () => this.reset(),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    acts[event.key]();
  }

  // New samples of the stream: added at the end while the window follows.
  extend(columns) {
    const fresh = columns.seq.map((seq, index) => index).filter((index) => columns.seq[index] > (this.seq ?? 0));
    if (!fresh.length) return;
    this.seq = columns.seq[fresh.at(-1)];
    this.newest = columns.elapsed_s[fresh.at(-1)];
    if (this.range) return;
    if (!this.columns?.elapsed_s.length || this.columns.elapsed_s.length > ROWS_KEPT) { this.load(); return; }
    const gap = columns.elapsed_s[fresh[0]] - this.end;
    const usual = Math.max(60, 20 * this.spacing());
    const length = this.columns.elapsed_s.length;
    for (const name of new Set([...Object.keys(this.columns), ...Object.keys(columns)])) {
      const column = (this.columns[name] ??= Array(length).fill(null));
      if (gap > usual) column.push(name === "elapsed_s" ? this.newest - gap / 2 : null);
      for (const index of fresh) column.push(columns[name]?.[index] ?? null);
    }
    if (!this.base) this.base = columns.time_us[fresh[0]] / 1e6 - columns.elapsed_s[fresh[0]];
    if (document.hidden || this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.build(); });
  }

  spacing() {
    const times = this.columns.elapsed_s;
    return times.length > 1 ? (times.at(-1) - times[0]) / (times.length - 1) : 1;
  }

  redraw() { this.plot?.redraw(false); }
}
