// Runs before the page is drawn, so that a chosen theme does not flash: no module for that reason.
(() => {
  const KEY = "clamp3.theme";
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function current() {
    return localStorage.getItem(KEY) ?? (dark.matches ? "dark" : "light");
  }

  function apply() {
    root.dataset.theme = current();
    const button = document.getElementById("theme");
    if (button) {
      button.setAttribute("aria-pressed", String(current() === "dark"));
    }
    document.dispatchEvent(new Event("themechange"));
  }

  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      localStorage.setItem(KEY, current() === "dark" ? "light" : "dark");
      apply();
    });
  });
})();
