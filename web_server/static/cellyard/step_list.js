// The editable list of steps: one row a step with its sentence, its tools and, when opened, its fields.
import { el, icon } from "./dom.js";
import { ends, inputs, read } from "./step_fields.js";
import { COMMON, KINDS } from "./step_kinds.js";
import * as tree from "./step_tree.js";
import { describe, direction, title } from "./step_words.js";

const MOVES = {
  up: ["arrow-up", "Move up (Alt+↑)", (root, path) => tree.move(root, path, -1)],
  down: ["arrow-down", "Move down (Alt+↓)", (root, path) => tree.move(root, path, 1)],
  out: ["indent-decrease", "Out of the group (Alt+←)", tree.outdent],
  in: ["indent-increase", "Into a group (Alt+→)", tree.indent],
  copy: ["copy", "Duplicate (Alt+D)", tree.duplicate],
};
const KEYS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "out", ArrowRight: "in", d: "copy", D: "copy" };

export class StepList {
  // `root()` gives the list to edit, `offset()` how many steps come before it; `before(what)` keeps an undo point.
  constructor(box, { root, offset, before, changed }) {
    Object.assign(this, { box, root, offset, before, changed });
    this.open = new Set();
    this.problems = new Map();
    this.rows = new Map();
    this.after = null;
  }

  draw(focus) {
    this.rows.clear();
    const build = (steps, path, depth, count) => el("ol", { class: "cy-steps" }, ...steps.map((step, index) => this.row(step, [...path, index], depth, count, build)));
    this.box.replaceChildren(build(this.root(), [], 0, { number: this.offset() }));
    this.mark();
    if (focus) this.rows.get(tree.at(this.root(), focus))?.opener.focus();
  }

  row(step, path, depth, count, build) {
    const number = (count.number += 1);
    const sentence = el("small", {}, describe(step));
    const name = el("b", {}, title(step));
    const opener = el("button", { type: "button", class: "open", "aria-expanded": String(this.open.has(step)), onclick: () => this.toggle(step, path), onkeydown: (event) => this.key(event, path) },
      name, el("span", { class: `kind-tag kind-${direction(step)}` }, KINDS[step.kind]?.short ?? step.kind), " ", sentence);
    const said = el("div", { hidden: true });
    const item = el("li", { class: "cy-step", dataset: { number, kind: step.kind } },
      el("div", { class: "row-line" }, el("span", { class: "nr" }, String(number)), opener, this.tools(step, path)), said);
    const refresh = () => { name.textContent = title(step); sentence.textContent = describe(step); this.changed(); };
    if (this.open.has(step)) item.append(this.body(step, refresh));
    if (step.kind === "group") item.append(step.steps.length ? build(step.steps, path, depth + 1, count) : el("p", { class: "form-hint ms-5 mb-2" }, "An empty group. Open it and add a step, or move one in with Alt+→."));
    this.rows.set(step, { item, opener, said, number });
    return item;
  }

  tools(step, path) {
    const button = ([name, [glyph, label, act]]) => el("button", { type: "button", "aria-label": `${label.replace(/ \(.*/, "")}: ${title(step)}`, title: label, dataset: { act: name }, disabled: name === "out" && path.length === 1, onclick: () => this.act(label, act, path) }, icon(glyph));
    return el("span", { class: "tools" }, ...Object.entries(MOVES).map(button),
      el("button", { type: "button", "aria-label": `Delete: ${title(step)}`, title: "Delete (Del)", dataset: { act: "delete" }, onclick: () => this.remove(path) }, icon("trash")));
  }

  body(step, refresh) {
    const kind = KINDS[step.kind];
    const used = COMMON.some((field) => read(step, field.path) !== undefined && !["label", "direction"].includes(field.path));
    const more = el("details", { class: "mt-3" }, el("summary", {}, "More: label, tags, recording, tighter limits …"), el("div", { class: "mt-2" }, inputs(step, COMMON, refresh)));
    more.open = used;
    return el("div", { class: "body" }, inputs(step, kind?.fields ?? [], refresh), ["group", "note"].includes(step.kind) ? null : ends(step, refresh, this.before), more);
  }

  toggle(step, path) {
    if (!this.open.delete(step)) this.open.add(step);
    this.after = step;
    this.draw(path);
  }

  key(event, path) {
    if (event.key === "Delete") { event.preventDefault(); this.remove(path); return; }
    const name = event.altKey && KEYS[event.key];
    if (!name) return;
    event.preventDefault();
    if (name === "out" && path.length === 1) return;
    this.act(MOVES[name][1], MOVES[name][2], path);
  }

  act(label, act, path) {
    this.before(label.replace(/ \(.*/, ""));
    const to = act(this.root(), path);
    this.draw(to ?? path);
    this.changed();
  }

  remove(path) {
    const step = tree.at(this.root(), path);
    this.before(`Deleted “${title(step)}”`, true);
    tree.remove(this.root(), path);
    const left = tree.listOf(this.root(), path).length;
    this.draw(left ? [...path.slice(0, -1), Math.min(path.at(-1), left - 1)] : null);
    this.changed();
  }

  // After the step that was opened last; into it when that is an open group.
  add(kind) {
    this.before("Add");
    const step = { kind, ...tree.clone(KINDS[kind].make) };
    let path = [this.root().length];
    tree.walk(this.root(), (other, number, where) => {
      if (other !== this.after || !this.open.has(other)) return;
      path = other.kind === "group" ? [...where, other.steps.length] : [...where.slice(0, -1), where.at(-1) + 1];
    });
    tree.insert(this.root(), path, step);
    this.open.add(step);
    this.after = step;
    this.draw(path);
    this.rows.get(step).item.querySelector(".body input, .body select, .body textarea")?.focus();
    this.changed();
  }

  // `problems`: [{step, field, message, warning}] of the check.
  show(problems) {
    this.problems = Map.groupBy ? Map.groupBy(problems, (problem) => problem.step) : problems.reduce((map, problem) => map.set(problem.step, [...(map.get(problem.step) ?? []), problem]), new Map());
    this.mark();
  }

  mark() {
    for (const { item, said, number } of this.rows.values()) {
      const mine = this.problems.get(number) ?? [];
      item.classList.toggle("wrong-step", mine.some((problem) => !problem.warning));
      said.hidden = !mine.length;
      said.replaceChildren(...mine.map((problem) => el("p", { class: `said${problem.warning ? " warn" : ""}` }, icon("alert-triangle"), ` ${problem.message}`)));
      for (const control of item.querySelectorAll(":scope > .body [data-path]")) {
        const wrong = mine.some((problem) => !problem.warning && (problem.field ?? "").endsWith(control.dataset.path));
        control.setAttribute("aria-invalid", String(wrong));
      }
    }
  }
}
