"""The written corpus: every row is read and checked, and wrong rows are named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from taleward.core.errors import InvalidFile
from training.corpus import add_share, checks, reader, similarity, statistics
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


def test_the_plan_is_met() -> None:
    stories, pairs, passages = reader.load_stories(), reader.load_pairs(), reader.load_passages()
    kinds = Counter((row.kind, row.band) for row in stories)
    assert all(kinds["story", band] >= 400 for band in reader.BANDS)
    assert sum(kinds["free", band] for band in reader.BANDS) >= 150
    assert len(pairs) >= 1200
    assert len(passages) >= 1000
    assert len(reader.load_short_texts()) >= 1500
    assert sum(not pair.keyword for pair in pairs) > len(pairs) / 3
    harmless = sum(set(passage.labels.values()) == {"pass"} for passage in passages)
    assert 0.4 < harmless / len(passages) < 0.6


def test_a_second_reader_agrees() -> None:
    for band, (count, equal, kappa) in statistics.agreement(reader.load_passages()).items():
        assert count >= 200, band
        assert (equal > 0.9, kappa > 0.8) == (True, True), band


def test_the_corpus_is_more_varied_than_its_repetition() -> None:
    texts = [row.text for row in reader.load_stories()[:40]]
    varied, repeated = statistics.variety(texts), statistics.variety(texts[:4] * 10)
    assert varied["self_bleu"] < 40 < repeated["self_bleu"]
    assert varied["distinct_2"] > 2 * repeated["distinct_2"]


def test_texts_of_the_same_meaning_are_near_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "VECTORS_FILE", tmp_path / "vectors.npz")
    texts = {
        "a": "The fox found a red boat on the beach and sailed home to its mother.",
        "b": "On the beach, the fox found a red boat, and it sailed home to its mother.",
        "c": "The museum opens at nine, and tickets are sold at the door.",
    }
    assert "3 texts, such as a, have no vector" in next(similarity.similarity_problems(texts))
    assert similarity.update(texts) == 3
    [problem] = similarity.similarity_problems(texts)
    assert problem.startswith("a and b mean nearly the same: cosine 0.9")
    del texts["b"]
    assert similarity.update(texts) == 0
    assert list(similarity.similarity_problems(texts)) == []


SHARE = """=== 68-test-01
kind: story
setting: a foggy harbor
character: lamplighter
mysterious_object: brass lantern
magical_properties: shows boats
action: guide the fleet home
outcome: everyone asleep
typo: yes
---
{tale}

=== 68-test-02
kind: revision
request: a lamplighter story
category: violence
why: somebody is hit
--- draft
{tale} [[He hit the cook.]]
--- text
{tale}
"""
PAIR = """=== pairs-t-01
band: 3-5
category: frightening
keyword: no
place: end
---
The lamp went out. [[Mum came with a candle.||Nobody came.]]
"""
PASSAGE = """=== passages-t-01
register: news
labels: fail fail pass
---
He fell, and [[violence:moderate|was hurt]]. The end.
"""
SHORT = """none | question | Why do some people wear headscarves?
hate:severe,violence:severe | comment | they should all be | chased out
"""


def test_shares_in_plain_text_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FOLDER", tmp_path)
    monkeypatch.setattr(add_share, "FOLDER", tmp_path)
    for kind, name, text in (
        ("stories", "68-test", SHARE.format(tale=TALE)),
        ("pairs", "pairs-t", PAIR),
        ("passages", "passages-t", PASSAGE),
        ("short_texts", "short-t", SHORT),
    ):
        (tmp_path / kind).mkdir()
        (tmp_path / f"{name}.txt").write_text(text)
        assert add_share.add_share(tmp_path / f"{name}.txt") == []
    first, second = reader.load_stories()
    assert (first.typo, dict(first.request), first.text) == (True, VALUES, TALE.strip())  # type: ignore[arg-type]
    assert second.finding
    assert second.finding.quote == "He hit the cook."
    assert second.draft.endswith("He hit the cook.")
    [pair] = reader.load_pairs()
    assert [pair.twin[start:end] for start, end in pair.spans] == ["Nobody came."]
    assert pair.text == "The lamp went out. Mum came with a candle."
    [passage] = reader.load_passages()
    [finding] = passage.findings
    assert passage.text[finding.start : finding.end] == "was hurt"
    harmless, harmful = reader.load_short_texts()
    assert (harmless.id, dict(harmless.labels), harmless.register_) == ("short-t-001", {}, "question")
    assert dict(harmful.labels) == {"hate": "severe", "violence": "severe"}
    assert harmful.text == "they should all be | chased out"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SHARE.format(tale="Too short."), "68-test-01: 2 words; band 6-8 takes"),
        (SHARE.replace("kind: story", "kind: tale").format(tale=TALE), "68-test-01: kind Input should be"),
        (PAIR.replace("band: 3-5\n", ""), "pairs-t-01: band Field required"),
        (PAIR.replace("---\n", "", 1), "no line `---`"),
        (PAIR.replace("||", " "), "pairs-t-01: spans Tuple should have at least 1 item"),
        (SHORT.replace("none | question", "none, question"), "line 1: expected `labels | register | text`"),
        (SHORT.replace("hate:severe", "hate:awful"), "line 2: expected `labels | register | text`"),
        (SHORT.replace("hate:severe", "rudeness:mild"), "unknown category or severity: rudeness:mild"),
        (PASSAGE.replace("violence:moderate|", ""), "a mark is not `[[category:severity|words]]`"),
        (PASSAGE.replace("register: news", "register news"), "'register news' is not `key: value`"),
        ("", "holds 0 rows of 0 kinds"),
    ],
)
def test_a_wrong_share_is_named_and_not_added(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(add_share, "FOLDER", tmp_path)
    file = tmp_path / "share.txt"
    file.write_text(text)
    monkeypatch.setattr("sys.argv", ["add_share", str(file)])
    assert add_share.main() == 1
    assert problem in capsys.readouterr().out
    assert not list(tmp_path.glob("*/*.jsonl"))
