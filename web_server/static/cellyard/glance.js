// The line on top of every page stays true: on live pages the stream's news fetch it, on others it is asked for now and
// then while the page is seen. An answer that does not come shows the banner of a lost connection.
const ASK_MS = 10000;
const line = () => document.getElementById("glance");
const banner = document.getElementById("lost");
let heard = Date.now();

export function counts() {
  const told = line()?.querySelector("[data-alarms]")?.dataset;
  if (!told) return;
  for (const badge of document.querySelectorAll("[data-badge]")) {
    const count = Number(told[badge.dataset.badge] ?? 0);
    badge.textContent = String(count);
    badge.hidden = count === 0;
  }
}

async function ask() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/monitor/glance/", { signal: AbortSignal.timeout(4000), headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = await answer.text();
    line().replaceChildren(fresh.content);
    heard = Date.now();
    banner.hidden = true;
    counts();
  } catch {
    document.getElementById("lost-since").textContent = new Date(heard).toLocaleTimeString();
    banner.hidden = false;
  }
}

export function start() {
  document.addEventListener("htmx:oobAfterSwap", counts);
  if (!line() || document.querySelector("[data-monitor], [data-experiment]")) return;
  setInterval(ask, ASK_MS);
  document.addEventListener("visibilitychange", ask);
}
