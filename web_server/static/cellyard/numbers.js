// Quantities as the server writes them (web_server/lib/numbers.py holds the rules and the reasons).
export const MISSING = "–";
const MINUS = "−";
const SMALL = 0.1;
const PLAIN = new Set(["°C", "%", "s", "Hz", "L/min", "mL/min", "K", "C", ""]);

function scaled(value, unit) {
  const size = Math.abs(value);
  if (PLAIN.has(unit) || size === 0) return [value, ""];
  if (size < SMALL / 1000) return [value * 1e6, "µ"];
  if (size < SMALL) return [value * 1e3, "m"];
  return size >= 10000 ? [value / 1e3, "k"] : [value, ""];
}

function places(number, unit, prefix) {
  const size = Math.abs(number);
  if (unit === "°C" || unit === "%" || unit === "K") return 1;
  if (prefix === "m" || prefix === "µ") return size >= 10 ? 1 : 2;
  if (unit === "V") return size < 10 ? 4 : size < 100 ? 3 : 2;
  return size < 10 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0;
}

export function quantity(value, unit = "") {
  if (value === null || value === undefined || !Number.isFinite(value)) return MISSING;
  let [number, prefix] = scaled(value, unit);
  // A count or a mask is whole.
  const digits = unit === "" && Number.isInteger(number) ? 0 : places(number, unit, prefix);
  let text = number.toFixed(digits);
  if (Number(text) === 0) {
    text = ["V", "A", "W"].includes(unit) ? (0).toFixed(Math.min(digits, 3)) : "0";
    prefix = "";
  }
  return `${text.replace("-", MINUS)} ${prefix}${unit}`.trimEnd();
}

// A number that somebody set: the digits it was given, no more.
export function setting(value, unit = "") {
  if (value === null || value === undefined || !Number.isFinite(value)) return MISSING;
  const [number, prefix] = scaled(value, unit);
  return `${String(Number(number.toPrecision(10))).replace("-", MINUS)} ${prefix}${unit}`.trimEnd();
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return MISSING;
  if (Math.abs(seconds) < 10 && seconds !== Math.round(seconds)) return `${(Math.round(seconds * 10) / 10 + 0).toFixed(1).replace("-", MINUS)} s`;
  let left = Math.round(Math.abs(seconds));
  const parts = [];
  for (const [size, word] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    parts.push([Math.floor(left / size), word]);
    left %= size;
  }
  let first = parts.findIndex(([count]) => count);
  if (first < 0) first = 3;
  const shown = parts.slice(first, first + 2).filter(([count]) => count).map(([count, word]) => `${count} ${word}`);
  return (seconds < 0 ? MINUS : "") + (shown.join(" ") || "0 s");
}

export function relative(then, now = Date.now()) {
  const away = (then - now) / 1000;
  if (Math.abs(away) < 5) return "now";
  let words = duration(Math.abs(away) < 60 ? Math.round(away) : Math.round(away / 60) * 60);
  if (Math.abs(away) > 172800) words = `${Math.round(Math.abs(away) / 86400)} d`;
  words = words.replace(MINUS, "");
  return away > 0 ? `in ${words}` : `${words} ago`;
}

// Put a quantity into a <data> element, so that copying it gives the plain SI number.
export function show(element, value, unit) {
  if (!element) return;
  element.textContent = quantity(value, unit);
  if (value === null || value === undefined) element.removeAttribute("value");
  else element.setAttribute("value", String(value));
  element.dataset.unit = unit;
}
