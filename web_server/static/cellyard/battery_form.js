// Only the fields of the chosen technology are shown; the others stay in the form, so a change of mind loses nothing.
const technology = document.getElementById("id_technology");
const parts = document.querySelectorAll("[data-when]");
const choose = () => { for (const part of parts) part.hidden = part.dataset.when !== technology.value; };
technology.addEventListener("change", choose);
technology.form.addEventListener("input", choose);
choose();
