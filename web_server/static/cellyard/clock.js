// Relative times stay true while the page is open; the exact time is in the title already.
import { relative } from "./numbers.js";

const TICK_MS = 5000;

export function tick(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const text = relative(Date.parse(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}

export function start() {
  tick();
  setInterval(() => document.hidden || tick(), TICK_MS);
  document.addEventListener("visibilitychange", () => document.hidden || tick());
}
