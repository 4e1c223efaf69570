// Runs before the first paint, so that a dark page never flashes white.
(() => {
  let word = null;
  try { word = localStorage.getItem("theme"); } catch { /* private mode */ }
  const dark = word === "dark" || (word !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
