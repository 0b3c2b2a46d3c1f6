// The profile editor: steps, the profile's own rules, the finish, and the text form; checked while typing.
// The <textarea name="definition"> holds the profile as JSON and is what the form sends; without scripts it is
// edited as it is. `mount(root)` works on any element made by templates/profiles/editor.html.
import { el, icon, post } from "./dom.js";
import { duration, setting } from "./numbers.js";
import { inputs } from "./step_fields.js";
import { KINDS, WHOLE } from "./step_kinds.js";
import { StepList } from "./step_list.js";
import { walk } from "./step_tree.js";

const CHECK_MS = 350;
const UNDO_KEPT = 100;

export class Editor {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(`[data-part="${name}"]`);
    this.area = root.querySelector("textarea[name=definition]");
    this.profile = this.parse(this.area.value);
    this.past = [];
    const options = { before: (what, said) => this.keep(what, said), changed: () => this.changed() };
    this.steps = new StepList(this.find("steps"), { ...options, root: () => this.profile.steps, offset: () => 0 });
    this.finish = new StepList(this.find("finish"), { ...options, root: () => (this.profile.finish ??= []), offset: () => walk(this.profile.steps, () => {}) });
    for (const [name, list] of [["add", this.steps], ["add-finish", this.finish]]) this.find(name).append(...this.adders(list));
    this.find("undo").onclick = () => this.undo();
    document.addEventListener("keydown", (event) => this.key(event));
    // What is typed into a field becomes one undo point when the field is left.
    root.addEventListener("focusin", () => { this.before = JSON.stringify(this.profile); });
    root.addEventListener("change", () => {
      if (!this.before || this.before === JSON.stringify(this.profile)) return;
      this.point(this.before);
      this.before = JSON.stringify(this.profile);
    });
    this.text();
    this.draw();
    this.check();
  }

  parse(text) {
    try {
      const profile = JSON.parse(text || "{}");
      profile.steps ??= [];
      return profile;
    } catch {
      return { steps: [] };
    }
  }

  adders(list) {
    return Object.entries(KINDS).filter(([, kind]) => !kind.later).map(([name, kind]) => el("button", { type: "button", class: "btn btn-sm", title: kind.label, dataset: { add: name }, onclick: () => list.add(name) }, icon("plus"), kind.short));
  }

  draw() {
    this.steps.draw();
    this.finish.draw();
    this.find("whole").replaceChildren(...Object.entries(WHOLE).map(([name, fields]) => el("fieldset", { class: "section" }, el("legend", {}, name), inputs(this.profile, fields, () => this.changed()))));
    this.find("empty").hidden = this.profile.steps.length > 0;
  }

  // An undo point: the profile as it is before something is done to it.
  keep(what, said = false) {
    this.point(JSON.stringify(this.profile));
    const note = this.find("undone");
    note.replaceChildren();
    if (said) note.append(`${what}. `, el("button", { type: "button", class: "btn btn-sm", onclick: () => this.undo() }, icon("arrow-back-up"), "Undo"));
  }

  point(profile) {
    this.past.push(profile);
    if (this.past.length > UNDO_KEPT) this.past.shift();
    this.find("undo").disabled = false;
  }

  undo() {
    const last = this.past.pop();
    if (last === undefined) return;
    this.profile = JSON.parse(last);
    this.find("undo").disabled = !this.past.length;
    this.find("undone").replaceChildren();
    this.draw();
    this.changed();
    this.before = null;
    if (document.activeElement === document.body) (this.past.length ? this.find("undo") : this.root.querySelector(".open"))?.focus();
  }

  key(event) {
    if (!(event.ctrlKey || event.metaKey) || event.key !== "z" || event.target.matches("input, textarea")) return;
    event.preventDefault();
    this.undo();
  }

  changed() {
    if (this.profile.finish && !this.profile.finish.length) delete this.profile.finish;
    this.area.value = JSON.stringify(this.profile, null, 1);
    this.area.dispatchEvent(new Event("input", { bubbles: true }));
    this.find("empty").hidden = this.profile.steps.length > 0;
    this.textIsOld = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.check(), CHECK_MS);
  }

  context() {
    const form = this.area.form;
      const pick = (name) => { const value = form?.elements[name]?.value; return value && value !== "any" ? value : undefined; };
    return { battery: this.root.dataset.battery || (form?.dataset.context ? pick("battery") : undefined), station: this.root.dataset.station || (form?.dataset.context ? pick("station") : undefined) };
  }

  async check() {
    this.asked?.abort();
    this.asked = new AbortController();
    const name = this.area.form?.elements[this.area.dataset.nameField ?? "name"]?.value || "New profile";
    try {
      const answer = await post("/profiles/check/", { definition: { ...this.profile, name }, ...this.context() }, this.asked.signal);
      if (answer.body) this.judge(answer.body);
    } catch (error) {
      if (error.name !== "AbortError") this.find("verdict").replaceChildren(el("div", { class: "note note-warning" }, icon("wifi-off"), el("div", {}, "Not checked: no connection. What you wrote stays here.")));
    }
  }

  judge({ errors = [], warnings = [], summary = null }) {
    const asProblem = (problem) => (typeof problem === "string" ? { message: problem } : problem);
    const all = [...errors.map(asProblem), ...warnings.map((warning) => ({ ...asProblem(warning), warning: true }))];
    this.steps.show(all);
    this.finish.show(all);
    const line = (problem) => el("li", {}, problem.step ? el("button", { type: "button", class: "btn btn-link p-0 align-baseline", onclick: () => this.goTo(problem.step) }, `Step ${problem.step}`) : null, problem.step ? ": " : null, problem.message);
    const verdict = this.find("verdict");
    verdict.dataset.valid = String(!errors.length);
    const wrong = all.filter((problem) => !problem.warning);
    const doubts = all.filter((problem) => problem.warning);
    const notes = [];
    if (wrong.length) notes.push(el("div", { class: "note note-error" }, icon("alert-octagon"), el("div", {}, el("p", {}, el("b", {}, wrong.length === 1 ? "One thing to put right" : `${wrong.length} things to put right`)), el("ul", { class: "mb-0 ps-3" }, ...wrong.map(line)))));
    else notes.push(el("div", { class: "note note-success" }, icon("circle-check"), el("div", {}, this.summary(summary))));
    if (doubts.length) notes.push(el("div", { class: "note note-warning" }, icon("info-circle"), el("div", {}, el("ul", { class: "mb-0 ps-3" }, ...doubts.map(line)))));
    verdict.replaceChildren(...notes);
    this.root.dispatchEvent(new CustomEvent("checked", { detail: { valid: !errors.length }, bubbles: true }));
  }

  summary(summary) {
    const parts = ["All right."];
    const range = (low, high, unit) => (low === null || low === undefined) && (high === null || high === undefined) ? null : low === high ? setting(low, unit) : `${setting(low, unit)} to ${setting(high, unit)}`;
    if (summary) parts.push([range(summary.voltage_min_v, summary.voltage_max_v, "V"), range(summary.current_min_a, summary.current_max_a, "A"), summary.duration_max_s ? `at most ${duration(summary.duration_max_s)}` : null].filter(Boolean).join(" · "));
    return parts.join(" ");
  }

  goTo(number) {
    this.tab("steps");
    const item = this.root.querySelector(`.cy-step[data-number="${number}"]`);
    const opener = item?.querySelector(".open");
    if (!opener) return;
    if (opener.getAttribute("aria-expanded") === "false") opener.click();
    const again = this.root.querySelector(`.cy-step[data-number="${number}"]`);
    again.scrollIntoView({ block: "center" });
    again.querySelector("[aria-invalid=true], .open").focus();
  }

  tab(name) {
    for (const button of this.root.querySelectorAll("[data-tab]")) {
      const on = button.dataset.tab === name;
      button.classList.toggle("active", on);
      button.setAttribute("aria-selected", String(on));
      this.root.querySelector(`[data-panel="${button.dataset.tab}"]`).hidden = !on;
    }
    if (name === "text") this.writeText();
  }

  text() {
    for (const button of this.root.querySelectorAll("[data-tab]")) button.onclick = () => this.tab(button.dataset.tab);
    this.typed = this.find("text");
    this.textIsOld = true;
    this.typed.oninput = () => { this.textIsOld = false; clearTimeout(this.parsing); this.parsing = setTimeout(() => this.readText(this.typed.value), CHECK_MS); };
    this.find("upload").onchange = async (event) => {
      const [file] = event.target.files;
      if (file) this.take(await file.text(), file.name);
      event.target.value = "";
    };
  }

  async writeText() {
    if (!this.textIsOld) return;
    // What is typed into the old text would be lost, or mixed with the new one.
    this.typed.readOnly = true;
    const { body } = await post("/profiles/convert/", { definition: { ...this.profile, name: this.profile.name || "New profile" } }).finally(() => (this.typed.readOnly = false));
    // Somebody typed or uploaded a text meanwhile: theirs stays.
    if (!this.textIsOld) return;
    this.find("text-why").textContent = body?.why_not ? `As text it would lose something: ${body.why_not}` : "";
    this.typed.value = body?.text ?? "";
    this.textIsOld = false;
  }

  // Text becomes steps as soon as all of its lines can be read; until then each error names its line.
  async readText(text) {
    const { body } = await post("/profiles/convert/", { text });
    const problems = body?.errors ?? [];
    this.find("text-why").replaceChildren(...problems.map((problem) => el("p", { class: "wrong mb-1" }, icon("alert-triangle"), ` ${problem.line ? `Line ${problem.line}: ` : ""}${problem.message}`)));
    if (!body?.definition) return false;
    this.keep("Text read");
    this.profile = { ...this.profile, steps: body.definition.steps };
    this.draw();
    this.changed();
    this.textIsOld = false;
    return true;
  }

  // An uploaded file: a profile as JSON, or the text form.
  async take(text, name) {
    let profile = null;
    try { profile = JSON.parse(text); } catch { /* then it is text */ }
    if (profile && typeof profile === "object") {
      this.keep(`Loaded ${name}`, true);
      this.profile = Array.isArray(profile) ? { steps: profile } : { steps: [], ...profile };
      const field = this.area.form?.elements[this.area.dataset.nameField ?? "name"];
      if (field && !field.value) field.value = this.profile.name || name.replace(/\.\w+$/, "");
      this.draw();
      this.changed();
      this.tab("steps");
      return;
    }
    this.textIsOld = false;
    this.typed.value = text;
    this.tab("text");
    this.readText(text);
  }
}

for (const root of document.querySelectorAll("[data-editor]")) {
  const start = () => { if (!root.editor) root.editor = new Editor(root); };
  if (root.closest("[hidden]")) root.addEventListener("show", start, { once: true });
  else start();
}
