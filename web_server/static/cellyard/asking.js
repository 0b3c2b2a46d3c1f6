// Destructive acts ask once, naming the thing: <form data-ask="Delete the profile X?" data-ask-yes="Delete">.
// Stop has no data-ask: it never asks.
export function start() {
  const dialog = document.getElementById("ask");
  if (!dialog) return;
  let asked = null;
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const button = event.submitter;
    const text = button?.dataset.ask ?? form.dataset.ask;
    if (!text || form === asked) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    document.getElementById("ask-text").textContent = text;
    document.getElementById("ask-yes").textContent = button?.dataset.askYes ?? form.dataset.askYes ?? "Yes";
    dialog.onclose = () => {
      if (dialog.returnValue !== "yes") return;
      asked = form;
      form.requestSubmit(button ?? undefined);
      asked = null;
    };
    dialog.returnValue = "no";
    dialog.showModal();
  }, true);
}
