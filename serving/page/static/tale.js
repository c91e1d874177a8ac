// The words of a tale on the page: sentences in paragraphs, by their offsets in the released text.

import { calm, el } from "./dom.js";

const LEAVING_MS = 800;

export class TaleText {
  /**
   * @param {HTMLElement} element Where the tale stands.
   */
  constructor(element) {
    this.element = element;
    this.clear();
  }

  clear() {
    this.element.replaceChildren();
    this.sentences = []; // { start, end, span }, offsets in code points
    this.paragraph = null;
  }

  append(text, start) {
    let offset = start;
    for (const part of text.split(/(\n+)/)) {
      const length = Array.from(part).length; // the server counts code points, JavaScript does not
      if (part.startsWith("\n")) this.paragraph = null;
      else if (part.trim()) {
        if (this.paragraph === null) {
          this.paragraph = el("p");
          this.element.append(this.paragraph);
        }
        const span = el("span", { class: "sentence" }, part);
        this.paragraph.append(span);
        this.sentences.push({ start: offset, end: offset + length, span });
      }
      offset += length;
    }
  }

  /** Take back everything from an offset on. It fades, but can no longer be read out. */
  retract(start) {
    const leaving = this.sentences.filter((sentence) => sentence.start >= start);
    this.sentences = this.sentences.filter((sentence) => sentence.start < start);
    const cut = this.sentences.at(-1);
    if (cut && cut.end > start) {
      cut.span.textContent = Array.from(cut.span.textContent).slice(0, start - cut.start).join("");
      cut.end = start;
    }
    this.paragraph = cut ? cut.span.parentElement : null;
    for (const { span } of leaving) {
      span.setAttribute("aria-hidden", "true");
      span.classList.remove("spoken");
      span.classList.add("leaving");
      const remove = () => {
        const paragraph = span.parentElement;
        span.remove();
        if (paragraph && !paragraph.childElementCount) paragraph.remove();
      };
      if (calm()) remove();
      else setTimeout(remove, LEAVING_MS);
    }
  }
}
