// Check the numbers of a form while they are typed (ui.md "Forms"); the server checks again, with all the rules.
const NUMBERS = 'form input[name][inputmode="decimal"], form input[name][inputmode="numeric"]';
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

function problem(input) {
  const text = input.value.trim();
  if (!text) return "";
  if (input.inputMode === "numeric") return /^[+-]?\d+$/.test(text) ? "" : "Write a whole number.";
  if (!NUMBER.test(text)) return text.includes(",") ? "Write decimals with a point, for example 4.2." : "Write a number, for example 4.2.";
  const above = partner(input, "_min_", "_max_");
  return above && NUMBER.test(above.value.trim()) && Number(text) >= Number(above.value) ? `This must be below “${label(above)}” (${above.value.trim()}).` : "";
}

const partner = (input, of, other) => input.name.includes(of) ? input.form.elements[input.name.replace(of, other)] : undefined;
const label = (input) => input.labels[0]?.firstChild.textContent.trim() ?? input.name;

function say(input) {
  const field = input.closest(".field");
  if (!field) return;
  const text = problem(input);
  // What the server said about the last text is not about this one.
  for (const said of field.querySelectorAll(".wrong")) said.remove();
  input.setAttribute("aria-invalid", String(text !== ""));
  if (!text) return;
  const said = document.createElement("p");
  said.className = "wrong";
  said.setAttribute("role", "status");
  said.textContent = text;
  (input.closest(".with-unit") ?? input).after(said);
}

export function start() {
  document.addEventListener("input", (event) => {
    const input = event.target;
    if (!input.matches?.(NUMBERS)) return;
    say(input);
    const below = partner(input, "_max_", "_min_");
    if (below?.value) say(below);
  });
}
