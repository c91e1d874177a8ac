// Reading aloud, sentence by sentence, with the sentence marked. Only voices of the device itself: others would send the
// words to somebody's server.

import { calm } from "./dom.js";

export class ReadAloud {
  /**
   * @param {TaleText} tale What is read.
   * @param {() => void} onChange Called when reading starts, pauses or ends.
   */
  constructor(tale, onChange) {
    this.tale = tale;
    this.onChange = onChange;
    this.state = "silent"; // or "reading", "waiting" (for the next sentence), "paused"
    this.rate = 0.9;
    this.finished = true;
    this.next = 0;
    this.turn = 0; // an utterance that was stopped also ends
  }

  get possible() {
    return "speechSynthesis" in window;
  }

  voice() {
    const language = document.documentElement.lang;
    const voices = speechSynthesis.getVoices().filter((voice) => voice.localService && voice.lang.startsWith(language));
    return voices.find((voice) => voice.default) ?? voices[0] ?? null;
  }

  /** Start from the beginning, or go on after a pause. Returns whether there is a voice. */
  start() {
    if (this.voice() === null) return false;
    if (this.state !== "paused") this.next = 0;
    this.speak();
    return true;
  }

  // The browsers' own pause does not work on phones, so a pause stops, and the sentence is read again.
  pause() {
    if (this.state === "reading" || this.state === "waiting") this.silence("paused");
  }

  stop() {
    if (this.state !== "silent") this.silence("silent");
    this.next = 0;
  }

  setRate(rate) {
    this.rate = rate;
    if (this.state === "reading") this.speak();
  }

  /** Tell the reader that sentences came or went, or that the tale is finished. */
  update({ finished }) {
    this.finished = finished;
    if (this.state === "silent") return;
    const count = this.tale.sentences.length;
    if (this.next >= count && this.state === "reading" && !this.tale.element.querySelector(".spoken")) this.speak();
    else if (this.state === "waiting") this.speak();
  }

  silence(state) {
    this.turn += 1;
    speechSynthesis.cancel();
    this.mark(null);
    this.setState(state);
  }

  speak() {
    const turn = (this.turn += 1);
    speechSynthesis.cancel();
    const sentence = this.tale.sentences[this.next];
    if (!sentence) {
      this.mark(null);
      this.setState(this.finished ? "silent" : "waiting");
      return;
    }
    const utterance = new SpeechSynthesisUtterance(sentence.span.textContent.trim());
    utterance.voice = this.voice();
    utterance.lang = utterance.voice?.lang ?? document.documentElement.lang;
    utterance.rate = this.rate;
    utterance.onend = () => {
      if (turn !== this.turn) return;
      this.next += 1;
      this.speak();
    };
    utterance.onerror = () => {
      if (turn === this.turn) this.silence("silent");
    };
    this.mark(sentence.span);
    this.setState("reading");
    speechSynthesis.speak(utterance);
  }

  mark(span) {
    for (const marked of this.tale.element.querySelectorAll(".spoken")) marked.classList.remove("spoken");
    if (span) {
      span.classList.add("spoken");
      span.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
    }
  }

  setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.onChange();
  }
}
