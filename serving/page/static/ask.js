// Asking for a story: little questions with ideas to tap, or one sentence.

import { byId, el, ideaButton, picture, shuffled } from "./dom.js";

/**
 * Fill the form.
 * @param {object} start What `page/start` says.
 * @param {(wish: object) => void} onWish Called with what the child asks for.
 */
export function setUpAsking(start, onWish) {
  const drafts = new Map(start.kinds.map((kind) => [kind.name, {}]));
  let kind = start.kinds[0];
  let inSentence = false;
  let lastSet = -1;

  byId("kinds").replaceChildren(
    ...start.kinds.map((each) =>
      el(
        "label",
        { title: each.description },
        el("input", { type: "radio", name: "kind", value: each.name, checked: each === kind, onchange: () => choose(each) }),
        picture(each.picture),
        el("span", {}, each.title),
      ),
    ),
  );
  document.querySelector(".kinds").hidden = start.kinds.length < 2;

  const sentence = byId("sentence-text");
  sentence.maxLength = start.sentence.max_length;
  sentence.addEventListener("input", showSentenceIdeas);

  function choose(each) {
    kind = each;
    byId("fields").replaceChildren(...kind.fields.map(field));
  }

  function field({ name, question, max_length: maxLength, ideas }) {
    const id = `field-${name}`;
    const values = drafts.get(kind.name);
    const input = el("input", { id, name, maxlength: maxLength, value: values[name] ?? "", type: "text", spellcheck: "false" });
    input.placeholder = ideas[0].text;
    const group = el("div", { class: "ideas", role: "group", "aria-label": `Ideas: ${question}` });
    const show = () => {
      values[name] = input.value;
      group.querySelectorAll("button").forEach((button, n) => button.setAttribute("aria-pressed", String(ideas[n].text === input.value)));
    };
    for (const idea of ideas) {
      group.append(ideaButton(idea, () => { input.value = input.value === idea.text ? "" : idea.text; show(); }, "false"));
    }
    input.addEventListener("input", show);
    input.fill = (value) => { input.value = value; show(); };
    show();
    return el("div", { class: "card" }, el("label", { for: id }, question), input, group);
  }

  function showSentenceIdeas() {
    const buttons = byId("sentence-ideas").querySelectorAll("button");
    start.sentence.ideas.forEach((idea, n) => buttons[n].setAttribute("aria-pressed", String(idea.text === sentence.value)));
  }

  byId("sentence-ideas").replaceChildren(
    ...start.sentence.ideas.map((idea) => ideaButton(idea, () => { sentence.value = idea.text; showSentenceIdeas(); }, "false")),
  );

  function switchWay(toSentence) {
    inSentence = toSentence;
    byId("questions").hidden = toSentence;
    byId("sentence").hidden = !toSentence;
    byId("way-questions").setAttribute("aria-pressed", String(!toSentence));
    byId("way-sentence").setAttribute("aria-pressed", String(toSentence));
  }

  /** The set of ideas that most of the answers come from, or any other than the last one. */
  function fittingSet(answers) {
    const sets = [...Array(kind.fields[0].ideas.length).keys()];
    const matches = sets.map((n) => kind.fields.filter(({ ideas }, i) => ideas[n].text === answers[i]).length);
    const most = Math.max(...matches);
    if (most > 0) return matches.indexOf(most);
    return shuffled(sets.filter((n) => sets.length === 1 || n !== lastSet))[0];
  }

  /** Fill in one set of ideas that go together, everywhere or only where nothing is written. */
  function fill({ emptyOnly }) {
    if (inSentence) {
      if (emptyOnly && sentence.value.trim()) return;
      sentence.value = shuffled(start.sentence.ideas.filter((idea) => idea.text !== sentence.value))[0].text;
      showSentenceIdeas();
      return;
    }
    lastSet = fittingSet(emptyOnly ? kind.fields.map(({ name }) => byId(`field-${name}`).value) : []);
    for (const { name, ideas } of kind.fields) {
      const input = byId(`field-${name}`);
      if (!emptyOnly || !input.value.trim()) input.fill(ideas[lastSet].text);
    }
  }

  byId("way-questions").addEventListener("click", () => switchWay(false));
  byId("way-sentence").addEventListener("click", () => switchWay(true));
  byId("surprise").addEventListener("click", () => fill({ emptyOnly: false }));
  sentence.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      byId("wish").requestSubmit();
    }
  });
  byId("wish").addEventListener("submit", (event) => {
    event.preventDefault();
    fill({ emptyOnly: true });
    if (inSentence) onWish({ sentence: sentence.value.trim() });
    else onWish({ kind: kind.name, values: Object.fromEntries(kind.fields.map(({ name }) => [name, byId(`field-${name}`).value])) });
  });
  choose(kind);
}
