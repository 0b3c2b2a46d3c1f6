// Inputs for the fields of a step or of the profile as a whole. Each writes into the part it belongs to and calls
// `changed()`. What cannot be read as a number stays as it was typed: the check then says what is wrong with it.
import { el, icon } from "./dom.js";
import { duration } from "./numbers.js";
import { QUANTITIES } from "./step_kinds.js";

export function read(part, path) {
  return path.split(".").reduce((inner, key) => inner?.[key], part);
}

export function write(part, path, value) {
  const keys = path.split(".");
  const last = keys.pop();
  const trail = [part];
  for (const key of keys) trail.push((trail.at(-1)[key] ??= {}));
  if (value === undefined) delete trail.at(-1)[last];
  else trail.at(-1)[last] = value;
  for (let i = keys.length; i > 0; i -= 1) if (!Object.keys(trail[i]).length) delete trail[i - 1][keys[i - 1]];
}

export function parseNumber(text) {
  const plain = text.trim().replace(",", ".").replace("−", "-");
  if (plain === "") return undefined;
  const number = Number(plain);
  return Number.isFinite(number) ? number : text.trim();
}

const FORMS = {
  number: { show: (value) => value ?? "", parse: parseNumber },
  text: { show: (value) => value ?? "", parse: (text) => text || undefined },
  words: { show: (value) => (value ?? []).join(", "), parse: (text) => { const all = text.split(",").map((word) => word.trim()).filter(Boolean); return all.length ? all : undefined; } },
  numbers: { show: (value) => (value ?? []).join(", "), parse: (text) => { const all = text.split(/[,;\s]+/).filter(Boolean).map(parseNumber); return all.length ? all : undefined; } },
  pairs: {
    show: (value) => Object.entries(value ?? {}).map(([key, amount]) => `${key}=${amount}`).join(", "),
    parse: (text) => { const all = text.split(",").map((pair) => pair.split("=")).filter(([key]) => key.trim()).map(([key, amount]) => [key.trim(), parseNumber(amount ?? "") ?? ""]); return all.length ? Object.fromEntries(all) : undefined; },
  },
  points: {
    show: (value) => (value ?? []).map((point) => point.join(", ")).join("\n"),
    parse: (text) => text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => line.split(/[,;\s]+/).map((word) => parseNumber(word) ?? "")),
  },
};

let serial = 0;

function hintOf(field, value) {
  if (field.unit === "s" && typeof value === "number" && Math.abs(value) >= 90) return `= ${duration(value)}`;
  return field.hint ?? "";
}

export function input(part, field, changed) {
  const id = `f${(serial += 1)}`;
  const hint = el("div", { class: "form-hint", id: `${id}-hint` }, hintOf(field, read(part, field.path)));
  const common = { id, "aria-describedby": `${id}-hint`, dataset: { path: field.path } };
  let control;
  if (field.type === "flag") {
    const now = read(part, field.path) ?? field.usual ?? false;
    control = el("input", { ...common, type: "checkbox", class: "form-check-input" });
    control.checked = now;
    control.onchange = () => { write(part, field.path, control.checked === (field.usual ?? false) ? undefined : control.checked); changed(); };
    return el("div", { class: "field" }, el("label", { class: "form-check mt-4", for: id }, control, el("span", { class: "form-check-label" }, field.label)));
  }
  if (field.type === "choice") {
    control = el("select", { ...common, class: "form-select" }, ...(field.usual ? [] : [el("option", { value: "" }, "")]), ...field.choices.map((name) => el("option", { value: name }, name)));
    control.value = read(part, field.path) ?? field.usual ?? "";
    control.onchange = () => { write(part, field.path, control.value === (field.usual ?? "") ? undefined : control.value); changed(); };
  } else if (field.type === "amount") {
    control = el("input", { ...common, class: "form-control", inputmode: "decimal" });
    control.value = read(part, field.other) ?? read(part, field.path) ?? "";
    control.oninput = () => {
      const rate = /[cd]/i.test(control.value);
      write(part, field.path, rate ? undefined : parseNumber(control.value));
      write(part, field.other, rate ? control.value.trim() : undefined);
      changed();
    };
  } else {
    const form = FORMS[field.type];
    control = field.type === "points" ? el("textarea", { ...common, class: "form-control code", rows: 5 })
      : el("input", { ...common, class: "form-control", inputmode: field.type === "number" ? "decimal" : undefined });
    control.value = form.show(read(part, field.path) ?? field.usual);
    control.oninput = () => {
      const value = form.parse(control.value);
      write(part, field.path, value === field.usual ? undefined : value);
      hint.textContent = hintOf(field, value);
      changed();
    };
  }
  control.setAttribute("autocomplete", "off");
  const unit = field.type === "amount" ? "A or C" : field.unit;
  const boxed = unit ? el("div", { class: "with-unit" }, control, el("span", {}, unit)) : control;
  return el("div", { class: `field${field.type === "points" ? " wide" : ""}` }, el("label", { class: "form-label", for: id }, field.label, field.required ? " *" : ""), boxed, hint);
}

export const inputs = (part, fields, changed) => el("div", { class: "fields" }, ...fields.map((field) => input(part, field, changed)));

const OPS = { auto: "reaches", above: "≥ at least", below: "≤ at most" };
const THENS = { next: "then the next step", exit_group: "then leave the group", stop: "then finish the test", fail: "then fail (alarm)", goto: "then go to …" };
const option = ([value, label]) => el("option", { value }, label);

function endRow(step, end, changed, redraw, before) {
  const known = QUANTITIES[end.quantity];
  const quantity = el("select", { class: "form-select", "aria-label": "Quantity" }, ...Object.entries(QUANTITIES).map(([key, [name]]) => option([key, name])), option(["", "another measure …"]));
  quantity.value = known ? end.quantity : "";
  quantity.onchange = () => { end.quantity = quantity.value; if (end.quantity === "time_s") end.op = "above"; changed(); redraw(); };
  const op = el("select", { class: "form-select", "aria-label": "Comparison" }, ...Object.entries(OPS).map(option));
  op.value = end.op ?? "auto";
  op.onchange = () => { write(end, "op", op.value === "auto" ? undefined : op.value); changed(); };
  const value = el("input", { class: "form-control", inputmode: "decimal", "aria-label": "Value", autocomplete: "off", dataset: { path: "value" } });
  value.value = end.value ?? "";
  const unit = el("span", {}, known ? known[1] : "");
  const hint = el("div", { class: "form-hint" }, end.quantity === "time_s" ? hintOf({ unit: "s" }, end.value) : "");
  value.oninput = () => { end.value = parseNumber(value.value); if (end.value === undefined) delete end.value; hint.textContent = end.quantity === "time_s" ? hintOf({ unit: "s" }, end.value) : ""; changed(); };
  const then = el("select", { class: "form-select", "aria-label": "What then" }, ...Object.entries(THENS).map(option));
  then.value = typeof end.then === "object" ? "goto" : end.then ?? "next";
  then.onchange = () => { write(end, "then", then.value === "next" ? undefined : then.value === "goto" ? { goto: "" } : then.value); changed(); redraw(); };
  const away = el("button", { type: "button", class: "btn btn-icon btn-ghost-danger", "aria-label": "Remove this end", onclick: () => { before("End removed"); step.end.splice(step.end.indexOf(end), 1); changed(); redraw(); } }, icon("x"));
  const more = el("details", {}, el("summary", { class: "form-hint" }, "Hold, delay, slope"), inputs(end, [
    { path: "hold_s", label: "Must hold for", unit: "s", type: "number" }, { path: "after_s", label: "Not before", unit: "s", type: "number" },
    { path: "over_s", label: "Slope over", unit: "s", type: "number" }, { path: "of", label: "Relative to result", type: "text" }], changed));
  more.open = ["hold_s", "after_s", "over_s", "of"].some((key) => end[key] !== undefined);
  const row = el("div", { class: "end-row" }, quantity, op, el("div", { class: "with-unit" }, value, unit), then, away);
  const extra = [];
  if (!known) extra.push(input(end, { path: "quantity", label: "Measure, as the station names it", type: "text" }, changed));
  if (typeof end.then === "object") extra.push(input(end, { path: "then.goto", label: "Label to go to", type: "text" }, changed));
  return el("div", {}, row, hint, ...extra, more);
}

export function ends(step, changed, before) {
  const box = el("div", { class: "ends" });
  const redraw = () => {
    box.replaceChildren(...(step.end ?? []).map((end) => endRow(step, end, changed, redraw, before)),
      el("div", {}, el("button", { type: "button", class: "btn btn-sm", onclick: () => { before("End added"); (step.end ??= []).push({ quantity: "time_s", op: "above", value: 3600 }); changed(); redraw(); } }, icon("plus"), "Add an end")));
  };
  redraw();
  return el("div", { class: "mt-3" }, el("div", { class: "form-label" }, "Ends: the first one met wins"), box);
}
