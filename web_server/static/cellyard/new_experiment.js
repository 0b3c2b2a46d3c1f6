// New experiment: after each choice the others are offered again as they fit; the editor opens when asked for.
import "./editor.js";

const form = document.getElementById("filing");
const written = document.getElementById("written-here");
const says = document.getElementById("filing-says");
const chosen = (name) => form.querySelector(`input[name=${name}]:checked`);
const CHOICES = ["battery", "station", "profile"];
let asked = "";
// What the person chose last: an answer that was asked for earlier must not undo it.
const kept = {};

function keep() {
  for (const name of CHOICES) kept[name] = chosen(name)?.value ?? "";
  if (form.elements.load) kept.load = form.elements.load.checked;
}

function restore() {
  for (const name of CHOICES) {
    const choice = [...form.querySelectorAll(`input[name=${name}]`)].find((input) => input.value === kept[name]);
    if (choice && !choice.disabled) choice.checked = true;
  }
  if (kept.load && form.elements.load) form.elements.load.checked = true;
}

async function refit() {
  const query = new URLSearchParams();
  for (const name of CHOICES) query.set(name, chosen(name)?.value ?? "");
  const key = `${query.get("battery")} ${query.get("station")}`;
  if (key === asked) return;
  asked = key;
  await htmx.ajax("GET", `${form.dataset.fits}?${query}`, { swap: "none" });
  restore();
  reveal();
  document.querySelector("[data-editor]")?.editor?.check();
}

function reveal() {
  const technology = chosen("battery")?.dataset.technology;
  for (const part of form.querySelectorAll("[data-when-technology]")) part.hidden = part.dataset.whenTechnology !== technology;
  const writing = chosen("profile")?.value === "new";
  if (written.hidden === writing) {
    written.hidden = !writing;
    if (writing) written.querySelector("[data-editor]").dispatchEvent(new Event("show"));
  }
  const left = CHOICES.filter((name) => !chosen(name));
  says.textContent = left.length ? `Still to choose: ${left.join(", ")}.` : "";
}

for (const field of document.querySelectorAll("[data-find]")) {
  field.addEventListener("input", (event) => {
    event.stopPropagation();
    const words = field.value.toLowerCase().split(/\s+/);
    for (const choice of document.querySelectorAll(`#${field.dataset.find} .choice`)) choice.hidden = !words.every((word) => choice.textContent.toLowerCase().includes(word));
  });
  field.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
}
form.addEventListener("input", () => { keep(); reveal(); refit(); });
keep();
reveal();
asked = `${chosen("battery")?.value ?? ""} ${chosen("station")?.value ?? ""}`;
