// Light or dark as the system says, before the first paint (a plain script in the head, so nothing flashes).
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.setAttribute("data-bs-theme", dark.matches ? "dark" : "light");
follow();
dark.addEventListener("change", follow);
document.documentElement.classList.add("js");
