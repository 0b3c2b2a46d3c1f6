// Copied numbers are plain SI: "0.0512 A", not "51.2 mA" (ui.md "Numbers").
function plain(fragment) {
  for (const element of fragment.querySelectorAll("data.num[value]")) {
    element.textContent = `${element.getAttribute("value")} ${element.dataset.unit ?? ""}`.trimEnd();
  }
  return fragment;
}

export function start() {
  document.addEventListener("copy", (event) => {
    const selection = getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return;
    const range = selection.getRangeAt(0);
    const inside = range.commonAncestorContainer.parentElement?.closest("data.num[value]");
    const fragment = range.cloneContents();
    if (!inside && !fragment.querySelector("data.num[value]")) return;
    const holder = document.createElement("div");
    if (inside) holder.append(plain(Object.assign(document.createElement("div"), { innerHTML: inside.outerHTML })));
    else holder.append(plain(fragment));
    for (const row of holder.querySelectorAll("tr")) row.append("\n");
    for (const cell of holder.querySelectorAll("td, th")) cell.append("\t");
    event.clipboardData.setData("text/plain", holder.textContent.trim());
    event.preventDefault();
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard?.writeText(document.getElementById(button.dataset.copy).textContent);
    button.lastChild.textContent = " Copied";
  });
}
