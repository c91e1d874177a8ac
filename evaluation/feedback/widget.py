"""A notebook widget for reviewing tales: mark passages with the mouse, answer, save. Needs the extra `notebooks`."""

from __future__ import annotations

from typing import Any

from taleward.core.errors import MissingExtra, TalewardError
from taleward.evaluation.feedback.feedback import MarkedSpan
from taleward.evaluation.feedback.mlflow_store import FeedbackStore

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise MissingExtra("the feedback widget", "notebooks") from error

# Offsets are Unicode code points as in Python, while JavaScript counts UTF-16 units. Text is set as `textContent`,
# never as HTML, so that a tale cannot inject a script into the notebook.
_ESM = """
const countCodePoints = (s) => [...s].length;
function add(parent, tag, text, props) {
  const element = Object.assign(document.createElement(tag), props || {});
  if (text) element.textContent = text;
  parent.append(element);
  return element;
}
function render({ model, el }) {
  let category = "";
  const draw = () => {
    el.replaceChildren();
    const box = add(el, "div");
    box.style.cssText = "max-width:46em;line-height:1.6;border:1px solid #999;border-radius:6px;padding:.8em 1em";
    const story = add(box, "div");
    story.style.cssText = "white-space:pre-wrap;cursor:text";
    const codePoints = [...model.get("text")];
    const spans = model.get("spans");
    const cuts = [...new Set([0, codePoints.length, ...spans.flatMap((s) => [s.start, s.end])])].sort((a, b) => a - b);
    for (let i = 0; i + 1 < cuts.length; i++) {
      const covering = spans.filter((s) => s.start <= cuts[i] && cuts[i + 1] <= s.end);
      const passage = codePoints.slice(cuts[i], cuts[i + 1]).join("");
      const part = add(story, covering.length ? "mark" : "span", passage);
      if (covering.length) {
        part.title = covering.map((s) => s.category || "marked").join(", ") + " - click to remove";
        part.onclick = () => {
          model.set("spans", spans.filter((s) => !covering.includes(s)));
          model.save_changes();
        };
      }
    }
    const row = add(box, "div");
    row.style.cssText = "margin-top:.8em;display:flex;gap:.6em;flex-wrap:wrap;align-items:center";
    const categorySelect = add(row, "select");
    for (const name of ["", ...model.get("categories")])
      add(categorySelect, "option", name || "mark words as ...", { value: name });
    categorySelect.value = category;
    categorySelect.onchange = () => { category = categorySelect.value; };
    story.onmouseup = () => {
      const selection = window.getSelection();
      if (!selection.rangeCount || selection.isCollapsed) return;
      const range = selection.getRangeAt(0);
      if (!story.contains(range.startContainer) || !story.contains(range.endContainer)) return;
      const before = document.createRange();
      before.selectNodeContents(story);
      before.setEnd(range.startContainer, range.startOffset);
      const start = countCodePoints(before.toString());
      const end = start + countCodePoints(range.toString());
      model.set("spans", [...spans, { start, end, category: categorySelect.value }]);
      model.save_changes();
    };
    const rating = add(row, "select");
    for (const n of [0, 1, 2, 3, 4, 5]) add(rating, "option", n ? `${n} of 5` : "rating ...", { value: n });
    rating.value = model.get("rating");
    rating.onchange = () => { model.set("rating", Number(rating.value)); model.save_changes(); };
    const kidFriendly = add(row, "select");
    const choices = [["", `for ages ${model.get("band")}? ...`], ["yes", "kid-friendly"], ["no", "not kid-friendly"]];
    for (const [value, label] of choices)
      add(kidFriendly, "option", label, { value });
    kidFriendly.value = model.get("kid_friendly");
    kidFriendly.onchange = () => { model.set("kid_friendly", kidFriendly.value); model.save_changes(); };
    const makesSense = add(row, "select");
    for (const [value, label] of [["", "makes sense? ..."], ["yes", "makes sense"], ["no", "makes no sense"]])
      add(makesSense, "option", label, { value });
    makesSense.value = model.get("makes_sense");
    makesSense.onchange = () => { model.set("makes_sense", makesSense.value); model.save_changes(); };
    const comment = add(row, "input", "", { placeholder: "comment", value: model.get("comment") });
    comment.onchange = () => { model.set("comment", comment.value); model.save_changes(); };
    const save = add(row, "button", "Save");
    save.onclick = () => {
      model.set("comment", comment.value);
      model.set("save_clicks", model.get("save_clicks") + 1);
      model.save_changes();
    };
    const next = add(row, "button", "Next tale");
    next.onclick = () => { model.set("next_clicks", model.get("next_clicks") + 1); model.save_changes(); };
    add(row, "small", model.get("status"));
  };
  for (const name of ["text", "spans", "rating", "kid_friendly", "makes_sense", "status"])
    model.on(`change:${name}`, draw);
  draw();
}
export default { render };
"""


class FeedbackWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """A form that shows a tale, in which passages can be marked; its Save button calls `FeedbackStore.record`.

    Args:
        tale_id: The tale's id; by default the first one in the person's review queue.
        person: Who reviews, by name or by pseudonym.
        store: The feedback store; by default the one in `.taleward` in the working directory.
        for_training: Saved with every review, as are the next two; see `FeedbackStore.record`.
        requested_by_child: Whether a child wrote the requests for the reviewed tales.
        guardian_consent: Whether their guardians consent to training on them.

    Attributes:
        store: The feedback store.
        person: Who reviews.
        tale_id: The id of the tale that is shown; `None` if the queue was empty.

    Raises:
        UnknownName: If there is no such tale.
    """

    _esm = _ESM
    text = traitlets.Unicode().tag(sync=True)
    band = traitlets.Unicode().tag(sync=True)
    categories = traitlets.List(traitlets.Unicode()).tag(sync=True)
    spans = traitlets.List(traitlets.Dict()).tag(sync=True)
    rating = traitlets.Int(0, min=0, max=5).tag(sync=True)
    kid_friendly = traitlets.Enum(["", "yes", "no"], "").tag(sync=True)
    makes_sense = traitlets.Enum(["", "yes", "no"], "").tag(sync=True)
    comment = traitlets.Unicode().tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)
    save_clicks = traitlets.Int(0).tag(sync=True)
    next_clicks = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        tale_id: str | None = None,
        *,
        person: str,
        store: FeedbackStore | None = None,
        for_training: bool | None = None,
        requested_by_child: bool | None = None,
        guardian_consent: bool | None = None,
    ) -> None:
        super().__init__()
        self._consent: dict[str, Any] = {
            "for_training": for_training,
            "requested_by_child": requested_by_child,
            "guardian_consent": guardian_consent,
        }
        self.store = store or FeedbackStore()
        self.person = person
        self.tale_id: str | None = None
        if tale_id is None:
            self._show_next()
        else:
            self._show(tale_id)
        # A click is synced as a counter: unlike a flag, it needs no reset, and no click is lost.
        self.observe(self._save, "save_clicks")
        self.observe(self._show_next, "next_clicks")

    def _show(self, tale_id: str) -> None:
        tale = self.store.tale(tale_id)
        earlier = next((f for f in self.store.read(tale_id) if f.person == self.person), None)
        self.tale_id = tale.id
        self.categories, self.band, self.text = list(tale.categories), tale.band, tale.text
        self.spans = [_span_dict(span) for span in (earlier.spans if earlier else None) or ()]
        self.rating = (earlier.rating if earlier else None) or 0
        words = {True: "yes", False: "no", None: ""}
        self.kid_friendly = words[earlier.kid_friendly if earlier else None]
        self.makes_sense = words[earlier.makes_sense if earlier else None]
        self.comment = (earlier.comment if earlier else None) or ""
        self.status = ""

    def _show_next(self, _: Any = None) -> None:
        queue = [tale_id for tale_id in self.store.queue(self.person) if tale_id != self.tale_id]
        if queue:
            self._show(queue[0])
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
                makes_sense={"yes": True, "no": False}.get(self.makes_sense),
                categories=list(dict.fromkeys(span.category for span in spans if span.category)),
                spans=spans,
                comment=self.comment or None,
                **self._consent,
            )
        except TalewardError as error:
            self.status = f"not saved: {error}"
        else:
            self.status = "saved"


def _span_dict(span: MarkedSpan) -> dict[str, Any]:
    return {"start": span.start, "end": span.end, "category": span.category or ""}
