// Make elements without markup in strings: el("button", {class: "btn", onclick: f}, icon("plus"), "Add").
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const NS = "http://www.w3.org/2000/svg";
// The sprite's address is the one the page's own icons use (it may carry a hash).
const sprite = () => document.querySelector("svg.icon use")?.getAttribute("href").split("#")[0] ?? "";

export function icon(name) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(NS, "use");
  use.setAttribute("href", `${sprite()}#${name}`);
  svg.append(use);
  return svg;
}

export const csrf = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

// POST JSON to this site; the answer's JSON whatever its status, or null when the site is not reached.
export async function post(address, body, signal) {
  const answer = await fetch(address, {
    method: "POST", signal, credentials: "same-origin", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", "X-CSRFToken": csrf(), Accept: "application/json" },
  });
  return { ok: answer.ok, status: answer.status, body: await answer.json().catch(() => null) };
}
