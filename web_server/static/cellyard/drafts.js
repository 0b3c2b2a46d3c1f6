// Nothing typed is ever lost, also by a session that ran out: forms with data-draft keep what was typed in this
// browser until they were sent and taken. Password fields and files are never kept.
const PREFIX = "cellyard.draft.";
const SAVE_MS = 300;

const fields = (form) => [...form.elements].filter(
  (field) => field.name && !["password", "file", "submit", "button", "hidden"].includes(field.type) && field.name !== "csrfmiddlewaretoken");

function collect(form) {
  const kept = {};
  for (const field of fields(form)) {
    if (field.type === "radio") { if (field.checked) kept[field.name] = field.value; }
    else if (field.type === "checkbox") (kept[field.name] ??= []).push(...(field.checked ? [field.value] : []));
    else if (field.multiple) kept[field.name] = [...field.selectedOptions].map((option) => option.value);
    else kept[field.name] = field.value;
  }
  return kept;
}

function restore(form, kept) {
  for (const field of fields(form)) {
    if (!(field.name in kept) || field.disabled) continue;
    const value = kept[field.name];
    if (field.type === "radio") field.checked = field.value === value;
    else if (field.type === "checkbox") field.checked = value.includes(field.value);
    else if (field.multiple) for (const option of field.options) option.selected = value.includes(option.value);
    else field.value = value;
  }
  form.dispatchEvent(new Event("input", { bubbles: true }));
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function watch(form) {
  const key = PREFIX + form.dataset.draft;
  const fresh = collect(form);
  const read = () => { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } };
  const kept = read();
  const note = form.querySelector("[data-draft-note]");
  // A form that came back with errors carries what was typed already.
  if (kept && !same(kept, fresh) && !form.hasAttribute("data-returned")) {
    restore(form, kept);
    if (note) note.hidden = false;
  }
  let timer;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const now = collect(form);
      if (same(now, fresh)) localStorage.removeItem(key);
      else localStorage.setItem(key, JSON.stringify(now));
    }, SAVE_MS);
  });
  form.querySelector("[data-draft-drop]")?.addEventListener("click", () => {
    clearTimeout(timer);
    localStorage.removeItem(key);
    // Editors and other parts draw from the fields when the page loads.
    location.reload();
  });
}

export function start() {
  // The page that follows a form the server took names the draft that is done with.
  for (const done of document.querySelectorAll("[data-draft-done]")) localStorage.removeItem(PREFIX + done.dataset.draftDone);
  for (const form of document.querySelectorAll("form[data-draft]")) watch(form);
}
