// Telling a story: words as they come, a calm sign in between, and a gentle word when there is no story.

import { PageError, tell } from "./api.js";
import { byId, ideaButton, shuffled } from "./dom.js";
import { ReadAloud } from "./reading.js";
import { TaleText } from "./tale.js";

const THINKING = "I am thinking of a beginning…";
const GOING_ON = "And then?";
const PAUSING = "Let me think…";
const OTHER_IDEAS = 3;

/**
 * Set up the story's side.
 * @param {{text: string, picture: string}[]} ideas Sentences to offer when a story does not work out.
 * @param {() => void} onAnother Called when the child wants to ask for another story.
 * @returns {(wish: object) => void} Tells what the child asks for.
 */
export function setUpStory(ideas, onAnother) {
  const tale = new TaleText(byId("tale"));
  const reading = new ReadAloud(tale, showReading);
  let lastWish = null;
  let abort = null; // of the tale that is being told

  async function start(wish) {
    stopTelling();
    const mine = (abort = new AbortController());
    lastWish = wish;
    reading.stop();
    reading.update({ finished: false });
    tale.clear();
    byId("story-title").textContent = "Your story";
    byId("gentle").hidden = byId("the-end").hidden = byId("no-voice").hidden = true;
    byId("again").disabled = byId("print").disabled = byId("read").disabled = true;
    showTools(true);
    wait(THINKING);
    let ended = false;
    try {
      for await (const [type, data] of tell(wish, mine.signal)) {
        if (mine !== abort) return;
        ended = handle(type, data) || ended;
      }
      if (!ended) throw new PageError(0);
    } catch (error) {
      if (mine !== abort || error.name === "AbortError") return;
      tale.retract(0);
      apologize(wordsFor(error), { again: true });
    }
    if (mine === abort) abort = null;
  }

  function stopTelling() {
    abort?.abort();
    abort = null;
  }

  /** Show one event; returns whether the tale has ended with it. */
  function handle(type, data) {
    switch (type) {
      case "title":
        byId("story-title").textContent = data.title;
        break;
      case "text":
        tale.append(data.text, data.start);
        byId("read").disabled = false;
        wait(GOING_ON);
        reading.update({ finished: false });
        break;
      case "pause":
        wait(PAUSING);
        break;
      case "retraction":
        tale.retract(data.start);
        reading.stop();
        break;
      case "refusal":
        apologize(data.message);
        break;
      case "trouble":
        apologize("Oh, I have lost the thread, so I put this story away. Shall I try again, or is there another idea?", { again: true });
        return true;
      case "done":
        if (data.released) finish();
        return true;
    }
    return false;
  }

  function wait(words) {
    byId("waiting").hidden = false;
    byId("waiting-words").textContent = words;
    // A screen reader hears what is new in the log; until there is something, it is busy.
    byId("tale").setAttribute("aria-busy", String(!tale.sentences.length));
    byId("status").textContent = words === GOING_ON ? "" : words;
  }

  function finish() {
    stopWaiting("The end.");
    byId("the-end").hidden = false;
    byId("print").disabled = false;
  }

  /** Say that there is no story; `again` if the same wish may work out the next time. */
  function apologize(words, { again = false } = {}) {
    stopWaiting(words);
    reading.stop();
    showTools(false);
    byId("again").hidden = !again;
    byId("story-title").textContent = "Another idea?";
    byId("gentle-words").textContent = words;
    byId("other-ideas").replaceChildren(
      ...shuffled(ideas).slice(0, OTHER_IDEAS).map((idea) => ideaButton(idea, () => { begin({ sentence: idea.text }); })),
    );
    byId("gentle").hidden = false;
  }

  function stopWaiting(words) {
    byId("waiting").hidden = true;
    byId("tale").setAttribute("aria-busy", "false");
    byId("status").textContent = words;
    byId("again").disabled = false;
    reading.update({ finished: true });
  }

  function showTools(shown) {
    byId("reading").hidden = !shown || !reading.possible;
    byId("again").hidden = byId("print").hidden = !shown;
  }

  function showReading() {
    const active = reading.state !== "silent";
    const paused = reading.state === "paused";
    byId("read").hidden = active && !paused;
    byId("read").lastElementChild.textContent = paused ? "Go on" : "Read to me";
    byId("pause").hidden = !active || paused;
    byId("stop-reading").hidden = !active;
  }

  /** Move the focus along when the button that has it goes away. */
  function pressed(id, action) {
    byId(id).addEventListener("click", () => {
      action();
      if (byId(id).hidden) (byId("pause").hidden ? byId("read") : byId("pause")).focus();
    });
  }

  pressed("read", () => { byId("no-voice").hidden = reading.start(); });
  pressed("pause", () => reading.pause());
  pressed("stop-reading", () => reading.stop());
  byId("speed").addEventListener("change", (event) => reading.setRate(Number(event.target.value)));
  byId("again").addEventListener("click", () => begin(lastWish));
  byId("print").addEventListener("click", () => print());
  byId("another").addEventListener("click", () => {
    stopTelling();
    reading.stop();
    onAnother();
  });
  // Some browsers load their voices only when they are asked for, and go on speaking when the page is left.
  if (reading.possible) {
    speechSynthesis.getVoices();
    addEventListener("pagehide", () => reading.stop());
  }

  function begin(wish) {
    start(wish);
    byId("story-title").focus();
  }
  return { begin, quiet: () => reading.pause(), started: () => lastWish !== null };
}

function wordsFor(error) {
  if (error.status === 429) {
    const wait = error.retryAfter ? `In ${error.retryAfter} seconds` : "In a little while";
    return `Let us take a deep breath. ${wait} I can tell you another story.`;
  }
  if (error.status === 400) return "I did not quite understand that. Shall we try another idea?";
  if (error.status === 0) return "I cannot hear you just now, so I put this story away. Shall I try again?";
  return "Something is not working today. Please ask a grown-up, or try again in a little while.";
}
