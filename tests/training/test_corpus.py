"""The written corpus: every row is read and checked, and wrong rows are named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from taleward.core.errors import InvalidFile
from training.corpus import checks, reader
from training.corpus.reader import CorpusPair, CorpusPassage, CorpusStory

VALUES = {
    "setting": "a foggy harbor",
    "character": "lamplighter",
    "mysterious_object": "brass lantern",
    "magical_properties": "shows boats",
    "action": "guide the fleet home",
    "outcome": "everyone asleep",
}
TALE = (
    "In a foggy harbor the lamplighter hung up a brass lantern. It shows boats, said the label. So she could guide the "
    "fleet home, one boat after the other, until everyone was asleep. " + "The fog came in, and the fog went out. " * 12
)


def story(**changes: object) -> CorpusStory:
    fields = {"id": "t-1", "band": "6-8", "kind": "story", "request": VALUES, "text": TALE}
    return CorpusStory.model_validate({**fields, **changes})


def test_the_corpus_holds_to_its_own_checks() -> None:
    assert checks.problems() == []


def test_a_tenth_is_held_out_by_id_and_the_rest_is_for_training() -> None:
    everything, held = reader.load_stories(), reader.load_stories(held_out=True)
    assert 0.05 < len(held) / len(everything) < 0.15
    assert {row.id for row in reader.load_stories(held_out=False)} == {r.id for r in everything} - {r.id for r in held}


def test_every_band_and_kind_is_there() -> None:
    kinds = Counter((row.band, row.kind) for row in reader.load_stories())
    assert set(kinds) == {(band, kind) for band in reader.BANDS for kind in reader.Kind.__args__}  # type: ignore[attr-defined]


def test_a_wrong_row_is_named_with_its_file_line_and_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stories").mkdir()
    rows = [story().model_dump(mode="json"), {**story().model_dump(mode="json"), "band": "4-7"}]
    (tmp_path / "stories" / "share.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(reader, "FOLDER", tmp_path)
    with pytest.raises(InvalidFile, match=r"stories/share.jsonl, line 2 \(t-1\): band: Input should be '3-5'"):
        reader.load_stories()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"text": "Too short."}, "words; band 6-8 takes"),
        ({"request": {**VALUES, "outcome": "a dragon in the bakery"}}, "outcome 'a dragon in the bakery': 0%"),
        (
            {
                "kind": "revision",
                "draft": TALE,
                "finding": {"category": "violence", "quote": "a duel", "why": "Blood."},
            },
            "the finding's quote 'a duel' is not in the draft",
        ),
    ],
)
def test_a_story_that_breaks_a_rule_is_told(changes: dict[str, object], problem: str) -> None:
    assert list(checks.story_problems(story())) == []
    assert any(problem in line for line in checks.story_problems(story(**changes)))


@pytest.mark.parametrize("missing", ["beginning", "draft"])
def test_a_kind_without_what_it_needs_is_refused(missing: str) -> None:
    kind = "closing" if missing == "beginning" else "revision"
    with pytest.raises(ValueError, match=f"a {kind} needs a {missing}"):
        story(kind=kind)


def test_a_pair_may_differ_within_its_spans_only() -> None:
    fields = {"id": "p", "band": "6-8", "category": "frightening", "keyword": False, "place": "end"}
    text, twin = "The lamp went out. Mum came with a candle.", "The lamp went out. Nobody came."
    pair = CorpusPair.model_validate({**fields, "text": text, "twin": twin, "spans": [[19, 31]]})
    assert list(checks.pair_problems(pair)) == []
    elsewhere = pair.model_copy(update={"spans": ((0, 18),)})
    assert list(checks.pair_problems(elsewhere)) == ["the twin differs outside of its spans"]
    outside = pair.model_copy(update={"spans": ((19, 99),)})
    assert "are not inside the twin" in next(checks.pair_problems(outside))


def test_a_passage_needs_labels_that_agree_with_its_findings() -> None:
    labels = {"3-5": "fail", "6-8": "pass", "9-12": "pass"}
    finding = {"category": "violence", "severity": "mild", "start": 0, "end": 8}
    passage = CorpusPassage.model_validate(
        {"id": "a", "register": "news", "labels": labels, "text": "He fell.", "findings": [finding]}
    )
    assert list(checks.passage_problems(passage)) == []
    bare = passage.model_copy(update={"findings": ()})
    assert list(checks.passage_problems(bare)) == ["it fails a band, but no finding says why"]


def test_texts_that_share_runs_of_words_are_near_duplicates() -> None:
    words = [f"word{n}" for n in range(30)]
    texts = {"a": " ".join(words), "b": " ".join(words[10:]), "c": " ".join(reversed(words))}
    assert list(checks.near_duplicates(texts)) == [("a", "b", 13)]
