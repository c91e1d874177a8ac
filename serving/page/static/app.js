// The page: which side of it is shown, by the address after `#`.

import { call } from "./api.js";
import { setUpAsking } from "./ask.js";
import { byId } from "./dom.js";
import { setUpGrownUps } from "./grown-ups.js";
import { setUpLooks } from "./looks.js";
import { setUpStory } from "./story.js";

const SIDES = ["ask", "story", "grown-ups"];

function sideInAddress() {
  const name = location.hash.slice(1);
  return SIDES.includes(name) ? name : "ask";
}

async function main() {
  setUpLooks();
  let start;
  try {
    start = await call("GET", "page/start");
  } catch {
    byId("trouble").textContent = "The storyteller cannot be reached. Please try again in a little while.";
    byId("trouble").hidden = false;
    return;
  }
  const story = setUpStory(start.sentence.ideas, () => go("ask"));
  const grownUps = setUpGrownUps();
  setUpAsking(start, (wish) => {
    go("story");
    story.begin(wish);
  });

  function go(side) {
    if (sideInAddress() === side) show();
    else location.hash = side;
  }

  function show({ first = false } = {}) {
    let side = sideInAddress();
    if (side === "story" && !story.started()) side = first ? "ask" : side;
    for (const name of SIDES) byId(name).hidden = name !== side;
    document.body.dataset.side = side;
    byId("to-stories").hidden = side !== "grown-ups";
    byId("to-grown-ups").hidden = side === "grown-ups";
    if (side !== "story") story.quiet();
    if (side === "grown-ups") grownUps.show();
    else grownUps.hide();
    if (!first) {
      scrollTo(0, side === "ask" ? 0 : byId("main").offsetTop);
      byId(`${side}-title`).focus({ preventScroll: true });
    }
  }

  addEventListener("hashchange", () => {
    if (location.hash !== "#main") show();
  });
  byId("to-stories").addEventListener("click", (event) => {
    event.preventDefault();
    go(story.started() ? "story" : "ask");
  });
  show({ first: true });
}

main();
