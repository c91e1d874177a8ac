// The grown-ups' side: the rules, what was told with its verdicts, feedback, and deletion.

import { PageError, call } from "./api.js";
import { byId, el, icon } from "./dom.js";

const OUTCOMES = { pass: "passed", fail: "did not pass", abstain: "no decision", unparsable: "no clear answer", error: "the judge failed" };
const REASONS = {
  failed: "No draft passed.",
  unjudged: "The judge reached no decision.",
  timeout: "It took too long.",
  input: "What was asked for did not pass.",
};

/** Set up the grown-ups' side; returns what shows it, and what closes it. */
export function setUpGrownUps() {
  let isOpen = true; // it may be, from before the page was loaded

  async function show() {
    try {
      const data = await call("GET", "page/grown-ups");
      if (!data.open) {
        clear();
        byId("gate").hidden = false;
        return;
      }
      isOpen = true;
      byId("gate").hidden = true;
      byId("rules").replaceChildren(...rulesView(data.rules));
      byId("tales").replaceChildren(...talesView(data.tales, data.rules));
      byId("rules").hidden = byId("tales").hidden = false;
    } catch (error) {
      clear();
      byId("gate").hidden = false;
      byId("pin-answer").textContent = error.message;
    }
  }

  // What grown-ups have seen does not stay in the page for a child to find.
  function clear() {
    isOpen = false;
    byId("rules").replaceChildren();
    byId("tales").replaceChildren();
    byId("rules").hidden = byId("tales").hidden = true;
    byId("pin").value = byId("pin-answer").textContent = "";
  }

  async function close() {
    if (isOpen) {
      clear();
      await call("DELETE", "page/gate").catch(() => {}); // it closes by itself, too
    }
    clear();
  }

  byId("gate").addEventListener("submit", async (event) => {
    event.preventDefault();
    const pin = byId("pin").value;
    byId("pin").value = "";
    try {
      await call("POST", "page/gate", { pin });
      byId("pin-answer").textContent = "";
      await show();
      byId("grown-ups-title").focus();
    } catch (error) {
      const left = error.details?.attempts_left;
      byId("pin-answer").textContent = error.message + (left ? ` ${left} more ${left === 1 ? "try" : "tries"}.` : "");
      byId("pin").focus();
    }
  });

  addEventListener("pagehide", () => {
    if (!isOpen) return;
    clear();
    fetch("page/gate", { method: "DELETE", headers: { "x-taleward-page": "1" }, keepalive: true }).catch(() => {});
  });

  function rulesView(rules) {
    const bands = el(
      "fieldset",
      { class: "bands" },
      el("legend", {}, "Who is listening?"),
      ...rules.bands.map((band) =>
        el(
          "label",
          {},
          el("input", { type: "radio", name: "band", value: band.name, checked: band.name === rules.band, onchange: () => chooseBand(band.name) }),
          el("span", {}, el("strong", {}, `Ages ${band.ages[0]} to ${band.ages[1]}`), el("small", {}, band.writing)),
        ),
      ),
    );
    const categories = el(
      "details",
      { class: "card" },
      el("summary", {}, `What the rules forbid (${rules.policy})`),
      el("p", {}, rules.description),
      el(
        "dl",
        { class: "categories" },
        ...rules.categories.flatMap((category) => [
          el("dt", {}, category.title, el("small", {}, category.tolerance === "none" ? "nothing of it" : `${category.tolerance} is accepted`)),
          el("dd", {}, category.definition),
        ]),
      ),
      el("p", { class: "hint" }, `Model: ${rules.model}. Judge: ${rules.judge}.`),
    );
    const bar = el("div", { class: "bar" }, el("button", { type: "button", onclick: async () => { await close(); byId("gate").hidden = false; byId("pin").focus(); } }, "Lock this side"));
    return [bar, el("div", { class: "card" }, bands, el("p", { role: "status", id: "band-answer" })), categories];
  }

  async function chooseBand(band) {
    try {
      await call("POST", "page/grown-ups/band", { band });
      byId("band-answer").textContent = "The next stories are for these ages.";
    } catch (error) {
      failed(error, byId("band-answer"));
    }
  }

  function talesView(tales, rules) {
    const heading = el("h3", {}, "What was told here");
    if (!tales.length) return [heading, el("p", { class: "hint" }, "Nothing yet. Stories appear here once they have ended; they are forgotten when this session ends.")];
    return [heading, ...tales.map((tale, n) => taleView(tale, rules, n === 0))];
  }

  function taleView(tale, rules, open) {
    const when = new Date(tale.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const told = tale.text !== null;
    const card = el("details", { class: "card tale", open });
    const parts = [
      el("summary", {}, el("span", { class: "name" }, tale.title), el("span", { class: told ? "badge told" : "badge kept" }, told ? "told" : "not told"), el("small", {}, `${when}, ages ${tale.band}`)),
      told ? textView(tale) : refusalView(tale),
      verdictView(tale),
      told ? feedbackView(tale, rules) : null,
      deleteView(tale, card),
    ];
    card.append(...parts.filter((part) => part !== null));
    return card;
  }

  function textView(tale) {
    const words = tale.text.map((part) =>
      part.mark ? el("mark", { title: part.mark }, part.text, el("small", {}, ` [${part.mark}]`)) : part.text,
    );
    return el("div", { class: "words" }, ...words);
  }

  function refusalView({ refusal }) {
    const about = refusal.categories.length ? ` It was about: ${refusal.categories.join(", ")}.` : "";
    const drafts = refusal.reason === "input" ? "" : " Words that did not pass are not kept.";
    return el("p", {}, `${REASONS[refusal.reason] ?? ""}${about}${drafts}`);
  }

  function verdictView(tale) {
    const rows = [["Asked for", tale.asked.map(({ name, text }) => (name === "request" ? text : `${name}: ${text}`)).join("; ")]];
    if (tale.verdict) {
      const { outcome, detail, scores, findings } = tale.verdict;
      const because = detail ? ` (${detail})` : "";
      rows.push([tale.text === null ? "Last verdict" : "Verdict on the whole", `${OUTCOMES[outcome]}${because}`]);
      if (scores.length) rows.push(["Highest scores", scores.map(({ title, score }) => `${title} ${score.toFixed(2)}`).join(", ")]);
      for (const finding of findings) {
        rows.push([finding.title, [finding.quote && `“${finding.quote}”`, finding.rationale].filter(Boolean).join(" ") || "in the text"]);
      }
    }
    const drafts = tale.attempts.map(({ number, outcome, sentences, categories }) => {
      const about = categories.length ? ` for ${categories.join(", ")}` : "";
      return `${number}. ${OUTCOMES[outcome]}${outcome === "pass" ? "" : about}, ${sentences} sentences judged`;
    });
    if (drafts.length) rows.push([drafts.length === 1 ? "One draft" : `${drafts.length} drafts`, drafts.join("; ")]);
    if (tale.closed_by === "policy") rows.push(["Ending", "the closing words of the rules, since the writer found none"]);
    rows.push(["Time", `${tale.seconds} seconds`]);
    return el("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  function feedbackView(tale, rules) {
    if (!tale.recorded) {
      return el("p", { class: "hint" }, "Your opinion would help, but this server does not record stories in MLflow, so there is nowhere to keep it. Whoever runs it can turn that on.");
    }
    const answer = el("p", { role: "status" });
    let friendly = tale.feedback?.kid_friendly ?? null;
    const thumb = (value, name, words) => {
      const button = el("button", { type: "button", "aria-pressed": String(friendly === value) }, icon(name), words);
      button.addEventListener("click", () => {
        friendly = value;
        for (const each of button.parentElement.children) each.setAttribute("aria-pressed", String(each === button));
      });
      return button;
    };
    const boxes = rules.categories.map((category) => {
      const box = el("input", { type: "checkbox", value: category.name, checked: tale.feedback?.categories.includes(category.name) ?? false });
      return [box, el("label", { title: category.definition }, box, category.title)];
    });
    const comment = el("textarea", { rows: "2", maxlength: "2000", id: `comment-${tale.id}` });
    comment.value = tale.feedback?.comment ?? "";
    const training = el("input", { type: "checkbox", checked: tale.feedback?.for_training ?? false });
    async function save(event) {
      event.preventDefault();
      if (friendly === null) {
        answer.textContent = "Please say first whether it suits these ages.";
        return;
      }
      const categories = boxes.map(([box]) => box).filter((box) => box.checked).map((box) => box.value);
      answer.textContent = "Saving…";
      try {
        await call("POST", `page/grown-ups/tales/${tale.id}/feedback`, { kid_friendly: friendly, categories, comment: comment.value, for_training: training.checked });
        answer.textContent = "Thank you. It is kept in MLflow, with this story.";
      } catch (error) {
        failed(error, answer);
      }
    }
    return el(
      "form",
      { class: "feedback", onsubmit: save },
      el("div", { class: "thumbs", role: "group", "aria-label": `Does it suit ages ${tale.band}?` }, thumb(true, "up", "Suits them"), thumb(false, "down", "Does not")),
      el("fieldset", {}, el("legend", {}, "What is wrong with it?"), ...boxes.map(([, label]) => label)),
      el("label", { for: `comment-${tale.id}` }, "Comment"),
      comment,
      el("label", { class: "consent" }, training, el("span", {}, "I am the parent or guardian, and this story, what was asked for and my opinion may be used to train models.")),
      el("div", { class: "bar" }, el("button", { type: "submit", class: "main" }, "Save"), answer),
    );
  }

  function deleteView(tale, card) {
    const answer = el("p", { role: "status" });
    const where = tale.recorded ? "here and in MLflow, with all that was said about it" : "here";
    const ask = el("button", { type: "button", class: "delete" }, icon("bin"), "Delete this story");
    const yes = el("button", { type: "button", class: "delete", hidden: true }, `Yes, delete it ${where}`);
    const no = el("button", { type: "button", hidden: true }, "Keep it");
    const toggle = (asking) => {
      ask.hidden = asking;
      yes.hidden = no.hidden = !asking;
      (asking ? no : ask).focus();
    };
    ask.addEventListener("click", () => toggle(true));
    no.addEventListener("click", () => toggle(false));
    yes.addEventListener("click", async () => {
      try {
        await call("DELETE", `page/grown-ups/tales/${tale.id}`);
        card.remove();
        byId("grown-ups-title").focus();
      } catch (error) {
        failed(error, answer);
      }
    });
    return el("div", { class: "bar" }, ask, yes, no, answer);
  }

  function failed(error, answer) {
    if (error instanceof PageError && error.code === "gate_closed") {
      show();
      return;
    }
    answer.textContent = error.message;
  }

  return { show, hide: close };
}
