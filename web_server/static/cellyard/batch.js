// One profile on many: pick those that fit, and know how many the button starts.
const form = document.getElementById("batch");
const boxes = () => [...form.querySelectorAll("input[name=batteries]")];

function count() {
  const picked = boxes().filter((box) => box.checked).length;
  form.querySelector("[data-picked]").textContent = `Start ${picked}`;
}

if (form) {
  form.addEventListener("click", (event) => {
    const how = event.target.closest("[data-pick]")?.dataset.pick;
    if (!how) return;
    for (const box of boxes()) box.checked = how === "all" || (how === "ok" && box.closest("tr").dataset.ok === "yes");
    count();
  });
  form.addEventListener("change", (event) => {
    count();
    // What was answered is about the profile and the names of then.
    if (event.target.name !== "batteries") document.getElementById("start").disabled = true;
  });
  count();
}
