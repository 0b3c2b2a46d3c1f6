// New experiment: after each choice the others are offered again as they fit; the editor opens when asked for.
import "./editor.js";

const form = document.getElementById("filing");
const written = document.getElementById("written-here");
const says = document.getElementById("filing-says");
const chosen = (name) => form.querySelector(`input[name=${name}]:checked`);
let asked = "";

async function refit() {
  const query = new URLSearchParams();
  for (const name of ["battery", "station", "profile"]) query.set(name, chosen(name)?.value ?? "");
  const load = form.elements.load?.checked;
  const key = `${query.get("battery")} ${query.get("station")}`;
  if (key === asked) return;
  asked = key;
  await htmx.ajax("GET", `${form.dataset.fits}?${query}`, { swap: "none" });
  if (load && form.elements.load) form.elements.load.checked = true;
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
  const left = ["battery", "station", "profile"].filter((name) => !chosen(name));
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
form.addEventListener("input", () => { reveal(); refit(); });
reveal();
asked = `${chosen("battery")?.value ?? ""} ${chosen("station")?.value ?? ""}`;
