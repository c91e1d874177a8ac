// Turns the pages, by buttons, keys and swipes, and reads aloud with a voice of the device itself: others would send the
// words to somebody's server.
"use strict";
(() => {
  const root = document.documentElement;
  const get = (id) => document.getElementById(id);
  const leaves = [...document.querySelectorAll(".leaf")];
  const pages = leaves.length - 2;
  const rtl = root.dir === "rtl";
  const buttons = [...document.querySelectorAll(".bar button")];
  let current = 0;

  const show = (index, { focus = true } = {}) => {
    if (index < 0 || index >= leaves.length) return false;
    root.dataset.way = index < current !== rtl ? "back" : "on";
    current = index;
    leaves.forEach((leaf, place) => { leaf.hidden = place !== index; });
    const inside = index > 0 && index <= pages;
    get("count").textContent = inside ? `${index} / ${pages}` : "";
    get("back").setAttribute("aria-disabled", String(index === 0));
    get("next").setAttribute("aria-disabled", String(index === leaves.length - 1));
    history.replaceState(null, "", `#${leaves[index].id}`);
    window.scrollTo(0, 0);
    if (focus) leaves[index].focus({ preventScroll: true });
    return true;
  };

  // Reading aloud, sentence by sentence. A sentence that was stopped also ends, so every start has a number.
  const reader = { on: false, sentence: 0, start: 0 };
  const speech = window.speechSynthesis;
  const voice = () => {
    const fit = speech.getVoices().filter((one) => one.localService && one.lang.toLowerCase().startsWith(root.lang.toLowerCase().split("-")[0]));
    return fit.find((one) => one.default) ?? fit[0] ?? null;
  };
  const spoken = () => (current === 0 ? [get("title")] : [...leaves[current].querySelectorAll(".sentence")]);
  const mark = (element) => {
    document.querySelectorAll(".spoken").forEach((one) => one.classList.remove("spoken"));
    element?.classList.add("spoken");
    element?.scrollIntoView({ block: "nearest" });
  };
  const setReading = (on) => {
    reader.on = on;
    root.classList.toggle("reading", on);
    get("read-label").textContent = on ? "Pause" : "Read aloud";
  };
  const pause = () => {
    if (!reader.on) return;
    reader.start += 1;
    speech.cancel();
    setReading(false);
  };
  const stop = () => { pause(); reader.sentence = 0; mark(null); };
  const speak = () => {
    const start = (reader.start += 1);
    speech.cancel();
    const sentences = spoken();
    if (reader.sentence >= sentences.length) {
      reader.sentence = 0;
      mark(null);
      if (current >= pages) { setReading(false); return; }
      show(current + 1, { focus: false });
      speak();
      return;
    }
    const element = sentences[reader.sentence];
    const words = new SpeechSynthesisUtterance(element.textContent);
    words.voice = voice();
    words.lang = words.voice?.lang ?? root.lang;
    words.rate = 0.9;
    words.onend = () => { if (start === reader.start) { reader.sentence += 1; speak(); } };
    words.onerror = () => { if (start === reader.start) { stop(); get("said").textContent = "The voice stopped."; } };
    mark(element);
    setReading(true);
    speech.speak(words);
  };
  const offerVoice = () => { get("read").hidden = voice() === null; };

  const turn = (index) => {
    const going = reader.on;
    if (index < 0 || index >= leaves.length) return;
    stop();
    show(index);
    if (going && current <= pages) speak();
  };

  const press = (id, action) => get(id).addEventListener("click", action);
  press("back", () => turn(current - 1));
  press("next", () => turn(current + 1));
  press("again", () => turn(0));
  press("read", () => (reader.on ? pause() : current > pages ? (turn(0), speak()) : speak()));
  press("letters", () => {
    const larger = root.dataset.letters !== "larger";
    root.dataset.letters = larger ? "larger" : "normal";
    get("letters").setAttribute("aria-pressed", String(larger));
  });
  const setNight = (night) => {
    root.dataset.pages = night ? "night" : "day";
    get("night").setAttribute("aria-pressed", String(night));
  };
  press("night", () => setNight(root.dataset.pages !== "night"));

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const inBar = buttons.includes(document.activeElement);
    const steps = { ArrowRight: rtl ? -1 : 1, ArrowLeft: rtl ? 1 : -1, PageDown: 1, PageUp: -1 };
    if (event.key in steps) turn(current + steps[event.key]);
    else if (event.key === "Home") turn(0);
    else if (event.key === "End") turn(leaves.length - 1);
    else if (event.key === "Escape" && reader.on) pause();
    else return;
    event.preventDefault();
    if (inBar) document.activeElement.blur();
  });

  let touch = null;
  document.addEventListener("touchstart", (event) => {
    touch = event.touches.length === 1 ? { x: event.touches[0].clientX, y: event.touches[0].clientY } : null;
  }, { passive: true });
  document.addEventListener("touchend", (event) => {
    if (touch === null || event.changedTouches.length !== 1) return;
    const x = event.changedTouches[0].clientX - touch.x;
    const y = event.changedTouches[0].clientY - touch.y;
    touch = null;
    if (Math.abs(x) < 48 || Math.abs(x) < 2 * Math.abs(y) || window.visualViewport?.scale > 1.05) return;
    turn(current + ((x < 0) !== rtl ? 1 : -1));
  }, { passive: true });

  const open = () => {
    const index = leaves.findIndex((leaf) => `#${leaf.id}` === location.hash);
    return index < 0 ? 0 : index;
  };
  window.addEventListener("hashchange", () => { if (open() !== current) turn(open()); });
  window.addEventListener("pagehide", stop);

  root.classList.add("js");
  setNight(window.matchMedia("(prefers-color-scheme: dark)").matches);
  show(open(), { focus: false });
  if (speech) {
    offerVoice();
    speech.addEventListener?.("voiceschanged", offerVoice);
  }
})();
