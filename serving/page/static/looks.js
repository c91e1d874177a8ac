// How the page looks: size of letters, spacing, day or night. Remembered in the browser; nothing else is.

import { byId } from "./dom.js";

const KEY = "taleward-looks";
const SIZES = [null, "larger", "largest"];

export function setUpLooks() {
  const root = document.documentElement;
  let looks = {};
  try {
    looks = JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    // Storage is off: the looks last until the page is closed.
  }
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isNight = () => (root.dataset.theme ?? (prefersDark.matches ? "night" : "day")) === "night";

  function apply() {
    for (const [name, value] of [["letters", looks.letters], ["spacing", looks.spacing], ["theme", looks.theme]]) {
      if (value) root.dataset[name] = value;
      else delete root.dataset[name];
    }
    const size = Math.max(0, SIZES.indexOf(looks.letters ?? null));
    byId("smaller").disabled = size === 0;
    byId("larger").disabled = size === SIZES.length - 1;
    byId("spacing").setAttribute("aria-pressed", String(looks.spacing === "wide"));
    byId("night").setAttribute("aria-pressed", String(isNight()));
  }

  function change(name, value) {
    looks[name] = value;
    try {
      localStorage.setItem(KEY, JSON.stringify(looks));
    } catch {
      // As above.
    }
    apply();
  }

  const resize = (step) => () => change("letters", SIZES[SIZES.indexOf(looks.letters ?? null) + step] ?? null);
  byId("smaller").addEventListener("click", resize(-1));
  byId("larger").addEventListener("click", resize(1));
  byId("spacing").addEventListener("click", () => change("spacing", looks.spacing === "wide" ? null : "wide"));
  byId("night").addEventListener("click", () => change("theme", isNight() ? "day" : "night"));
  prefersDark.addEventListener("change", apply);
  apply();
}
