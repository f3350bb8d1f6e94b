// Runs before the first paint, so that a dark page does not flash white. Theme: kept on this device; "system" removes
// the attribute, and color-scheme follows the machine. Language: a cookie, since the server writes the page.
(() => {
  const themes = ["system", "light", "dark"];
  const root = document.documentElement;
  let theme = "system";
  try {
    theme = localStorage.getItem("maru.theme") ?? "system";
  } catch {
    // Storage may be forbidden; then every page begins as the system is.
  }

  function show() {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    // The browser's own frame: by the machine, or always the colour that was chosen.
    for (const meta of document.querySelectorAll("meta[name=theme-color]")) {
      const { scheme } = meta.dataset;
      meta.media = theme === "system" ? `(prefers-color-scheme: ${scheme})` : theme === scheme ? "all" : "not all";
    }
    for (const button of document.querySelectorAll("[data-theme-next]")) {
      button.title = button.dataset[theme] ?? "";
      button.setAttribute("aria-label", button.title);
    }
  }

  function choose(wanted) {
    theme = wanted;
    try {
      localStorage.setItem("maru.theme", theme);
    } catch {
      // Good for this page at least.
    }
    show();
  }

  function speak(language) {
    document.cookie = `maru_language=${language}; path=/; max-age=31536000; samesite=lax`;
    location.reload();
  }

  show();
  document.addEventListener("DOMContentLoaded", show);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-next], [data-language]");
    if (button?.dataset.language) speak(button.dataset.language);
    else if (button) choose(themes[(themes.indexOf(theme) + 1) % themes.length]);
  });
  document.addEventListener("change", ({ target }) => target.name === "theme" && choose(target.value));
})();
