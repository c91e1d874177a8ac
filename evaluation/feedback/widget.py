"""Feedback in a notebook: read a tale, mark stretches with the mouse, answer, save. Needs the extra `notebooks`."""

from __future__ import annotations

from typing import Any

from taleward.core.errors import MissingExtra, TalewardError
from taleward.evaluation.feedback.feedback import MarkedSpan
from taleward.evaluation.feedback.store import FeedbackStore

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise MissingExtra("the feedback widget", "notebooks") from error

# Offsets are code points, as in Python; a browser counts UTF-16. All text goes in as text, never as markup.
_ESM = """
const points = (s) => [...s].length;
function add(parent, tag, text, props) {
  const made = Object.assign(document.createElement(tag), props || {});
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}
function render({ model, el }) {
  let marking = "";
  const draw = () => {
    el.replaceChildren();
    const box = add(el, "div");
    box.style.cssText = "max-width:46em;line-height:1.6;border:1px solid #999;border-radius:6px;padding:.8em 1em";
    const page = add(box, "div");
    page.style.cssText = "white-space:pre-wrap;cursor:text";
    const letters = [...model.get("text")];
    const spans = model.get("spans");
    const cuts = [...new Set([0, letters.length, ...spans.flatMap((s) => [s.start, s.end])])].sort((a, b) => a - b);
    for (let i = 0; i + 1 < cuts.length; i++) {
      const here = spans.filter((s) => s.start <= cuts[i] && cuts[i + 1] <= s.end);
      const words = letters.slice(cuts[i], cuts[i + 1]).join("");
      const part = add(page, here.length ? "mark" : "span", words);
      if (here.length) {
        part.title = here.map((s) => s.category || "marked").join(", ") + " - click to take the mark away";
        part.onclick = () => { model.set("spans", spans.filter((s) => !here.includes(s))); model.save_changes(); };
      }
    }
    const row = add(box, "div");
    row.style.cssText = "margin-top:.8em;display:flex;gap:.6em;flex-wrap:wrap;align-items:center";
    const kind = add(row, "select");
    for (const name of ["", ...model.get("known")])
      add(kind, "option", name || "marked words show: ...", { value: name });
    kind.value = marking;
    kind.onchange = () => { marking = kind.value; };
    page.onmouseup = () => {
      const chosen = window.getSelection();
      if (!chosen.rangeCount || chosen.isCollapsed) return;
      const range = chosen.getRangeAt(0);
      if (!page.contains(range.startContainer) || !page.contains(range.endContainer)) return;
      const before = document.createRange();
      before.selectNodeContents(page);
      before.setEnd(range.startContainer, range.startOffset);
      const start = points(before.toString());
      const end = start + points(range.toString());
      model.set("spans", [...spans, { start, end, category: kind.value }]);
      model.save_changes();
    };
    const rating = add(row, "select");
    for (const n of [0, 1, 2, 3, 4, 5]) add(rating, "option", n ? `${n} of 5` : "rating ...", { value: n });
    rating.value = model.get("rating");
    rating.onchange = () => { model.set("rating", Number(rating.value)); model.save_changes(); };
    const fits = add(row, "select");
    const choices = [["", `for ages ${model.get("band")}? ...`], ["yes", "kid-friendly"], ["no", "not kid-friendly"]];
    for (const [v, t] of choices)
      add(fits, "option", t, { value: v });
    fits.value = model.get("kid_friendly");
    fits.onchange = () => { model.set("kid_friendly", fits.value); model.save_changes(); };
    const comment = add(row, "input", "", { placeholder: "comment", value: model.get("comment") });
    comment.onchange = () => { model.set("comment", comment.value); model.save_changes(); };
    const save = add(row, "button", "Save");
    save.onclick = () => {
      model.set("comment", comment.value); model.set("saves", model.get("saves") + 1); model.save_changes();
    };
    const next = add(row, "button", "Next tale");
    next.onclick = () => { model.set("nexts", model.get("nexts") + 1); model.save_changes(); };
    add(row, "small", model.get("status"));
  };
  for (const name of ["text", "spans", "rating", "kid_friendly", "status"]) model.on(`change:${name}`, draw);
  draw();
}
export default { render };
"""


class FeedbackWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """A tale on a page where stretches can be marked; `Save` writes what `FeedbackStore.record` does.

    Args:
        tale_id: Which tale; by default the first of the person's review queue.
        person: Who reviews, by name or by pseudonym.
        store: Where the tales are; by default `.taleward` in this folder.
    """

    _esm = _ESM
    text = traitlets.Unicode().tag(sync=True)
    band = traitlets.Unicode().tag(sync=True)
    known = traitlets.List(traitlets.Unicode()).tag(sync=True)
    spans = traitlets.List(traitlets.Dict()).tag(sync=True)
    rating = traitlets.Int(0, min=0, max=5).tag(sync=True)
    kid_friendly = traitlets.Enum(["", "yes", "no"], "").tag(sync=True)
    comment = traitlets.Unicode().tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)
    saves = traitlets.Int(0).tag(sync=True)
    nexts = traitlets.Int(0).tag(sync=True)

    def __init__(self, tale_id: str | None = None, *, person: str, store: FeedbackStore | None = None) -> None:
        super().__init__()
        self.store = store or FeedbackStore()
        self.person = person
        self.tale_id: str | None = None
        if tale_id is None:
            self._next()
        else:
            self._show(tale_id)
        self.observe(self._save, "saves")
        self.observe(self._next, "nexts")

    def _show(self, tale_id: str) -> None:
        tale = self.store.tale(tale_id)
        own = next((f for f in self.store.read(tale_id) if f.person == self.person), None)
        self.tale_id = tale_id
        self.known, self.band, self.text = list(tale.categories), tale.band, tale.text
        self.spans = [_plain(s) for s in (own.spans if own else None) or ()]
        self.rating = (own.rating if own else None) or 0
        self.kid_friendly = {True: "yes", False: "no", None: ""}[own.kid_friendly if own else None]
        self.comment = (own.comment if own else None) or ""
        self.status = ""

    def _next(self, _: Any = None) -> None:
        waiting = [tale_id for tale_id in self.store.queue(self.person) if tale_id != self.tale_id]
        if waiting:
            self._show(waiting[0])
        else:
            self.status = "all tales are reviewed"

    def _save(self, _: Any = None) -> None:
        if self.tale_id is None:
            return
        spans = [MarkedSpan(start=s["start"], end=s["end"], category=s.get("category") or None) for s in self.spans]
        try:
            self.store.record(
                self.tale_id,
                person=self.person,
                rating=self.rating or None,
                kid_friendly={"yes": True, "no": False}.get(self.kid_friendly),
                categories=list(dict.fromkeys(s.category for s in spans if s.category)),
                spans=spans,
                comment=self.comment or None,
            )
        except TalewardError as error:
            self.status = f"not saved: {error}"
        else:
            self.status = "saved"


def _plain(span: MarkedSpan) -> dict[str, Any]:
    return {"start": span.start, "end": span.end, "category": span.category or ""}
